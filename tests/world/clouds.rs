//! Clouds: what all of them promise, on each of them; EC2's errors; and what it says
//! of many instances at once.

mod contract;
#[cfg(feature = "ec2")]
mod refusals;
mod set_up;
#[cfg(feature = "ec2")]
mod statuses;
