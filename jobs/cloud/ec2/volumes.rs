//! Volumes: those of an instance, and those that were made for a server.

use std::time::Duration;

use anyhow::anyhow;
use aws_sdk_ec2::types::{self, VolumeAttachmentState, VolumeModificationState};
use drover::model::SubjectId;

use super::instances::subject;
use super::{Region, SERVER, filter, gone_is_gone};
use crate::cloud::{CloudError, Done, Marked, MarkedSort, Volume};

const GIB: u64 = 1 << 30;

/// So often, and so long apart, it is looked whether a volume has come off.
const LOOKS: usize = 15;
const LOOK: Duration = Duration::from_secs(1);

/// Where a volume can be attached, as EC2 calls the places.
const PLACES: std::ops::RangeInclusive<char> = 'f'..='p';

impl Region {
    async fn described_volumes(&self, by: types::Filter) -> Done<Vec<types::Volume>> {
        let call = self.ec2.describe_volumes().filters(by).send();
        let answer = self.ask("DescribeVolumes", call).await?;
        let volumes = answer.volumes.unwrap_or_default().into_iter();
        Ok(volumes.filter(|volume| !boots(volume)).collect())
    }

    /// A volume by its id.
    async fn volume(&self, id: &str) -> Done<types::Volume> {
        let call = self.ec2.describe_volumes().volume_ids(id).send();
        let answer = self.ask("DescribeVolumes", call).await?;
        let volume = answer.volumes.unwrap_or_default().into_iter().next();
        Ok(volume.ok_or_else(|| anyhow!("EC2 does not know volume {id}"))?)
    }

    pub(super) async fn volumes_at(&self, instance_id: &str) -> Done<Vec<Volume>> {
        let by = filter("attachment.instance-id", [instance_id]);
        let volumes = self.described_volumes(by).await?;
        Ok(volumes.iter().filter_map(read).collect())
    }

    pub(super) async fn volumes_made_for(&self, id: SubjectId) -> Done<Vec<String>> {
        let by = filter(&format!("tag:{SERVER}"), [id.to_string()]);
        let call = self.ec2.describe_volumes().filters(by).filters(self.ours());
        let answer = self.ask("DescribeVolumes", call.send()).await?;
        let volumes = answer.volumes().iter().filter(|v| !boots(v) && !goes(v));
        Ok(volumes
            .filter_map(|v| v.volume_id().map(str::to_owned))
            .collect())
    }

    pub(super) async fn deleted(&self, id: &str) -> Done {
        let call = self.ec2.delete_volume().volume_id(id).send();
        gone_is_gone(self.ask("DeleteVolume", call).await)
    }

    pub(super) async fn grown(&self, id: &str, to_bytes: u64) -> Done {
        let wanted = i32::try_from(to_bytes.div_ceil(GIB))
            .map_err(|_| anyhow!("a volume of {to_bytes} bytes is too large"))?;
        let volume = self.volume(id).await?;
        if volume.size().unwrap_or_default() >= wanted {
            return Ok(());
        }
        let call = self.ec2.modify_volume().volume_id(id).size(wanted).send();
        let Err(failure) = self.ask("ModifyVolume", call).await else {
            return Ok(());
        };
        let changing = failure.is("IncorrectModificationState");
        if !changing && !failure.is("VolumeModificationRateExceeded") {
            return Err(failure.into());
        }
        // It may have been asked for before, and go on.
        if self.grows_already(id, wanted).await? {
            return Ok(());
        }
        Err(anyhow!(
            "volume {id} was changed not long ago, and EC2 allows the next change only some \
             hours later: {}",
            CloudError::from(failure)
        )
        .into())
    }

    async fn grows_already(&self, id: &str, wanted: i32) -> Done<bool> {
        let call = self
            .ec2
            .describe_volumes_modifications()
            .volume_ids(id)
            .send();
        let answer = self.ask("DescribeVolumesModifications", call).await?;
        Ok(answer.volumes_modifications().iter().any(|change| {
            change.modification_state() != Some(&VolumeModificationState::Failed)
                && change.target_size().is_some_and(|size| size >= wanted)
        }))
    }

    /// Done when it is off: only then can it be attached again.
    pub(super) async fn detached(&self, instance_id: &str, id: &str) -> Done {
        if attachment(&self.volume(id).await?, instance_id).is_none() {
            return Ok(());
        }
        let call = self
            .ec2
            .detach_volume()
            .volume_id(id)
            .instance_id(instance_id);
        match self.ask("DetachVolume", call.send()).await {
            Ok(_) => {}
            // It has come off meanwhile, or is on its way.
            Err(failure)
                if failure.is("IncorrectState") || failure.is("InvalidAttachment.NotFound") => {}
            Err(failure) => return Err(failure.into()),
        }
        for _ in 0..LOOKS {
            if attachment(&self.volume(id).await?, instance_id).is_none() {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(anyhow!("volume {id} is still being detached from {instance_id}").into())
    }

    pub(super) async fn attached(&self, instance_id: &str, id: &str) -> Done {
        let on = self.volume(id).await?;
        let there = attachment(&on, instance_id).and_then(|a| a.state());
        use VolumeAttachmentState::{Attached, Attaching};
        if matches!(there, Some(Attached | Attaching)) {
            return Ok(());
        }
        let instance = self.described(instance_id).await?;
        let instance = instance.ok_or_else(|| anyhow!("EC2 does not know {instance_id}"))?;
        let taken = |place: &String| {
            let disks = instance.block_device_mappings().iter();
            disks
                .filter_map(|disk| disk.device_name())
                .any(|name| name == place)
        };
        let mut places = PLACES.map(|letter| format!("/dev/sd{letter}"));
        let place = places.find(|place| !taken(place));
        let place = place.ok_or_else(|| anyhow!("{instance_id} has no place for a volume"))?;
        let call = self
            .ec2
            .attach_volume()
            .volume_id(id)
            .instance_id(instance_id)
            .device(place)
            .send();
        self.ask("AttachVolume", call).await?;
        Ok(())
    }
}

fn attachment<'a>(
    volume: &'a types::Volume,
    instance_id: &str,
) -> Option<&'a types::VolumeAttachment> {
    volume.attachments().iter().find(|a| {
        a.instance_id() == Some(instance_id) && a.state() != Some(&VolumeAttachmentState::Detached)
    })
}

/// Whether an instance boots from it: it goes with the instance, and bears the same
/// tags as the data volume, since both come out of one call.
fn boots(volume: &types::Volume) -> bool {
    volume.attachments().iter().any(|a| {
        let place = a.device().unwrap_or_default();
        a.delete_on_termination() == Some(true)
            || ["/dev/xvda", "/dev/sda", "/dev/sda1"].contains(&place)
    })
}

/// Whether it is being deleted.
fn goes(volume: &types::Volume) -> bool {
    use types::VolumeState::{Deleted, Deleting};
    matches!(volume.state(), Some(Deleting | Deleted))
}

fn read(volume: &types::Volume) -> Option<Volume> {
    Some(Volume {
        id: volume.volume_id()?.to_owned(),
        // EC2 knows the place where it is attached, and not what the instance's
        // kernel makes of that.
        mount: None,
        device: None,
        size_bytes: u64::try_from(volume.size()?).ok()? * GIB,
    })
}

pub(super) fn marked(volume: &types::Volume) -> Option<Marked> {
    if boots(volume) || goes(volume) {
        return None;
    }
    let state = volume.state().map_or("unknown", |state| state.as_str());
    let zone = volume.availability_zone().unwrap_or("an unknown zone");
    let size = volume.size().unwrap_or_default();
    Some(Marked {
        id: volume.volume_id()?.to_owned(),
        sort: MarkedSort::Volume,
        subject: subject(volume.tags()),
        detail: format!("{size} GiB, {state} in {zone}"),
    })
}
