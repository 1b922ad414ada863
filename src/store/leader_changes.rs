//! Changes of leader: append-only, written in the transaction of the change.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{FromRow, PgConnection};

use super::statement::{only_row, row, rows};
use crate::model::{
    Kind, LeaderChange, LeaderChangeId, LeaderChangeKind, Node, OperationId, PublicId, SubjectId,
};

/// A change to be written down.
#[derive(Clone, Debug)]
pub struct NewChange<'a> {
    /// How.
    pub kind: LeaderChangeKind,
    /// Who leads, as the record has it by now.
    pub new_leader: SubjectId,
    /// Who led.
    pub old_leader: SubjectId,
    /// What did it.
    pub operation: OperationId,
    /// What more is to be told of it; never a secret.
    pub detail: &'a Value,
}

#[derive(FromRow)]
struct Row {
    id: LeaderChangeId,
    created_at: DateTime<Utc>,
    kind: LeaderChangeKind,
    new_leader_id: SubjectId,
    old_leader_id: SubjectId,
    name: String,
    epoch: i64,
    new_address: String,
    #[sqlx(try_from = "i32")]
    new_port: u16,
    old_address: String,
    #[sqlx(try_from = "i32")]
    old_port: u16,
    operation_id: OperationId,
    detail: Value,
}

impl From<Row> for LeaderChange {
    fn from(row: Row) -> Self {
        let node = |id, address, port| Node {
            id: PublicId::new(Kind::Resource, id),
            address,
            port,
        };
        Self {
            id: row.id,
            at: row.created_at,
            kind: row.kind,
            name: row.name,
            epoch: row.epoch,
            new_leader: node(row.new_leader_id, row.new_address, row.new_port),
            old_leader: node(row.old_leader_id, row.old_address, row.old_port),
            operation: row.operation_id,
            detail: row.detail,
        }
    }
}

/// Writes a change down, behind what it tells of: name, epoch and addresses are the
/// record's. Until the transaction ends no other change is written, so that nobody who
/// reads on behind the newest ever misses an older one.
pub async fn write(db: &mut PgConnection, new: &NewChange<'_>) -> sqlx::Result<LeaderChange> {
    super::one_at_a_time(db, "leader_changes").await?;
    // What is not said is no detail.
    let detail = match new.detail {
        Value::Object(_) => new.detail.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Value::Object(Default::default())
        }
    };
    let values = (
        LeaderChangeId::generate(),
        new.kind,
        new.new_leader,
        new.old_leader,
        new.operation,
        detail,
    );
    let sql = "insert into leader_changes (id, kind, new_leader_id, old_leader_id, name, epoch,
                   new_address, new_port, old_address, old_port, operation_id, detail)
               select $1, $2, r.id, o.id, s.name, r.epoch,
                      v.address, r.port, ov.address, o.port, $5, $6
               from resources r
               join subjects s on s.id = r.id
               join servers v on v.id = r.server_id
               join resources o on o.id = $4
               join servers ov on ov.id = o.server_id
               where r.id = $3
               returning *";
    let row: Row = only_row(db, sql, values).await?;
    Ok(row.into())
}

/// Reads one change.
pub async fn load(db: &mut PgConnection, id: LeaderChangeId) -> sqlx::Result<Option<LeaderChange>> {
    let row: Option<Row> = row(db, "select * from leader_changes where id = $1", [id]).await?;
    Ok(row.map(LeaderChange::from))
}

/// Which end of a listing comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The newest.
    NewestFirst,
    /// The oldest.
    OldestFirst,
}

/// A page of a listing.
#[derive(Clone, Debug)]
pub struct Page {
    /// Only those in which this resource took a lead or gave it away.
    pub resource: Option<SubjectId>,
    /// From which end.
    pub order: Order,
    /// Only those behind this one, in that order.
    pub after: Option<LeaderChangeId>,
    /// At most this many.
    pub limit: i64,
}

/// Lists changes.
pub async fn list(db: &mut PgConnection, page: &Page) -> sqlx::Result<Vec<LeaderChange>> {
    let (behind, order) = match page.order {
        Order::NewestFirst => ("<", "desc"),
        Order::OldestFirst => (">", "asc"),
    };
    let sql = sqlx::AssertSqlSafe(format!(
        "select * from leader_changes
         where ($1::text is null or new_leader_id = $1 or old_leader_id = $1)
           and ($2::text is null
                or seq {behind} (select seq from leader_changes where id = $2))
         order by seq {order} limit $3"
    ));
    let rows: Vec<Row> = rows(db, sql, (page.resource, page.after, page.limit)).await?;
    Ok(rows.into_iter().map(LeaderChange::from).collect())
}

/// The last change in which each of these took a lead or gave it away.
pub async fn last_of(
    db: &mut PgConnection,
    of: &[SubjectId],
) -> sqlx::Result<Vec<(SubjectId, LeaderChange)>> {
    #[derive(FromRow)]
    struct Last {
        of: SubjectId,
        #[sqlx(flatten)]
        change: Row,
    }
    let sql = "select wanted.id as of, c.* from unnest($1::text[]) as wanted (id)
               cross join lateral (
                   select * from (
                       (select * from leader_changes where new_leader_id = wanted.id
                        order by seq desc limit 1)
                       union all
                       (select * from leader_changes where old_leader_id = wanted.id
                        order by seq desc limit 1)) both_sides
                   order by seq desc limit 1) c";
    let rows: Vec<Last> = rows(db, sql, [of]).await?;
    let last = rows.into_iter();
    Ok(last.map(|row| (row.of, row.change.into())).collect())
}
