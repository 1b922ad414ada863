//! The remedy `fail_over` of `resource_down` and `server_down`: a follower takes the
//! lead, by an operation of its own.

use std::time::Duration;

use chrono::{DateTime, Utc};
use drover::model::{
    FailsOver, Incident, IncidentKind, Observation, OperationKind, SubjectId, Witness,
};
use drover::store::operations::failover;
use sqlx::PgConnection;

use super::playbook::{On, Playbook, Remedy};

pub(super) const REMEDY: Remedy = Remedy {
    on: On::Leaders,
    ..Remedy::new(
        "fail_over",
        "have a follower take the lead",
        OperationKind::Failover,
    )
};

/// No reboot and no move to other hardware ends within less: a leader whose plan is
/// more patient than this is left to them first.
const OF_A_SERVER: Duration = Duration::from_secs(60);

/// The leaders that a follower should take over from now, because of this incident, with
/// what was last seen of its subject.
///
/// # Errors
/// If the record cannot be read.
pub async fn due(
    db: &mut PgConnection,
    incident: &Incident,
    seen: Option<&Observation>,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<SubjectId>> {
    let (Some(subject), Some(seen)) = (incident.subject, seen) else {
        return Ok(vec![]);
    };
    let server = match incident.kind.profile().fails_over {
        FailsOver::ItsLeaders => true,
        FailsOver::Itself => false,
        FailsOver::Nobody => return Ok(vec![]),
    };
    let dead = matches!(seen.attributes.witness, Some(Witness::Down { .. }));
    if seen.attributes.service_available || !dead && !serves_nobody(seen) {
        return Ok(vec![]);
    }
    let down_for = (now - incident.opened_at).to_std().unwrap_or_default();
    let leaders = failover::leaders_at(db, subject).await?;
    let due = leaders.into_iter().filter(|leader| {
        let late = down_for >= leader.patience || server && leader.patience < OF_A_SERVER;
        // Its machine lives, as far as anybody can tell: then only what was tried and did
        // not help, or its own silence, speaks against it.
        let gone = match server {
            true => dead || !leader.answers,
            false => dead || incident.attempts > 0,
        };
        late && gone
    });
    Ok(due.map(|leader| leader.id).collect())
}

/// Whether a server is dead by its cloud's or its followers' word, too. Too much that fails at
/// once is no doubt then.
pub fn is_proved(incident: &Incident, seen: Option<&Observation>) -> bool {
    incident.kind == IncidentKind::ServerDown
        && seen.is_some_and(|seen| {
            !seen.attributes.service_available
                && matches!(seen.attributes.witness, Some(Witness::Down { .. }))
        })
}

fn serves_nobody(seen: &Observation) -> bool {
    let cause = seen.attributes.cause;
    cause.is_some_and(|cause| cause.profile().serves_nobody)
}

/// The remedy by which a follower takes the lead: asked for when its time has come, and
/// never because it is its turn.
pub fn of(book: &Playbook) -> Option<&'static Remedy> {
    book.remedies.iter().find(|remedy| remedy.on == On::Leaders)
}
