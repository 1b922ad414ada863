//! Amazon EC2, through its SDK.

use std::time::Duration;

use drover::model::SubjectId;

use super::{
    Cloud, CloudAction, CloudError, Done, Instance, Login, Marked, NewInstance, Status,
    Unsupported, Volume,
};

/// The regions of EC2 that this deployment has access to.
#[derive(Clone, Debug)]
pub struct Ec2 {
    regions: Vec<(String, Region)>,
}

/// A region.
#[derive(Clone, Debug)]
pub struct Region {}

impl Ec2 {
    /// The region of this name; `None`: the first.
    pub fn region(&self, name: Option<&str>) -> Option<&Region> {
        let found = self
            .regions
            .iter()
            .find(|(n, _)| name.is_none_or(|name| n == name));
        found.map(|(_, region)| region)
    }

    /// The names of all.
    pub fn regions(&self) -> impl Iterator<Item = &str> {
        self.regions.iter().map(|(name, _)| name.as_str())
    }
}

fn none<T>() -> Done<T> {
    Err(CloudError::Refused("not built yet".into()))
}

impl Cloud for Region {
    async fn describe(&self, _: &str) -> Done<Instance> {
        none()
    }
    fn can(&self, _: &str, _: CloudAction) -> Result<(), Unsupported> {
        Ok(())
    }
    async fn zones(&self) -> Done<Vec<String>> {
        none()
    }
    fn login(&self) -> anyhow::Result<Login> {
        Ok(Login {
            user: "drover".into(),
            port: 22,
        })
    }
    async fn find(&self, _: SubjectId) -> Done<Option<Instance>> {
        none()
    }
    fn consistent_within(&self) -> Duration {
        Duration::from_secs(30)
    }
    async fn create(&self, _: &NewInstance) -> Done<Instance> {
        none()
    }
    async fn destroy(&self, _: &str) -> Done {
        none()
    }
    async fn volumes_of(&self, _: SubjectId) -> Done<Vec<String>> {
        none()
    }
    async fn delete_volume(&self, _: &str) -> Done {
        none()
    }
    async fn resize(&self, _: &str, _: &str) -> Done {
        none()
    }
    async fn statuses(&self, _: &[String]) -> Done<Vec<(String, Status)>> {
        none()
    }
    async fn marked(&self) -> Done<Vec<Marked>> {
        none()
    }
    async fn reboot(&self, _: &str, _: &str) -> Done {
        none()
    }
    async fn stop(&self, _: &str) -> Done {
        none()
    }
    async fn start(&self, _: &str) -> Done {
        none()
    }
    async fn volumes(&self, _: &str) -> Done<Vec<Volume>> {
        none()
    }
    async fn grow_volume(&self, _: &str, _: &str, _: u64) -> Done {
        none()
    }
    async fn detach_volume(&self, _: &str, _: &str) -> Done {
        none()
    }
    async fn attach_volume(&self, _: &str, _: &str) -> Done {
        none()
    }
}
