//! The protocol of failover and switchover, as a model whose every interleaving is tried: what
//! is said of it in docs/failover.md holds in all states that can be reached.
//!
//! Three nodes; two workers, each of which may die between any two of its acts, so that what it
//! did is done twice or not at all, or be paused beyond its lease, so that it comes late; nodes
//! that crash; rows that customers write; failovers and switchovers. What was mended can be taken
//! out: then the fault has to be found.
//!
//! Not in it: what a person adopts once the nodes know more than a record that was restored.

#![cfg(test)]

mod happens;
mod operation;
mod state;

use std::collections::BTreeSet;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

/// What was mended, and can be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    /// That who is to lead is chosen behind the fence.
    Election,
    /// That a switchover is called off in the record before the leader leads on.
    CallingOff,
    /// That all whose word may have counted are asked.
    Counting,
    /// That who is to lead has come to the leader's timeline.
    Timeline,
    /// That no number of a timeline is used twice.
    Numbers,
    /// That a node obeys only the newest word.
    Words,
    /// That who leaves the list is counted until another has confirmed all.
    Confirming,
    /// That the followers' proof is given anew in the turn that promotes.
    ProofAnew,
    /// That nobody is made to follow a leader of whom somebody was told to take its lead.
    KeptOff,
}

/// How often what may happen.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
struct Bounds {
    writes: u8,
    crashes: u8,
    /// Of workers, between two of their acts; and how often one is paused beyond its lease.
    deaths: u8,
    pauses: u8,
    failovers: u8,
    switchovers: u8,
    /// Of followers, from the list.
    leaves: u8,
    /// Of the record, from a dump.
    restores: u8,
    /// Nobody can fence the first leader, which lives; its followers reach it.
    cut_off: bool,
    /// Commits wait for nobody, or a person has agreed to a loss.
    loses: bool,
}

struct Protocol {
    without: Without,
    bounds: Bounds,
}

/// What is promised.
const ONE_WRITES: &str = "one node at most takes writes, but for one that is cut off";
const HAS_ALL: &str = "who leads has what was acknowledged";
const NOTHING_ELSE: &str = "who follows has nothing that its leader has not";

const NOTHING: Bounds = Bounds {
    writes: 0,
    crashes: 0,
    deaths: 0,
    pauses: 0,
    failovers: 0,
    switchovers: 0,
    leaves: 0,
    restores: 0,
    cut_off: false,
    loses: false,
};

/// A leader dies, and so does the next one.
const TWO_DIE: Bounds = Bounds {
    writes: 3,
    crashes: 2,
    failovers: 2,
    ..NOTHING
};
/// Workers die and are paused in a failover.
const WORKERS_DIE: Bounds = Bounds {
    writes: 2,
    crashes: 1,
    deaths: 1,
    pauses: 1,
    failovers: 1,
    ..NOTHING
};
/// A switchover, called off or not, and a leader that dies.
const HANDED_OVER: Bounds = Bounds {
    writes: 2,
    crashes: 1,
    deaths: 1,
    failovers: 1,
    switchovers: 1,
    ..NOTHING
};
/// A worker is paused beyond its lease, and goes on when others have done its work and more.
const PAUSED: Bounds = Bounds {
    writes: 1,
    pauses: 1,
    failovers: 1,
    switchovers: 1,
    ..NOTHING
};
/// Two die, and what they had alone is given up.
const GIVEN_UP: Bounds = Bounds {
    writes: 2,
    loses: true,
    ..TWO_DIE
};
/// A leader that nobody can fence.
const CUT_OFF: Bounds = Bounds {
    writes: 3,
    crashes: 1,
    deaths: 1,
    failovers: 1,
    cut_off: true,
    ..NOTHING
};
/// The same, and workers that are paused.
const CUT_OFF_AND_PAUSED: Bounds = Bounds {
    writes: 2,
    crashes: 0,
    pauses: 1,
    ..CUT_OFF
};

/// The record is restored from a dump, at any moment.
const RESTORED: Bounds = Bounds {
    writes: 1,
    crashes: 1,
    deaths: 1,
    failovers: 1,
    switchovers: 1,
    restores: 1,
    ..NOTHING
};

/// One follower leaves the list, and the leader dies.
const ONE_LEAVES: Bounds = Bounds {
    writes: 2,
    crashes: 2,
    deaths: 1,
    failovers: 1,
    leaves: 1,
    ..NOTHING
};

/// How many states there are, and which properties do not hold; it ends where this one does not.
fn check(
    without: Without,
    bounds: Bounds,
    finds: Option<&'static str>,
) -> (usize, Vec<&'static str>) {
    let began = Instant::now();
    let model = Protocol { without, bounds };
    let checker = model.checker().threads(2);
    let until = finds.map_or(HasDiscoveries::All, |one| {
        HasDiscoveries::AnyOf(BTreeSet::from([one]))
    });
    let checker = checker.finish_when(until).spawn_bfs().join();
    for (name, path) in checker.discoveries() {
        println!("without {without:?}, {name}: {:?}", path.into_actions());
    }
    let states = checker.unique_state_count();
    println!(
        "without {without:?}: {states} states in {:.1?}",
        began.elapsed()
    );
    (states, checker.discoveries().into_keys().collect())
}

#[test]
fn what_is_promised_holds_in_every_state() {
    let mut all = 0;
    for bounds in [
        TWO_DIE,
        WORKERS_DIE,
        HANDED_OVER,
        PAUSED,
        GIVEN_UP,
        CUT_OFF,
        CUT_OFF_AND_PAUSED,
        RESTORED,
        ONE_LEAVES,
    ] {
        let (states, found) = check(Without::Nothing, bounds, None);
        assert_eq!(found, Vec::<&str>::new(), "{bounds:?}");
        all += states;
    }
    println!("{all} states");
    assert!(all > 1_000_000, "{all}");
}

#[test]
fn each_fault_is_found_where_its_mending_is_taken_out() {
    for (without, bounds, finds) in [
        (Without::Election, TWO_DIE, HAS_ALL),
        (Without::CallingOff, HANDED_OVER, ONE_WRITES),
        (Without::Counting, TWO_DIE, HAS_ALL),
        (Without::Timeline, TWO_DIE, HAS_ALL),
        (Without::Numbers, GIVEN_UP, NOTHING_ELSE),
        (Without::Words, PAUSED, ONE_WRITES),
        (Without::Words, RESTORED, ONE_WRITES),
        (Without::Counting, CUT_OFF, HAS_ALL),
        (Without::Confirming, ONE_LEAVES, HAS_ALL),
        (Without::ProofAnew, CUT_OFF, HAS_ALL),
        (Without::KeptOff, CUT_OFF, HAS_ALL),
    ] {
        let (_, found) = check(without, bounds, Some(finds));
        assert!(found.contains(&finds), "without {without:?}: {found:?}");
    }
}
