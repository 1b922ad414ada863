//! Subjects that come under drover's care from elsewhere, and leave it again.

use sqlx::PgConnection;

use super::{Inserted, insert, resources_on};
use crate::model::{
    Cloud, ExposeSecret, Kind, Origin, RequireAuth, Secret, SecretKey, State, SubjectId, TlsMode,
};
use crate::store::statement::{run, value};
use crate::store::{incidents, logins, modes, one_at_a_time, operations, queue};

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
    /// What it may ask for before it lets drover in.
    pub require_auth: RequireAuth,
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
    /// drover made this server, and all that is on it.
    #[error("drover made this server")]
    Made(SubjectId),
    /// Another live resource has the role there, with another password.
    #[error("the role is another resource's")]
    RoleTaken(SubjectId),
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
    // Of two adoptions of the same thing at once, the second waits and finds the first's row.
    one_at_a_time(db, &format!("server {}:{}", new.address, new.ssh_port)).await?;
    let sql = "select v.id from servers v join subjects s using (id)
               where s.forgotten_at is null and v.address = $1 and v.ssh_port = $2";
    let same: Option<SubjectId> = value(db, sql, (&new.address, i32::from(new.ssh_port))).await?;
    if let Some(id) = same {
        return Err(AdoptError::Duplicate(id));
    }
    if let Some((cloud, instance)) = &new.instance {
        // What is done to it would be done to another.
        one_at_a_time(db, &format!("instance {cloud}:{instance}")).await?;
        let sql = "select v.id from servers v join subjects s using (id)
                   where s.forgotten_at is null and v.cloud = $1 and v.instance_id = $2";
        let same: Option<SubjectId> = value(db, sql, (cloud, instance)).await?;
        if let Some(id) = same {
            return Err(AdoptError::Duplicate(id));
        }
    }
    let id = insert_subject(db, Kind::Server, &new.name, &new.tier).await?;
    let ssh_key = match &new.ssh_key {
        Some(plain) => Some(key.seal(plain, &format!("{id}/ssh_key"))?),
        None => None,
    };
    let (cloud, instance_id) = match &new.instance {
        Some((cloud, instance)) => (Some(cloud), Some(instance)),
        None => (None, None),
    };
    let values = (
        id,
        &new.address,
        i32::from(new.ssh_port),
        &new.ssh_user,
        ssh_key,
        &new.host_key,
        cloud,
        instance_id,
        &new.zone,
    );
    let sql = "insert into servers
                   (id, address, ssh_port, ssh_user, ssh_key, host_key, cloud, instance_id, zone)
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    run(db, sql, values).await?;
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
    let sql = "select v.address from subjects s join servers v using (id)
               where s.id = $1 and s.forgotten_at is null and s.state <> 'destroying'
               for key share of s";
    let address: Option<String> = value(db, sql, [new.server_id]).await?;
    let address = address.ok_or(AdoptError::NoServer)?;
    one_at_a_time(db, &format!("cluster {address}:{}", new.port)).await?;
    let sql = "select r.id from resources r join subjects s using (id)
         where s.forgotten_at is null and r.server_id = $1 and r.port = $2 and r.database = $3";
    let same: Option<SubjectId> =
        value(db, sql, (new.server_id, i32::from(new.port), &new.database)).await?;
    if let Some(id) = same {
        return Err(AdoptError::Duplicate(id));
    }
    if let Some(made) = logins::made_server(db, new.server_id).await? {
        return Err(AdoptError::Made(made));
    }
    let holder = logins::holder(db, new.server_id, new.port, &new.role).await?;
    if let Some(holder) = holder {
        let known = key.open(&holder.password, &format!("{}/password", holder.id))?;
        if known.expose_secret() != new.password.expose_secret() {
            return Err(AdoptError::RoleTaken(holder.id));
        }
    }
    let id = insert_subject(db, Kind::Resource, &new.name, &new.tier).await?;
    let values = (
        id,
        new.server_id,
        i32::from(new.port),
        &new.database,
        &new.role,
        key.seal(&new.password, &format!("{id}/password"))?,
        new.tls_mode,
        &new.tls_root_cert,
        new.require_auth,
        &new.plan,
    );
    let sql = "insert into resources (id, server_id, port, database, role, password, tls_mode,
                                      tls_root_cert, require_auth, plan)
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    run(db, sql, values).await?;
    queue::insert_token(db, id).await?;
    Ok(id)
}

/// An adopted subject starts uncertain: nobody has seen it yet.
async fn insert_subject(
    db: &mut PgConnection,
    kind: Kind,
    name: &str,
    tier: &str,
) -> Result<SubjectId, AdoptError> {
    match insert(db, kind, name, tier, (State::Uncertain, Origin::Adopted)).await? {
        Inserted::New(id) => Ok(id),
        Inserted::NoTier => Err(AdoptError::NoTier),
        Inserted::NameTaken(by) => Err(AdoptError::NameTaken(by)),
    }
}

/// Forgets a subject: its token goes, its record stays. Nothing in the world is
/// touched. Call it in a transaction.
///
/// # Errors
/// See [`ForgetError`]; then roll back.
pub async fn forget(db: &mut PgConnection, kind: Kind, id: SubjectId) -> Result<(), ForgetError> {
    queue::hold_operation_tokens(db, id).await?;
    queue::hold_token(db, queue::Token::Subject(id)).await?;
    queue::hold_incident_tokens(db, id).await?;
    let sql =
        "select 1 from subjects where id = $1 and kind = $2 and forgotten_at is null for update";
    let known: Option<i32> = value(db, sql, (id, kind)).await?;
    known.ok_or(ForgetError::NotFound)?;
    operations::cancel_open(db, id, "its subject was forgotten").await?;
    let resources = resources_on(db, id).await?;
    if resources > 0 {
        return Err(ForgetError::HasResources(resources));
    }
    incidents::forget(db, id).await?;
    modes::forget(db, id).await?;
    queue::remove_token(db, id).await?;
    let sql = "update subjects set forgotten_at = now() where id = $1";
    run(db, sql, [id]).await?;
    Ok(())
}
