//! The clusters that are felt, and a resource to feel on any of them.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use chrono::Utc;
use drover::model::{
    Attributes, Cause, ClusterIdentity, Customer, Durability, Kind, Origin, RequireAuth, Resource,
    Server, State, Subject, SubjectId, TlsMode, Witness, secret,
};
use drover::store::subjects::Known;
use drover_jobs::cloud::Clouds;
use drover_jobs::feel::Feeler;
use drover_jobs::feel::{FeelContext, World};
use drover_tests::{Postgres, sql};
use sqlx::{Connection, PgConnection};

use super::tls::Authority;

/// Must never be seen in what a feel returns.
pub const PASSWORD: &str = "correct-horse-battery";

/// The longest any feel may take, on a machine with other things to do: what hangs
/// is given 5 s, once or twice.
const LONGEST: Duration = Duration::from_secs(25);

/// Holds a feel at its details for as long as the session that says so lasts.
pub const HOLD_DETAILS: &str =
    "begin; lock table pg_catalog.pg_stat_archiver in access exclusive mode";

const ROLES: &str = "
create role watcher login password 'correct-horse-battery' in role pg_monitor;
create role plain login password 'correct-horse-battery';
create role locked_out nologin password 'correct-horse-battery';
create role rejected login;
create role clear login password 'correct-horse-battery' in role pg_monitor;
set password_encryption = md5;
create role hashed login password 'correct-horse-battery' in role pg_monitor;
create role misled login in role pg_monitor;
create schema misleading;
grant usage on schema misleading to misled;
create function misleading.pg_is_in_recovery() returns bool return true;
alter role misled set search_path = misleading, pg_catalog;
alter role misled set statement_timeout = '1ms';
create role careful login;
alter role careful set default_transaction_read_only = on";

const HBA: &str = "
local all all trust
host all rejected all reject
host all watcher,plain,locked_out all scram-sha-256
host all clear all password
host all hashed all md5
host all all all trust
host replication all all trust
";

/// A cluster with TLS, an archiver that works, and roles of every kind.
pub async fn cluster() -> &'static Postgres {
    static CLUSTER: OnceLock<Postgres> = OnceLock::new();
    tokio::task::spawn_blocking(|| {
        CLUSTER.get_or_init(|| {
            drover_tests::init();
            let postgres =
                Postgres::start(&["archive_mode = on", "archive_command = 'true'"]).unwrap();
            let identity = Authority::get().identity();
            postgres.write("server.crt", &identity.certificate).unwrap();
            postgres.write("server.key", &identity.key).unwrap();
            postgres.write("pg_hba.conf", HBA).unwrap();
            postgres.configure(&["ssl = on"]).unwrap();
            postgres.pg_ctl(&["reload"]).unwrap();
            postgres
        })
    })
    .await
    .unwrap();
    static ROLES_MADE: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let cluster = CLUSTER.get().unwrap();
    ROLES_MADE
        .get_or_init(|| async {
            sql::batch(&mut session(cluster).await, ROLES).await;
        })
        .await;
    cluster
}

/// A session of the superuser's.
pub async fn session(postgres: &Postgres) -> PgConnection {
    let session = PgConnection::connect(&postgres.url("postgres"));
    session.await.unwrap()
}

/// A cluster without TLS, for one test alone.
pub async fn own_cluster(settings: &'static [&'static str]) -> Postgres {
    drover_tests::init();
    tokio::task::spawn_blocking(|| Postgres::start(settings))
        .await
        .unwrap()
        .unwrap()
}

/// A resource to feel: the superuser of the cluster on this port, until it is
/// said otherwise.
pub struct Target {
    address: String,
    host_key_changed: bool,
    resource: Resource,
}

/// What a feel returned, and how long it took.
#[derive(Debug)]
pub struct Felt {
    pub seen: Attributes,
    pub took: Duration,
}

pub fn at(port: u16) -> Target {
    Target {
        address: "127.0.0.1".into(),
        host_key_changed: false,
        resource: Resource {
            subject: subject(Kind::Resource),
            server_id: SubjectId::generate(),
            port,
            cluster: None,
            database: "postgres".into(),
            role: "drover".into(),
            password: secret(PASSWORD),
            tls_mode: TlsMode::Disable,
            tls_root_cert: None,
            require_auth: RequireAuth::ScramSha256,
            plan: "standard".into(),
            customer: None,
            window: None,
            leader: None,
            epoch: 1,
            durability: Durability::Async,
            max_lag_bytes: 0,
            replication_password: None,
        },
    }
}

fn subject(kind: Kind) -> Subject {
    Subject {
        id: SubjectId::generate(),
        kind,
        name: "felt".into(),
        state: State::Available,
        state_since: Utc::now(),
        origin: Origin::Adopted,
        tier: "standard".into(),
        created_at: Utc::now(),
    }
}

impl Target {
    pub fn address(mut self, address: &str) -> Self {
        self.address = address.into();
        self
    }

    /// Its server shows another host key than the pinned one.
    pub fn distrusted(mut self) -> Self {
        self.host_key_changed = true;
        self
    }

    /// Its cluster is known.
    pub fn cluster(mut self, number: &str, data_directory: &str) -> Self {
        self.resource.cluster = Some(ClusterIdentity {
            system_identifier: number.into(),
            data_directory: Some(data_directory.into()),
        });
        self
    }

    pub fn role(mut self, role: &str) -> Self {
        self.resource.role = role.into();
        self
    }

    /// It may ask for whatever it likes before it lets anybody in.
    pub fn letting_it_ask(mut self) -> Self {
        self.resource.require_auth = RequireAuth::Any;
        self
    }

    pub fn password(mut self, password: &str) -> Self {
        self.resource.password = secret(password);
        self
    }

    pub fn database(mut self, database: &str) -> Self {
        self.resource.database = database.into();
        self
    }

    /// Drover made it, with this database for its customer.
    pub fn customers(mut self, database: &str) -> Self {
        self.resource.customer = Some(Customer {
            role: "customer".into(),
            database: database.into(),
            password: secret(PASSWORD),
        });
        self
    }

    pub fn tls(mut self, mode: TlsMode) -> Self {
        self.resource.tls_mode = mode;
        self
    }

    pub fn trusting(mut self, authority: &str) -> Self {
        self.resource.tls_root_cert = Some(authority.into());
        self
    }

    /// Feels it as a worker does. Whatever is there, it ends in time and does
    /// not tell the password.
    pub async fn feel(self) -> Felt {
        drover_tests::init();
        let server = Server {
            subject: subject(Kind::Server),
            address: self.address,
            ssh_port: 22,
            ssh_user: "postgres".into(),
            ssh_key: None,
            host_key: None,
            cloud: None,
            instance_id: None,
            zone: None,
            region: None,
            size: None,
            volume: None,
            for_plan: None,
            host_key_changed_at: self.host_key_changed.then(Utc::now),
        };
        let world = World::new(FeelContext {
            ssh_key: None,
            clouds: Clouds::default(),
            statuses: None,
            followers: None,
        });
        let known = Known::Resource(Box::new(self.resource), Box::new(server));
        let began = Instant::now();
        let seen = world.feel(&known).await;
        let felt = Felt {
            seen,
            took: began.elapsed(),
        };
        assert!(felt.took < LONGEST, "too slow: {felt:?}");
        let told = serde_json::to_string(&felt.seen).unwrap();
        assert!(!told.contains("horse"), "the password is told: {told}");
        felt
    }
}

impl Felt {
    /// It is in service; returns the details.
    #[track_caller]
    pub fn available(self) -> serde_json::Value {
        assert!(self.seen.service_available, "{:?}", self.seen);
        assert_eq!((self.seen.cause, &self.seen.witness), (None, &None));
        let latency = self.seen.latency_ms.expect("a latency");
        let took = self.took.as_secs_f64() * 1000.0;
        assert!(latency > 0.0 && latency <= took, "{latency} of {took} ms");
        serde_json::json!(self.seen.resource)
    }

    /// It is not, for this cause; returns what a person is told.
    #[track_caller]
    pub fn failed(self, cause: Cause) -> String {
        assert!(!self.seen.service_available, "{:?}", self.seen);
        assert_eq!(self.seen.cause, Some(cause), "{:?}", self.seen);
        // What gave no answer of its own is asked after at its server, which
        // has no key here.
        let asked = matches!(self.seen.witness, Some(Witness::Silent { .. }));
        assert_eq!(asked, !cause.profile().answered, "{:?}", self.seen);
        let message = self.seen.message.expect("a message");
        assert!(
            !message.trim().is_empty() && message.chars().count() <= 300,
            "{message}"
        );
        message
    }
}
