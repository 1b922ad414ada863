//! Clouds: what all of them promise, on each of them; EC2's errors; and what is felt
//! of many instances at once.

mod clouds {
    mod contract;
    #[cfg(feature = "ec2")]
    mod refusals;
    #[cfg(feature = "ec2")]
    mod statuses;
}
