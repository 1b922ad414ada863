//! Plays an incident's part: asks the machine, asks for operations as it says, has them
//! take their steps in the world, and keeps what they leave behind, as the record would.

use chrono::{DateTime, Utc};
use drover::model::{
    Incident, IncidentId, IncidentKind, IncidentState, Mode, Observation, Operation,
    OperationState, SubjectId,
};
use drover::store::incidents;
use drover::store::operations::{self, NewOperation};
use drover_jobs::resolve::incidents as resolve;
use drover_jobs::resolve::incidents::machine::{self, Asked, NextAction, View};
use drover_jobs::resolve::incidents::playbook::{On, Playbook, Remedy};
use drover_jobs::resolve::operations::{self as operate, Ended, Outcome};
use drover_jobs::think::Assessment;
use drover_tests::sql;

use crate::changes::driver::{Asker, Change, Done};
use crate::herd::MOST_TURNS;
pub use crate::herd::{Cut, World, session, superuser};

/// An incident at work.
pub struct Case<'a> {
    pub world: &'a World,
    /// As the machine has it; the record's own row is there to be referred to, and for
    /// what is owed.
    pub incident: Incident,
    pub cut: Cut,
    pub mode: Mode,
    pub seen: Option<Observation>,
    /// What it has asked for last.
    pub asked: Option<Change<'a>>,
    /// Every turn that the record would know of, of all that it has asked for.
    pub done: Vec<Done>,
    /// Runs ahead of the clock where the machine only waits.
    now: DateTime<Utc>,
}

impl World {
    /// An incident of this kind, just opened. One of before is over, with whatever it
    /// has asked for.
    pub async fn incident(&self, subject: SubjectId, kind: IncidentKind) -> Case<'_> {
        let now = Utc::now();
        let mut tx = self.pool.begin().await.unwrap();
        operations::cancel_open(&mut tx, subject, "the test goes on")
            .await
            .unwrap();
        let sql = "update incidents
             set state = 'resolved', resolved_at = now(), resolved_by = 'operator'
             where subject_id = $1 and kind = $2 and state <> 'resolved'";
        sql::run(&mut *tx, sql, (subject, kind)).await;
        // Not as one that has come back.
        let sql = "insert into incidents (id, subject_id, kind, state, reason, deadline)
             values ($1, $2, $3, 'triggered', 'the test says so', $4) returning *";
        let incident: Incident = sql::row(
            &mut *tx,
            sql,
            (
                IncidentId::generate(),
                subject,
                kind,
                now + resolve::playbook(kind).budget.deadline,
            ),
        )
        .await;
        tx.commit().await.unwrap();
        Case {
            world: self,
            incident,
            cut: Cut::Never,
            mode: Mode::Act,
            seen: None,
            asked: None,
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

    fn book(&self) -> &'static Playbook {
        resolve::playbook(self.incident.kind)
    }

    /// The remedy that was asked for last.
    fn remedy_asked(&self) -> &'static Remedy {
        let name = self.incident.remedy.as_deref().unwrap();
        self.book().remedy(name).unwrap()
    }

    /// The operation that was asked for last.
    pub fn operation(&self) -> &Operation {
        &self.asked.as_ref().unwrap().operation
    }

    /// What the machine would do next, if this is what is seen. Where it only waits
    /// for something, that while is over.
    pub fn next(&mut self, seen: &Assessment) -> NextAction {
        for _ in 0..10 {
            let view = View {
                seen: seen.clone(),
                blocker: None,
                mode: self.mode,
                asked: self.stands(),
                fails_over: false,
                proved: false,
                urgent: None,
                worsens: false,
                now: self.now,
            };
            match (
                machine::next(&self.incident, self.book(), &view),
                self.incident.wait_until,
            ) {
                (NextAction::Rest { .. }, Some(until)) if until > self.now => self.now = until,
                (other, _) => return other,
            }
        }
        panic!("the machine waits for ever: {:?}", self.incident);
    }

    /// How what was asked for stands.
    fn stands(&self) -> Option<Asked> {
        if self.incident.state != IncidentState::Resolving {
            return None;
        }
        let asked = self.asked.as_ref()?;
        resolve::stands(std::slice::from_ref(&asked.operation), self.now, false)
    }

    /// One turn of what was asked for: a step, as far as it comes. Gives what the machine
    /// wanted before, and what came of the step if there was one.
    pub async fn turn(&mut self, seen: &Assessment) -> (NextAction, Option<Done>) {
        let wanted = self.next(seen);
        let goes_on = match &wanted {
            NextAction::Ask { remedy, attempt } => {
                self.ask(remedy, *attempt).await;
                true
            }
            NextAction::Rest { .. } => self.goes_on(),
            NextAction::Gone
            | NextAction::Close(_)
            | NextAction::Conclude(_)
            | NextAction::Page
            | NextAction::Advise
            | NextAction::Escalate(_) => false,
        };
        let done = match goes_on {
            true => Some(self.step(seen).await),
            false => None,
        };
        (wanted, done)
    }

    /// Its next turn only waits.
    pub async fn waits(&mut self) {
        let (_, done) = self.turn(&holds()).await;
        let ended = done.unwrap().ended;
        assert!(matches!(ended, Ended::Again(_)), "{}", self.story());
    }

    /// Opens what a remedy is.
    async fn ask(&mut self, remedy: &str, attempt: u16) {
        machine::begin(&mut self.incident, remedy, attempt);
        self.let_go().await;
        let remedy = self.remedy_asked();
        assert_eq!(remedy.on, On::Subject, "{}", remedy.name);
        let incident = &self.incident;
        let new = NewOperation {
            subject: incident.subject,
            kind: remedy.operation,
            params: (remedy.params)(incident),
            asked_by: incident.id.public(),
            reason: Some(incident.reason.clone()),
            not_before: None,
        };
        let asker = operations::Remedy {
            incident,
            name: remedy.name,
            attempt,
        };
        let mut tx = self.world.pool.begin().await.unwrap();
        let id = operations::open_for(&mut tx, &new, asker).await.unwrap();
        let operation = operations::load(&mut tx, id).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        self.asked = Some(Change {
            world: self.world,
            operation,
            asker: None,
            cut: self.cut,
            done: vec![],
        });
    }

    /// What was asked for before ends at its next turn, if the incident has gone on
    /// without it.
    async fn let_go(&mut self) {
        let Some(asked) = &mut self.asked else {
            return;
        };
        if asked.operation.state != OperationState::Open {
            return;
        }
        let step = asked.next();
        let why = operate::unwanted(&asked.operation, Some(&self.incident), step);
        let why = why.unwrap_or_else(|| panic!("it is half done:\n{}", asked.story()));
        asked.end(OperationState::Skipped, &why).await;
    }

    /// Whether what was asked for takes its next step now, as the engine sees it: in a
    /// mode that does not allow it, only what is half done, or takes something back.
    fn goes_on(&self) -> bool {
        let open = |asked: &&Change<'_>| asked.operation.state == OperationState::Open;
        let Some(asked) = self.asked.as_ref().filter(open) else {
            return false;
        };
        let step = asked.next();
        if operate::unwanted(&asked.operation, Some(&self.incident), step).is_some() {
            return false;
        }
        self.mode == Mode::Act
            || !step.may_end
            || operate::goes_on_alone(&asked.operation)
            || self.book().undoes(self.remedy_asked())
    }

    /// A step of what was asked for. If that is over then, so is the remedy.
    async fn step(&mut self, seen: &Assessment) -> Done {
        self.look();
        let asked = self.asked.as_mut().unwrap();
        let done = Box::pin(asked.advance()).await;
        let is_stuck = asked.operation.stuck_at.is_some();
        self.done.push(done.clone());
        assert!(!is_stuck, "it needs a human:\n{}", self.story());
        let mut db = self.world.pool.acquire().await.unwrap();
        let row = incidents::load(&mut db, self.incident.id).await.unwrap();
        self.incident.memo = row.unwrap().memo;
        if done.state != OperationState::Open {
            self.conclude(seen);
        }
        done
    }

    /// What was asked for sees the incident as it stands.
    fn look(&mut self) {
        let asker = Asker {
            incident: self.incident.clone(),
            seen: self.seen.clone(),
            remedy: self.remedy_asked().name,
        };
        self.asked.as_mut().unwrap().asker = Some(asker);
    }

    /// What was asked for is over.
    fn conclude(&mut self, seen: &Assessment) {
        let NextAction::Conclude(ended) = self.next(seen) else {
            panic!("it has ended, and goes on:\n{}", self.story());
        };
        let remedy = self.remedy_asked();
        machine::conclude(&mut self.incident, Some(remedy), &ended, self.now);
    }

    /// A step of what was asked for last once more, whatever the machine would do: as by
    /// a worker whose predecessor was cut off, and who comes late.
    pub async fn again(&mut self, step: &str) -> Outcome {
        self.look();
        let asked = self.asked.as_ref().unwrap();
        self.cut.cuts_off(asked.again(step)).await;
        asked.again(step).await
    }

    /// Turns until a remedy has ended, in one way or another; gives its name and how
    /// what was asked for ended. `None` if the machine wants no remedy any more.
    pub async fn remedy(&mut self, seen: &Assessment) -> Option<(&'static str, OperationState)> {
        for _ in 0..MOST_TURNS {
            let (_, done) = self.turn(seen).await;
            let done = done?;
            if self.incident.state != IncidentState::Resolving {
                return Some((done.remedy.unwrap(), done.state));
            }
        }
        panic!("no end: {}", self.story());
    }

    /// Turns until a remedy has worked; gives its name. Panics if none does.
    pub async fn until_done(&mut self) -> &'static str {
        loop {
            match self.remedy(&holds()).await {
                Some((name, OperationState::Done)) => return name,
                Some((_, OperationState::Skipped | OperationState::Failed)) => {}
                Some((name, OperationState::Open | OperationState::Cancelled)) => {
                    panic!("{name} has not ended:\n{}", self.story())
                }
                None => panic!("every remedy has run out:\n{}", self.story()),
            }
        }
    }

    /// Turns until the remedy of this name has ended, in one way or another.
    pub async fn until_tried(&mut self, name: &str) {
        loop {
            match self.remedy(&holds()).await {
                Some((tried, _)) if tried == name => return,
                Some(_) => {}
                None => panic!("{name} is never tried:\n{}", self.story()),
            }
        }
    }

    /// Turns until this step of this remedy is the next.
    pub async fn run_to(&mut self, remedy: &str, step: &str) {
        for _ in 0..MOST_TURNS {
            if self.incident.state == IncidentState::Resolving
                && self.incident.remedy.as_deref() == Some(remedy)
                && self.asked.as_ref().unwrap().next().name == step
            {
                return;
            }
            let (_, done) = self.turn(&holds()).await;
            assert!(done.is_some(), "{step} is never next:\n{}", self.story());
        }
        panic!("{step} is never next:\n{}", self.story());
    }

    /// Turns until the machine wants no remedy any more, and gives what it wants
    /// instead.
    pub async fn until_escalated(&mut self) -> NextAction {
        while self.remedy(&holds()).await.is_some() {}
        self.next(&holds())
    }

    /// The same, where a human is called in the end. Gives the story.
    pub async fn calls_a_human(&mut self) -> String {
        let last = self.until_escalated().await;
        assert!(matches!(last, NextAction::Escalate(_)), "{last:?}");
        self.story()
    }

    /// Everything that was touched.
    pub fn touched(&self) -> Vec<&str> {
        let all = self.done.iter().flat_map(|done| &done.touched);
        all.map(String::as_str).collect()
    }

    /// What was done, for whoever reads a failed test.
    pub fn story(&self) -> String {
        let lines = self.done.iter().map(|done| format!("{done:?}\n"));
        let lines = lines.collect::<String>();
        let memo = self.asked.as_ref().map(|asked| &asked.operation.memo);
        format!("{lines}{:?} {memo:?}", self.incident.memo)
    }
}

/// The newest observation says that it is still wrong.
pub fn holds() -> Assessment {
    Assessment::Holds("the test says so".into())
}

/// The newest observation says that it is over.
pub fn cleared() -> Assessment {
    Assessment::Cleared("the test says so".into())
}
