//! What is felt of many instances at once. A program of its own: it measures time.

#[cfg(feature = "ec2")]
mod clouds {
    mod set_up;
    mod statuses;
}
