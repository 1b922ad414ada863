//! Looking at instances, and finding one's own.

use aws_sdk_ec2::types::{self, InstanceStateName};
use drover::config::Ec2Address;
use drover::model::SubjectId;

use super::{Failure, Region, SERVER, filter};
use crate::cloud::{Done, Instance, InstanceState, Marked, MarkedSort};

/// States of an instance that is there, as a filter has them.
const THERE: [&str; 4] = ["pending", "running", "stopping", "stopped"];

/// Things on a page.
const PAGE: i32 = 500;
/// Pages at most: what is longer is no list of ours.
const PAGES: usize = 200;

impl Region {
    /// An instance as EC2 describes it; `None`: EC2 does not know it, or not yet.
    pub(super) async fn described(&self, id: &str) -> Result<Option<types::Instance>, Failure> {
        let call = self.ec2.describe_instances().instance_ids(id).send();
        let answer = match self.ask("DescribeInstances", call).await {
            Ok(answer) => answer,
            Err(failure) if failure.not_found() || failure.is("InvalidInstanceID.Malformed") => {
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        };
        let instances = answer.reservations.unwrap_or_default().into_iter();
        Ok(instances.filter_map(|r| r.instances).flatten().next())
    }

    /// The oldest one with the server's mark: should there ever be two, all agree
    /// on one, and reconciliation shows the other.
    pub(super) async fn found(&self, id: SubjectId) -> Done<Option<Instance>> {
        let call = self
            .ec2
            .describe_instances()
            .filters(self.ours())
            .filters(filter(&format!("tag:{SERVER}"), [id.to_string()]))
            .filters(filter("instance-state-name", THERE))
            .send();
        let answer = self.ask("DescribeInstances", call).await?;
        let instances = answer.reservations().iter().flat_map(|r| r.instances());
        let oldest = instances.min_by_key(|i| {
            let launched = i.launch_time().map_or(i64::MAX, |at| at.secs());
            (launched, i.instance_id().map(str::to_owned))
        });
        Ok(oldest.map(|instance| self.instance(instance)))
    }

    /// All instances with the deployment's mark.
    pub(super) async fn marked_instances(&self) -> Done<Vec<Marked>> {
        let mut all = Vec::new();
        let mut next = None;
        for _ in 0..PAGES {
            let call = self
                .ec2
                .describe_instances()
                .filters(self.ours())
                .filters(filter("instance-state-name", THERE))
                .max_results(PAGE)
                .set_next_token(next)
                .send();
            let answer = self.ask("DescribeInstances", call).await?;
            let instances = answer.reservations().iter().flat_map(|r| r.instances());
            all.extend(instances.filter_map(marked));
            next = answer.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                break;
            }
        }
        Ok(all)
    }

    /// All volumes with the deployment's mark, but for those that instances boot
    /// from: they go with their instances.
    pub(super) async fn marked_volumes(&self) -> Done<Vec<Marked>> {
        let mut all = Vec::new();
        let mut next = None;
        for _ in 0..PAGES {
            let call = self
                .ec2
                .describe_volumes()
                .filters(self.ours())
                .max_results(PAGE)
                .set_next_token(next)
                .send();
            let answer = self.ask("DescribeVolumes", call).await?;
            all.extend(answer.volumes().iter().filter_map(super::volumes::marked));
            next = answer.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                break;
            }
        }
        Ok(all)
    }

    pub(super) fn instance(&self, from: &types::Instance) -> Instance {
        let id = from.instance_id().unwrap_or_default().to_owned();
        let state = state(from.state().and_then(|state| state.name()));
        let address = match self.config.address {
            Ec2Address::Private => from.private_ip_address(),
            Ec2Address::Public => from.public_ip_address(),
        };
        let zone = from.placement().and_then(|at| at.availability_zone());
        Instance {
            detail: format!("instance {id} is {}", word(&state)),
            state,
            // The time of its launch stays the same over a reboot.
            boot: None,
            address: address.filter(|a| !a.is_empty()).map(str::to_owned),
            zone: zone.map(str::to_owned),
            size: from.instance_type().map(|size| size.as_str().to_owned()),
            id,
        }
    }
}

/// An instance that EC2 does not know.
pub(super) fn unknown(id: &str) -> Instance {
    Instance {
        id: id.to_owned(),
        state: InstanceState::not_found(),
        detail: format!("EC2 does not know instance {id} (yet, or any more)"),
        boot: None,
        address: None,
        zone: None,
        size: None,
    }
}

fn state(name: Option<&InstanceStateName>) -> InstanceState {
    match name {
        Some(InstanceStateName::Pending) => InstanceState::Pending,
        Some(InstanceStateName::Running) => InstanceState::Running,
        Some(InstanceStateName::Stopping) => InstanceState::Stopping,
        Some(InstanceStateName::Stopped) => InstanceState::Stopped,
        Some(InstanceStateName::ShuttingDown) => InstanceState::ShuttingDown,
        Some(InstanceStateName::Terminated) => InstanceState::Terminated,
        Some(other) => InstanceState::Unknown(other.as_str().to_owned()),
        None => InstanceState::Unknown("unknown".into()),
    }
}

fn word(state: &InstanceState) -> &str {
    match state {
        InstanceState::Pending => "pending",
        InstanceState::Running => "running",
        InstanceState::Stopping => "stopping",
        InstanceState::Stopped => "stopped",
        InstanceState::ShuttingDown => "shutting-down",
        InstanceState::Terminated => "terminated",
        InstanceState::Unknown(word) => word,
    }
}

fn marked(instance: &types::Instance) -> Option<Marked> {
    let state = instance.state().and_then(|s| s.name());
    let zone = instance.placement().and_then(|at| at.availability_zone());
    let since = instance.launch_time().map(ToString::to_string);
    Some(Marked {
        id: instance.instance_id()?.to_owned(),
        sort: MarkedSort::Instance,
        subject: subject(instance.tags()),
        detail: format!(
            "{} in {} since {}",
            state.map_or("unknown", |name| name.as_str()),
            zone.unwrap_or("an unknown zone"),
            since.as_deref().unwrap_or("an unknown time")
        ),
    })
}

/// The server that a tag names.
pub(super) fn subject(tags: &[types::Tag]) -> Option<SubjectId> {
    tag(tags, SERVER)?.parse().ok()
}

/// A tag's value.
pub(super) fn tag<'a>(tags: &'a [types::Tag], key: &str) -> Option<&'a str> {
    tags.iter().find(|tag| tag.key() == Some(key))?.value()
}
