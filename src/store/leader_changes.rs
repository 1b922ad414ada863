//! Changes of leader: append-only, written in the transaction of the change.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{FromRow, PgConnection};

use super::subjects::decode;
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
    id: String,
    created_at: DateTime<Utc>,
    kind: String,
    new_leader_id: String,
    old_leader_id: String,
    name: String,
    epoch: i64,
    new_address: String,
    new_port: i32,
    old_address: String,
    old_port: i32,
    operation_id: String,
    detail: Value,
}

impl Row {
    fn into_change(self) -> sqlx::Result<LeaderChange> {
        let node = |id: String, address: String, port: i32| -> sqlx::Result<Node> {
            Ok(Node {
                id: PublicId::new(Kind::Resource, decode(id)?),
                address,
                port: u16::try_from(port).unwrap_or_default(),
            })
        };
        Ok(LeaderChange {
            id: decode(self.id)?,
            at: self.created_at,
            kind: decode(self.kind)?,
            name: self.name,
            epoch: self.epoch,
            new_leader: node(self.new_leader_id, self.new_address, self.new_port)?,
            old_leader: node(self.old_leader_id, self.old_address, self.old_port)?,
            operation: decode(self.operation_id)?,
            detail: self.detail,
        })
    }
}

/// Writes a change down, behind what it tells of: name, epoch and addresses are the
/// record's. Until the transaction ends no other change is written, so that nobody who
/// reads on behind the newest ever misses an older one.
pub async fn write(db: &mut PgConnection, new: &NewChange<'_>) -> sqlx::Result<LeaderChange> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('leader_changes', 0))")
        .execute(&mut *db)
        .await?;
    // What is not said is no detail.
    let detail = match new.detail {
        Value::Object(_) => new.detail.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Value::Object(Default::default())
        }
    };
    let row: Row = sqlx::query_as(
        "insert into leader_changes (id, kind, new_leader_id, old_leader_id, name, epoch,
             new_address, new_port, old_address, old_port, operation_id, detail)
         select $1, $2, r.id, o.id, s.name, r.epoch,
                v.address, r.port, ov.address, o.port, $5, $6
         from resources r
         join subjects s on s.id = r.id
         join servers v on v.id = r.server_id
         join resources o on o.id = $4
         join servers ov on ov.id = o.server_id
         where r.id = $3
         returning *",
    )
    .bind(LeaderChangeId::generate().to_string())
    .bind(new.kind.as_str())
    .bind(new.new_leader.to_string())
    .bind(new.old_leader.to_string())
    .bind(new.operation.to_string())
    .bind(detail)
    .fetch_one(db)
    .await?;
    row.into_change()
}

/// Reads one change.
pub async fn load(db: &mut PgConnection, id: LeaderChangeId) -> sqlx::Result<Option<LeaderChange>> {
    let row: Option<Row> = sqlx::query_as("select * from leader_changes where id = $1")
        .bind(id.to_string())
        .fetch_optional(db)
        .await?;
    row.map(Row::into_change).transpose()
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
    let newest = "select * from leader_changes
         where ($1::text is null or new_leader_id = $1 or old_leader_id = $1)
           and ($2::text is null or seq < (select seq from leader_changes where id = $2))
         order by seq desc limit $3";
    let oldest = "select * from leader_changes
         where ($1::text is null or new_leader_id = $1 or old_leader_id = $1)
           and ($2::text is null or seq > (select seq from leader_changes where id = $2))
         order by seq limit $3";
    let sql = match page.order {
        Order::NewestFirst => newest,
        Order::OldestFirst => oldest,
    };
    let rows: Vec<Row> = sqlx::query_as(sql)
        .bind(page.resource.map(|id| id.to_string()))
        .bind(page.after.map(|id| id.to_string()))
        .bind(page.limit)
        .fetch_all(db)
        .await?;
    rows.into_iter().map(Row::into_change).collect()
}

/// The last change in which each of these took a lead or gave it away.
pub async fn last_of(
    db: &mut PgConnection,
    of: &[SubjectId],
) -> sqlx::Result<Vec<(SubjectId, LeaderChange)>> {
    #[derive(FromRow)]
    struct Last {
        of: String,
        #[sqlx(flatten)]
        change: Row,
    }
    let ids: Vec<String> = of.iter().map(SubjectId::to_string).collect();
    let rows: Vec<Last> = sqlx::query_as(
        "select wanted.id as of, c.* from unnest($1::text[]) as wanted (id)
         cross join lateral (
             select * from (
                 (select * from leader_changes where new_leader_id = wanted.id
                  order by seq desc limit 1)
                 union all
                 (select * from leader_changes where old_leader_id = wanted.id
                  order by seq desc limit 1)) both_sides
             order by seq desc limit 1) c",
    )
    .bind(ids)
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| Ok((decode(row.of)?, row.change.into_change()?)))
        .collect()
}
