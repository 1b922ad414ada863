//! Plays the ring's part: asks the machine, does the steps of an incident in the
//! world, and keeps what they leave behind, as the record would.

use std::time::Duration;

use chrono::{DateTime, Utc};
use drover::model::{
    Incident, IncidentId, IncidentKind, IncidentState, Mode, Observation, SubjectId,
};
use drover_jobs::resolve::incidents::machine::{self, Move, View};
use drover_jobs::resolve::incidents::{self as resolve, Ended, Outcome, Turn};
use drover_jobs::think::Sight;
use serde_json::json;

use crate::herd::MOST_TURNS;
pub use crate::herd::{Cut, World, session, superuser};

/// A step that was done, and what came of it.
#[derive(Debug)]
pub struct Done {
    pub remedy: &'static str,
    pub step: &'static str,
    pub ended: Ended,
    pub touched: Vec<String>,
    pub note: String,
}

/// An incident at work.
pub struct Case<'a> {
    pub world: &'a World,
    pub incident: Incident,
    pub cut: Cut,
    pub mode: Mode,
    pub seen: Option<Observation>,
    /// Every turn that the record would know of.
    pub done: Vec<Done>,
    /// Runs ahead of the clock where the machine only waits.
    now: DateTime<Utc>,
}

impl World {
    /// An incident of this kind, just opened.
    pub fn incident(&self, subject: SubjectId, kind: IncidentKind) -> Case<'_> {
        let now = Utc::now();
        let incident = Incident {
            id: IncidentId::generate(),
            subject: Some(subject),
            kind,
            state: IncidentState::Triggered,
            state_since: now,
            revision: 0,
            reason: "the test says so".into(),
            opened_at: now,
            deadline: Some(now + resolve::playbook(kind).budget.deadline),
            remedy: 0,
            step: 0,
            attempt: 0,
            attempts: 0,
            wait_until: None,
            acted_at: None,
            memo: json!({}),
            resting: None,
            reopened: 0,
            acknowledged_at: None,
            acknowledged_by: None,
            held_at: None,
            paged_at: None,
            ticketed_at: None,
            resolved_at: None,
            resolved_by: None,
        };
        Case {
            world: self,
            incident,
            cut: Cut::Never,
            mode: Mode::Act,
            seen: None,
            done: vec![],
            now,
        }
    }
}

impl Case<'_> {
    /// The same incident, with workers that die.
    pub fn cut(mut self, cut: Cut) -> Self {
        self.cut = cut;
        self
    }

    /// What the machine would do next, if this is what is seen. Where it only waits
    /// for something, that while is over.
    pub fn next(&mut self, sight: &Sight) -> Move {
        let book = resolve::playbook(self.incident.kind);
        for _ in 0..10 {
            let view = View {
                jump: None,
                sight: sight.clone(),
                still: None,
                mode: self.mode,
                urgent: None,
                now: self.now,
            };
            match (
                machine::next(&self.incident, book, &view),
                self.incident.wait_until,
            ) {
                (Move::Rest { .. }, Some(until)) if until > self.now => self.now = until,
                (other, _) => return other,
            }
        }
        panic!("the machine waits for ever: {:?}", self.incident);
    }

    /// One turn: a step, as far as it comes. Gives what the machine wanted, and what
    /// came of it if that was a step.
    pub async fn turn(&mut self, sight: &Sight) -> (Move, Option<Ended>) {
        let wanted = self.next(sight);
        let Move::Perform {
            remedy,
            step,
            attempt,
        } = wanted
        else {
            return (wanted, None);
        };
        let ended = self.take(remedy, step, attempt).await;
        (wanted, Some(ended))
    }

    /// A step of a remedy once more, whatever the machine would do: as by a worker
    /// whose predecessor was cut off, and who comes late.
    pub async fn again(&mut self, remedy: u16, step: u16) {
        self.take(remedy, step, self.incident.attempt).await;
    }

    async fn take(&mut self, remedy: u16, step: u16, attempt: u16) -> Ended {
        machine::begin(&mut self.incident, remedy, step, attempt);
        self.cut.cuts_off(self.perform()).await;
        if self.cut != Cut::Never {
            // The next worker finds what the dead one wrote when it began.
            machine::begin(&mut self.incident, remedy, step, attempt);
        }
        let outcome = Box::pin(self.perform()).await;
        let book = resolve::playbook(self.incident.kind);
        let remedy = book.remedy(remedy).unwrap();
        let memo = self.incident.memo.as_object_mut().unwrap();
        for (name, value) in outcome.memo {
            if value.is_null() {
                memo.remove(&name);
            } else {
                memo.insert(name, value);
            }
        }
        self.done.push(Done {
            remedy: remedy.name,
            step: remedy.steps[usize::from(step)].name,
            ended: outcome.ended.clone(),
            touched: outcome.touched,
            note: outcome.note,
        });
        let after = machine::after(&mut self.incident, remedy, &outcome.ended, Utc::now());
        if matches!(outcome.ended, Ended::Again(_)) {
            tokio::time::sleep(after).await;
        }
        outcome.ended
    }

    async fn perform(&self) -> Outcome {
        let remedy = resolve::playbook(self.incident.kind)
            .remedy(self.incident.remedy)
            .unwrap();
        let step = &remedy.steps[usize::from(self.incident.step)];
        let known = self.world.known(self.incident.subject.unwrap()).await;
        let turn = Turn {
            incident: &self.incident,
            known: &known,
            seen: self.seen.as_ref(),
            rules: &self.world.rules,
            tools: &self.world.tools,
            remedy: remedy.name,
            step: step.name,
            limit: step.limit,
        };
        let most = step.limit + Duration::from_secs(1);
        let done = tokio::time::timeout(most, Box::pin(resolve::perform(&turn))).await;
        done.unwrap_or_else(|_| Outcome::failed(format!("not done within {most:?}")))
    }

    /// Turns until a remedy has ended, in one way or another; gives its name and how
    /// its last step ended. `None` if the machine wants no remedy any more.
    pub async fn remedy(&mut self, sight: &Sight) -> Option<(&'static str, Ended)> {
        for _ in 0..MOST_TURNS {
            let (_, ended) = self.turn(sight).await;
            let ended = ended?;
            if self.incident.state != IncidentState::Resolving {
                return Some((self.done.last()?.remedy, ended));
            }
        }
        panic!("no end: {}", self.story());
    }

    /// Turns until a remedy has worked; gives its name. Panics if none does.
    pub async fn until_done(&mut self) -> &'static str {
        loop {
            match self.remedy(&holds()).await {
                Some((name, Ended::Done)) => return name,
                Some((_, Ended::PassedOver(_) | Ended::Failed(_) | Ended::Again(_))) => {}
                None => panic!("every remedy has run out:\n{}", self.story()),
            }
        }
    }

    /// Turns until the machine wants no remedy any more, and gives what it wants
    /// instead.
    pub async fn until_escalated(&mut self) -> Move {
        while self.remedy(&holds()).await.is_some() {}
        self.next(&holds())
    }

    /// Everything that was touched.
    pub fn touched(&self) -> Vec<&str> {
        let all = self.done.iter().flat_map(|done| &done.touched);
        all.map(String::as_str).collect()
    }

    /// What was done, for whoever reads a failed test.
    pub fn story(&self) -> String {
        let lines = self.done.iter().map(|done| format!("{done:?}\n"));
        format!("{}{:?}", lines.collect::<String>(), self.incident.memo)
    }
}

/// The newest observation says that it is still wrong.
pub fn holds() -> Sight {
    Sight::Holds("the test says so".into())
}

/// The newest observation says that it is over.
pub fn cleared() -> Sight {
    Sight::Cleared("the test says so".into())
}
