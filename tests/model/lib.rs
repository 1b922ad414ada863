//! The protocol of failover and switchover, as a model whose every interleaving is tried: what
//! is said of it in docs/failover.md holds in all states that can be reached.
//!
//! Three nodes; two workers, each of which may die between any two of its acts, so that what it
//! did is done twice or not at all, or be paused beyond its lease, so that it comes late; nodes
//! that crash; rows that customers write; failovers and switchovers. What was mended can be taken
//! out: then the fault has to be found.
//!
//! Not in it: a record that is restored from a dump.

#![cfg(test)]

use std::collections::BTreeSet;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Property};

/// Nodes.
const N: u8 = 3;

/// A place in the WAL is how many rows are before it; a row is its number.
type Log = Vec<u8>;

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Node {
    runs: bool,
    /// It has no `standby.signal`: whoever runs it runs a leader.
    leads: bool,
    log: Log,
    timeline: u8,
    /// The timelines before its own, and where each was left.
    history: Vec<(u8, u8)>,
    follows: Option<u8>,
    /// Whom its commits wait for, if it leads; a bit for each.
    list: u8,
    /// The newest word that it has obeyed.
    word: Word,
}

/// The epoch, and the number of the lease.
type Word = (u8, u8);

/// What an operation does next.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Step {
    // Failover.
    Choose,
    Fence,
    Elect,
    // Switchover.
    Stop,
    CatchUp,
    LeadOn,
    // Both.
    Promote,
    Swap,
    Repoint,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
struct Operation {
    planned: bool,
    step: Step,
    to: Option<u8>,
    timeline: u8,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Record {
    leader: u8,
    epoch: u8,
    /// The highest number that a timeline was given.
    newest: u8,
    /// The timeline that the leader leads on.
    timeline: u8,
    /// Who may be in the leader's list.
    counted: u8,
    /// The number of the lease.
    lease: u8,
    operation: Option<Operation>,
}

/// A worker that has begun a step.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Turn {
    lease: u8,
    epoch: u8,
    operation: Operation,
    /// What the step has come to, once it has been done: the operation goes on with this.
    /// `None`: it is yet to be done.
    done: Option<Option<Operation>>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct State {
    nodes: Vec<Node>,
    record: Record,
    turns: Vec<Option<Turn>>,
    /// The next row, and those that were acknowledged; a bit for each.
    next: u8,
    acknowledged: u8,
    left: Bounds,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Action {
    Write(u8),
    Stream(u8),
    Acknowledge(u8),
    Crash(u8),
    /// Whoever finds it down starts it, as what it is by the record.
    Start(u8),
    AskSwitchover,
    AskFailover,
    Begin(u8),
    Act(u8),
    Commit(u8),
    Die(u8),
    Rebuild(u8),
    Join(u8),
    SetList,
}

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
    /// Commits wait for nobody, or a person has agreed to a loss.
    loses: bool,
}

struct Protocol {
    without: Without,
    bounds: Bounds,
}

/// What is promised.
const ONE_WRITES: &str = "one node at most takes writes";
const HAS_ALL: &str = "who leads has what was acknowledged";
const NOTHING_ELSE: &str = "who follows has nothing that its leader has not";

fn bit(node: u8) -> u8 {
    1 << node
}

impl State {
    fn node(&self, n: u8) -> &Node {
        &self.nodes[usize::from(n)]
    }

    fn node_mut(&mut self, n: u8) -> &mut Node {
        &mut self.nodes[usize::from(n)]
    }

    fn is_leading(&self, n: u8) -> bool {
        let node = self.node(n);
        node.runs && node.leads
    }

    /// Whether this follower gets WAL from whom it follows, and what it would have then.
    fn streamed(&self, f: u8) -> Option<Node> {
        let node = self.node(f);
        let from = self.node(node.follows?);
        if !node.runs || node.leads || !from.leads || !from.runs {
            return None;
        }
        let at = node.log.len();
        let mut got = node.clone();
        if node.timeline != from.timeline {
            // Up to where the other parted from its own, and over to that one there.
            let parted = from.history.iter().find(|(old, _)| *old == node.timeline)?;
            if at > usize::from(parted.1) {
                return None;
            }
            if at == usize::from(parted.1) {
                got.timeline = from.timeline;
                got.history = from.history.clone();
                return Some(got);
            }
        }
        // PostgreSQL compares places, and not what is before them.
        got.log.extend(from.log.get(at));
        (got != *node).then_some(got)
    }
}

impl Protocol {
    /// Does a step in the world. Gives how the operation goes on; `None` within: it has ended.
    /// `None`: it cannot be done now.
    fn act(&self, state: &mut State, turn: &Turn) -> Option<Option<Operation>> {
        let operation = turn.operation;
        let leader = state.record.leader;
        let then = |step| Some(Some(Operation { step, ..operation }));
        match operation.step {
            Step::Choose => {
                let to = self.best(state)?;
                Some(Some(Operation {
                    step: Step::Fence,
                    to: Some(to),
                    ..operation
                }))
            }
            Step::Fence => {
                // Over SSH, or its machine is off by its cloud's word: then it stays what it is,
                // and nobody starts it while this is at work.
                if state.node(leader).runs {
                    self.obeys(state, leader, turn)?;
                    let node = state.node_mut(leader);
                    node.runs = false;
                    node.leads = false;
                }
                if self.without == Without::Election {
                    let timeline = state.record.newest + 1;
                    return Some(Some(Operation {
                        step: Step::Promote,
                        timeline,
                        ..operation
                    }));
                }
                then(Step::Elect)
            }
            Step::Elect => {
                let to = self.best(state)?;
                let timeline = state.record.newest + 1;
                Some(Some(Operation {
                    step: Step::Promote,
                    to: Some(to),
                    timeline,
                    ..operation
                }))
            }
            Step::Stop => {
                if state.node(leader).runs {
                    self.obeys(state, leader, turn)?;
                    let node = state.node_mut(leader);
                    node.runs = false;
                    node.leads = false;
                }
                then(Step::CatchUp)
            }
            Step::CatchUp => {
                let to = operation.to?;
                if state.node(to).runs && state.node(to).log == state.node(leader).log {
                    return then(Step::Promote);
                }
                if self.without == Without::CallingOff {
                    self.obeys(state, leader, turn)?;
                    let node = state.node_mut(leader);
                    node.runs = true;
                    node.leads = true;
                    return Some(None);
                }
                then(Step::LeadOn)
            }
            Step::LeadOn => {
                self.obeys(state, leader, turn)?;
                let node = state.node_mut(leader);
                node.runs = true;
                node.leads = true;
                Some(None)
            }
            Step::Promote => {
                let to = operation.to?;
                if !state.node(to).runs {
                    return None;
                }
                if operation.planned
                    && self.without != Without::CallingOff
                    && state.node(leader).runs
                {
                    self.obeys(state, leader, turn)?;
                    let node = state.node_mut(leader);
                    node.runs = false;
                    node.leads = false;
                }
                self.obeys(state, to, turn)?;
                let planned = if operation.planned { bit(leader) } else { 0 };
                let list = (state.record.counted & !bit(to)) | planned;
                let numbers = self.without != Without::Numbers;
                let node = state.node_mut(to);
                if !node.leads {
                    node.history.push((node.timeline, node.log.len() as u8));
                    node.timeline = match numbers {
                        true => operation.timeline.max(node.timeline + 1),
                        false => node.timeline + 1,
                    };
                    node.leads = true;
                    node.follows = None;
                    node.list = list;
                }
                let timeline = node.timeline;
                Some(Some(Operation {
                    step: Step::Swap,
                    timeline,
                    ..operation
                }))
            }
            Step::Swap => then(Step::Repoint),
            Step::Repoint => {
                for other in 0..N {
                    if other == leader || state.node(other).leads {
                        continue;
                    }
                    if self.obeys(state, other, turn).is_some() {
                        state.node_mut(other).follows = Some(leader);
                    }
                }
                Some(None)
            }
        }
    }

    /// The follower that has most, if all have been asked whose word may have counted.
    fn best(&self, state: &State) -> Option<u8> {
        let leader = state.record.leader;
        let followers = (0..N).filter(|n| *n != leader);
        let asked = |n: &u8| state.node(*n).runs && !state.node(*n).leads;
        let silent = followers
            .clone()
            .filter(|n| state.record.counted & bit(*n) != 0)
            .any(|n| !asked(&n));
        let loses = self.bounds.loses;
        if silent && !loses && self.without != Without::Counting {
            return None;
        }
        // One that has not come to the leader's timeline lacks what that one took over.
        let has_all = |n: &u8| {
            loses
                || self.without == Without::Timeline
                || state.node(*n).timeline >= state.record.timeline
        };
        let able = followers.filter(asked).filter(has_all);
        able.max_by_key(|n| (state.node(*n).timeline, state.node(*n).log.len()))
    }

    /// Whether a node obeys this worker, and keeps its word.
    fn obeys(&self, state: &mut State, n: u8, turn: &Turn) -> Option<()> {
        let word = (turn.epoch, turn.lease);
        if self.without != Without::Words && state.node(n).word > word {
            return None;
        }
        let node = state.node_mut(n);
        node.word = node.word.max(word);
        Some(())
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let node = |n: u8| Node {
            runs: true,
            leads: n == 0,
            log: vec![],
            timeline: 1,
            history: vec![],
            follows: (n != 0).then_some(0),
            list: if n == 0 { 0b110 } else { 0 },
            word: (1, 0),
        };
        vec![State {
            nodes: (0..N).map(node).collect(),
            record: Record {
                leader: 0,
                epoch: 1,
                newest: 1,
                timeline: 1,
                counted: 0b110,
                lease: 0,
                operation: None,
            },
            turns: vec![None, None],
            next: 0,
            acknowledged: 0,
            left: self.bounds,
        }]
    }

    fn actions(&self, _state: &State, actions: &mut Vec<Action>) {
        for n in 0..N {
            actions.extend([
                Action::Write(n),
                Action::Stream(n),
                Action::Acknowledge(n),
                Action::Crash(n),
                Action::Start(n),
                Action::Rebuild(n),
                Action::Join(n),
            ]);
        }
        for w in 0..1 + u8::from(self.bounds.pauses > 0) {
            actions.extend([
                Action::Begin(w),
                Action::Act(w),
                Action::Commit(w),
                Action::Die(w),
            ]);
        }
        actions.extend([Action::AskSwitchover, Action::AskFailover, Action::SetList]);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let record = &last.record;
        let at_work = record.operation.is_some();
        match action {
            Action::Write(n) => {
                if !last.is_leading(n) || last.left.writes == 0 {
                    return None;
                }
                state.node_mut(n).log.push(last.next);
                state.next += 1;
                state.left.writes -= 1;
            }
            Action::Stream(f) => *state.node_mut(f) = last.streamed(f)?,
            Action::Acknowledge(n) => {
                if !last.is_leading(n) {
                    return None;
                }
                let own = last.node(n);
                // What a follower of its list has on its disk and has told.
                let told = (0..N).filter(|f| {
                    let one = last.node(*f);
                    own.list & bit(*f) != 0
                        && one.runs
                        && !one.leads
                        && one.follows == Some(n)
                        && one.timeline == own.timeline
                });
                let upto = told.map(|f| last.node(f).log.len()).max()?;
                for row in own.log.iter().take(upto) {
                    state.acknowledged |= bit(*row);
                }
                if state.acknowledged == last.acknowledged {
                    return None;
                }
            }
            Action::Crash(n) => {
                if last.left.crashes == 0 || !last.node(n).runs {
                    return None;
                }
                state.left.crashes -= 1;
                state.node_mut(n).runs = false;
            }
            Action::Start(n) => {
                // A failover that has begun to fence keeps everybody off its leader.
                let fenced = record.operation.is_some_and(|o| o.step != Step::Choose);
                if last.node(n).runs || (n == record.leader && fenced) {
                    return None;
                }
                // A node that knows a newer epoch than the record obeys nothing of it.
                if self.without != Without::Words && last.node(n).word.0 > record.epoch {
                    return None;
                }
                let node = state.node_mut(n);
                node.runs = true;
                if n != record.leader {
                    node.leads = false;
                }
            }
            Action::AskSwitchover => {
                if at_work || last.left.switchovers == 0 || !last.is_leading(record.leader) {
                    return None;
                }
                let to = (0..N).find(|n| last.node(*n).follows == Some(record.leader))?;
                state.left.switchovers -= 1;
                state.record.newest += 1;
                state.record.operation = Some(Operation {
                    planned: true,
                    step: Step::Stop,
                    to: Some(to),
                    timeline: record.newest + 1,
                });
            }
            Action::AskFailover => {
                if at_work || last.left.failovers == 0 {
                    return None;
                }
                state.left.failovers -= 1;
                state.record.operation = Some(Operation {
                    planned: false,
                    step: Step::Choose,
                    to: None,
                    timeline: 0,
                });
            }
            Action::Begin(w) => {
                let free = last.turns[usize::from(w)].is_none();
                let operation = record.operation.filter(|_| free)?;
                // Whoever had the lease has been paused for too long.
                let other = last.turns[usize::from(1 - w)].as_ref();
                if other.is_some_and(|other| other.lease == record.lease) {
                    if last.left.pauses == 0 {
                        return None;
                    }
                    state.left.pauses -= 1;
                    state.record.lease += 1;
                }
                state.turns[usize::from(w)] = Some(Turn {
                    lease: state.record.lease,
                    epoch: record.epoch,
                    operation,
                    done: None,
                });
            }
            Action::Act(w) => {
                let turn = last.turns[usize::from(w)].clone()?;
                if turn.done.is_some() {
                    return None;
                }
                state.turns[usize::from(w)] = match self.act(&mut state, &turn) {
                    Some(done) => Some(Turn {
                        done: Some(done),
                        ..turn
                    }),
                    // It is tried again.
                    None => {
                        state = last.clone();
                        None
                    }
                };
                if state.turns == last.turns {
                    state.turns[usize::from(w)] = None;
                }
            }
            Action::Commit(w) => {
                let turn = last.turns[usize::from(w)].clone()?;
                let done = turn.done?;
                state.turns[usize::from(w)] = None;
                if turn.lease == record.lease && record.operation == Some(turn.operation) {
                    state.record.operation = done;
                    let newest = state.record.newest;
                    state.record.newest = newest.max(done.map_or(0, |o| o.timeline));
                    if turn.operation.step == Step::Swap {
                        let to = turn.operation.to?;
                        let planned = if turn.operation.planned {
                            bit(record.leader)
                        } else {
                            0
                        };
                        state.record.counted = (record.counted & !bit(to)) | planned;
                        state.record.leader = to;
                        state.record.timeline = turn.operation.timeline;
                        state.record.epoch += 1;
                    }
                }
            }
            Action::Die(w) => {
                if last.left.deaths == 0 {
                    return None;
                }
                last.turns[usize::from(w)].as_ref()?;
                state.left.deaths -= 1;
                state.turns[usize::from(w)] = None;
            }
            Action::Rebuild(n) => {
                let leader = record.leader;
                if at_work || n == leader || !last.is_leading(leader) {
                    return None;
                }
                let from = last.node(leader).clone();
                if last.node(n).follows == Some(leader) && last.node(n).runs {
                    return None;
                }
                if self.without != Without::Words && last.node(n).word.0 > record.epoch {
                    return None;
                }
                let node = state.node_mut(n);
                node.word = node.word.max((record.epoch, record.lease));
                // pg_rewind compares numbers, and finds where two timelines parted.
                if node.timeline != from.timeline {
                    let parted = from.history.iter().find(|(old, _)| *old == node.timeline);
                    let common = parted.map_or(0, |(_, at)| usize::from(*at));
                    node.log.truncate(common);
                    let len = node.log.len();
                    node.log.extend(&from.log[len.min(from.log.len())..]);
                    node.timeline = from.timeline;
                    node.history = from.history.clone();
                }
                node.leads = false;
                node.runs = true;
                node.follows = Some(leader);
            }
            Action::Join(n) => {
                let follows = last.node(n).follows == Some(record.leader) && last.node(n).runs;
                let streams = last.node(n).timeline == last.node(record.leader).timeline;
                if at_work || !follows || !streams || record.counted & bit(n) != 0 {
                    return None;
                }
                state.record.counted |= bit(n);
            }
            Action::SetList => {
                let leader = record.leader;
                if at_work || !last.is_leading(leader) {
                    return None;
                }
                if self.without != Without::Words && last.node(leader).word.0 > record.epoch {
                    return None;
                }
                let counted = record.counted;
                state.node_mut(leader).list = counted;
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_WRITES, |_, state: &State| {
                (0..N).filter(|n| state.is_leading(*n)).count() <= 1
            }),
            Property::always(HAS_ALL, |model: &Self, state: &State| {
                model.bounds.loses
                    || (0..N).filter(|n| state.is_leading(*n)).all(|n| {
                        let log = &state.node(n).log;
                        (0..8)
                            .filter(|row| state.acknowledged & bit(*row) != 0)
                            .all(|row| log.contains(&row))
                    })
            }),
            Property::always(NOTHING_ELSE, |_, state: &State| {
                (0..N).all(|f| {
                    let node = state.node(f);
                    let Some(leader) = node.follows.filter(|_| node.runs && !node.leads) else {
                        return true;
                    };
                    let from = state.node(leader);
                    !state.is_leading(leader)
                        || node.timeline != from.timeline
                        || from.log.starts_with(&node.log)
                })
            }),
        ]
    }
}

const NOTHING: Bounds = Bounds {
    writes: 0,
    crashes: 0,
    deaths: 0,
    pauses: 0,
    failovers: 0,
    switchovers: 0,
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
    for bounds in [TWO_DIE, WORKERS_DIE, HANDED_OVER, PAUSED, GIVEN_UP] {
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
    ] {
        let (_, found) = check(without, bounds, Some(finds));
        assert!(found.contains(&finds), "without {without:?}: {found:?}");
    }
}
