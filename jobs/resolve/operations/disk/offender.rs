//! Which database of several fills a volume: only that one may not grow any more. The
//! others there have done nothing, and are made read-only only if it still fills.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::room::Volume;

/// So much less room than before is no chance: logs are written all the time.
const FILLS: u64 = 1 << 20;
/// With less free than this part of what is next to nothing, a volume counts as filling:
/// one that is full fills no more.
const OUT: f64 = 0.25;

/// How it was a moment ago.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Earlier {
    /// What was free, by mount.
    available: BTreeMap<String, u64>,
    /// What was held, by port.
    bytes: BTreeMap<u16, u64>,
}

/// A database that may be written to.
pub(super) struct Candidate {
    pub(super) port: u16,
    /// Name of one of its cluster's resources.
    pub(super) of: String,
    /// What `alter system` left there.
    pub(super) setting: Option<String>,
    /// What it holds; 0 where that is not known.
    pub(super) bytes: u64,
}

impl Earlier {
    pub(super) fn of(volumes: &[Volume], candidates: &[Candidate]) -> Self {
        let volumes = volumes.iter();
        let candidates = candidates.iter();
        Self {
            available: volumes.map(|v| (v.mount.clone(), v.available)).collect(),
            bytes: candidates.map(|c| (c.port, c.bytes)).collect(),
        }
    }

    /// Whether a volume has less room than then, or none to speak of. `least` of it free is
    /// next to nothing.
    pub(super) fn fills(&self, volume: &Volume, least: f64) -> bool {
        let had = self.available.get(&volume.mount).copied();
        let less = had.is_some_and(|had| volume.available.saturating_add(FILLS) < had);
        less || volume.free_ratio() < least * OUT
    }

    /// By how much a database has grown since then.
    fn growth(&self, candidate: &Candidate) -> u64 {
        let had = self.bytes.get(&candidate.port).copied();
        let growth = candidate
            .bytes
            .saturating_sub(had.unwrap_or(candidate.bytes));
        if growth > FILLS { growth } else { 0 }
    }

    /// The one of a volume that has grown most since then; of those that have not, the
    /// largest.
    pub(super) fn offender<'a>(
        &self,
        volume: &Volume,
        candidates: &'a [Candidate],
    ) -> Option<&'a Candidate> {
        let here = candidates.iter().filter(|c| volume.ports.contains(&c.port));
        here.max_by_key(|c| (self.growth(c), c.bytes, Reverse(c.port)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::operations::disk::room::read;

    fn volume(available: u64) -> Volume {
        let used = 1000 * FILLS - available;
        let line = format!("1 /dev/vdb {} {used} {available} /data", 1000 * FILLS);
        let (_, mut volume) = read(&line).unwrap();
        volume.ports = vec![1, 2, 3];
        volume
    }

    fn candidate(port: u16, mib: u64) -> Candidate {
        Candidate {
            port,
            of: format!("db{port}"),
            setting: None,
            bytes: mib * FILLS,
        }
    }

    #[test]
    fn whoever_grows_is_stopped_and_of_the_quiet_the_largest() {
        let before = [candidate(1, 500), candidate(2, 40), candidate(4, 900)];
        let earlier = Earlier::of(&[volume(20 * FILLS)], &before);
        let worst = |now: &[Candidate]| {
            let found = earlier.offender(&volume(10 * FILLS), now);
            found.map(|c| c.port)
        };
        assert_eq!(worst(&[candidate(1, 500), candidate(2, 50)]), Some(2));
        assert_eq!(worst(&[candidate(1, 500), candidate(2, 41)]), Some(1));
        // Not what is on another volume, however large; nor one that is just new to us.
        assert_eq!(worst(&[candidate(1, 500), candidate(4, 990)]), Some(1));
        assert_eq!(worst(&[candidate(1, 500), candidate(3, 90)]), Some(1));
        assert_eq!(worst(&[]), None);
    }

    #[test]
    fn the_next_has_its_turn_only_if_the_volume_still_fills() {
        let earlier = Earlier::of(&[volume(20 * FILLS)], &[]);
        let fills = |available| earlier.fills(&volume(available), 0.03);
        assert!(!fills(20 * FILLS) && !fills(19 * FILLS));
        assert!(fills(18 * FILLS));
        // One that is full fills no more.
        let earlier = Earlier::of(&[volume(7 * FILLS)], &[]);
        assert!(earlier.fills(&volume(7 * FILLS), 0.03));
        assert!(!earlier.fills(&volume(7 * FILLS), 0.02));
    }
}
