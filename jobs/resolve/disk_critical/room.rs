//! How much room there is, and whose clusters are there.

use std::collections::BTreeMap;
use std::time::Duration;

use drover::model::{Kind, Limits, Mode, Resource, Server};
use drover::store::modes;
use drover::store::subjects::{self, Known, Page};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};

use crate::resolve::{Ended, Outcome, Turn, shell};
use crate::think::DISK_MARGIN;

/// So often, all in all, room that was made is left to the next observation.
const ROOM_SEEN: u64 = 10;
const SOON: Duration = Duration::from_secs(2);

/// A filesystem with clusters on it.
pub(super) struct Volume {
    pub(super) mount: String,
    pub(super) device: String,
    pub(super) size: u64,
    used: u64,
    /// What PostgreSQL may still write.
    pub(super) available: u64,
    /// Ports of the clusters whose data is there.
    ports: Vec<u16>,
}

/// A line for each cluster: its port, then what `df` says of its data directory.
const LOOK: &str = r#"export LC_ALL=C; PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin
timeout 4 pg_lsclusters --json 2>/dev/null | perl -MJSON -e 'local $/; for (@{ JSON::decode_json(<STDIN>) }) { print "$_->{port} $_->{pgdata}\n" if $_->{pgdata} && $_->{pgdata} !~ /\n/ }' 2>/dev/null |
while IFS=' ' read -r port d; do
  printf '%s ' "$port"; timeout 3 df --output=source,size,used,avail,target -B1 -- "$d" 2>/dev/null </dev/null | tail -n +2 | grep . || echo
done
"#;

/// Every volume that holds clusters, as it is now.
pub(super) async fn volumes(turn: &Turn<'_>, server: &Server) -> Result<Vec<Volume>, Outcome> {
    let said = shell::run(turn.tools, server, LOOK, &[], turn.limit).await?;
    let mut volumes: BTreeMap<String, Volume> = BTreeMap::new();
    for line in said.out.lines() {
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

fn read(line: &str) -> Option<(u16, Volume)> {
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
    pub(super) fn fill(&self) -> String {
        let free = self.free_ratio() * 100.0;
        format!(
            "{}: {free:.1} %, {} free",
            self.mount,
            amount(self.available)
        )
    }
}

/// Those of them that need room.
///
/// # Errors
/// The outcome of a remedy that is not needed any more: it waits for the observation
/// that says so, and then is passed over.
pub(super) async fn tight(turn: &Turn<'_>, server: &Server) -> Result<Vec<Volume>, Outcome> {
    let mut all = volumes(turn, server).await?;
    let words: Vec<String> = all.iter().map(Volume::fill).collect();
    all.retain(|volume| volume.tight(&turn.rules.limits));
    if all.is_empty() {
        let why = format!("there is room again: {}", words.join("; "));
        let times = turn.incident.memo["room_seen"].as_u64().unwrap_or(0) + 1;
        if times >= ROOM_SEEN {
            return Err(Outcome::passed_over(why));
        }
        let waits = Outcome::new(Ended::Again(SOON), why);
        return Err(waits.remember("room_seen", times));
    }
    Ok(all)
}

/// What may be changed on these volumes: the clusters that are in the herd, each by
/// one of its resources. A resource that is not in mode `act` keeps its cluster out.
/// The others come as words.
pub(super) async fn ours(
    turn: &Turn<'_>,
    server: &Server,
    volumes: &[Volume],
) -> Result<(Vec<Resource>, Vec<String>), Outcome> {
    let failed = |e: sqlx::Error| Outcome::failed(format!("the record does not answer: {e}"));
    let mut db = turn.tools.pool.acquire().await.map_err(failed)?;
    let page = Page {
        name: None,
        state: None,
        server: Some(server.subject.id),
        after: None,
        limit: 10_000,
    };
    let known = subjects::list(&mut db, Kind::Resource, &page)
        .await
        .map_err(failed)?;
    let mut ours: BTreeMap<u16, Result<Resource, String>> = BTreeMap::new();
    for known in known {
        let Known::Resource(resource, _) = known else {
            continue;
        };
        if !volumes.iter().any(|v| v.ports.contains(&resource.port)) {
            continue;
        }
        let mode = modes::effective(&mut db, Some(resource.subject.id))
            .await
            .map_err(failed)?;
        let port = resource.port;
        match mode {
            Mode::Act => drop(ours.entry(port).or_insert(Ok(*resource))),
            Mode::Advise | Mode::Hold => {
                let name = &resource.subject.name;
                ours.insert(port, Err(format!("{name} is in mode {mode}")));
            }
        }
    }
    let mut left_out: Vec<String> = volumes
        .iter()
        .flat_map(|volume| &volume.ports)
        .filter(|port| !ours.contains_key(port))
        .map(|port| format!("the cluster on port {port} is not in the herd"))
        .collect();
    let mut may = Vec::new();
    for one in ours.into_values() {
        match one {
            Ok(resource) => may.push(resource),
            Err(why) => left_out.push(why),
        }
    }
    Ok((may, left_out))
}

/// All of these, in their order: an sshd refuses more than some ten callers at once.
pub(super) async fn few_at_a_time<T>(asked: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    stream::iter(asked).buffered(6).collect().await
}

/// Bytes for people.
pub(super) fn amount(bytes: u64) -> String {
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
