//! Where instances are put: zones, subnets, security groups.

use aws_sdk_ec2::types::AvailabilityZone;

use super::{Region, filter};
use crate::cloud::{CloudError, Done};

/// What of the settings' network is in this region. Asked for once.
#[derive(Debug, Default)]
pub(super) struct Network {
    /// Zones and the subnets in them; empty: the zones' default ones.
    pub(super) subnets: Vec<(String, String)>,
    /// Security groups; empty: the network's default one.
    pub(super) groups: Vec<String>,
}

impl Network {
    /// The subnet in this zone; `None`: the default one.
    pub(super) fn subnet(&self, zone: &str) -> Done<Option<&str>> {
        if self.subnets.is_empty() {
            return Ok(None);
        }
        let found = self.subnets.iter().find(|(there, _)| there == zone);
        match found {
            Some((_, subnet)) => Ok(Some(subnet)),
            None => Err(CloudError::Refused(format!(
                "DROVER_EC2_SUBNETS has no subnet in zone {zone}"
            ))),
        }
    }
}

impl Region {
    pub(super) async fn network(&self) -> Done<&Network> {
        self.network.get_or_try_init(|| self.look_round()).await
    }

    async fn look_round(&self) -> Done<Network> {
        let mut network = Network::default();
        let wanted = &self.config.subnets;
        if !wanted.is_empty() {
            // A filter, because other regions' subnets are in the list too.
            let call = self.ec2.describe_subnets();
            let call = call.filters(filter("subnet-id", wanted)).send();
            let answer = self.ask("DescribeSubnets", call).await?;
            let subnets = answer.subnets().iter();
            network.subnets = subnets
                .filter_map(|s| Some((s.availability_zone()?.into(), s.subnet_id()?.into())))
                .collect();
            if network.subnets.is_empty() {
                return Err(CloudError::Refused(
                    "DROVER_EC2_SUBNETS names no subnet in this region".into(),
                ));
            }
        }
        let wanted = &self.config.security_groups;
        if !wanted.is_empty() {
            let call = self.ec2.describe_security_groups();
            let call = call.filters(filter("group-id", wanted)).send();
            let answer = self.ask("DescribeSecurityGroups", call).await?;
            let groups = answer.security_groups().iter();
            network.groups = groups
                .filter_map(|group| group.group_id().map(str::to_owned))
                .collect();
            if network.groups.is_empty() {
                return Err(CloudError::Refused(
                    "DROVER_EC2_SECURITY_GROUPS names no group in this region".into(),
                ));
            }
        }
        Ok(network)
    }

    /// The zones that are open to us and, where subnets are set, have one of them.
    pub(super) async fn open_zones(&self) -> Done<Vec<String>> {
        let call = self.ec2.describe_availability_zones();
        let call = call.filters(filter("state", ["available"])).send();
        let answer = self.ask("DescribeAvailabilityZones", call).await?;
        let network = self.network().await?;
        let zones = answer
            .availability_zones()
            .iter()
            .filter(|zone| ordinary(zone));
        let mut names: Vec<String> = zones
            .filter_map(|zone| zone.zone_name().map(str::to_owned))
            .filter(|name| network.subnet(name).is_ok())
            .collect();
        names.sort();
        Ok(names)
    }
}

/// Local and Wavelength zones have other sizes and no volumes of every type.
fn ordinary(zone: &AvailabilityZone) -> bool {
    zone.zone_type()
        .is_none_or(|sort| sort == "availability-zone")
}
