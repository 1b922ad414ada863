//! Subjects that drover makes: written down with the operation that makes them, and
//! placed.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;

use super::operations::{self, NewOperation};
use super::plans::Plan;
use super::queue;
use super::subjects::decode;
use crate::model::{
    Cloud, Kind, OperationId, OperationKind, PublicId, Secret, SecretKey, State, SubjectId,
    TlsMode, Window,
};

/// The port of a server's first resource; each further one has the next.
pub const FIRST_PORT: u16 = 5432;

/// The role and the database that are drover's own on what it makes.
pub const OWN: &str = "drover";

/// A server that is wanted.
#[derive(Clone, Debug)]
pub struct WantedServer {
    /// Unique among live servers.
    pub name: String,
    /// Whose rules it goes by.
    pub tier: String,
    /// In which cloud.
    pub cloud: Cloud,
    /// In which region of it.
    pub region: String,
    /// In which zone; `None`: any.
    pub zone: Option<String>,
    /// The sizes that will do, the preferred one first.
    pub sizes: Vec<String>,
    /// GiB of its data volume.
    pub volume_gib: u32,
    /// Its type.
    pub volume_type: String,
    /// PostgreSQL's major version; `None`: what the distribution has.
    pub postgres: Option<u32>,
    /// The plan whose resources it is for.
    pub for_plan: Option<String>,
    /// Who asks.
    pub asked_by: String,
}

/// A resource that is wanted.
#[derive(Clone, Debug)]
pub struct WantedResource {
    /// Unique among live resources.
    pub name: String,
    /// What was bought.
    pub plan: Plan,
    /// In which cloud.
    pub cloud: Cloud,
    /// In which region of it.
    pub region: String,
    /// In which zone; `None`: any.
    pub zone: Option<String>,
    /// When it may be disturbed.
    pub window: Option<Window>,
    /// Password of drover's own role.
    pub own_password: Secret,
    /// The customer's password.
    pub customer_password: Secret,
    /// What its followers will log in with.
    pub replication_password: Secret,
    /// Who asks.
    pub asked_by: String,
}

/// Why nothing was written down.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Another live subject of this kind bears the name.
    #[error("the name is taken")]
    NameTaken(PublicId),
    /// There is no such tier.
    #[error("no such tier")]
    NoTier,
    /// Followers stand in other zones, and there are too few.
    #[error("{needed} zones are needed, and {zones} are known")]
    TooFewZones {
        /// One for the leader, one for each follower.
        needed: usize,
        /// As many as there are.
        zones: usize,
    },
    /// The secret could not be sealed.
    #[error(transparent)]
    Seal(#[from] crate::model::SealError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Writes a server down as `creating`, with its token and the operation that makes
/// it. Call it in a transaction.
///
/// # Errors
/// See [`CreateError`]; then roll back.
pub async fn server(
    db: &mut PgConnection,
    wanted: &WantedServer,
) -> Result<(SubjectId, OperationId), CreateError> {
    let id = insert_subject(db, Kind::Server, &wanted.name, &wanted.tier).await?;
    sqlx::query(
        "insert into servers (id, address, ssh_port, ssh_user, cloud, region, zone, size,
                              volume_gib, volume_type, for_plan)
         values ($1, '', 22, '', $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(id.to_string())
    .bind(wanted.cloud.as_str())
    .bind(&wanted.region)
    .bind(&wanted.zone)
    .bind(wanted.sizes.first())
    .bind(i32::try_from(wanted.volume_gib).unwrap_or(i32::MAX))
    .bind(&wanted.volume_type)
    .bind(&wanted.for_plan)
    .execute(&mut *db)
    .await?;
    queue::insert_token(db, id).await?;
    let new = NewOperation {
        subject: Some(id),
        kind: OperationKind::CreateServer,
        params: json!({
            "zone": wanted.zone,
            "sizes": wanted.sizes,
            "postgres": wanted.postgres,
        }),
        asked_by: wanted.asked_by.clone(),
        reason: None,
        not_before: None,
    };
    Ok((id, must_open(db, &new).await?))
}

/// Writes a resource down as `creating`, on the fullest server that has room for
/// it, or on a new one; with its token and the operation that makes it. Call it in a
/// transaction.
///
/// # Errors
/// See [`CreateError`]; then roll back.
pub async fn resource(
    db: &mut PgConnection,
    key: &SecretKey,
    wanted: &WantedResource,
) -> Result<(SubjectId, OperationId), CreateError> {
    let id = insert_subject(db, Kind::Resource, &wanted.name, &wanted.plan.tier).await?;
    let plan = &wanted.plan;
    let zones = zones_apart(db, wanted, id).await?;
    let at = WantedResource {
        zone: zones.first().cloned().or_else(|| wanted.zone.clone()),
        ..wanted.clone()
    };
    let server = place(db, &at).await?;
    let port: i32 = sqlx::query_scalar(
        "select coalesce(min(p), $2) from generate_series($2, 65000) as p
         where not exists (
             select from resources r join subjects s using (id)
             where r.server_id = $1 and r.port = p and s.forgotten_at is null)",
    )
    .bind(server.to_string())
    .bind(i32::from(FIRST_PORT))
    .fetch_one(&mut *db)
    .await?;
    // What the customer sees: a name of its own, that tells nothing and is nobody
    // else's on that server.
    let tail = id.to_string().to_ascii_lowercase();
    let tail = &tail[tail.len() - 10..];
    sqlx::query(
        "insert into resources (id, server_id, port, database, role, password, tls_mode, plan,
                                customer_role, customer_database, customer_password,
                                maintenance_window, durability, max_lag_bytes,
                                replication_password)
         values ($1, $2, $3, $4, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(id.to_string())
    .bind(server.to_string())
    .bind(port)
    .bind(OWN)
    .bind(key.seal(&wanted.own_password, &format!("{id}/password"))?)
    .bind(TlsMode::Require.as_str())
    .bind(&wanted.plan.name)
    .bind(format!("u_{tail}"))
    .bind(format!("d_{tail}"))
    .bind(key.seal(&wanted.customer_password, &format!("{id}/customer"))?)
    .bind(wanted.window.map(|w| w.to_string()))
    .bind(&plan.durability)
    .bind(plan.max_lag_bytes)
    .bind(key.seal(&wanted.replication_password, &format!("{id}/replication"))?)
    .execute(&mut *db)
    .await?;
    queue::insert_token(db, id).await?;
    let new = NewOperation {
        subject: Some(id),
        kind: OperationKind::CreateResource,
        params: json!({}),
        asked_by: wanted.asked_by.clone(),
        reason: None,
        not_before: None,
    };
    let operation = must_open(db, &new).await?;
    for (n, zone) in zones.iter().skip(1).enumerate() {
        let follower = WantedFollower {
            name: format!("{}-follower-{}", shorten(&wanted.name), n + 1),
            leader: id,
            plan: plan.clone(),
            sizes: plan.sizes_in(wanted.cloud).to_vec(),
            cloud: wanted.cloud,
            region: wanted.region.clone(),
            zone: zone.clone(),
            own_password: wanted.own_password.clone(),
            asked_by: wanted.asked_by.clone(),
        };
        follow(db, key, &follower).await?;
    }
    Ok((id, operation))
}

/// Room for what is put behind a name.
fn shorten(name: &str) -> &str {
    name.get(..48).unwrap_or(name)
}

/// The zones of a resource and of the followers that it has from its birth, each
/// another. None for a plan without followers.
async fn zones_apart(
    db: &mut PgConnection,
    wanted: &WantedResource,
    id: SubjectId,
) -> Result<Vec<String>, CreateError> {
    let count = usize::try_from(wanted.plan.followers).unwrap_or(0) + 1;
    if count == 1 {
        return Ok(vec![]);
    }
    let known: Option<Vec<String>> =
        sqlx::query_scalar("select zones from regions where cloud = $1 and name = $2")
            .bind(wanted.cloud.as_str())
            .bind(&wanted.region)
            .fetch_optional(db)
            .await?;
    let mut zones = known.unwrap_or_default();
    zones.sort();
    let first = id.to_string().bytes().map(usize::from).sum::<usize>();
    let most = zones.len().max(1);
    zones.rotate_left(first % most);
    if let Some(zone) = &wanted.zone {
        zones.retain(|other| other != zone);
        zones.insert(0, zone.clone());
    }
    if zones.len() < count {
        return Err(CreateError::TooFewZones {
            needed: count,
            zones: zones.len(),
        });
    }
    zones.truncate(count);
    Ok(zones)
}

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
    let tail = SubjectId::generate().to_string().to_ascii_lowercase();
    let new = WantedServer {
        name: format!("{}-{}", plan.name, &tail[tail.len() - 8..]),
        tier: plan.tier.clone(),
        cloud: wanted.cloud,
        region: wanted.region.clone(),
        zone: Some(wanted.zone.clone()),
        sizes: wanted.sizes.clone(),
        volume_gib: u32::try_from(plan.volume_gib).unwrap_or(1),
        volume_type: plan.volume_type.clone(),
        postgres: plan.postgres.and_then(|v| u32::try_from(v).ok()),
        for_plan: Some(plan.name.clone()),
        asked_by: wanted.asked_by.clone(),
    };
    let (server, _) = self::server(db, &new).await?;
    // What is the customer's comes with the leader's data, and is the leader's in the
    // record too.
    sqlx::query(
        "insert into resources (id, server_id, port, database, role, password, tls_mode, plan,
                                leader_id, customer_role, customer_database, maintenance_window,
                                durability, max_lag_bytes)
         select $1, $2, $3, database, role, $4, $5, plan, id, customer_role, customer_database,
                maintenance_window, durability, max_lag_bytes
         from resources where id = $6",
    )
    .bind(id.to_string())
    .bind(server.to_string())
    .bind(i32::from(FIRST_PORT))
    .bind(key.seal(&wanted.own_password, &format!("{id}/password"))?)
    .bind(TlsMode::Require.as_str())
    .bind(wanted.leader.to_string())
    .execute(&mut *db)
    .await?;
    queue::insert_token(db, id).await?;
    let new = NewOperation {
        subject: Some(id),
        kind: OperationKind::CreateFollower,
        params: json!({}),
        asked_by: wanted.asked_by.clone(),
        reason: None,
        not_before: None,
    };
    Ok((id, must_open(db, &new).await?))
}

/// The live followers of a resource, oldest first.
pub async fn followers_of(
    db: &mut PgConnection,
    leader: SubjectId,
) -> sqlx::Result<Vec<SubjectId>> {
    let pairs = followers(db, &[leader]).await?;
    Ok(pairs.into_iter().map(|(_, follower)| follower).collect())
}

/// The live followers of these resources, each behind its leader; the oldest first.
pub async fn followers(
    db: &mut PgConnection,
    leaders: &[SubjectId],
) -> sqlx::Result<Vec<(SubjectId, SubjectId)>> {
    let leaders: Vec<String> = leaders.iter().map(SubjectId::to_string).collect();
    let pairs: Vec<(String, String)> = sqlx::query_as(
        "select r.leader_id, r.id from resources r join subjects s using (id)
         where r.leader_id = any($1) and s.forgotten_at is null order by r.id",
    )
    .bind(leaders)
    .fetch_all(db)
    .await?;
    let pairs = pairs.into_iter();
    pairs
        .map(|(leader, follower)| Ok((decode(leader)?, decode(follower)?)))
        .collect()
}

/// The server that a resource goes on: of those made for its plan that are in
/// service or on their way, the fullest with room; else a new one. The choice stays
/// true until the transaction ends.
async fn place(db: &mut PgConnection, wanted: &WantedResource) -> Result<SubjectId, CreateError> {
    let plan = &wanted.plan;
    if plan.shared {
        // One placement at a time in a plan's region: two at once could both take the
        // last room. Server rows are locked too, against being destroyed.
        sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
            .bind(format!(
                "place {} {} {}",
                plan.name, wanted.cloud, wanted.region
            ))
            .execute(&mut *db)
            .await?;
        let found: Option<String> = sqlx::query_scalar(
            "select v.id from servers v join subjects s using (id)
             cross join lateral (
                 select count(*) as n from resources r join subjects rs on rs.id = r.id
                 where r.server_id = v.id and rs.forgotten_at is null) held
             where s.forgotten_at is null and s.origin = 'created'
               and s.state in ('creating', 'available')
               and v.for_plan = $1 and v.cloud = $2 and v.region = $3
               and ($4::text is null or v.zone = $4)
               and held.n < $5
               -- One whose own creation is stuck would take others along.
               and not exists (select from operations o
                               where o.subject_id = v.id and o.stuck_at is not null)
             order by held.n desc, v.id
             limit 1
             for update of s",
        )
        .bind(&plan.name)
        .bind(wanted.cloud.as_str())
        .bind(&wanted.region)
        .bind(&wanted.zone)
        .bind(i64::from(plan.per_server))
        .fetch_optional(&mut *db)
        .await?;
        if let Some(id) = found {
            return Ok(decode(id)?);
        }
    }
    let tail = SubjectId::generate().to_string().to_ascii_lowercase();
    let new = WantedServer {
        name: format!("{}-{}", plan.name, &tail[tail.len() - 8..]),
        tier: plan.tier.clone(),
        cloud: wanted.cloud,
        region: wanted.region.clone(),
        zone: wanted.zone.clone(),
        sizes: plan.sizes_in(wanted.cloud).to_vec(),
        volume_gib: u32::try_from(plan.volume_gib).unwrap_or(1),
        volume_type: plan.volume_type.clone(),
        postgres: plan.postgres.and_then(|v| u32::try_from(v).ok()),
        for_plan: Some(plan.name.clone()),
        asked_by: wanted.asked_by.clone(),
    };
    Ok(Box::pin(server(db, &new)).await?.0)
}

async fn must_open(db: &mut PgConnection, new: &NewOperation) -> Result<OperationId, CreateError> {
    let id = operations::open(db, new).await?;
    id.ok_or_else(|| sqlx::Error::Protocol("a new subject with an operation".into()).into())
}

async fn insert_subject(
    db: &mut PgConnection,
    kind: Kind,
    name: &str,
    tier: &str,
) -> Result<SubjectId, CreateError> {
    sqlx::query("select 1 from tiers where name = $1")
        .bind(tier)
        .fetch_optional(&mut *db)
        .await?
        .ok_or(CreateError::NoTier)?;
    let id = SubjectId::generate();
    let inserted = sqlx::query(
        "insert into subjects (id, kind, name, state, origin, tier)
         values ($1, $2, $3, 'creating', 'created', $4)
         on conflict (kind, name) where forgotten_at is null do nothing",
    )
    .bind(id.to_string())
    .bind(kind.as_str())
    .bind(name)
    .bind(tier)
    .execute(&mut *db)
    .await?;
    if inserted.rows_affected() == 1 {
        return Ok(id);
    }
    let taken: String = sqlx::query_scalar(
        "select id from subjects where kind = $1 and name = $2 and forgotten_at is null",
    )
    .bind(kind.as_str())
    .bind(name)
    .fetch_one(db)
    .await?;
    Err(CreateError::NameTaken(PublicId::new(kind, decode(taken)?)))
}

/// The sealed private host key of a server that has not got it yet.
pub async fn host_private_key(
    db: &mut PgConnection,
    server: SubjectId,
) -> sqlx::Result<Option<Vec<u8>>> {
    let found: Option<Option<Vec<u8>>> =
        sqlx::query_scalar("select host_private_key from servers where id = $1")
            .bind(server.to_string())
            .fetch_optional(db)
            .await?;
    Ok(found.flatten())
}

/// Whether the cloud may have been asked for this server: its creation came to the
/// step of this number.
pub async fn was_asked_for(
    db: &mut PgConnection,
    server: SubjectId,
    step: u16,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from operations
                        where subject_id = $1 and kind = 'create_server' and step >= $2)",
    )
    .bind(server.to_string())
    .bind(i16::try_from(step).unwrap_or(i16::MAX))
    .fetch_one(db)
    .await
}

/// Whether anything may have been made of a resource: its creation came further than
/// to wait for its server.
pub async fn was_begun(db: &mut PgConnection, resource: SubjectId) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from operations
                        where subject_id = $1 and step >= 1
                          and kind in ('create_resource', 'create_follower'))",
    )
    .bind(resource.to_string())
    .fetch_one(db)
    .await
}

/// Why a subject is not destroyed.
#[derive(Debug, thiserror::Error)]
pub enum DestroyError {
    /// There is no such live subject.
    #[error("no such subject")]
    NotFound,
    /// It was adopted: drover forgets it and never destroys it.
    #[error("it was adopted")]
    Adopted,
    /// A server still has resources: this many.
    #[error("the server still has {0} resources")]
    HasResources(i64),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Writes a subject down as `destroying`, with the operation that takes it away.
/// What was being done to it is given up. Asked again, it gives the operation that
/// there is. Call it in a transaction.
///
/// # Errors
/// See [`DestroyError`]; then roll back.
pub async fn destroy(
    db: &mut PgConnection,
    kind: Kind,
    id: SubjectId,
    asked_by: &str,
) -> Result<OperationId, DestroyError> {
    queue::hold_operation_tokens(db, id).await?;
    queue::hold_token(db, id).await?;
    let found: Option<(String, String)> = sqlx::query_as(
        "select state, origin from subjects
         where id = $1 and kind = $2 and forgotten_at is null for update",
    )
    .bind(id.to_string())
    .bind(kind.as_str())
    .fetch_optional(&mut *db)
    .await?;
    let (state, origin) = found.ok_or(DestroyError::NotFound)?;
    if origin != "created" {
        return Err(DestroyError::Adopted);
    }
    let what = match kind {
        Kind::Server => OperationKind::DestroyServer,
        Kind::Resource => OperationKind::DestroyResource,
    };
    let open = operations::open_of(db, id).await?;
    if let Some(open) = open.filter(|open| open.kind == what) {
        return Ok(open.id);
    }
    let resources: i64 = sqlx::query_scalar(
        "select count(*) from resources r join subjects s using (id)
         where r.server_id = $1 and s.forgotten_at is null",
    )
    .bind(id.to_string())
    .fetch_one(&mut *db)
    .await?;
    if resources > 0 {
        return Err(DestroyError::HasResources(resources));
    }
    // What follows it would follow nobody.
    for follower in followers_of(db, id).await? {
        match Box::pin(destroy(db, Kind::Resource, follower, asked_by)).await {
            Ok(_) | Err(DestroyError::NotFound) => {}
            Err(e) => return Err(e),
        }
    }
    operations::cancel_open(db, id, "it is to be destroyed").await?;
    let state: State = decode(state)?;
    operations::turn(
        db,
        id,
        state,
        State::Destroying,
        "it is to be destroyed",
        asked_by,
    )
    .await?;
    sqlx::query("update subjects set desired = 'absent' where id = $1")
        .bind(id.to_string())
        .execute(&mut *db)
        .await?;
    let new = NewOperation {
        subject: Some(id),
        kind: what,
        params: json!({}),
        asked_by: asked_by.to_owned(),
        reason: None,
        not_before: None,
    };
    let opened = operations::open(db, &new).await?;
    opened.ok_or_else(|| sqlx::Error::Protocol("two operations for one subject".into()).into())
}

/// Whether a server was made for a plan's resources and has none left.
pub async fn is_left_alone(db: &mut PgConnection, server: SubjectId) -> sqlx::Result<bool> {
    let found: Option<String> = sqlx::query_scalar(
        "select s.id from subjects s join servers v using (id)
         where s.id = $1 and s.origin = 'created' and s.forgotten_at is null
           and s.state <> 'destroying' and v.for_plan is not null
         for update of s",
    )
    .bind(server.to_string())
    .fetch_optional(&mut *db)
    .await?;
    if found.is_none() {
        return Ok(false);
    }
    sqlx::query_scalar(
        "select not exists (
             select from resources r join subjects s using (id)
             where r.server_id = $1 and s.forgotten_at is null)",
    )
    .bind(server.to_string())
    .fetch_one(db)
    .await
}

/// Whether a server has live resources beside this one.
pub async fn others_on(
    db: &mut PgConnection,
    server: SubjectId,
    resource: SubjectId,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (
             select from resources r join subjects s using (id)
             where r.server_id = $1 and r.id <> $2 and s.forgotten_at is null)",
    )
    .bind(server.to_string())
    .bind(resource.to_string())
    .fetch_one(db)
    .await
}

/// When the deployment's resources are disturbed that have no window of their own.
pub fn window_of(own: Option<Window>, now: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
    own.unwrap_or_default().next(now)
}
