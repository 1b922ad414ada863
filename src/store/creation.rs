//! Subjects that drover makes: written down with the operation that makes them, and
//! placed.

mod destruction;
mod followers;

use serde_json::json;
use sqlx::PgConnection;

use super::operations::{self, NewOperation};
use super::plans::Plan;
use super::queue;
use super::statement::{only_value, run, value};
use super::subjects::{self, Inserted};
use crate::model::{
    Cloud, Durability, Kind, OperationId, OperationKind, Origin, PublicId, Secret, SecretKey,
    State, SubjectId, TlsMode, Window,
};

pub use destruction::{DestroyError, destroy, is_left_alone, others_on, was_asked_for, was_begun};
pub use followers::{
    Led, Ready, WantedFollower, follow, followers, followers_elsewhere, followers_of, keeps_sync,
    leaders_on,
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

impl WantedServer {
    /// One for a plan's resources; where in the cloud, and who asks, is to be filled in.
    fn of_plan(plan: &Plan, cloud: Cloud) -> Self {
        let tail = SubjectId::generate().to_string().to_ascii_lowercase();
        Self {
            name: format!("{}-{}", plan.name, &tail[tail.len() - 8..]),
            tier: plan.tier.clone(),
            cloud,
            region: String::new(),
            zone: None,
            sizes: plan.sizes_in(cloud).to_vec(),
            volume_gib: u32::try_from(plan.volume_gib).unwrap_or(1),
            volume_type: plan.volume_type.clone(),
            postgres: plan.postgres.and_then(|v| u32::try_from(v).ok()),
            for_plan: Some(plan.name.clone()),
            asked_by: String::new(),
        }
    }
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
    /// What its commits wait for.
    pub durability: Durability,
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
    let values = (
        id,
        wanted.cloud,
        &wanted.region,
        &wanted.zone,
        wanted.sizes.first(),
        i32::try_from(wanted.volume_gib).unwrap_or(i32::MAX),
        &wanted.volume_type,
        &wanted.for_plan,
    );
    let sql = "insert into servers (id, address, ssh_port, ssh_user, cloud, region, zone, size,
                                    volume_gib, volume_type, for_plan)
               values ($1, '', 22, '', $2, $3, $4, $5, $6, $7, $8)";
    run(db, sql, values).await?;
    queue::insert_token(db, id).await?;
    let new = NewOperation {
        params: json!({
            "zone": wanted.zone,
            "sizes": wanted.sizes,
            "postgres": wanted.postgres,
        }),
        ..NewOperation::new(id, OperationKind::CreateServer, &wanted.asked_by)
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
    let sql = "select coalesce(min(p), $2) from generate_series($2, 65000) as p
               where not exists (
                   select from resources r join subjects s using (id)
                   where r.server_id = $1 and r.port = p and s.forgotten_at is null)";
    let port: i32 = only_value(db, sql, (server, i32::from(FIRST_PORT))).await?;
    // What the customer sees: a name of its own, that tells nothing and is nobody
    // else's on that server.
    let tail = id.to_string().to_ascii_lowercase();
    let tail = &tail[tail.len() - 10..];
    let values = (
        id,
        server,
        port,
        OWN,
        key.seal(&wanted.own_password, &format!("{id}/password"))?,
        TlsMode::Require,
        &wanted.plan.name,
        format!("u_{tail}"),
        format!("d_{tail}"),
        key.seal(&wanted.customer_password, &format!("{id}/customer"))?,
        wanted.window,
        wanted.durability,
        plan.max_lag_bytes,
        key.seal(&wanted.replication_password, &format!("{id}/replication"))?,
    );
    let sql =
        "insert into resources (id, server_id, port, database, role, password, tls_mode, plan,
                                customer_role, customer_database, customer_password,
                                maintenance_window, durability, max_lag_bytes,
                                replication_password)
         values ($1, $2, $3, $4, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
    run(db, sql, values).await?;
    queue::insert_token(db, id).await?;
    let new = NewOperation::new(id, OperationKind::CreateResource, &wanted.asked_by);
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
    let sql = "select zones from regions where cloud = $1 and name = $2";
    let known: Option<Vec<String>> = value(db, sql, (wanted.cloud, &wanted.region)).await?;
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

/// The server that a resource goes on: of those made for its plan that are in
/// service or on their way, the fullest with room; else a new one. The choice stays
/// true until the transaction ends.
async fn place(db: &mut PgConnection, wanted: &WantedResource) -> Result<SubjectId, CreateError> {
    let plan = &wanted.plan;
    if plan.shared {
        // One placement at a time in a plan's region: two at once could both take the
        // last room. Server rows are locked too, against being destroyed.
        let what = format!("place {} {} {}", plan.name, wanted.cloud, wanted.region);
        super::one_at_a_time(db, &what).await?;
        let values = (
            &plan.name,
            wanted.cloud,
            &wanted.region,
            &wanted.zone,
            i64::from(plan.per_server),
        );
        let sql = "select v.id from servers v join subjects s using (id)
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
                   for update of s";
        let found: Option<SubjectId> = value(db, sql, values).await?;
        if let Some(id) = found {
            return Ok(id);
        }
    }
    let new = WantedServer {
        region: wanted.region.clone(),
        zone: wanted.zone.clone(),
        asked_by: wanted.asked_by.clone(),
        ..WantedServer::of_plan(plan, wanted.cloud)
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
    let begins = (State::Creating, Origin::Created);
    match subjects::insert(db, kind, name, tier, begins).await? {
        Inserted::New(id) => Ok(id),
        Inserted::NoTier => Err(CreateError::NoTier),
        Inserted::NameTaken(by) => Err(CreateError::NameTaken(PublicId::new(kind, by))),
    }
}

/// The sealed private host key of a server that has not got it yet.
pub async fn host_private_key(
    db: &mut PgConnection,
    server: SubjectId,
) -> sqlx::Result<Option<Vec<u8>>> {
    let sql = "select host_private_key from servers where id = $1";
    let found: Option<Option<Vec<u8>>> = value(db, sql, [server]).await?;
    Ok(found.flatten())
}
