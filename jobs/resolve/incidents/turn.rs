//! Resolve: one turn of an incident, under its token's lock and its subject's
//! lease.

mod record;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use drover::model::{
    Evidence, Incident, IncidentId, IncidentKind, IncidentState, Mode, Observation, Rules,
    SubjectId,
};
use drover::store::plans::{self, Limited};
use drover::store::queue::{self, Lock, Queue};
use drover::store::scenes::{self, Scene};
use drover::store::subjects::{self, Known};
use drover::store::{self, brake, incidents, modes, operations};
use futures::FutureExt;

use super::machine::{self, Move, Still, View};
use super::playbook::{Remedy, UNDO};
use super::{self as playbooks, Ended, Outcome, Playbook, Turn, fail_over};
use crate::resolve::{Resolve, lay_over};
use crate::ring::WorkError;
use crate::think::{Sight, sight};

/// How long other servers are waited for before a server is mended.
const LOOK_ROUND: Duration = Duration::from_secs(15);
/// So many servers are felt for that; in a larger herd they stand for the rest.
const LOOK_ROUND_SERVERS: i64 = 100;

/// How long a herd that was found calm counts as calm.
const CALM: Duration = Duration::from_millis(500);

/// An incident, and all that a turn has to know of it.
struct Case {
    incident: Incident,
    book: &'static Playbook,
    known: Option<Known>,
    scene: Option<Scene>,
    rules: Arc<Rules>,
    view: View,
    /// Why the brake has to be put on, if so.
    trips: Option<String>,
    /// The subject's plan, if that does not allow every remedy.
    plan: Option<Limited>,
}

impl Case {
    /// Why a remedy may not be begun here.
    fn forbidden(&self, remedy: &Remedy) -> Option<String> {
        let plan = self.plan.as_ref()?;
        let allowed = plan.allows(self.incident.kind, remedy.name);
        (!allowed).then(|| format!("plan {} does not allow it", plan.name))
    }

    fn subject(&self) -> Option<SubjectId> {
        self.incident.subject
    }

    fn seen(&self) -> Option<&Observation> {
        self.scene.as_ref()?.recent.first()
    }

    /// Name of the subject, for people.
    fn name(&self) -> &str {
        match &self.known {
            Some(known) => &known.subject().name,
            None => "the herd",
        }
    }
}

impl Resolve {
    async fn load(&self, id: IncidentId) -> Result<Option<Case>, WorkError> {
        let mut db = self.pool.acquire().await?;
        let Some(incident) = incidents::load(&mut db, id).await? else {
            return Ok(None);
        };
        let subject = incident.subject;
        let wanted: Vec<SubjectId> = subject.into_iter().collect();
        let row = subjects::load(&mut db, &wanted).await?.pop();
        let known = row
            .map(|row| row.open(&self.tools.secret_key))
            .transpose()?;
        let scene = scenes::load(&mut db, &wanted).await?.pop();
        let mode = modes::effective(&mut db, subject).await?;
        let plan = match subject {
            Some(subject) => plans::limiting(&mut db, subject).await?,
            None => None,
        };
        let book = playbooks::playbook(incident.kind);
        let now = drover::store::now(&mut db).await?;
        let seen = scene.as_ref().and_then(|s| s.recent.first());
        let due = fail_over::due(&mut db, &incident, seen, now).await;
        let due = !due?.is_empty();
        let still = self.still(&mut db, &incident, book, due).await?;
        let trips = self.trips(&mut db, &incident, still.as_ref()).await?;
        let evidence = incident.kind.profile().evidence;
        let herd = match &scene {
            Some(scene) if evidence == Evidence::Operation => {
                Some(operation_sight(&mut db, scene.subject.id).await?)
            }
            Some(_) => None,
            None => Some(herd_sight(&mut db, &incident).await?),
        };
        // The rules are read over a connection of their own: with this one in hand,
        // many turns at once would wait for each other until the pool gives up.
        drop(db);
        let rules = match &scene {
            Some(scene) => self.rules.of(&scene.subject.tier).await?,
            None => Arc::default(),
        };
        let seen_of = |scene: &Scene| sight(incident.kind, scene, &rules, incident.acted_at);
        let sight = herd
            .or_else(|| scene.as_ref().map(seen_of))
            .unwrap_or(Sight::Unknown);
        let seen = scene.as_ref().and_then(|s| s.recent.first());
        let urgent = playbooks::urgent(&incident, seen, &rules, mode);
        Ok(Some(Case {
            view: View {
                sight,
                still,
                mode,
                jump: due.then(|| fail_over::place(book)).flatten(),
                urgent,
                now,
            },
            trips,
            plan,
            incident,
            book,
            known,
            scene,
            rules,
        }))
    }

    async fn still(
        &self,
        db: &mut sqlx::PgConnection,
        incident: &Incident,
        book: &Playbook,
        fails_over: bool,
    ) -> Result<Option<Still>, WorkError> {
        if incident.held_at.is_some() {
            return Ok(Some(Still::Held));
        }
        if incident.kind == IncidentKind::Blind {
            return Ok(None);
        }
        if let Some(blind) = incidents::blind(db).await? {
            return Ok(Some(Still::Blind(blind)));
        }
        let Some(subject) = incident.subject else {
            return Ok(None);
        };
        // What is at work does not keep a follower from taking the lead: it gives way.
        if incident.kind.profile().evidence != Evidence::Operation
            && !fails_over
            && let Some(what) = operations::disturbing(db, subject).await?
        {
            return Ok(Some(Still::Operating(what)));
        }
        if let Some((covering, _)) = incidents::covering(db, subject).await? {
            return Ok(Some(Still::Covered(covering)));
        }
        if incident.kind == IncidentKind::ServerDown && incident.state == IncidentState::Triggered {
            // Whether they answer decides whether others take their lead.
            let leaders = operations::failover::leaders_at(db, subject).await;
            let leaders: Vec<SubjectId> = leaders?
                .iter()
                .filter(|leader| leader.answers)
                .map(|leader| leader.id)
                .collect();
            queue::bring_forward(db, &leaders).await?;
        }
        if book.looks_round && incident.state == IncidentState::Triggered {
            let unseen =
                queue::unseen_servers(db, incident.state_since, LOOK_ROUND_SERVERS).await?;
            let waited = store::now(db).await? > incident.state_since + LOOK_ROUND;
            if !unseen.is_empty() && !waited {
                queue::bring_forward(db, &unseen).await?;
                return Ok(Some(Still::LookingRound));
            }
        }
        Ok(None)
    }
}

impl Resolve {
    /// Whether too much fails at once, whatever would be done about this incident, be
    /// it only to call a human. Looks at the whole herd, so not at each turn; the last
    /// look before a remedy is at its beginning.
    async fn trips(
        &self,
        db: &mut sqlx::PgConnection,
        incident: &Incident,
        still: Option<&Still>,
    ) -> Result<Option<String>, WorkError> {
        let calm = || self.calm.lock().unwrap_or_else(|e| e.into_inner());
        if incident.kind == IncidentKind::Blind
            || incident.state == IncidentState::NeedsHuman
            || matches!(still, Some(Still::Held | Still::Blind(_)))
            || calm().is_some_and(|at| at.elapsed() < CALM)
        {
            return Ok(None);
        }
        let counts = brake::count(db).await?;
        let reason = brake::trips(&counts);
        if reason.is_none() {
            *calm() = Some(Instant::now());
        }
        Ok(reason)
    }
}

impl Resolve {
    /// One turn.
    pub(in crate::resolve) async fn mend(
        &self,
        lock: Lock,
        id: IncidentId,
    ) -> Result<(), WorkError> {
        let Some(mut case) = self.load(id).await? else {
            let mut tx = self.pool.begin().await?;
            if queue::hold(&mut tx, &lock, Queue::Resolve).await? {
                queue::remove_from_resolve(&mut tx, lock.token).await?;
            }
            return Ok(tx.commit().await?);
        };
        if let Some(reason) = case.trips.take() {
            return self.brake(&lock, reason).await;
        }
        if case.incident.deadline.is_none() {
            case.incident.deadline = Some(case.view.now + case.book.budget.deadline);
        }
        let next = machine::next(&case.incident, case.book, &case.view);
        match next {
            Move::Gone => self.leave(&lock).await,
            Move::Close(reason) => self.close(&lock, &mut case, &reason).await,
            Move::Rest {
                why,
                after,
                clock_stands,
            } => {
                if clock_stands {
                    case.incident.deadline = Some(case.view.now + case.book.budget.deadline);
                }
                self.rest(&lock, &mut case, why, after).await
            }
            Move::Page => self.page(&lock, &mut case).await,
            Move::Advise => self.advise(&lock, &mut case).await,
            Move::Escalate(reason) => self.escalate(&lock, &mut case, &reason).await,
            Move::Perform {
                remedy,
                step,
                attempt,
            } => {
                if let Some(Still::Operating(_)) = case.view.still {
                    // An operation that a remedy asked for has a deadline of its own.
                    let deadline = case.view.now + case.book.budget.deadline;
                    case.incident.deadline = Some(deadline);
                }
                machine::begin(&mut case.incident, remedy, step, attempt);
                let Some(run) = self.begin(&lock, &mut case).await? else {
                    return Ok(());
                };
                let outcome = self.perform(&case).await;
                self.end(&lock, case, run, outcome).await
            }
        }
    }
}

impl Resolve {
    /// Does a step in the world. Nothing that goes wrong there is this job's
    /// failure: it is how the step ended.
    async fn perform(&self, case: &Case) -> Outcome {
        let incident = &case.incident;
        let Some(remedy) = case.book.remedy(incident.remedy) else {
            return Outcome::passed_over("the playbook has no such remedy any more");
        };
        // One that was begun is brought to its end, and what was done is taken back.
        if incident.step == 0
            && incident.remedy != UNDO
            && let Some(why) = case.forbidden(remedy)
        {
            return Outcome::passed_over(why);
        }
        let Some(step) = remedy.steps.get(usize::from(incident.step)) else {
            return Outcome::failed("the remedy has no such step any more");
        };
        let Some(known) = &case.known else {
            return Outcome::passed_over("there is no subject to mend");
        };
        let turn = Turn {
            incident,
            known,
            seen: case.seen(),
            rules: &case.rules,
            tools: &self.tools,
            remedy: remedy.name,
            step: step.name,
            limit: step.limit,
        };
        let work = AssertUnwindSafe(playbooks::perform(&turn)).catch_unwind();
        match tokio::time::timeout(step.limit + Duration::from_secs(1), work).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Outcome::failed("the resolver panicked"),
            Err(_) => Outcome::failed(format!("not done within {:?}", step.limit)),
        }
    }
}

/// How an operation stands that was stuck.
async fn operation_sight(
    db: &mut sqlx::PgConnection,
    subject: SubjectId,
) -> Result<Sight, WorkError> {
    let open = operations::open_of(db, subject).await?;
    Ok(match open {
        None => Sight::Cleared("it is done, or no longer wanted".into()),
        Some(open) if open.stuck_at.is_some() => {
            Sight::Holds(open.note.unwrap_or_else(|| "it does not go on".into()))
        }
        Some(_) => Sight::Recovering,
    })
}

/// How an incident of the herd's stands: `blind` is over when the servers are back.
async fn herd_sight(db: &mut sqlx::PgConnection, incident: &Incident) -> Result<Sight, WorkError> {
    if incident.kind != IncidentKind::Blind {
        return Ok(Sight::Cleared("its subject has left the herd".into()));
    }
    let counts = brake::count(db).await?;
    Ok(if brake::over(&counts) {
        Sight::Cleared("the servers are seen again".into())
    } else {
        Sight::Holds(incident.reason.clone())
    })
}

/// The word of the record for how a step ended.
fn word(ended: &Ended) -> &'static str {
    match ended {
        Ended::Done => "done",
        Ended::Again(_) => "again",
        Ended::PassedOver(_) => "passed_over",
        Ended::Failed(_) => "failed",
    }
}

/// Whether a remedy may be begun at all in this mode; checked again in the
/// transaction that begins it.
fn may_act(mode: Mode) -> bool {
    match mode {
        Mode::Act => true,
        Mode::Advise | Mode::Hold => false,
    }
}
