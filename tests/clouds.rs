//! Clouds: what all of them promise, on each of them; and EC2's errors.

mod clouds {
    mod contract;
    #[cfg(feature = "ec2")]
    mod refusals;
    mod set_up;
}
