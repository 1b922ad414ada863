//! Resolve: one turn of an incident, under its token's lock. What it decides is written
//! down with what it asks for.

mod ask;
mod asked;
mod record;

pub use asked::stands;

use std::sync::Arc;
use std::time::{Duration, Instant};

use drover::model::{
    Evidence, Incident, IncidentId, IncidentKind, IncidentState, Observation, Operation, SubjectId,
};
use drover::store::brake::Trip;
use drover::store::plans::{self, Limited};
use drover::store::queue::{self, Lock, Queue};
use drover::store::scenes::{self, Scene};
use drover::store::subjects::{self, Known};
use drover::store::{self, brake, incidents, modes, old_record, operations};

use super::machine::{self, Blocker, NextAction, Pressing, View};
use super::playbook::Remedy;
use super::{self as playbooks, Playbook, fail_over};
use crate::resolve::Resolve;
use crate::resolve::operations::goes_on_alone;
use crate::ring::WorkError;
use crate::think::{Assessment, assess};

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
    view: View,
    /// What was asked for last.
    asked: Vec<Operation>,
    /// The leaders that a follower should take over from by now.
    due: Vec<SubjectId>,
    /// Why the brake has to be put on, if so.
    trips: Option<Trip>,
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
    fn name(&self) -> String {
        match (&self.known, &self.incident.zone) {
            (Some(known), _) => known.subject().name.clone(),
            (None, Some(zone)) => format!("zone {zone}"),
            (None, None) => "the herd".into(),
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
        drop(db);
        let scene = scenes::load(&self.pool, &wanted).await?.pop();
        let mut db = self.pool.acquire().await?;
        let mode = modes::effective(&mut db, subject).await?;
        let plan = match subject {
            Some(subject) => plans::limiting(&mut db, subject).await?,
            None => None,
        };
        let book = playbooks::playbook(incident.kind);
        let now = drover::store::now(&mut db).await?;
        let seen = scene.as_ref().and_then(|s| s.recent.first());
        // What the plan forbids is never due.
        let may_fail_over = fail_over::of(book).is_some_and(|remedy| {
            plan.as_ref()
                .is_none_or(|plan| plan.allows(incident.kind, remedy.name))
        });
        let due = match may_fail_over {
            true => fail_over::due(&mut db, &incident, seen, now).await?,
            false => vec![],
        };
        let asked = match incident.state {
            IncidentState::Resolving => operations::of_remedy(&mut db, &incident).await?,
            IncidentState::Triggered
            | IncidentState::Waiting
            | IncidentState::NeedsHuman
            | IncidentState::Resolved => vec![],
        };
        let in_a_step = !asked.is_empty() && operations::in_a_step(&mut db, &asked).await?;
        let blocker = self
            .blocker(&mut db, &incident, book, seen, !due.is_empty())
            .await?;
        let trips = self.trips(&mut db, &incident, blocker.as_ref()).await?;
        let evidence = incident.kind.profile().evidence;
        let told = match &scene {
            Some(scene) if incident.kind == IncidentKind::OldLeaderAlive => {
                Some(of_the_old_leader(&mut db, scene.subject.id).await?)
            }
            Some(scene) if evidence == Evidence::Operation => {
                Some(of_an_operation(&mut db, scene.subject.id).await?)
            }
            Some(_) => None,
            None => Some(of_the_herd(&mut db, &incident).await?),
        };
        // The rules are read over a connection of their own: with this one in hand,
        // many turns at once would wait for each other until the pool gives up.
        drop(db);
        let rules = match &scene {
            Some(scene) => self.rules.of(&scene.subject.tier).await?,
            None => Arc::default(),
        };
        let seen_of = |scene: &Scene| assess(incident.kind, scene, &rules, incident.acted_at);
        let assessed = told
            .or_else(|| scene.as_ref().map(seen_of))
            .unwrap_or(Assessment::Unknown);
        let seen = scene.as_ref().and_then(|s| s.recent.first());
        let at_work = asked.iter().find(|operation| operation.at_work);
        let at_work = at_work.map(|operation| operation.step_name.as_str());
        let stuck = asked::stuck(&asked);
        let urgent = playbooks::urgent(&incident, seen, &rules, mode, at_work).or(stuck);
        let recent = scene.as_ref().map_or(&[][..], |scene| &scene.recent);
        let worsens = playbooks::worsens(&incident, recent, &rules);
        Ok(Some(Case {
            view: View {
                seen: assessed,
                blocker,
                mode,
                asked: asked::stands(&asked, now, in_a_step),
                fails_over: !due.is_empty(),
                proved: fail_over::is_proved(&incident, seen),
                urgent,
                worsens,
                now,
            },
            asked,
            due,
            trips,
            plan,
            incident,
            book,
            known,
            scene,
        }))
    }

    async fn blocker(
        &self,
        db: &mut sqlx::PgConnection,
        incident: &Incident,
        book: &Playbook,
        seen: Option<&Observation>,
        fails_over: bool,
    ) -> Result<Option<Blocker>, WorkError> {
        if incident.held_at.is_some() {
            return Ok(Some(Blocker::Held));
        }
        if incident.kind.profile().evidence == Evidence::Herd {
            return Ok(None);
        }
        if let Some(old) = incidents::old_record(db).await? {
            return Ok(Some(Blocker::OldRecord(old)));
        }
        if let Some(blind) = incidents::blind(db, incident.subject).await? {
            return Ok(Some(Blocker::Blind(blind)));
        }
        let Some(subject) = incident.subject else {
            return Ok(None);
        };
        // What is at work does not keep a follower from taking the lead: it gives way.
        if incident.kind.profile().evidence != Evidence::Operation
            && !fails_over
            && let Some(what) = operations::disturbing(db, subject, incident.id).await?
        {
            let pressing = match what.lane > incident.kind.profile().lane.priority() {
                true => Pressing::More,
                false => Pressing::NoMore,
            };
            return Ok(Some(Blocker::Operating(what.words, pressing)));
        }
        if let Some((covering, _)) = incidents::covering(db, subject).await? {
            return Ok(Some(Blocker::Covered(covering)));
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
                queue::unseen_servers(db, subject, incident.state_since, LOOK_ROUND_SERVERS)
                    .await?;
            let waited = store::now(db).await? > incident.state_since + LOOK_ROUND;
            if !unseen.is_empty() && !waited {
                queue::bring_forward(db, &unseen).await?;
                // A lead that is taken over on a proof needs no others' word.
                if !fails_over || !fail_over::is_proved(incident, seen) {
                    return Ok(Some(Blocker::LookingRound));
                }
            }
        }
        Ok(None)
    }
}

impl Resolve {
    /// Whether too much fails at once where this incident is, whatever would be done about it, be
    /// it only to call a human. Looks at the whole herd, so not at each turn; the last
    /// look before a remedy is at its beginning.
    async fn trips(
        &self,
        db: &mut sqlx::PgConnection,
        incident: &Incident,
        blocker: Option<&Blocker>,
    ) -> Result<Option<Trip>, WorkError> {
        let calm = || self.calm.lock().unwrap_or_else(|e| e.into_inner());
        if incident.kind.profile().evidence == Evidence::Herd
            || incident.state == IncidentState::NeedsHuman
            || matches!(
                blocker,
                Some(Blocker::Held | Blocker::Blind(_) | Blocker::OldRecord(_))
            )
            || calm().is_some_and(|at| at.elapsed() < CALM)
        {
            return Ok(None);
        }
        let counts = brake::count(db).await?;
        if counts.are_calm() {
            *calm() = Some(Instant::now());
            return Ok(None);
        }
        let zone = brake::zone_of(db, incident.subject).await?;
        Ok(brake::trips(&counts, zone.as_deref()))
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
        if let Some(trip) = case.trips.take() {
            return self.brake(&lock, trip).await;
        }
        if case.incident.deadline.is_none() {
            case.incident.deadline = Some(case.view.now + case.book.budget.deadline);
        }
        match machine::next(&case.incident, case.book, &case.view) {
            NextAction::Gone => self.leave(&lock).await,
            NextAction::Close(reason) => self.close(&lock, &mut case, &reason).await,
            NextAction::Rest {
                why,
                after,
                clock_stands,
            } => {
                if clock_stands {
                    case.incident.deadline = Some(case.view.now + case.book.budget.deadline);
                }
                self.rest(&lock, &mut case, why, after).await
            }
            NextAction::Conclude(ended) => self.conclude(&lock, &mut case, &ended).await,
            NextAction::Ask { remedy, attempt } => {
                let Some(remedy) = case.book.remedy(remedy) else {
                    return Err(anyhow::anyhow!("no such remedy in the playbook").into());
                };
                self.ask(&lock, &mut case, remedy, attempt).await
            }
            NextAction::Page => self.page(&lock, &mut case).await,
            NextAction::Advise => self.advise(&lock, &mut case).await,
            NextAction::Escalate(reason) => self.escalate(&lock, &mut case, &reason).await,
        }
    }
}

/// How an operation stands that was stuck.
async fn of_an_operation(
    db: &mut sqlx::PgConnection,
    subject: SubjectId,
) -> Result<Assessment, WorkError> {
    let open = operations::open_of(db, subject).await?;
    // What an incident has asked for calls people by that, unless it goes on alone.
    let mut asked = open
        .into_iter()
        .filter(|open| open.incident.is_none() || goes_on_alone(open));
    let first = asked.next();
    let stuck = first
        .iter()
        .cloned()
        .chain(asked)
        .find(|open| open.stuck_at.is_some());
    Ok(match (first, stuck) {
        (None, _) => Assessment::Cleared("it is done, or no longer wanted".into()),
        (Some(_), Some(stuck)) => {
            Assessment::Holds(stuck.note.unwrap_or_else(|| "it does not go on".into()))
        }
        (Some(_), None) => Assessment::Recovering,
    })
}

/// Whether who led before this one was stopped since.
async fn of_the_old_leader(
    db: &mut sqlx::PgConnection,
    leader: SubjectId,
) -> Result<Assessment, WorkError> {
    Ok(match operations::failover::may_live(db, leader).await? {
        Some(name) => Assessment::Holds(format!("{name} led before it, and may live")),
        None => Assessment::Cleared("who led before it is stopped".into()),
    })
}

/// How an incident of the herd's stands: `blind` is over when the servers are back,
/// `record_is_old` when none of them knows more than the record.
async fn of_the_herd(
    db: &mut sqlx::PgConnection,
    incident: &Incident,
) -> Result<Assessment, WorkError> {
    if incident.kind == IncidentKind::RecordIsOld {
        return Ok(match old_record::doubt(db).await? {
            None => Assessment::Cleared("no server knows more than the record".into()),
            Some(why) => Assessment::Holds(why),
        });
    }
    if incident.kind != IncidentKind::Blind {
        return Ok(Assessment::Cleared("its subject has left the herd".into()));
    }
    let counts = brake::count(db).await?;
    Ok(if brake::over(&counts, incident.zone.as_deref()) {
        Assessment::Cleared("the servers are seen again".into())
    } else {
        Assessment::Holds(incident.reason.clone())
    })
}
