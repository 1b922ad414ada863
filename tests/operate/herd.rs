//! Real local servers with real clusters, and a record that knows of them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use drover::model::{self, ExposeSecret, Rules, SubjectId, TlsMode, secret};
use drover::store::subjects::{self, Known};
use drover_jobs::cloud::Clouds;
use drover_jobs::cloud::local::{self, Cluster, LocalCloud, LocalServer, SSH_PORT};
use drover_jobs::feel::FeelContext;
use drover_jobs::resolve::Tools;
use serde_json::Value;
use sqlx::{Connection, PgConnection, PgPool};

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
    pub pool: PgPool,
    pub tools: Tools,
    pub rules: Rules,
    pub root: PathBuf,
}

impl World {
    /// `rules` are laid over the built-in ones.
    pub async fn new(name: &str, rules: &Value) -> Self {
        drover_tests::init();
        // Where the user that local servers run as can reach it.
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let (pid, n) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let root = PathBuf::from(format!("/tmp/drover-book-{name}-{pid}-{n}"));
        std::fs::create_dir_all(&root).unwrap();
        let cloud = LocalCloud::new(&root, None).unwrap();
        // The first server makes the key that all of them let in.
        Box::pin(cloud.create(&[])).await.unwrap();
        let key = std::fs::read_to_string(cloud.key_file()).unwrap();
        let (_, pool) = drover_tests::postgres::shared_database().await.unwrap();
        let tools = Tools {
            context: FeelContext {
                ssh_key: Some(secret(key)),
                clouds: Clouds::local_only(cloud.clone()),
                statuses: None,
            },
            pool: pool.clone(),
            secret_key: drover_tests::records::key(),
            rules: rules.clone(),
            gameday: Default::default(),
        };
        Self {
            rules: Rules::layered(&[rules]).unwrap(),
            cloud,
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

    /// Where all that is of a server lies.
    pub fn dir(&self, server: &LocalServer) -> PathBuf {
        self.root.join("servers").join(&server.name)
    }

    /// How often its sshd was started.
    pub fn boots(&self, server: &LocalServer) -> usize {
        let log = std::fs::read_to_string(self.dir(server).join("sshd.log")).unwrap();
        log.matches("Server listening").count()
    }

    /// Takes a server into the herd.
    pub async fn adopt(&self, local: &LocalServer) -> SubjectId {
        let new = subjects::NewServer {
            name: local.name.clone(),
            tier: "standard".into(),
            address: local.settings.address.to_string(),
            ssh_port: SSH_PORT,
            ssh_user: local.target().unwrap().user,
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
        let server = self.server(volume_mib).await;
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

impl Drop for World {
    fn drop(&mut self) {
        let servers = self.cloud.servers().unwrap_or_default();
        // A runtime of its own: the test's may be the one that panics.
        let destroyed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            for server in servers {
                let _ = runtime.block_on(server.destroy());
            }
        });
        let _ = destroyed.join();
        let _ = std::fs::remove_dir_all(&self.root);
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

/// What a superuser's statement says, through the local socket over SSH.
pub async fn superuser(server: &LocalServer, cluster: &Cluster, sql: &str) -> String {
    let command = format!(
        "psql --cluster {}/{} -U postgres -XAtq -v ON_ERROR_STOP=1 -c {}",
        cluster.version,
        cluster.name,
        drover_jobs::ssh::quote(sql).unwrap()
    );
    let target = server.target().unwrap();
    let limits = drover_jobs::ssh::Limits::default();
    let output = drover_jobs::ssh::run(&target, &command, limits).await;
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status, Some(0), "{sql}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
