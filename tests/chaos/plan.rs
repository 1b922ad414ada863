//! The plan of a run: what breaks when, and for how long, and what is asked when. It is made
//! wholly before anything breaks, from nothing but a seed and a length.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

mod what;

pub use what::*;

/// All that will happen.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub seed: u64,
    pub minutes: u64,
    /// In the order of their beginnings.
    pub faults: Vec<Fault>,
    pub asks: Vec<Planned<Ask>>,
}

/// What happens at a time, counted from when the customers began.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned<T> {
    pub at: Duration,
    pub what: T,
}

/// What breaks, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub at: Duration,
    /// Until it is healed.
    pub lasts: Duration,
    pub what: What,
}

impl Fault {
    pub fn ends(&self) -> Duration {
        self.at + self.lasts
    }
}

/// Nothing breaks before: all begin to write first.
const LEAD_IN: Duration = Duration::from_secs(5);
/// How long what there is but one of is well at the least, or is being restored.
const AFTERWARDS: Duration = Duration::from_secs(20);
/// Of ten faults, so many hit a leader at least.
const AT_LEADERS: usize = 3;

impl Plan {
    /// The plan of this seed and length: the same each time. `restores`: the record may become an
    /// older one.
    pub fn new(seed: u64, minutes: u64, restores: bool) -> Self {
        let length = Duration::from_secs(minutes * 60);
        let mut rng = StdRng::seed_from_u64(seed);
        Self {
            seed,
            minutes,
            faults: faults(&mut rng, length, restores),
            asks: asks(&mut rng, length, restores),
        }
    }
}

fn faults(rng: &mut StdRng, length: Duration, restores: bool) -> Vec<Fault> {
    let mut all: Vec<Fault> = Vec::new();
    let mut at = LEAD_IN;
    let (mut database_until, mut cloud_until) = (Duration::ZERO, Duration::ZERO);
    let mut fresh = false;
    while at < length {
        let at_leaders = all.iter().filter(|fault| fault.what.hits_a_leader());
        let too_few = at_leaders.count() * 10 < AT_LEADERS * (all.len() + 1);
        let (what, lasts) = harm(rng, too_few, restores);
        let lasts = lasts.min(length - at);
        // Of these there is but one, and only what is well can be broken.
        let until = match what {
            What::ControlDatabase(_) => Some(&mut database_until),
            What::Cloud(_) => Some(&mut cloud_until),
            What::Process(..)
            | What::Machine(..)
            | What::Network(..)
            | What::Postmaster(_)
            | What::Disk(..) => None,
        };
        if let Some(until) = until {
            if at < *until {
                continue;
            }
            *until = at + lasts + AFTERWARDS;
        }
        all.push(Fault { at, lasts, what });
        // Most come while the one before is fresh, and one in two does at the least.
        fresh = !fresh || rng.random_bool(0.3);
        let gap = match fresh {
            true => rng.random_range(100..4_000),
            false => rng.random_range(9_000..28_000),
        };
        at += Duration::from_millis(gap);
    }
    all
}

fn harm(rng: &mut StdRng, at_a_leader: bool, restores: bool) -> (What, Duration) {
    let node = node(rng, at_a_leader);
    let mut seconds = |least: u64, most: u64| Duration::from_secs(rng.random_range(least..=most));
    let (short, long) = (seconds(2, 15), seconds(5, 60));
    // What hits no node comes first.
    let from = if at_a_leader { 34 } else { 0 };
    // With more about the control database, less about the processes.
    let processes = if restores { 12 } else { 24 };
    match rng.random_range(from..100) {
        at if at < processes => {
            let process = *Process::ALL.choose(rng).expect("some");
            let blow = *[Blow::Kill, Blow::Pause, Blow::Restart]
                .choose(rng)
                .expect("some");
            // One that drains has 25 s.
            let lasts = if blow == Blow::Restart {
                Duration::from_secs(27)
            } else {
                short
            };
            (What::Process(process, blow), lasts)
        }
        0..28 => {
            let fault = match rng.random_range(0..4) {
                0 if restores => DatabaseFault::Restore,
                1 if restores => DatabaseFault::FailOver,
                0 | 2 => DatabaseFault::Kill,
                _ => DatabaseFault::Freeze,
            };
            (What::ControlDatabase(fault), short)
        }
        28..34 => {
            let fault = *[
                CloudFault::Silent,
                CloudFault::Slow,
                CloudFault::Refuses,
                CloudFault::Garbles,
            ]
            .choose(rng)
            .expect("some");
            (What::Cloud(fault), long)
        }
        34..42 => (What::Machine(node, MachineFault::PowerOff), long),
        42..46 => (What::Machine(node, MachineFault::Reboot), Duration::ZERO),
        46..54 => (What::Machine(node, MachineFault::Freeze), long),
        54..58 => {
            let offset = if rng.random_bool(0.5) { 3600 } else { -3600 };
            (What::Machine(node, MachineFault::Clock(offset)), long)
        }
        58..80 => {
            let (way, fault) = network(rng);
            (What::Network(node, way, fault), long)
        }
        80..90 => (What::Postmaster(node), Duration::ZERO),
        _ => {
            let fault = match rng.random_range(0..10) {
                0..5 => DiskFault::Full,
                5..8 => DiskFault::Hanging,
                _ => DiskFault::ReadOnly,
            };
            (What::Disk(node, fault), long)
        }
    }
}

fn network(rng: &mut StdRng) -> (Way, NetworkFault) {
    let way = *[Way::ControlPlane, Way::Peer, Way::Customers, Way::Everybody]
        .choose(rng)
        .expect("some");
    match rng.random_range(0..10) {
        0..4 => (way, NetworkFault::Cut),
        4..6 => (way, NetworkFault::CutOut),
        6..8 => (way, NetworkFault::CutIn),
        8 => (way, NetworkFault::Lossy(rng.random_range(10..60))),
        _ => (
            Way::Everybody,
            NetworkFault::Slow(rng.random_range(64..1024)),
        ),
    }
}

fn node(rng: &mut StdRng, leader: bool) -> Node {
    // One without followers is down while it is mended, and there is less to be found.
    let which = match rng.random_range(0..5) {
        0 => Which::Notes,
        1..3 => Which::Orders,
        _ => Which::Accounts,
    };
    match which {
        Which::Notes => Node::Leader(which),
        Which::Orders | Which::Accounts => match leader || rng.random_bool(0.45) {
            true => Node::Leader(which),
            false => Node::Follower(which, rng.random_range(0..2)),
        },
    }
}

/// `restores`: what is made meanwhile would be in no record, and what is destroyed would be in it.
fn asks(rng: &mut StdRng, length: Duration, restores: bool) -> Vec<Planned<Ask>> {
    let mut all = Vec::new();
    let mut added: Vec<Which> = Vec::new();
    let mut at = LEAD_IN + Duration::from_secs(5);
    // The last ones have time to be begun before the faults are over.
    while at + Duration::from_secs(10) < length {
        let which = *Which::FOLLOWED.choose(rng).expect("some");
        let what = match rng.random_range(0..10) {
            0..4 => Ask::Switchover(which),
            4 => Ask::Reboot(node(rng, false)),
            5..7 => Ask::Restart(node(rng, false)),
            7 => Ask::Resize(which),
            _ if restores => Ask::Restart(Node::Leader(which)),
            // Of each, what was added is taken away before the next is.
            _ if added.contains(&which) => {
                added.retain(|one| *one != which);
                Ask::DestroyFollower(which)
            }
            _ => {
                added.push(which);
                Ask::AddFollower(which)
            }
        };
        all.push(Planned { at, what });
        at += Duration::from_millis(rng.random_range(12_000..40_000));
    }
    all
}

#[cfg(test)]
mod tests;
