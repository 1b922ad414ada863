//! What happens next, and what must be true whenever it has.

use stateright::{Model, Property};

use super::state::{Action, N, Node, Operation, Record, State, Step, Turn, bit};
use super::{HAS_ALL, NOTHING_ELSE, ONE_WRITES, Protocol, Without};

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
            revoked: false,
            word: (1, 0),
            knows_more: false,
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
                restored: false,
                operation: None,
            },
            dump: None,
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
                Action::Reconnect(n),
                Action::Leave(n),
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
        actions.extend([
            Action::AskSwitchover,
            Action::AskFailover,
            Action::SetList,
            Action::Dump,
            Action::Restore,
        ]);
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
                self.knows_no_newer(last, n)?;
                let lost = last.dump.is_some();
                let node = state.node_mut(n);
                node.runs = true;
                node.knows_more |= lost;
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
                    by_followers: false,
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
                    by_followers: false,
                    step: Step::Choose,
                    to: None,
                    timeline: 0,
                });
            }
            Action::Dump => {
                if last.left.restores == 0 || last.dump.is_some() {
                    return None;
                }
                state.dump = Some(record.clone());
            }
            Action::Restore => {
                state.record = state.dump.take()?;
                state.record.restored = true;
                // It takes longer than any word that was under way is good for.
                state.turns = vec![None, None];
                state.left.restores -= 1;
            }
            Action::Begin(w) => {
                if self.is_held(last) {
                    return None;
                }
                let free = last.turns[usize::from(w)].is_none();
                let operation = record.operation.filter(|_| free)?;
                // Whoever had the lease has been paused for too long.
                let other = last.turns[usize::from(1 - w)].as_ref();
                if other.is_some_and(|other| other.record.lease == record.lease) {
                    if last.left.pauses == 0 {
                        return None;
                    }
                    state.left.pauses -= 1;
                    state.record.lease += 1;
                }
                state.turns[usize::from(w)] = Some(Turn {
                    record: state.record.clone(),
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
                let its = &turn.record;
                let leased = its.lease == record.lease && its.restored == record.restored;
                if leased && record.operation == Some(turn.operation) {
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
                self.knows_no_newer(last, n)?;
                let lost = last.dump.is_some();
                let node = state.node_mut(n);
                node.word = node.word.max((record.epoch, record.lease));
                node.knows_more |= lost;
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
                node.revoked = false;
                node.follows = Some(leader);
            }
            Action::Leave(n) => {
                let leader = record.leader;
                if at_work || last.left.leaves == 0 || !last.is_leading(leader) {
                    return None;
                }
                self.knows_no_newer(last, leader)?;
                let others = record.counted & !bit(n);
                let own = last.node(leader);
                // Another in the new list has confirmed all that there was.
                let has_all = |f: &u8| {
                    let one = last.node(*f);
                    others & bit(*f) != 0
                        && one.runs
                        && one.follows == Some(leader)
                        && one.timeline == own.timeline
                        && one.log.len() >= own.log.len()
                };
                let confirmed = (0..N).any(|f| has_all(&f));
                if record.counted & bit(n) == 0
                    || others == 0
                    || !confirmed && self.without != Without::Confirming
                {
                    return None;
                }
                state.left.leaves -= 1;
                state.node_mut(leader).list = others;
                state.record.counted = others;
            }
            Action::Reconnect(n) => {
                // Somebody was told to take its lead.
                let told = record
                    .operation
                    .is_some_and(|o| matches!(o.step, Step::Promote | Step::Swap | Step::Repoint));
                let node = last.node(n);
                let kept_off = told && self.without != Without::KeptOff;
                if !node.revoked || !node.runs || node.leads || kept_off {
                    return None;
                }
                self.knows_no_newer(last, n)?;
                let lost = last.dump.is_some();
                let node = state.node_mut(n);
                node.word = node.word.max((record.epoch, record.lease));
                node.knows_more |= lost;
                node.revoked = false;
                node.follows = Some(record.leader);
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
                self.knows_no_newer(last, leader)?;
                let lost = last.dump.is_some();
                let node = state.node_mut(leader);
                node.list = record.counted;
                node.knows_more |= lost;
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_WRITES, |model: &Self, state: &State| {
                let lives = |n: &u8| state.is_leading(*n) && !model.is_cut_off(*n);
                (0..N).filter(lives).count() <= 1
            }),
            Property::always(HAS_ALL, |model: &Self, state: &State| {
                // One that is cut off leads nobody once another was promoted, running or not.
                let promoted = (0..N).filter(|n| state.node(*n).leads);
                let newest = promoted.map(|n| state.node(n).timeline).max();
                let newest =
                    |n: &u8| !model.is_cut_off(*n) || Some(state.node(*n).timeline) == newest;
                let leading = (0..N).filter(|n| state.is_leading(*n));
                model.bounds.loses
                    || leading.filter(newest).all(|n| {
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
