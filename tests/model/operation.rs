//! What a worker does with a step.

use super::state::{N, Operation, Record, State, Step, Turn, bit};
use super::{Protocol, Without};

impl Protocol {
    /// Does a step in the world. Gives how the operation goes on; `None` within: it has ended.
    /// `None`: it cannot be done now.
    pub(crate) fn act(&self, state: &mut State, turn: &Turn) -> Option<Option<Operation>> {
        let operation = turn.operation;
        let record = &turn.record;
        let leader = record.leader;
        let then = |step| Some(Some(Operation { step, ..operation }));
        match operation.step {
            Step::Choose => {
                let to = self.best(state, record)?;
                Some(Some(Operation {
                    step: Step::Fence,
                    to: Some(to),
                    ..operation
                }))
            }
            Step::Fence if self.is_cut_off(leader) && state.node(leader).runs => then(Step::Revoke),
            Step::Revoke => {
                self.best(state, record)?;
                self.revoke(state, turn)?;
                Some(Some(Operation {
                    step: Step::Elect,
                    by_followers: true,
                    ..operation
                }))
            }
            Step::Fence => {
                // Over SSH, or its machine is off by its cloud's word: then it stays what it is,
                // and nobody starts it while this is at work.
                self.stop(state, leader, turn)?;
                if self.without == Without::Election {
                    let timeline = record.newest + 1;
                    return Some(Some(Operation {
                        step: Step::Promote,
                        timeline,
                        ..operation
                    }));
                }
                then(Step::Elect)
            }
            Step::Elect => {
                let Some(to) = self.best(state, record) else {
                    return operation
                        .by_followers
                        .then(|| self.give_back(state, leader, turn))
                        .flatten();
                };
                let timeline = record.newest + 1;
                Some(Some(Operation {
                    step: Step::Promote,
                    to: Some(to),
                    timeline,
                    ..operation
                }))
            }
            Step::Stop => {
                self.stop(state, leader, turn)?;
                then(Step::CatchUp)
            }
            Step::CatchUp => {
                let to = operation.to?;
                if state.node(to).runs && state.node(to).log == state.node(leader).log {
                    return then(Step::Promote);
                }
                if self.without == Without::CallingOff {
                    return self.lead_on(state, leader, turn);
                }
                then(Step::LeadOn)
            }
            Step::LeadOn => self.lead_on(state, leader, turn),
            Step::Promote => {
                let to = operation.to?;
                if !state.node(to).runs {
                    return None;
                }
                if operation.planned && self.without != Without::CallingOff {
                    self.stop(state, leader, turn)?;
                }
                if operation.by_followers
                    && self.without != Without::ProofAnew
                    && !state.node(to).leads
                {
                    self.revoke(state, turn)?;
                    if self.best(state, record) != Some(to) {
                        return then(Step::Elect);
                    }
                }
                self.obeys(state, to, turn)?;
                let planned = if operation.planned { bit(leader) } else { 0 };
                let list = (record.counted & !bit(to)) | planned;
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
                    node.revoked = false;
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
                        let node = state.node_mut(other);
                        node.follows = Some(leader);
                        node.revoked = false;
                    }
                }
                Some(None)
            }
        }
    }

    /// Whether drover cannot reach it, nor can its cloud stop it.
    pub(crate) fn is_cut_off(&self, n: u8) -> bool {
        self.bounds.cut_off && n == 0
    }

    /// Has all who are counted confirm nothing more: all of them, or none.
    fn revoke(&self, state: &mut State, turn: &Turn) -> Option<()> {
        let counted = turn.record.counted;
        for n in (0..N).filter(|n| counted & bit(*n) != 0) {
            if !state.node(n).runs || state.node(n).leads {
                if self.without == Without::Counting {
                    continue;
                }
                return None;
            }
            self.obeys(state, n, turn)?;
            state.node_mut(n).revoked = true;
        }
        Some(())
    }

    /// They follow the leader again, which leads on; that ends the operation.
    fn give_back(&self, state: &mut State, leader: u8, turn: &Turn) -> Option<Option<Operation>> {
        for n in (0..N).filter(|n| *n != leader) {
            if state.node(n).runs && state.node(n).revoked {
                self.obeys(state, n, turn)?;
                state.node_mut(n).revoked = false;
            }
        }
        Some(None)
    }

    /// Stops who leads, if it runs, and has it be a standby from then on.
    fn stop(&self, state: &mut State, leader: u8, turn: &Turn) -> Option<()> {
        if state.node(leader).runs {
            self.obeys(state, leader, turn)?;
            let node = state.node_mut(leader);
            node.runs = false;
            node.leads = false;
        }
        Some(())
    }

    /// Has it go on, and ends the operation.
    fn lead_on(&self, state: &mut State, leader: u8, turn: &Turn) -> Option<Option<Operation>> {
        self.obeys(state, leader, turn)?;
        let node = state.node_mut(leader);
        node.runs = true;
        node.leads = true;
        Some(None)
    }

    /// The follower that has most, if all have been asked whose word may have counted.
    fn best(&self, state: &State, record: &Record) -> Option<u8> {
        let leader = record.leader;
        let followers = (0..N).filter(|n| *n != leader);
        let asked = |n: &u8| state.node(*n).runs && !state.node(*n).leads;
        let silent = followers
            .clone()
            .filter(|n| record.counted & bit(*n) != 0)
            .any(|n| !asked(&n));
        let loses = self.bounds.loses;
        if silent && !loses && self.without != Without::Counting {
            return None;
        }
        // One that has not come to the leader's timeline lacks what that one took over.
        let has_all = |n: &u8| {
            loses || self.without == Without::Timeline || state.node(*n).timeline >= record.timeline
        };
        let able = followers.filter(asked).filter(has_all);
        able.max_by_key(|n| (state.node(*n).timeline, state.node(*n).log.len()))
    }

    /// Whether a node obeys this worker, and keeps its word.
    fn obeys(&self, state: &mut State, n: u8, turn: &Turn) -> Option<()> {
        let word = (turn.record.epoch, turn.record.lease);
        if self.without != Without::Words && state.node(n).word > word {
            return None;
        }
        let words = self.without != Without::Words;
        if words && turn.record.restored && state.node(n).knows_more {
            return None;
        }
        let lost = !turn.record.restored && (state.dump.is_some() || state.record.restored);
        let node = state.node_mut(n);
        node.word = node.word.max(word);
        node.knows_more |= lost;
        Some(())
    }

    /// A node that knows a newer epoch than the record obeys nothing of it.
    pub(crate) fn knows_no_newer(&self, state: &State, n: u8) -> Option<()> {
        let older = state.node(n).word.0 > state.record.epoch;
        let refuses = older || state.record.restored && state.node(n).knows_more;
        (self.without == Without::Words || !refuses && !self.is_held(state)).then_some(())
    }

    /// Whether a node that answers knows more than the record: then nothing is changed anywhere.
    pub(crate) fn is_held(&self, state: &State) -> bool {
        let knows_more = |n: u8| state.node(n).runs && state.node(n).knows_more;
        self.without != Without::Words && state.record.restored && (0..N).any(knows_more)
    }
}
