//! Followers: written down with the operation that makes them.

use sqlx::{FromRow, PgConnection};

use super::{CreateError, FIRST_PORT, WantedServer, insert_subject, must_open, server};
use crate::model::{
    Cloud, Kind, OperationId, OperationKind, Secret, SecretKey, SubjectId, TlsMode,
};
use crate::store::operations::NewOperation;
use crate::store::plans::Plan;
use crate::store::queue;
use crate::store::statement::{rows, run, value};

/// A follower that is wanted.
#[derive(Clone, Debug)]
pub struct WantedFollower {
    /// Unique among live resources.
    pub name: String,
    /// Whom it follows.
    pub leader: SubjectId,
    /// What its leader is of.
    pub plan: Plan,
    /// The sizes that will do, the preferred one first.
    pub sizes: Vec<String>,
    /// In which cloud.
    pub cloud: Cloud,
    /// In which region of it.
    pub region: String,
    /// In which zone.
    pub zone: String,
    /// Password of drover's own role, which comes with the leader's data.
    pub own_password: Secret,
    /// Who asks.
    pub asked_by: String,
}

/// Writes a follower down as `creating`, on a server of its own; with its token and
/// the operation that makes it. Call it in a transaction.
///
/// # Errors
/// See [`CreateError`]; then roll back.
pub async fn follow(
    db: &mut PgConnection,
    key: &SecretKey,
    wanted: &WantedFollower,
) -> Result<(SubjectId, OperationId), CreateError> {
    let plan = &wanted.plan;
    let id = insert_subject(db, Kind::Resource, &wanted.name, &plan.tier).await?;
    let new = WantedServer {
        region: wanted.region.clone(),
        zone: Some(wanted.zone.clone()),
        sizes: wanted.sizes.clone(),
        asked_by: wanted.asked_by.clone(),
        ..WantedServer::of_plan(plan, wanted.cloud)
    };
    let (server, _) = server(db, &new).await?;
    // What is the customer's comes with the leader's data, and is the leader's in the
    // record too.
    let values = (
        id,
        server,
        i32::from(FIRST_PORT),
        key.seal(&wanted.own_password, &format!("{id}/password"))?,
        TlsMode::Require,
        wanted.leader,
    );
    let sql =
        "insert into resources (id, server_id, port, database, role, password, tls_mode, plan,
                                leader_id, customer_role, customer_database, maintenance_window,
                                durability, max_lag_bytes, epoch, epoch_by)
         select $1, $2, $3, database, role, $4, $5, plan, id, customer_role, customer_database,
                maintenance_window, durability, max_lag_bytes, epoch, epoch_by
         from resources where id = $6";
    run(db, sql, values).await?;
    queue::insert_token(db, id).await?;
    let new = NewOperation::new(id, OperationKind::CreateFollower, &wanted.asked_by);
    Ok((id, must_open(db, &new).await?))
}

/// A leader with followers on other servers.
#[derive(Clone, Debug)]
pub struct Led {
    /// Who.
    pub leader: SubjectId,
    /// Its name.
    pub name: String,
    /// Whether it could hand its lead over.
    pub ready: Ready,
}

/// Whether a leader and a follower of it are in service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ready {
    /// They are.
    Yes,
    /// One of them is uncertain, which will soon be found out.
    Perhaps,
    /// They are not.
    No,
}

/// The leaders on a server that have followers elsewhere.
pub async fn leaders_on(db: &mut PgConnection, server: SubjectId) -> sqlx::Result<Vec<Led>> {
    // A database on a dead server stays uncertain: that is not found out.
    let sql = "select r.id, s.name, s.state = 'available' and bool_or(fs.state = 'available'),
                      s.state in ('available', 'uncertain')
                          and v.state in ('available', 'uncertain')
                          and bool_or(fs.state in ('available', 'uncertain')
                                      and fv.state in ('available', 'uncertain'))
               from resources r join subjects s using (id) join subjects v on v.id = r.server_id
               join resources f on f.leader_id = r.id and f.server_id <> r.server_id
               join subjects fs on fs.id = f.id join subjects fv on fv.id = f.server_id
               where r.server_id = $1 and r.leader_id is null and s.forgotten_at is null
                 and s.state in ('available', 'uncertain', 'unavailable')
                 and fs.forgotten_at is null
                 and fs.state in ('available', 'uncertain', 'unavailable')
               group by r.id, s.name, s.state, v.state order by r.id";
    let rows: Vec<(SubjectId, String, bool, bool)> = rows(db, sql, [server]).await?;
    let led = |(leader, name, yes, perhaps)| Led {
        leader,
        name,
        ready: match (yes, perhaps) {
            (true, _) => Ready::Yes,
            (false, true) => Ready::Perhaps,
            (false, false) => Ready::No,
        },
    };
    Ok(rows.into_iter().map(led).collect())
}

/// The leader whose commits would wait for ever if this follower, which is made, went
/// away: one that is `sync` and stays, with no other follower that is made and stays.
pub async fn keeps_sync(
    db: &mut PgConnection,
    follower: SubjectId,
) -> sqlx::Result<Option<SubjectId>> {
    let sql = "select l.id from resources r
               join subjects rs on rs.id = r.id
               join resources l on l.id = r.leader_id join subjects s on s.id = l.id
               where r.id = $1 and l.durability = 'sync'
                 and rs.state in ('available', 'uncertain', 'unavailable')
                 and s.forgotten_at is null and s.state not in ('destroying', 'destroyed')
                 and not exists (
                     select from resources f join subjects fs on fs.id = f.id
                     where f.leader_id = l.id and f.id <> r.id and fs.forgotten_at is null
                       and fs.state in ('available', 'uncertain', 'unavailable')
                       and not exists (select from operations o
                                       where o.subject_id = f.id and o.state = 'open'
                                         and o.kind = 'unfollow'))";
    value(db, sql, [follower]).await
}

/// The live followers of a resource, oldest first.
pub async fn followers_of(
    db: &mut PgConnection,
    leader: SubjectId,
) -> sqlx::Result<Vec<SubjectId>> {
    let pairs = followers(db, &[leader]).await?;
    Ok(pairs.into_iter().map(|(_, follower)| follower).collect())
}

/// A follower and its leader, on two servers.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct Followed {
    /// Who leads.
    pub leader: SubjectId,
    /// Who follows it.
    pub follower: SubjectId,
}

/// The followers elsewhere of those leaders on this server that are not known to be down.
pub async fn followers_elsewhere(
    db: &mut PgConnection,
    server: SubjectId,
) -> sqlx::Result<Vec<Followed>> {
    let sql = "select l.id as leader, r.id as follower
               from resources l join subjects ls on ls.id = l.id
               join resources r on r.leader_id = l.id join subjects s on s.id = r.id
               where l.server_id = $1 and l.leader_id is null and r.server_id <> $1
                 and ls.state in ('available', 'uncertain') and ls.forgotten_at is null
                 and s.state in ('available', 'uncertain') and s.forgotten_at is null
               order by r.id limit 20";
    rows(db, sql, [server]).await
}

/// The live followers of these resources, each behind its leader; the oldest first.
pub async fn followers(
    db: &mut PgConnection,
    leaders: &[SubjectId],
) -> sqlx::Result<Vec<(SubjectId, SubjectId)>> {
    let sql = "select r.leader_id, r.id from resources r join subjects s using (id)
               where r.leader_id = any($1) and s.forgotten_at is null order by r.id";
    rows(db, sql, [leaders]).await
}
