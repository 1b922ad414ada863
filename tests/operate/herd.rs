//! Real local servers with real clusters, and a record that knows of them.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use drover::config::LocalConfig;
use drover::model::{self, ExposeSecret, RequireAuth, Rules, SubjectId, TlsMode, secret};
use drover::store::subjects::{self, Known};
use drover_jobs::cloud::Clouds;
use drover_jobs::cloud::local::{self, Cluster, LocalCloud, LocalServer, SSH_PORT};
use drover_jobs::feel::FeelContext;
use drover_jobs::resolve::Tools;
use drover_tests::Daemon;
use serde_json::Value;
use sqlx::{Connection, PgConnection, PgPool};
use tempfile::TempDir;

/// So many turns are taken at most: a step that never ends fails its test.
pub const MOST_TURNS: usize = 120;

/// What becomes of a worker at each step, the first time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cut {
    /// It lives.
    Never,
    /// It dies with the step done in the world and not in the record.
    AfterEffect,
    /// It dies this long after it began.
    Midway(Duration),
}

impl Cut {
    /// Has a worker begin a step and come as far as this, if it dies.
    pub async fn cuts_off(self, step: impl Future) {
        match self {
            Self::Never => {}
            Self::AfterEffect => drop(Box::pin(step).await),
            Self::Midway(after) => drop(tokio::time::timeout(after, Box::pin(step)).await),
        }
    }
}

/// A local cloud and a record of what is in it. Both go with it.
pub struct World {
    pub cloud: LocalCloud,
    pub daemon: Daemon,
    pub pool: PgPool,
    pub tools: Tools,
    pub rules: Rules,
    /// Last, so that it goes when the machines in it have gone.
    pub root: TempDir,
}

impl World {
    /// `rules` are laid over the built-in ones.
    pub async fn new(name: &str, rules: &Value) -> Self {
        drover_tests::init();
        let root = tempfile::Builder::new()
            .prefix(&format!("drover-book-{name}-"))
            .permissions(PermissionsExt::from_mode(0o755))
            .tempdir()
            .unwrap();
        let folder = root.path().join("machines");
        let daemon = Daemon::start(&folder).await.unwrap();
        let config = LocalConfig {
            dir: root.path().to_owned(),
            machines: None,
            image: None,
        };
        let cloud = LocalCloud::new(&config, None).unwrap();
        // The first server makes the key that all of them let in.
        Box::pin(cloud.create(&[])).await.unwrap();
        let key = std::fs::read_to_string(cloud.key_file()).unwrap();
        let (_, pool) = drover_tests::postgres::shared_database().await.unwrap();
        let tools = Tools {
            context: FeelContext {
                ssh_key: Some(secret(key)),
                clouds: Clouds::local_only(cloud.clone()),
                statuses: None,
                followers: None,
            },
            pool: pool.clone(),
            secret_key: drover_tests::records::key(),
            rules: rules.clone(),
            gameday: Default::default(),
        };
        Self {
            rules: Rules::layered(&[rules]).unwrap(),
            cloud,
            daemon,
            pool,
            tools,
            root,
        }
    }

    /// A new server, with its sshd up.
    pub async fn server(&self, volume_mib: Option<u32>) -> LocalServer {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let wanted = local::NewServer {
            name: format!("pg-{}", NEXT.fetch_add(1, Ordering::Relaxed)),
            zone: "local-a".into(),
            volume_mib,
        };
        let made = Box::pin(self.cloud.create(&[wanted])).await;
        made.unwrap().remove(0)
    }

    /// How often it has booted, once it has done so and nothing has it go down.
    pub async fn boots(&self, server: &LocalServer) -> usize {
        let count = "s=$(systemctl is-system-running --wait)
            case $s in running | degraded) last -x reboot ;; *) exit 1 ;; esac";
        for _ in 0..300 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            if let Ok(said) = server.does(count, &[], "").await {
                return said.matches("system boot").count();
            }
        }
        panic!("{} does not boot", server.name);
    }

    /// Takes a server into the herd.
    pub async fn adopt(&self, local: &LocalServer) -> SubjectId {
        let new = subjects::NewServer {
            name: local.name.clone(),
            tier: "standard".into(),
            address: local.settings.address.to_string(),
            ssh_port: SSH_PORT,
            ssh_user: local.target().await.unwrap().user,
            ssh_key: None,
            host_key: Some(local.host_key().unwrap()),
            instance: Some((model::Cloud::Local, local.name.clone())),
            zone: Some("local-a".into()),
        };
        let mut db = self.pool.acquire().await.unwrap();
        let key = &self.tools.secret_key;
        subjects::adopt_server(&mut db, key, &new).await.unwrap()
    }

    /// Takes a cluster on it into the herd, with the role that drover has there.
    pub async fn adopt_cluster(&self, server_id: SubjectId, cluster: &Cluster) -> SubjectId {
        let new = subjects::NewResource {
            name: cluster.name.clone(),
            tier: "standard".into(),
            server_id,
            port: cluster.port,
            database: local::DATABASE.into(),
            role: local::ROLE.into(),
            password: cluster.password.clone(),
            tls_mode: TlsMode::Prefer,
            tls_root_cert: None,
            require_auth: RequireAuth::ScramSha256,
            plan: "standard".into(),
        };
        let mut db = self.pool.acquire().await.unwrap();
        let key = &self.tools.secret_key;
        subjects::adopt_resource(&mut db, key, &new).await.unwrap()
    }

    /// A server with one cluster, both in the herd.
    pub async fn pair(
        &self,
        volume_mib: Option<u32>,
    ) -> (LocalServer, Cluster, SubjectId, SubjectId) {
        let mut server = self.server(volume_mib).await;
        let cluster = server.create(&format!("{}-db", server.name)).await.unwrap();
        let server_id = self.adopt(&server).await;
        let resource_id = self.adopt_cluster(server_id, &cluster).await;
        (server, cluster, server_id, resource_id)
    }

    /// What the record knows of a subject.
    pub async fn known(&self, id: SubjectId) -> Known {
        let mut db = self.pool.acquire().await.unwrap();
        let row = subjects::load(&mut db, &[id]).await.unwrap().remove(0);
        row.open(&self.tools.secret_key).unwrap()
    }
}

/// A session of drover's own role.
pub async fn session(server: &LocalServer, cluster: &Cluster) -> sqlx::Result<PgConnection> {
    let (address, port) = (server.settings.address, cluster.port);
    let password = cluster.password.expose_secret();
    let url = format!(
        "postgres://{}:{password}@{address}:{port}/{}",
        local::ROLE,
        local::DATABASE
    );
    PgConnection::connect(&url).await
}

/// What a superuser's statement says, through the local socket.
pub async fn superuser(server: &LocalServer, cluster: &Cluster, sql: &str) -> String {
    let psql = "sudo -n -u postgres psql --cluster \"$1\" -U postgres -XAtq -v ON_ERROR_STOP=1 \
                -c \"$2\"";
    let name = format!("{}/{}", cluster.version, cluster.debian());
    let said = server.does(psql, &[&name, sql], "").await;
    said.unwrap_or_else(|e| panic!("{sql}: {e:#}"))
}
