//! A subject as the database holds it.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use crate::model::{
    Cloud, ClusterIdentity, Customer, DataVolume, Durability, Kind, Origin, RequireAuth, Resource,
    Secret, SecretKey, Server, State, Subject, SubjectId, TlsMode, Window,
};

/// A subject with its server (itself, or the one it is on), as the database
/// holds them; secrets are still sealed.
#[derive(Clone, FromRow)]
pub struct SubjectRow {
    #[sqlx(flatten)]
    subject: Subject,
    server_id: SubjectId,
    server_name: String,
    server_state: State,
    server_state_since: DateTime<Utc>,
    server_origin: Origin,
    server_tier: String,
    server_created_at: DateTime<Utc>,
    address: String,
    #[sqlx(try_from = "i32")]
    ssh_port: u16,
    ssh_user: String,
    ssh_key: Option<Vec<u8>>,
    host_key: Option<String>,
    cloud: Option<Cloud>,
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
    system_identifier: Option<String>,
    data_directory: Option<String>,
    database: Option<String>,
    role: Option<String>,
    password: Option<Vec<u8>>,
    tls_mode: Option<TlsMode>,
    tls_root_cert: Option<String>,
    require_auth: Option<RequireAuth>,
    plan: Option<String>,
    customer_role: Option<String>,
    customer_database: Option<String>,
    customer_password: Option<Vec<u8>>,
    maintenance_window: Option<Window>,
    leader_id: Option<SubjectId>,
    epoch: Option<i64>,
    durability: Option<Durability>,
    max_lag_bytes: Option<i64>,
    replication_password: Option<Vec<u8>>,
}

pub(super) const COLUMNS: &str =
    "s.id, s.kind, s.name, s.state, s.state_since, s.origin, s.tier, s.created_at,
        v.id as server_id, vs.name as server_name, vs.state as server_state,
        vs.state_since as server_state_since, vs.origin as server_origin,
        vs.tier as server_tier, vs.created_at as server_created_at,
        v.address, v.ssh_port, v.ssh_user, v.ssh_key, v.host_key, v.cloud, v.instance_id,
        v.region, v.zone, v.size, v.volume_gib, v.volume_type, v.volume_id, v.for_plan,
        (select i.opened_at from incidents i
         where coalesce(i.subject_id, '') = v.id and i.kind = 'host_key_changed'
           and i.state <> 'resolved') as host_key_changed_at,
        r.port, r.system_identifier,
        r.data_directory, r.database, r.role, r.password, r.tls_mode, r.tls_root_cert,
        r.require_auth, r.plan, r.customer_role, r.customer_database, r.customer_password,
        r.maintenance_window, r.leader_id, r.epoch, r.durability, r.max_lag_bytes, r.replication_password
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
        self.subject.id
    }

    /// Opens the secrets and makes the typed form.
    ///
    /// # Errors
    /// If a stored secret does not open, or a stored word is unknown.
    pub fn open(self, key: &SecretKey) -> anyhow::Result<Known> {
        let open = |sealed: &Option<Vec<u8>>, of: SubjectId, what: &str| {
            let opened = sealed
                .as_ref()
                .map(|s| key.open(s, &format!("{of}/{what}")));
            opened.transpose()
        };
        let secrets = Secrets {
            ssh_key: open(&self.ssh_key, self.server_id, "ssh_key")?,
            password: open(&self.password, self.id(), "password")?,
            customer: open(&self.customer_password, self.id(), "customer")?,
            replication: open(&self.replication_password, self.id(), "replication")?,
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
        let subject = self.subject;
        let server = Server {
            subject: Subject {
                id: self.server_id,
                kind: Kind::Server,
                name: self.server_name,
                state: self.server_state,
                state_since: self.server_state_since,
                origin: self.server_origin,
                tier: self.server_tier,
                created_at: self.server_created_at,
            },
            address: self.address,
            ssh_port: self.ssh_port,
            ssh_user: self.ssh_user,
            ssh_key: secrets.ssh_key,
            host_key: self.host_key,
            cloud: self.cloud,
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
        match subject.kind {
            Kind::Server => Ok(Known::Server(Box::new(server))),
            Kind::Resource => {
                let missing = || sqlx::Error::Decode("a resource without its row".into());
                let resource = Resource {
                    subject,
                    server_id: server.subject.id,
                    port: port(self.port.ok_or_else(missing)?)?,
                    cluster: self
                        .system_identifier
                        .map(|system_identifier| ClusterIdentity {
                            system_identifier,
                            data_directory: self.data_directory,
                        }),
                    database: self.database.ok_or_else(missing)?,
                    role: self.role.ok_or_else(missing)?,
                    password: secrets.password.ok_or_else(missing)?,
                    tls_mode: self.tls_mode.ok_or_else(missing)?,
                    tls_root_cert: self.tls_root_cert,
                    require_auth: self.require_auth.ok_or_else(missing)?,
                    plan: self.plan.ok_or_else(missing)?,
                    customer: match (self.customer_role, self.customer_database) {
                        (Some(role), Some(database)) => Some(Customer {
                            role,
                            database,
                            password: secrets.customer.unwrap_or_default(),
                        }),
                        _ => None,
                    },
                    window: self.maintenance_window,
                    leader: self.leader_id,
                    epoch: self.epoch.unwrap_or(1),
                    durability: self.durability.ok_or_else(missing)?,
                    max_lag_bytes: self
                        .max_lag_bytes
                        .and_then(|bytes| u64::try_from(bytes).ok())
                        .unwrap_or_default(),
                    replication_password: secrets.replication,
                };
                Ok(Known::Resource(Box::new(resource), Box::new(server)))
            }
        }
    }
}

fn port(number: i32) -> sqlx::Result<u16> {
    u16::try_from(number).map_err(|e| sqlx::Error::ColumnDecode {
        index: "port".into(),
        source: e.into(),
    })
}
