//! Failover in the record: which leaders a follower may take over from, and how it gets
//! its way.

use serde_json::Value;
use sqlx::PgConnection;

use super::{NewOperation, Remedy, end, open_for, open_of};
use crate::model::{Operation, OperationId, OperationKind, OperationState, SubjectId};
use crate::store::leases;
use crate::store::statement::{column, only_value, row, rows, value};

/// A leader that has followers, and no failover at work.
#[derive(Clone, Copy, Debug)]
pub struct Leader {
    /// The resource.
    pub id: SubjectId,
    /// Whether it was seen in service when it was last looked at.
    pub answers: bool,
    /// How long it may be mended before a follower takes its lead.
    pub patience: std::time::Duration,
}

/// The leaders that are this subject, or on it, and have a follower that is not just being made
/// to follow, and has not just lost its lead: that would only be waited for, while it waits for
/// its leader. Whether one can lead
/// is asked of itself; what was felt of it may be no more than that its connections are used up.
pub async fn leaders_at(db: &mut PgConnection, subject: SubjectId) -> sqlx::Result<Vec<Leader>> {
    let sql = "select r.id, s.state = 'available', p.failover_patience_s
         from resources r join subjects s using (id) join plans p on p.name = r.plan
         where (r.id = $1 or r.server_id = $1) and r.leader_id is null
           and s.state in ('available', 'uncertain', 'unavailable') and s.forgotten_at is null
           and exists (select from resources f join subjects fs on fs.id = f.id
                       where f.leader_id = r.id and fs.forgotten_at is null
                         and fs.state in ('available', 'uncertain', 'unavailable')
                         and not exists (select from operations o
                                         where o.subject_id = f.id and o.state = 'open'
                                           and o.kind = any($2)))
           and not exists (select from operations o
                           where o.subject_id = r.id and o.kind = 'failover' and o.state = 'open')
         order by r.id";
    let remakes = OperationKind::names_where(|kind| kind.remakes_follower || kind.moves_lead);
    let found: Vec<(SubjectId, bool, i32)> = rows(db, sql, (subject, remakes)).await?;
    let leader = |(id, answers, seconds)| {
        let seconds = u64::try_from(seconds).unwrap_or_default();
        Leader {
            id,
            answers,
            patience: std::time::Duration::from_secs(seconds),
        }
    };
    Ok(found.into_iter().map(leader).collect())
}

/// Opens a failover of this leader. What is at work there gives way, whatever it is, but
/// for another failover and for a switchover whose follower has begun to lead: that one
/// is given instead. Call it in a transaction, with the tokens of the leader's operations
/// held ([`crate::store::queue::hold_operation_tokens`]).
pub async fn open_failover(
    db: &mut PgConnection,
    leader: SubjectId,
    params: Value,
    asked_by: &str,
    reason: Option<&str>,
    remedy: Option<Remedy<'_>>,
) -> sqlx::Result<Result<OperationId, Box<Operation>>> {
    let open = open_of(db, leader).await?;
    if let Some(other) = open.iter().find(|other| !gives_way(other)) {
        return Ok(Err(Box::new(other.clone())));
    }
    for other in open {
        let text = "given up: its leader is gone, and a failover goes first";
        end(db, other.id, OperationState::Cancelled, "drover", text).await?;
    }
    leases::break_for(db, leader).await?;
    let new = NewOperation {
        params,
        reason: reason.map(str::to_owned),
        ..NewOperation::new(leader, OperationKind::Failover, asked_by)
    };
    let opened = match remedy {
        Some(remedy) => Some(open_for(db, &new, remedy).await?),
        None => super::open(db, &new).await?,
    };
    match opened {
        Some(id) => Ok(Ok(id)),
        None => Err(sqlx::Error::Protocol(
            "an operation that was given up is open".into(),
        )),
    }
}

/// Whether an operation at a leader may be given up for a failover. A switchover may until it
/// has told somebody to lead: then it comes to its end without the leader.
fn gives_way(open: &Operation) -> bool {
    open.kind.profile().gives_way && open.memo["told"] != true
}

/// Whether an open operation `o` has told somebody to take its subject's lead, and the record
/// does not say yet that they did: they may be leading, and that they do is no fault of theirs.
macro_rules! told {
    () => {
        "(case o.kind when 'failover' then jsonb_array_length(o.memo -> 'told') > 0
                      when 'switchover' then o.memo -> 'told' = 'true'
                      else false end
          and exists (select from resources led
                      where led.id = o.subject_id and led.leader_id is null))"
    };
}
pub(super) use told;

/// Whether a failover is at work at one of a server's databases: nobody touches the
/// server meanwhile. One that has nobody yet who could lead keeps nobody off, nor does one that
/// is stuck, unless somebody was told to lead.
pub async fn at_work_on(db: &mut PgConnection, server: SubjectId) -> sqlx::Result<bool> {
    let sql = concat!(
        "select exists (
             select from operations o join resources r on r.id = o.subject_id
             where r.server_id = $1 and o.state = 'open'
               and (o.kind = 'failover' and o.step > 0 and o.stuck_at is null or ",
        told!(),
        "))"
    );
    only_value(db, sql, [server]).await
}

/// The operation, but for this one, that has told somebody to take the lead of this leader.
pub async fn told_to_lead(
    db: &mut PgConnection,
    leader: SubjectId,
    but: OperationId,
) -> sqlx::Result<Option<OperationId>> {
    let sql = concat!(
        "select o.id from operations o
         where o.subject_id = $1 and o.id <> $2 and o.state = 'open' and ",
        told!(),
        " limit 1"
    );
    value(db, sql, (leader, but)).await
}

/// Who led before this leader and was not stopped yet, if its lead was taken over without that:
/// its name. Nobody, once it is stopped, or gone.
pub async fn may_live(db: &mut PgConnection, leader: SubjectId) -> sqlx::Result<Option<String>> {
    let sql = "select s.name from operations o
               join resources r on r.id = o.subject_id join subjects s on s.id = r.id
               where r.leader_id = $1 and o.state = 'open' and s.forgotten_at is null
                 and (o.kind = 'failover' or o.kind = 'rebuild'
                      and o.params -> 'may_live' = 'true'
                      and o.memo -> 'stopped' is distinct from 'true')
               order by o.id limit 1";
    value(db, sql, [leader]).await
}

/// The numbers of a leader's timelines, as far as drover has given them; 0: none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timelines {
    /// The highest that it or its followers were given.
    pub newest: u32,
    /// The one that it leads on.
    pub leads_on: u32,
}

/// Those of this leader.
pub async fn timelines(db: &mut PgConnection, leader: SubjectId) -> sqlx::Result<Timelines> {
    let sql = "select coalesce(newest_timeline, 0), coalesce(timeline, 0)
               from resources where id = $1";
    let found: Option<(i64, i64)> = row(db, sql, [leader]).await?;
    let (newest, leads_on) = found.unwrap_or_default();
    let number = |number: i64| u32::try_from(number).unwrap_or_default();
    Ok(Timelines {
        newest: number(newest),
        leads_on: number(leads_on),
    })
}

/// Those of these resources that something is being done with that makes or unmakes
/// followers of them: none of them should lead just now.
pub async fn in_hands(db: &mut PgConnection, ids: &[SubjectId]) -> sqlx::Result<Vec<SubjectId>> {
    let values = (
        ids,
        OperationKind::names_where(|kind| kind.remakes_follower),
    );
    let sql = "select subject_id from operations
               where state = 'open' and subject_id = any($1) and kind = any($2)";
    column(db, sql, values).await
}
