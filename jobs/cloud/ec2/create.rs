//! Making an instance: one call, so that there is none without its marks.

use std::time::{Duration, Instant as Moment};

use anyhow::anyhow;
use aws_sdk_ec2::types::{
    self, BlockDeviceMapping, EbsBlockDevice, HttpTokensState, IamInstanceProfileSpecification,
    Image, InstanceMetadataEndpointState, InstanceMetadataOptionsRequest,
    InstanceNetworkInterfaceSpecification, InstanceStateName, InstanceType, Placement,
    ResourceType, Tag, TagSpecification, VolumeType,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drover::config::{Ec2Address, Ec2Image};

use super::network::Network;
use super::{DEPLOYMENT, Region, SERVER, filter};
use crate::cloud::{CloudError, Done, Instance, NewInstance, user_data};

/// The data volume, as EC2 calls its place; on Nitro, the instance itself sees it
/// as `/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol…`.
const DATA: &str = "/dev/sdf";
/// What an instance boots from has at least so much room.
const ROOT_GIB: i32 = 16;
/// So long the newest image stays the newest.
const NEWEST: Duration = Duration::from_secs(6 * 3600);
/// Characters of a client token.
const TOKEN: usize = 64;

/// An image, and when it was chosen.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    id: String,
    root_device: String,
    root_gib: i32,
    at: Moment,
}

impl Region {
    pub(super) async fn made(&self, new: &NewInstance) -> Done<Instance> {
        // The client token keeps EC2 from making two of one request that comes
        // twice; this, of two that differ in zone or size.
        if let Some(there) = self.found(new.id).await? {
            return Ok(there);
        }
        let image = self.chosen_image().await?;
        let network = self.network().await?;
        let told = user_data::document(
            &new.host_key,
            &new.authorized_key,
            &self.config.user,
            self.config.ssh_port,
        )?;
        let call = self
            .ec2
            .run_instances()
            .min_count(1)
            .max_count(1)
            .client_token(client_token(new))
            .image_id(&image.id)
            .instance_type(InstanceType::from(new.size.as_str()))
            .placement(Placement::builder().availability_zone(&new.zone).build())
            .set_block_device_mappings(Some(disks(new, &image)?))
            .set_tag_specifications(Some(self.tags(new)))
            .metadata_options(metadata())
            .set_iam_instance_profile(self.profile())
            .user_data(STANDARD.encode(told));
        let call = self.place(call, network, &new.zone)?;
        let answer = match self.ask("RunInstances", call.send()).await {
            Ok(answer) => answer,
            Err(failure) if failure.is("Unsupported") => {
                let why = CloudError::from(failure);
                return Err(CloudError::NoCapacity(format!(
                    "{} has no {}: {why}",
                    new.zone, new.size
                )));
            }
            Err(failure) if failure.is("IdempotentParameterMismatch") => {
                // It was asked for before, with an image or a key that has changed
                // since; what was made then will be found.
                return Err(anyhow!(
                    "an instance was asked for before, with other parameters, and is not to \
                     be found yet: {}",
                    CloudError::from(failure)
                )
                .into());
            }
            Err(failure) => return Err(failure.into()),
        };
        let made = answer.instances().first();
        let made = made.ok_or_else(|| anyhow!("RunInstances: EC2 made no instance"))?;
        match ended_at_once(made) {
            Some(error) => Err(error),
            None => Ok(self.instance(made)),
        }
    }

    /// Subnet, security groups and address, which EC2 takes either all at the
    /// instance or all at its interface.
    fn place(
        &self,
        call: aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder,
        network: &Network,
        zone: &str,
    ) -> Done<aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder> {
        let subnet = network.subnet(zone)?.map(str::to_owned);
        let groups = Some(network.groups.clone()).filter(|groups| !groups.is_empty());
        Ok(match self.config.address {
            Ec2Address::Private => call.set_subnet_id(subnet).set_security_group_ids(groups),
            Ec2Address::Public => call.network_interfaces(
                InstanceNetworkInterfaceSpecification::builder()
                    .device_index(0)
                    .associate_public_ip_address(true)
                    .delete_on_termination(true)
                    .set_subnet_id(subnet)
                    .set_groups(groups)
                    .build(),
            ),
        })
    }

    fn tags(&self, new: &NewInstance) -> Vec<TagSpecification> {
        let tag = |key: &str, value: String| Tag::builder().key(key).value(value).build();
        let tags = vec![
            tag(DEPLOYMENT, self.config.deployment.clone()),
            tag(SERVER, new.id.to_string()),
            tag("Name", new.name.clone()),
        ];
        let on = |sort| {
            let tags = Some(tags.clone());
            TagSpecification::builder()
                .resource_type(sort)
                .set_tags(tags)
                .build()
        };
        vec![on(ResourceType::Instance), on(ResourceType::Volume)]
    }

    fn profile(&self) -> Option<IamInstanceProfileSpecification> {
        let name = self.config.instance_profile.as_ref()?;
        Some(
            IamInstanceProfileSpecification::builder()
                .name(name)
                .build(),
        )
    }

    async fn chosen_image(&self) -> Done<Chosen> {
        let mut chosen = self.image.lock().await;
        if let Some(known) = chosen.as_ref().filter(|known| known.at.elapsed() < NEWEST) {
            return Ok(known.clone());
        }
        let call = self.ec2.describe_images();
        let call = match &self.config.image {
            Ec2Image::Id(id) => call.image_ids(id),
            Ec2Image::Newest { owner, name } => call
                .owners(owner)
                .filters(filter("name", [name]))
                .filters(filter("state", ["available"])),
        };
        let answer = self.ask("DescribeImages", call.send()).await?;
        // The dates are ISO 8601, so they sort as text.
        let newest = answer
            .images()
            .iter()
            .max_by_key(|image| image.creation_date());
        let found = newest.and_then(read).ok_or_else(|| {
            CloudError::Refused("DROVER_EC2_IMAGE names no image in this region".into())
        })?;
        Ok(chosen.insert(found).clone())
    }
}

fn read(image: &Image) -> Option<Chosen> {
    let root_device = image.root_device_name()?.to_owned();
    let mapped = image.block_device_mappings().iter();
    let root = mapped
        .filter(|disk| disk.device_name() == Some(&root_device))
        .find_map(|disk| disk.ebs()?.volume_size());
    Some(Chosen {
        id: image.image_id()?.to_owned(),
        root_gib: root.unwrap_or(ROOT_GIB).max(ROOT_GIB),
        root_device,
        at: Moment::now(),
    })
}

/// What it boots from goes with the instance; the data stays until it is deleted.
fn disks(new: &NewInstance, image: &Chosen) -> anyhow::Result<Vec<BlockDeviceMapping>> {
    let size = i32::try_from(new.volume_gib)
        .map_err(|_| anyhow!("a volume of {} GiB is too large", new.volume_gib))?;
    let disk = |device: &str, ebs: EbsBlockDevice| {
        BlockDeviceMapping::builder()
            .device_name(device)
            .ebs(ebs)
            .build()
    };
    let root = EbsBlockDevice::builder()
        .encrypted(true)
        .delete_on_termination(true)
        .volume_size(image.root_gib)
        .volume_type(VolumeType::Gp3)
        .build();
    let data = EbsBlockDevice::builder()
        .encrypted(true)
        .delete_on_termination(false)
        .volume_size(size)
        .volume_type(VolumeType::from(new.volume_type.as_str()))
        .build();
    Ok(vec![disk(&image.root_device, root), disk(DATA, data)])
}

/// The second version only: a request that a process was tricked into tells nothing.
fn metadata() -> InstanceMetadataOptionsRequest {
    InstanceMetadataOptionsRequest::builder()
        .http_tokens(HttpTokensState::Required)
        .http_endpoint(InstanceMetadataEndpointState::Enabled)
        .http_put_response_hop_limit(1)
        .build()
}

/// The same for the same wish. AWS wants the parameters of one token to be the same,
/// so each zone and size has one of its own.
fn client_token(new: &NewInstance) -> String {
    let mut token = format!("{}-{}-{}", new.id, new.zone, new.size);
    // Ids come first, and EC2's own names are shorter than what is left.
    token.truncate(TOKEN);
    token
}

/// EC2 takes some wishes at first, and then gives the instance up.
fn ended_at_once(made: &types::Instance) -> Option<CloudError> {
    let state = made.state().and_then(|state| state.name());
    use InstanceStateName::{ShuttingDown, Terminated};
    if !matches!(state, Some(ShuttingDown | Terminated)) {
        return None;
    }
    let reason = made.state_reason();
    let code = reason.and_then(|r| r.code()).unwrap_or_default();
    let said = reason
        .and_then(|r| r.message())
        .unwrap_or("without a reason");
    let message = format!("EC2 ended the instance at once: {said}");
    Some(match code {
        "Server.InsufficientInstanceCapacity" => CloudError::NoCapacity(message),
        client if client.starts_with("Client.") => CloudError::Refused(message),
        _ => CloudError::Failed(anyhow!(message)),
    })
}
