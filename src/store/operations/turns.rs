//! Whose turn it is at a subject, and who keeps whom off.

use sqlx::PgConnection;

use super::failover::told;
use super::note;
use crate::model::{IncidentId, Note, Operation, OperationId, OperationKind, SubjectId};
use crate::store::statement::{row, run};

/// The open operation of a subject that keeps a person from asking for one of this kind:
/// one that somebody has asked for and that does not wait for its window, or is of the
/// same kind; and whatever changes whom it follows, whoever has asked for it.
pub async fn in_the_way(
    db: &mut PgConnection,
    subject: SubjectId,
    kind: OperationKind,
) -> sqlx::Result<Option<Operation>> {
    let values = (
        subject,
        kind,
        OperationKind::names_where(|kind| kind.moves_lead || kind.remakes_follower),
    );
    let sql = "select * from operations
               where subject_id = $1 and state = 'open'
                 and (incident_id is null
                          and (at_work or not_before is null or not_before <= now() or kind = $2)
                      or kind = any($3))
               order by at_work desc, id limit 1";
    row(db, sql, values).await
}

/// Whose turn it is at a subject.
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    /// This operation's.
    Ours,
    /// That of another one, which is as pressing or more so: what it does, for people.
    Behind(String),
}

/// Makes it an operation's turn at its subject, for as long as it takes. One that is at
/// work there and is less pressing is paused between two of its steps, and goes on
/// afterwards. The subject's lease must be held: then none of its steps is under way.
pub async fn claim(db: &mut PgConnection, operation: &Operation) -> sqlx::Result<Claim> {
    if operation.at_work {
        return Ok(Claim::Ours);
    }
    let sql = "select * from operations
               where coalesce(subject_id, kind) = coalesce($1, $2) and at_work for update";
    let other: Option<Operation> = row(db, sql, (operation.subject, operation.kind)).await?;
    if let Some(other) = other {
        // One that is stuck leaves the field to others.
        if other.lane >= operation.lane && other.stuck_at.is_none() {
            let words = other.kind.profile().words;
            return Ok(Claim::Behind(format!(
                "it {words} first ({})",
                other.id.public()
            )));
        }
        set_at_work(db, other.id, false).await?;
        let text = format!(
            "paused: {} ({}) goes first",
            operation.kind,
            operation.id.public()
        );
        note(db, other.id, "drover", &Note::new("paused", text)).await?;
    }
    set_at_work(db, operation.id, true).await?;
    Ok(Claim::Ours)
}

/// Whether somebody has paused it is seen by its `revision`.
async fn set_at_work(db: &mut PgConnection, id: OperationId, at_work: bool) -> sqlx::Result<()> {
    let sql = "update operations set at_work = $2, revision = revision + 1
               where id = $1 and state = 'open'";
    run(db, sql, (id, at_work)).await
}

/// Whether an operation is at work at this subject, or at its server, that keeps it
/// from answering, or one that changes the leader of what it belongs to: resolvers rest
/// meanwhile. One that is stuck is tried once a minute at most, and leaves the field to
/// them, unless it has told somebody to lead; and so does a failover that has nobody yet who
/// could lead. Gives the words for people.
///
/// What an incident has asked for is its own matter, unless it was planned for a window or
/// changes whom somebody follows; what `own` has asked for does not keep `own` off.
pub async fn disturbing(
    db: &mut PgConnection,
    subject: SubjectId,
    own: IncidentId,
) -> sqlx::Result<Option<Disturbed>> {
    let values = (
        subject,
        OperationKind::names_where(|kind| kind.disturbs),
        OperationKind::names_where(|kind| kind.moves_lead),
        own,
        OperationKind::names_where(|kind| kind.moves_lead || kind.remakes_follower),
    );
    let sql = concat!(
        "select o.kind, s.name, o.lane from operations o join subjects s on s.id = o.subject_id
         where o.state = 'open' and (o.stuck_at is null or ",
        told!(),
        ") and o.kind = any($2)
           and (o.not_before is null or o.not_before <= now())
           and (o.kind <> 'failover' or o.step > 0)
           and o.incident_id is distinct from $4
           and (o.incident_id is null or o.not_before is not null or o.kind = any($5))
           and (o.subject_id in ($1, (select server_id from resources where id = $1))
                or o.kind = any($3) and o.subject_id in (
                    select n.id from resources r
                    join resources n on n.id = r.leader_id or n.leader_id = r.leader_id
                    where r.id = $1)
                or o.kind = 'failover'
                   and o.subject_id in (select id from resources where server_id = $1))
         order by s.kind desc limit 1"
    );
    let found: Option<(OperationKind, String, i16)> = row(db, sql, values).await?;
    Ok(found.map(|(kind, name, lane)| Disturbed {
        words: format!("{name} {}", kind.profile().words),
        lane: lane.into(),
    }))
}

/// What keeps a subject from answering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disturbed {
    /// For people: `db-1 is being restarted`.
    pub words: String,
    /// How pressing it is.
    pub lane: i32,
}
