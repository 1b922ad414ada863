//! Subjects, with the servers and resources beside them.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use super::queue;
use crate::model::{
    Cloud, Customer, DataVolume, Kind, Origin, Resource, Secret, SecretKey, Server, State, Subject,
    SubjectId, TlsMode, Window,
};

/// A server to be adopted.
#[derive(Clone, Debug)]
pub struct NewServer {
    /// Unique among live servers.
    pub name: String,
    /// Whose rules it goes by.
    pub tier: String,
    /// IP address or host name.
    pub address: String,
    /// Port of its sshd.
    pub ssh_port: u16,
    /// Whom to log in as.
    pub ssh_user: String,
    /// Private key; `None`: the deployment's own.
    pub ssh_key: Option<Secret>,
    /// The host key to pin; `None`: whichever the first contact shows.
    pub host_key: Option<String>,
    /// Its cloud and what that calls it.
    pub instance: Option<(Cloud, String)>,
    /// Availability zone.
    pub zone: Option<String>,
}

/// A resource to be adopted.
#[derive(Clone, Debug)]
pub struct NewResource {
    /// Unique among live resources.
    pub name: String,
    /// Whose rules it goes by.
    pub tier: String,
    /// The server it is on.
    pub server_id: SubjectId,
    /// Port PostgreSQL listens on.
    pub port: u16,
    /// Database to connect to.
    pub database: String,
    /// Role to connect as.
    pub role: String,
    /// Its password.
    pub password: Secret,
    /// How connections use TLS.
    pub tls_mode: TlsMode,
    /// PEM of the authorities `verify-full` trusts.
    pub tls_root_cert: Option<String>,
    /// What was bought.
    pub plan: String,
}

/// Why an adoption changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// It is in the herd already.
    #[error("it is already in the herd")]
    Duplicate(SubjectId),
    /// Another live subject of this kind bears the name.
    #[error("the name is taken")]
    NameTaken(SubjectId),
    /// There is no such live server.
    #[error("no such server")]
    NoServer,
    /// There is no such tier.
    #[error("no such tier")]
    NoTier,
    /// The secret could not be sealed.
    #[error(transparent)]
    Seal(#[from] crate::model::SealError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Why a subject was not forgotten.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// There is no such live subject.
    #[error("no such subject")]
    NotFound,
    /// A server still has resources: this many.
    #[error("the server still has {0} resources")]
    HasResources(i64),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Takes a server into the herd, with its token. Call it in a transaction.
///
/// # Errors
/// See [`AdoptError`]; then roll back.
pub async fn adopt_server(
    db: &mut PgConnection,
    key: &SecretKey,
    new: &NewServer,
) -> Result<SubjectId, AdoptError> {
    one_at_a_time(db, &format!("server {}:{}", new.address, new.ssh_port)).await?;
    let same: Option<String> = sqlx::query_scalar(
        "select v.id from servers v join subjects s using (id)
         where s.forgotten_at is null and v.address = $1 and v.ssh_port = $2",
    )
    .bind(&new.address)
    .bind(i32::from(new.ssh_port))
    .fetch_optional(&mut *db)
    .await?;
    if let Some(id) = same {
        return Err(AdoptError::Duplicate(decode(id)?));
    }
    let id = insert_subject(db, Kind::Server, &new.name, &new.tier).await?;
    let ssh_key = match &new.ssh_key {
        Some(plain) => Some(key.seal(plain, &format!("{id}/ssh_key"))?),
        None => None,
    };
    let (cloud, instance_id) = match &new.instance {
        Some((cloud, instance)) => (Some(cloud.as_str()), Some(instance.as_str())),
        None => (None, None),
    };
    sqlx::query(
        "insert into servers
             (id, address, ssh_port, ssh_user, ssh_key, host_key, cloud, instance_id, zone)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(id.to_string())
    .bind(&new.address)
    .bind(i32::from(new.ssh_port))
    .bind(&new.ssh_user)
    .bind(ssh_key)
    .bind(&new.host_key)
    .bind(cloud)
    .bind(instance_id)
    .bind(&new.zone)
    .execute(&mut *db)
    .await?;
    queue::insert_token(db, id).await?;
    Ok(id)
}

/// Takes a resource into the herd, with its token. Call it in a transaction.
///
/// # Errors
/// See [`AdoptError`]; then roll back.
pub async fn adopt_resource(
    db: &mut PgConnection,
    key: &SecretKey,
    new: &NewResource,
) -> Result<SubjectId, AdoptError> {
    // The lock keeps the server from being forgotten until this commits.
    sqlx::query(
        "select 1 from subjects
         where id = $1 and kind = 'server' and forgotten_at is null
           and state <> 'destroying' for key share",
    )
    .bind(new.server_id.to_string())
    .fetch_optional(&mut *db)
    .await?
    .ok_or(AdoptError::NoServer)?;
    let place = format!("resource {}:{}/{}", new.server_id, new.port, new.database);
    one_at_a_time(db, &place).await?;
    let same: Option<String> = sqlx::query_scalar(
        "select r.id from resources r join subjects s using (id)
         where s.forgotten_at is null and r.server_id = $1 and r.port = $2 and r.database = $3",
    )
    .bind(new.server_id.to_string())
    .bind(i32::from(new.port))
    .bind(&new.database)
    .fetch_optional(&mut *db)
    .await?;
    if let Some(id) = same {
        return Err(AdoptError::Duplicate(decode(id)?));
    }
    let id = insert_subject(db, Kind::Resource, &new.name, &new.tier).await?;
    sqlx::query(
        "insert into resources
             (id, server_id, port, database, role, password, tls_mode, tls_root_cert, plan)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(id.to_string())
    .bind(new.server_id.to_string())
    .bind(i32::from(new.port))
    .bind(&new.database)
    .bind(&new.role)
    .bind(key.seal(&new.password, &format!("{id}/password"))?)
    .bind(new.tls_mode.as_str())
    .bind(&new.tls_root_cert)
    .bind(&new.plan)
    .execute(&mut *db)
    .await?;
    queue::insert_token(db, id).await?;
    Ok(id)
}

/// Two adoptions of the same thing at once: the second waits, and then finds the
/// first's row.
async fn one_at_a_time(db: &mut PgConnection, place: &str) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(place)
        .execute(db)
        .await?;
    Ok(())
}

/// An adopted subject starts uncertain: nobody has seen it yet.
async fn insert_subject(
    db: &mut PgConnection,
    kind: Kind,
    name: &str,
    tier: &str,
) -> Result<SubjectId, AdoptError> {
    sqlx::query("select 1 from tiers where name = $1")
        .bind(tier)
        .fetch_optional(&mut *db)
        .await?
        .ok_or(AdoptError::NoTier)?;
    let id = SubjectId::generate();
    let inserted = sqlx::query(
        "insert into subjects (id, kind, name, state, origin, tier)
         values ($1, $2, $3, 'uncertain', 'adopted', $4)
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
    Err(AdoptError::NameTaken(decode(taken)?))
}

/// Forgets a subject: its token goes, its record stays. Nothing in the world is
/// touched. Call it in a transaction.
///
/// # Errors
/// See [`ForgetError`]; then roll back.
pub async fn forget(db: &mut PgConnection, kind: Kind, id: SubjectId) -> Result<(), ForgetError> {
    queue::hold_operation_tokens(db, id).await?;
    queue::hold_token(db, id).await?;
    queue::hold_incident_tokens(db, id).await?;
    sqlx::query(
        "select 1 from subjects where id = $1 and kind = $2 and forgotten_at is null for update",
    )
    .bind(id.to_string())
    .bind(kind.as_str())
    .fetch_optional(&mut *db)
    .await?
    .ok_or(ForgetError::NotFound)?;
    super::operations::cancel_open(db, id, "its subject was forgotten").await?;
    let resources: i64 = sqlx::query_scalar(
        "select count(*) from resources r join subjects s using (id)
         where r.server_id = $1 and s.forgotten_at is null",
    )
    .bind(id.to_string())
    .fetch_one(&mut *db)
    .await?;
    if resources > 0 {
        return Err(ForgetError::HasResources(resources));
    }
    super::incidents::forget(db, id).await?;
    super::modes::forget(db, id).await?;
    queue::remove_token(db, id).await?;
    sqlx::query("update subjects set forgotten_at = now(), desired = 'absent' where id = $1")
        .bind(id.to_string())
        .execute(db)
        .await?;
    Ok(())
}

/// A subject with its server (itself, or the one it is on), as the database
/// holds them; secrets are still sealed.
#[derive(Clone, FromRow)]
pub struct SubjectRow {
    #[sqlx(try_from = "String")]
    id: SubjectId,
    kind: String,
    name: String,
    state: String,
    state_since: DateTime<Utc>,
    origin: String,
    tier: String,
    created_at: DateTime<Utc>,
    server_id: String,
    server_name: String,
    server_state: String,
    server_state_since: DateTime<Utc>,
    server_origin: String,
    server_tier: String,
    server_created_at: DateTime<Utc>,
    address: String,
    ssh_port: i32,
    ssh_user: String,
    ssh_key: Option<Vec<u8>>,
    host_key: Option<String>,
    cloud: Option<String>,
    instance_id: Option<String>,
    region: Option<String>,
    zone: Option<String>,
    size: Option<String>,
    volume_gib: Option<i32>,
    volume_type: Option<String>,
    volume_id: Option<String>,
    for_plan: Option<String>,
    host_key_changed_at: Option<DateTime<Utc>>,
    port: Option<i32>,
    database: Option<String>,
    role: Option<String>,
    password: Option<Vec<u8>>,
    tls_mode: Option<String>,
    tls_root_cert: Option<String>,
    plan: Option<String>,
    customer_role: Option<String>,
    customer_database: Option<String>,
    customer_password: Option<Vec<u8>>,
    maintenance_window: Option<String>,
    leader_id: Option<String>,
    epoch: Option<i64>,
    durability: Option<String>,
    max_lag_bytes: Option<i64>,
    replication_password: Option<Vec<u8>>,
}

const COLUMNS: &str =
    "s.id, s.kind, s.name, s.state, s.state_since, s.origin, s.tier, s.created_at,
        v.id as server_id, vs.name as server_name, vs.state as server_state,
        vs.state_since as server_state_since, vs.origin as server_origin,
        vs.tier as server_tier, vs.created_at as server_created_at,
        v.address, v.ssh_port, v.ssh_user, v.ssh_key, v.host_key, v.cloud, v.instance_id,
        v.region, v.zone, v.size, v.volume_gib, v.volume_type, v.volume_id, v.for_plan,
        (select i.opened_at from incidents i
         where coalesce(i.subject_id, '') = v.id and i.kind = 'host_key_changed'
           and i.state <> 'resolved') as host_key_changed_at,
        r.port, r.database, r.role, r.password, r.tls_mode, r.tls_root_cert, r.plan,
        r.customer_role, r.customer_database, r.customer_password, r.maintenance_window,
        r.leader_id, r.epoch, r.durability, r.max_lag_bytes, r.replication_password
    from subjects s
    left join resources r on r.id = s.id
    join servers v on v.id = coalesce(r.server_id, s.id)
    join subjects vs on vs.id = v.id";

/// A live subject as the record has it, with its secrets opened or left out.
#[derive(Clone, Debug)]
pub enum Known {
    /// A server.
    Server(Box<Server>),
    /// A resource and the server it is on.
    Resource(Box<Resource>, Box<Server>),
}

impl Known {
    /// What both kinds have.
    pub fn subject(&self) -> &Subject {
        match self {
            Known::Server(server) => &server.subject,
            Known::Resource(resource, _) => &resource.subject,
        }
    }
}

/// What was opened of a row.
#[derive(Default)]
struct Secrets {
    ssh_key: Option<Secret>,
    password: Option<Secret>,
    customer: Option<Secret>,
    replication: Option<Secret>,
}

impl SubjectRow {
    /// Whose row it is.
    pub fn id(&self) -> SubjectId {
        self.id
    }

    /// Opens the secrets and makes the typed form.
    ///
    /// # Errors
    /// If a stored secret does not open, or a stored word is unknown.
    pub fn open(self, key: &SecretKey) -> anyhow::Result<Known> {
        let ssh_key = match &self.ssh_key {
            Some(sealed) => Some(key.open(sealed, &format!("{}/ssh_key", self.server_id))?),
            None => None,
        };
        let password = match &self.password {
            Some(sealed) => Some(key.open(sealed, &format!("{}/password", self.id))?),
            None => None,
        };
        let customer = match &self.customer_password {
            Some(sealed) => Some(key.open(sealed, &format!("{}/customer", self.id))?),
            None => None,
        };
        let replication = match &self.replication_password {
            Some(sealed) => Some(key.open(sealed, &format!("{}/replication", self.id))?),
            None => None,
        };
        let secrets = Secrets {
            ssh_key,
            password,
            customer,
            replication,
        };
        Ok(self.into_known(secrets)?)
    }

    /// Makes the typed form without any secret, for showing.
    ///
    /// # Errors
    /// If a stored word is unknown.
    pub fn without_secrets(self) -> sqlx::Result<Known> {
        self.into_known(Secrets {
            password: Some(Secret::default()),
            customer: Some(Secret::default()),
            ..Secrets::default()
        })
    }

    fn into_known(self, secrets: Secrets) -> sqlx::Result<Known> {
        let Secrets {
            ssh_key,
            password,
            customer,
            replication,
        } = secrets;
        let kind: Kind = decode(self.kind)?;
        let subject = Subject {
            id: self.id,
            kind,
            name: self.name,
            state: decode(self.state)?,
            state_since: self.state_since,
            origin: decode(self.origin)?,
            tier: self.tier,
            created_at: self.created_at,
        };
        let server = Server {
            subject: Subject {
                id: decode(self.server_id)?,
                kind: Kind::Server,
                name: self.server_name,
                state: decode(self.server_state)?,
                state_since: self.server_state_since,
                origin: decode::<Origin>(self.server_origin)?,
                tier: self.server_tier,
                created_at: self.server_created_at,
            },
            address: self.address,
            ssh_port: port(self.ssh_port)?,
            ssh_user: self.ssh_user,
            ssh_key,
            host_key: self.host_key,
            cloud: self.cloud.map(decode).transpose()?,
            instance_id: self.instance_id,
            region: self.region,
            zone: self.zone,
            size: self.size,
            volume: match (self.volume_gib, self.volume_type) {
                (Some(gib), Some(kind)) => Some(DataVolume {
                    gib: u32::try_from(gib).unwrap_or_default(),
                    kind,
                    id: self.volume_id,
                }),
                _ => None,
            },
            for_plan: self.for_plan,
            host_key_changed_at: self.host_key_changed_at,
        };
        match kind {
            Kind::Server => Ok(Known::Server(Box::new(server))),
            Kind::Resource => {
                let missing = || sqlx::Error::Decode("a resource without its row".into());
                let resource = Resource {
                    subject,
                    server_id: server.subject.id,
                    port: port(self.port.ok_or_else(missing)?)?,
                    database: self.database.ok_or_else(missing)?,
                    role: self.role.ok_or_else(missing)?,
                    password: password.ok_or_else(missing)?,
                    tls_mode: decode(self.tls_mode.ok_or_else(missing)?)?,
                    tls_root_cert: self.tls_root_cert,
                    plan: self.plan.ok_or_else(missing)?,
                    customer: match (self.customer_role, self.customer_database) {
                        (Some(role), Some(database)) => Some(Customer {
                            role,
                            database,
                            password: customer.unwrap_or_default(),
                        }),
                        _ => None,
                    },
                    window: self.maintenance_window.map(decode_window).transpose()?,
                    leader: self.leader_id.map(decode).transpose()?,
                    epoch: self.epoch.unwrap_or(1),
                    durability: decode(self.durability.ok_or_else(missing)?)?,
                    max_lag_bytes: self
                        .max_lag_bytes
                        .and_then(|bytes| u64::try_from(bytes).ok())
                        .unwrap_or_default(),
                    replication_password: replication,
                };
                Ok(Known::Resource(Box::new(resource), Box::new(server)))
            }
        }
    }
}

/// Reads many live subjects at once; those that are gone are left out.
pub async fn load(db: &mut PgConnection, ids: &[SubjectId]) -> sqlx::Result<Vec<SubjectRow>> {
    let ids: Vec<String> = ids.iter().map(SubjectId::to_string).collect();
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} where s.id = any($1) and s.forgotten_at is null"
    )))
    .bind(ids)
    .fetch_all(db)
    .await
}

/// Reads one live subject, without secrets.
pub async fn find(db: &mut PgConnection, kind: Kind, id: SubjectId) -> sqlx::Result<Option<Known>> {
    let row: Option<SubjectRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} where s.id = $1 and s.kind = $2 and s.forgotten_at is null"
    )))
    .bind(id.to_string())
    .bind(kind.as_str())
    .fetch_optional(db)
    .await?;
    row.map(SubjectRow::without_secrets).transpose()
}

/// Whether drover has destroyed this subject.
pub async fn was_destroyed(db: &mut PgConnection, kind: Kind, id: SubjectId) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from subjects
                        where id = $1 and kind = $2 and state = 'destroyed')",
    )
    .bind(id.to_string())
    .bind(kind.as_str())
    .fetch_one(db)
    .await
}

/// A page of a listing.
#[derive(Clone, Debug)]
pub struct Page {
    /// Only the one of this name.
    pub name: Option<String>,
    /// Only in this state.
    pub state: Option<State>,
    /// Only resources on this server.
    pub server: Option<SubjectId>,
    /// Only behind this subject.
    pub after: Option<SubjectId>,
    /// At most this many.
    pub limit: i64,
}

/// Lists live subjects of a kind by id, without secrets.
pub async fn list(db: &mut PgConnection, kind: Kind, page: &Page) -> sqlx::Result<Vec<Known>> {
    let rows: Vec<SubjectRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {COLUMNS}
         where s.kind = $1 and s.forgotten_at is null
           and ($2::text is null or s.state = $2)
           and ($3::text is null or r.server_id = $3)
           and ($4::text is null or s.id > $4)
           and ($6::text is null or s.name = $6)
         order by s.id
         limit $5"
    )))
    .bind(kind.as_str())
    .bind(page.state.map(State::as_str))
    .bind(page.server.map(|id| id.to_string()))
    .bind(page.after.map(|id| id.to_string()))
    .bind(page.limit)
    .bind(&page.name)
    .fetch_all(db)
    .await?;
    rows.into_iter().map(SubjectRow::without_secrets).collect()
}

/// Live subjects by kind and state.
pub async fn count_by_state(db: &mut PgConnection) -> sqlx::Result<Vec<(String, String, i64)>> {
    sqlx::query_as(
        "select kind, state, count(*) from subjects where forgotten_at is null
         group by 1, 2 order by 1, 2",
    )
    .fetch_all(db)
    .await
}

/// Reads a word of the database as its type.
pub(crate) fn decode<T: TryFrom<String>>(text: String) -> sqlx::Result<T>
where
    T::Error: std::fmt::Display,
{
    T::try_from(text).map_err(|e| sqlx::Error::Decode(e.to_string().into()))
}

fn decode_window(text: String) -> sqlx::Result<Window> {
    text.parse()
        .map_err(|_| sqlx::Error::Decode("a maintenance window that cannot be read".into()))
}

fn port(number: i32) -> sqlx::Result<u16> {
    u16::try_from(number).map_err(|e| sqlx::Error::Decode(e.into()))
}
