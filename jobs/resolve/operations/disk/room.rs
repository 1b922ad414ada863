//! How much room there is, and whose clusters are there.

use std::collections::BTreeMap;

use drover::model::{Kind, Limits, Mode, Resource, Rules, Server, SubjectId, slot_of};
use drover::store::subjects::{self, Known, Page};
use drover::store::{creation, modes, tiers};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use serde_json::Value;

use crate::host::scripts::LOOK_VOLUMES;
use crate::resolve::operations::instance::SOON;
use crate::resolve::operations::kind::{Context, Outcome};
use crate::resolve::operations::script;
use crate::think::DISK_MARGIN;

/// So often, in one operation, room that was made is left to the next observation.
const ROOM_SEEN: u64 = 10;

/// A filesystem with clusters on it.
pub(in crate::resolve::operations) struct Volume {
    pub(in crate::resolve::operations) mount: String,
    pub(in crate::resolve::operations) device: String,
    pub(in crate::resolve::operations) size: u64,
    used: u64,
    /// What PostgreSQL may still write.
    pub(super) available: u64,
    /// Ports of the clusters whose data is there.
    pub(super) ports: Vec<u16>,
}

/// Every volume that holds clusters, as it is now.
///
/// # Errors
/// The outcome of a step whose server does not say so.
pub(in crate::resolve::operations) async fn volumes(
    turn: &Context<'_>,
    server: &Server,
) -> Result<Vec<Volume>, Outcome> {
    let said = script::run(turn, server, LOOK_VOLUMES, &[], b"").await?;
    let mut volumes: BTreeMap<String, Volume> = BTreeMap::new();
    for line in said.text().lines() {
        let Some((port, volume)) = read(line) else {
            continue;
        };
        let there = volumes.entry(volume.mount.clone()).or_insert(volume);
        there.ports.push(port);
    }
    if volumes.is_empty() {
        let name = &server.subject.name;
        return Err(Outcome::failed(format!(
            "{name} does not say how full its volumes are: {}",
            said.last_words()
        )));
    }
    Ok(volumes.into_values().collect())
}

pub(super) fn read(line: &str) -> Option<(u16, Volume)> {
    let mut words = line.split_ascii_whitespace();
    let port = words.next()?.parse().ok()?;
    let device = words.next()?.to_owned();
    let mut bytes = || words.next()?.parse::<u64>().ok();
    let (size, used, available) = (bytes()?, bytes()?, bytes()?);
    // The mount point is the rest, and may hold blanks.
    let mount = words.collect::<Vec<_>>().join(" ");
    let volume = Volume {
        mount,
        device,
        size,
        used,
        available,
        ports: vec![],
    };
    (volume.size > 0 && volume.mount.starts_with('/')).then_some((port, volume))
}

impl Volume {
    /// Free, of what PostgreSQL can ever use.
    pub(super) fn free_ratio(&self) -> f64 {
        let all = self.used.saturating_add(self.available).max(1);
        self.available as f64 / all as f64
    }

    /// Whether it has less room than ends the incident.
    fn tight(&self, limits: &Limits) -> bool {
        1.0 - self.free_ratio() >= limits.disk_used_ratio - DISK_MARGIN
            || self.available <= limits.disk_free_bytes
    }

    /// How full it is, for people.
    pub(in crate::resolve::operations) fn fill(&self) -> String {
        let free = self.free_ratio() * 100.0;
        format!(
            "{}: {free:.1} %, {} free",
            self.mount,
            amount(self.available)
        )
    }
}

/// Those of them that need room. `seen` counts how often there was enough.
///
/// # Errors
/// The outcome of an operation that is not needed any more: it waits for the observation
/// that says so, and then is skipped.
pub(in crate::resolve::operations) async fn tight(
    turn: &Context<'_>,
    server: &Server,
    seen: &mut u64,
) -> Result<Vec<Volume>, Outcome> {
    let mut all = volumes(turn, server).await?;
    let words: Vec<String> = all.iter().map(Volume::fill).collect();
    all.retain(|volume| volume.tight(&turn.rules.limits));
    if all.is_empty() {
        let why = format!("there is room again: {}", words.join("; "));
        *seen += 1;
        return Err(match *seen >= ROOM_SEEN {
            true => Outcome::skipped(why),
            false => Outcome::again(SOON, why),
        });
    }
    Ok(all)
}

/// A cluster that is in the herd, and may be changed.
pub(super) struct Ours {
    /// One of its resources.
    pub(super) resource: Resource,
    /// From how many bytes on a slot of it may be dropped: the most that the rules
    /// of any of its resources' tiers allow.
    pub(super) slot_bytes: u64,
    /// The slots of its live followers: what they keep is somebody's.
    pub(super) followers: Vec<String>,
}

/// The server's clusters that are in the herd, by port. A resource that is not in
/// mode `act` keeps its cluster out, and that is said instead.
///
/// # Errors
/// The outcome of a step that the record did not answer, or whose rules cannot be used.
pub(super) async fn herd(
    turn: &Context<'_>,
    server: &Server,
) -> Result<BTreeMap<u16, Result<Ours, String>>, Outcome> {
    let mut db = turn.tools.pool.acquire().await?;
    let page = Page {
        name: None,
        state: None,
        server: Some(server.subject.id),
        after: None,
        limit: 10_000,
    };
    let known = subjects::list(&mut db, Kind::Resource, &page).await?;
    let tiers: BTreeMap<String, Value> = tiers::all(&mut db).await?.into_iter().collect();
    let ids: Vec<SubjectId> = known.iter().map(|known| known.subject().id).collect();
    let mut slots: BTreeMap<SubjectId, Vec<String>> = BTreeMap::new();
    for (leader, follower) in creation::followers(&mut db, &ids).await? {
        slots.entry(leader).or_default().push(slot_of(follower));
    }
    let mut herd: BTreeMap<u16, Result<Ours, String>> = BTreeMap::new();
    for known in known {
        let Known::Resource(resource, _) = known else {
            continue;
        };
        let mode = modes::effective(&mut db, Some(resource.subject.id)).await?;
        let port = resource.port;
        let followers = slots.remove(&resource.subject.id).unwrap_or_default();
        match mode {
            Mode::Act => {
                let tier = tiers.get(&resource.subject.tier);
                let slot_bytes = slot_bytes(&turn.tools.rules, tier).map_err(Outcome::failed)?;
                let ours = herd.entry(port).or_insert(Ok(Ours {
                    resource: *resource,
                    slot_bytes,
                    followers: vec![],
                }));
                if let Ok(ours) = ours {
                    ours.slot_bytes = ours.slot_bytes.max(slot_bytes);
                    ours.followers.extend(followers);
                }
            }
            Mode::Advise | Mode::Hold => {
                let name = &resource.subject.name;
                herd.insert(port, Err(format!("{name} is in mode {mode}")));
            }
        }
    }
    Ok(herd)
}

/// By the rules of a tier; by the deployment's, if the tier's cannot be used.
fn slot_bytes(deployment: &Value, tier: Option<&Value>) -> Result<u64, String> {
    let own = tier.and_then(|tier| Rules::layered(&[deployment, tier]).ok());
    let rules = match own {
        Some(rules) => rules,
        None => Rules::layered(&[deployment])?,
    };
    Ok(rules.limits.slot_retained_bytes)
}

/// What may be changed on these volumes. The other clusters come as words.
///
/// # Errors
/// As [`herd`].
pub(super) async fn ours(
    turn: &Context<'_>,
    server: &Server,
    volumes: &[Volume],
) -> Result<(Vec<Ours>, Vec<String>), Outcome> {
    let mut herd = herd(turn, server).await?;
    let (mut may, mut left_out) = (Vec::new(), Vec::new());
    for port in volumes.iter().flat_map(|volume| &volume.ports) {
        match herd.remove(port) {
            Some(Ok(ours)) => may.push(ours),
            Some(Err(why)) => left_out.push(why),
            None => left_out.push(format!("the cluster on port {port} is not in the herd")),
        }
    }
    Ok((may, left_out))
}

/// All of these, in their order: an sshd refuses more than some ten callers at once.
pub(super) async fn few_at_a_time<T>(asked: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    stream::iter(asked).buffered(6).collect().await
}

/// Bytes for people.
pub(in crate::resolve::operations) fn amount(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 1024.0 {
        format!("{mib:.1} MiB")
    } else {
        format!("{:.2} GiB", mib / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_slot_goes_by_its_own_tier_and_without_one_by_the_deployment() {
        let of = |bytes: u64| json!({"limits": {"slot_retained_bytes": bytes}});
        assert_eq!(slot_bytes(&of(5), Some(&of(7))), Ok(7));
        assert_eq!(slot_bytes(&of(5), Some(&json!({}))), Ok(5));
        assert_eq!(slot_bytes(&of(5), Some(&json!({"limit": 1}))), Ok(5));
        assert_eq!(slot_bytes(&of(5), None), Ok(5));
        assert!(slot_bytes(&json!([]), None).is_err());
    }

    #[test]
    fn lines_of_df_are_read_and_others_are_not() {
        let (port, volume) = read("5432 /dev/vdb 1000 600 400 /my data").unwrap();
        assert_eq!((port, volume.mount.as_str()), (5432, "/my data"));
        assert_eq!((volume.size, volume.available), (1000, 400));
        assert!((volume.free_ratio() - 0.4).abs() < 1e-9);
        let tmpfs = read("5501 drover-pg-1 1000 600 400 /volume").unwrap().1;
        assert_eq!(tmpfs.device, "drover-pg-1");
        for bad in [
            "",
            "5432",
            "5432 /dev/vdb - - - /",
            "x /dev/vdb 1 1 1 /",
            "1 a 1 1 1 b",
        ] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }
}
