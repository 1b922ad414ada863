//! A region of EC2 as a [`Cloud`].

use std::time::Duration;

use anyhow::anyhow;
use aws_sdk_ec2::types::{AttributeValue, Tag};
use drover::model::SubjectId;

use super::instances::{self, tag};
use super::{REBOOT, Region, gone_is_gone};
use crate::cloud::{
    Cloud, CloudAction, Done, Instance, Login, Marked, NewInstance, Status, Unsupported, Volume,
};

/// EC2's own word for how late its answers may be is "eventually"; it is seconds.
const CONSISTENT: Duration = Duration::from_secs(30);
/// Instances that one call may be about.
const TOGETHER: usize = 100;

impl Cloud for Region {
    /// An instance that EC2 does not know is [`InstanceState::not_found`]: right after
    /// it was made EC2 may not know it yet, an hour after its end not any more, and
    /// from the id alone nobody can tell the two apart. The caller judges by its age.
    ///
    /// [`InstanceState::not_found`]: crate::cloud::InstanceState::not_found
    async fn describe(&self, instance_id: &str) -> Done<Instance> {
        Ok(match self.described(instance_id).await? {
            Some(instance) => self.instance(&instance),
            None => instances::unknown(instance_id),
        })
    }

    fn can(&self, _instance_id: &str, action: CloudAction) -> Result<(), Unsupported> {
        match action {
            CloudAction::Reboot
            | CloudAction::StopStart
            | CloudAction::GrowVolume
            | CloudAction::ReattachVolume => Ok(()),
        }
    }

    async fn zones(&self) -> Done<Vec<String>> {
        self.open_zones().await
    }

    async fn login(&self) -> Done<Login> {
        Ok(Login {
            user: self.config.user.clone(),
            port: self.config.ssh_port,
        })
    }

    async fn find(&self, id: SubjectId) -> Done<Option<Instance>> {
        self.found(id).await
    }

    fn consistent_within(&self) -> Duration {
        CONSISTENT
    }

    async fn create(&self, new: &NewInstance) -> Done<Instance> {
        self.made(new).await
    }

    async fn destroy(&self, instance_id: &str) -> Done {
        let call = self.ec2.terminate_instances();
        let call = call.instance_ids(instance_id).send();
        gone_is_gone(self.ask("TerminateInstances", call).await)
    }

    async fn volumes_of(&self, id: SubjectId) -> Done<Vec<String>> {
        self.volumes_made_for(id).await
    }

    async fn delete_volume(&self, volume_id: &str) -> Done {
        self.deleted(volume_id).await
    }

    async fn resize(&self, instance_id: &str, size: &str) -> Done {
        let size = AttributeValue::builder().value(size).build();
        let call = self.ec2.modify_instance_attribute();
        let call = call.instance_id(instance_id).instance_type(size).send();
        self.ask("ModifyInstanceAttribute", call).await?;
        Ok(())
    }

    async fn statuses(&self, instance_ids: &[String]) -> Done<Vec<(String, Status)>> {
        if instance_ids.len() > TOGETHER {
            return Err(anyhow!("at most {TOGETHER} instances at once").into());
        }
        self.statuses_of(instance_ids).await
    }

    async fn marked(&self) -> Done<Vec<Marked>> {
        let mut all = self.marked_instances().await?;
        all.extend(self.marked_volumes().await?);
        Ok(all)
    }

    /// EC2 knows no token for this, so the instance's own tag holds the last one. A
    /// worker that dies between reboot and tag is followed by one that reboots once
    /// more: at least once, and only for that instant more than once.
    async fn reboot(&self, instance_id: &str, token: &str) -> Done {
        let instance = self.described(instance_id).await?;
        let instance = instance.ok_or_else(|| anyhow!("EC2 does not know {instance_id}"))?;
        if tag(instance.tags(), REBOOT) == Some(token) {
            return Ok(());
        }
        let call = self.ec2.reboot_instances().instance_ids(instance_id).send();
        self.ask("RebootInstances", call).await?;
        let mark = Tag::builder().key(REBOOT).value(token).build();
        let call = self.ec2.create_tags().resources(instance_id).tags(mark);
        if let Err(failure) = self.ask("CreateTags", call.send()).await {
            // It reboots; at worst it will once more.
            let why = crate::cloud::CloudError::from(failure);
            tracing::warn!(instance_id, "a reboot could not be marked: {why}");
        }
        Ok(())
    }

    async fn stop(&self, instance_id: &str) -> Done {
        let call = self.ec2.stop_instances().instance_ids(instance_id).send();
        self.ask("StopInstances", call).await?;
        Ok(())
    }

    async fn cut_power(&self, instance_id: &str) -> Done {
        let call = self.ec2.stop_instances().instance_ids(instance_id);
        self.ask("StopInstances", call.force(true).send()).await?;
        Ok(())
    }

    async fn start(&self, instance_id: &str) -> Done {
        let call = self.ec2.start_instances().instance_ids(instance_id).send();
        self.ask("StartInstances", call).await?;
        Ok(())
    }

    async fn volumes(&self, instance_id: &str) -> Done<Vec<Volume>> {
        self.volumes_at(instance_id).await
    }

    async fn grow_volume(&self, _instance_id: &str, volume_id: &str, to_bytes: u64) -> Done {
        self.grown(volume_id, to_bytes).await
    }

    async fn detach_volume(&self, instance_id: &str, volume_id: &str) -> Done {
        self.detached(instance_id, volume_id).await
    }

    async fn attach_volume(&self, instance_id: &str, volume_id: &str) -> Done {
        self.attached(instance_id, volume_id).await
    }
}
