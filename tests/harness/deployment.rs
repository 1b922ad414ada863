//! A whole deployment: control database, processes, API and a place for a local
//! herd.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use drover::api::{AdoptResource, Page, Ring as RingAnswer, Subject};
use drover::client::Client;
use drover::config::{ClientConfig, LocalConfig};
use drover::model::{ExposeSecret, PublicId, State, TlsMode, secret};
use drover::store::ring::Ring;
use drover_jobs::cloud::local::LocalCloud;
use serde_json::Value;
use sqlx::PgPool;
use tempfile::TempDir;

use crate::records::SECRET_KEY;
use crate::{Daemon, Postgres, Processes, postgres, sql, until, when};

/// What the herd's machines start from.
const IMAGE: &str = "DROVER_LOCAL_IMAGE";
const TOKEN: &str = "a-token-of-the-tests-0123456789";

/// Everything drover needs, in temporary places; gone when it is dropped.
pub struct Deployment {
    /// The processes. First, so that they are killed before the rest goes.
    pub processes: Processes,
    /// A pool on the control database.
    pub pool: PgPool,
    /// The API's client.
    pub api: Client,
    /// Where the API answers.
    pub url: String,
    /// The cluster that holds the control database.
    pub postgres: Postgres,
    /// Keeps the machines of the local herd, once there is to be one.
    machines: Option<Daemon>,
    _dir: TempDir,
}

impl Deployment {
    /// A migrated control database and no process yet. `rules` is
    /// `DROVER_RULES`.
    ///
    /// # Errors
    /// If PostgreSQL cannot be started, or the programs are not built.
    pub async fn new(rules: &Value) -> Result<Self> {
        crate::init();
        let dir = tempfile::Builder::new()
            .prefix("drover-")
            .tempdir_in("/tmp")?;
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755))?;
        let logs = dir.path().join("logs");
        std::fs::create_dir(&logs)?;
        let local = dir.path().join("local");
        postgres::owned_dir(&local)?;
        postgres::ssh_key(&local.join("ssh_key"))?;
        let (postgres, database_url, pool) = Postgres::with_record().await?;
        let port = postgres::free_port()?;
        let mut environment = BTreeMap::from(
            [
                ("DATABASE_URL", database_url),
                ("PORT", port.to_string()),
                ("DROVER_API_TOKEN", TOKEN.to_owned()),
                ("DROVER_SECRET_KEY", SECRET_KEY.to_owned()),
                ("DROVER_RULES", rules.to_string()),
                ("DROVER_LOCAL_DIR", local.display().to_string()),
                (
                    "DROVER_SSH_KEY_FILE",
                    local.join("ssh_key").display().to_string(),
                ),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        // Whoever measures may choose.
        if let Ok(image) = std::env::var(IMAGE) {
            environment.insert(IMAGE.to_owned(), image);
        }
        let url = format!("http://127.0.0.1:{port}");
        Ok(Self {
            processes: Processes::new(environment, logs),
            pool,
            api: Client::new(ClientConfig {
                url: url.clone(),
                token: secret(TOKEN),
            })?,
            url,
            postgres,
            machines: None,
            _dir: dir,
        })
    }

    /// Starts one process of each of these types, `web` first, and waits until
    /// the API answers.
    ///
    /// # Errors
    /// If it does not within 20 seconds.
    pub async fn start(&mut self, kinds: &[&str]) -> Result<()> {
        for kind in kinds {
            self.processes.start(kind)?;
        }
        if kinds.contains(&"web") {
            until("the API answers", Duration::from_secs(20), || async {
                self.api.get::<RingAnswer>("/v1/ring").await?;
                Ok(Ok(()))
            })
            .await
            .with_context(|| self.processes.logs())?;
        }
        Ok(())
    }

    /// Starts the daemon that keeps the local herd's machines, where drover looks for it.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn with_machines(&mut self) -> Result<()> {
        if self.machines.is_none() {
            self.machines = Some(Daemon::start(&self.local_dir().join("machines")).await?);
        }
        Ok(())
    }

    /// The daemon of the local herd's machines.
    ///
    /// # Panics
    /// Where nobody has started it.
    pub fn machines(&self) -> &Daemon {
        self.machines.as_ref().expect("a daemon of machines")
    }

    /// The local cloud, as the processes see it.
    pub fn cloud(&self) -> LocalCloud {
        let config = LocalConfig {
            dir: self.local_dir(),
            machines: None,
            image: None,
        };
        LocalCloud::new(&config, None).expect("a local cloud")
    }

    /// Runs `drover-worker local …` and returns what it printed.
    pub async fn local(&mut self, arguments: &[&str]) -> Result<String> {
        self.with_machines().await?;
        let line = [&["drover-worker", "local"], arguments].concat();
        self.run(&line).await
    }

    /// Runs one of drover's commands and returns what it printed.
    pub async fn run(&self, line: &[&str]) -> Result<String> {
        let mut command = self.processes.command(line)?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut command = tokio::process::Command::from(command);
        let done = tokio::time::timeout(
            Duration::from_secs(300),
            command.kill_on_drop(true).output(),
        )
        .await
        .with_context(|| format!("{line:?} took over five minutes"))??;
        let out = String::from_utf8_lossy(&done.stdout).into_owned();
        if !done.status.success() {
            let err = String::from_utf8_lossy(&done.stderr);
            bail!("{line:?} ended with {}: {out}{err}", done.status);
        }
        Ok(out)
    }

    /// A herd of many databases in one cluster, on one server. Returns how many subjects that
    /// makes, once all are available.
    ///
    /// # Errors
    /// If they cannot be made, or are not available within two minutes.
    pub async fn adopt_own_databases(&mut self, count: usize) -> Result<usize> {
        self.local(&["create", "--servers", "1", "--resources-per-server", "0"])
            .await?;
        let mut server = self.cloud().server("pg-1").await?.context("no server")?;
        let id = server.kept.id.as_ref().context("not adopted")?.parse()?;
        let cluster = server.create("herd").await?;
        let databases = (0..count).map(|n| format!("create database herd_{n};\n"));
        let sql = format!(
            "alter system set max_connections = 600;\n{}",
            databases.collect::<String>()
        );
        server
            .does(
                r#"sudo -n -u postgres psql --cluster "$1" -U postgres -Xq -v ON_ERROR_STOP=1"#,
                &[&format!("{}/{}", cluster.version, cluster.name)],
                &sql,
            )
            .await?;
        server.stop(&cluster).await?;
        server.start(&cluster).await?;
        for n in 0..count {
            let body = AdoptResource {
                server: id,
                name: format!("herd-{n}"),
                port: cluster.port,
                database: format!("herd_{n}"),
                user: "drover".into(),
                password: cluster.password.expose_secret().to_owned(),
                tls_mode: Some(TlsMode::Prefer),
                tls_root_cert: None,
                require_auth: None,
                plan: None,
                tier: None,
            };
            self.api.post::<Subject>("/v1/resources", &body).await?;
        }
        self.all_available(count + 1, Duration::from_secs(120))
            .await?;
        Ok(count + 1)
    }

    /// What the API has at this path.
    pub async fn get(&self, path: &str) -> Result<Value> {
        Ok(self.api.get(path).await?)
    }

    /// Asks for something, as JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        Ok(self.api.post(path, body).await?)
    }

    /// Puts something there.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        Ok(self.api.put(path, body).await?)
    }

    /// Has it destroyed.
    pub async fn delete(&self, path: &str) -> Result<Value> {
        Ok(self.api.delete(path).await?)
    }

    /// A server, resource or operation, by its id alone.
    pub async fn shown(&self, id: &str) -> Result<Value> {
        self.get(&format!("{}/{id}", place(id)?)).await
    }

    /// Asks something of a server, a resource, an operation or an incident. Gives what is
    /// answered.
    pub async fn act(&self, id: &str, what: &Value) -> Result<Value> {
        self.post(&format!("{}/{id}/actions", place(id)?), what)
            .await
    }

    /// The same, and waits until the operation that comes of it is done. Gives all of that.
    ///
    /// # Errors
    /// If it is not by the deadline; with what the processes have logged.
    pub async fn act_until_done(
        &self,
        id: &str,
        what: &Value,
        deadline: Duration,
    ) -> Result<Value> {
        let asked = self.act(id, what).await?;
        let operation = asked["id"].as_str().context("no operation")?;
        let what = format!("done: {what}");
        let done = until(&what, deadline, || async {
            let seen = self.shown(operation).await?;
            Ok(match seen["state"] == "done" {
                true => Ok(seen),
                false => Err(format!("{} {}", seen["step_name"], seen["note"])),
            })
        });
        let (seen, _) = done.await.with_context(|| self.processes.logs())?;
        Ok(seen)
    }

    /// The ring's numbers, straight from the record.
    pub async fn ring(&self) -> Result<Ring> {
        let mut db = self.pool.acquire().await?;
        Ok(drover::store::ring::numbers(&mut db).await?)
    }

    /// All live subjects of both kinds, as the API lists them.
    pub async fn subjects(&self) -> Result<Vec<Subject>> {
        let mut all = Vec::new();
        for kind in ["servers", "resources"] {
            let path = format!("/v1/{kind}?limit=500");
            let page: Page<Subject> = self.api.get(&path).await?;
            all.extend(page.items);
        }
        Ok(all)
    }

    /// The state of one subject.
    pub async fn state(&self, id: &str) -> Result<State> {
        let id: PublicId = id.parse()?;
        let path = format!("/v1/{}s/{id}", id.kind);
        let subject: Subject = self.api.get(&path).await?;
        Ok(subject.core().state)
    }

    /// Waits until a subject is in a state; tells how long that took.
    pub async fn turn_until(&self, id: &str, wanted: &str, deadline: Duration) -> Result<f64> {
        let what = format!("{id} {wanted}");
        let (_, seconds) = until(&what, deadline, || async {
            let state = self.state(id).await?;
            when(state.as_str() == wanted, state)
        })
        .await?;
        Ok(seconds)
    }

    /// Waits until all subjects are available; tells how long that took.
    pub async fn all_available(&self, count: usize, deadline: Duration) -> Result<f64> {
        let what = format!("{count} subjects available");
        let (_, seconds) = until(&what, deadline, || async {
            let subjects = self.subjects().await?;
            let well = subjects
                .iter()
                .filter(|s| s.core().state == State::Available)
                .count();
            let all = well == count && subjects.len() == count;
            when(all, format!("{well} of {} available", subjects.len()))
        })
        .await?;
        Ok(seconds)
    }

    /// No human was paged, written to or sent a ticket.
    pub async fn assert_nobody_was_called(&self) {
        let sql = "select summary from outbox where channel <> 'event'";
        let called: Vec<String> = sql::scalars(&self.pool, sql, ()).await;
        assert!(called.is_empty(), "{called:?}");
    }

    /// Where the state of the local cloud lies.
    pub fn local_dir(&self) -> std::path::PathBuf {
        self._dir.path().join("local")
    }

    /// The directory of everything temporary.
    pub fn dir(&self) -> &Path {
        self._dir.path()
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.processes.logs());
        }
    }
}

/// Where the API has what bears such an id.
fn place(id: &str) -> Result<&'static str> {
    match id.split_once('_').map(|(kind, _)| kind) {
        Some("srv") => Ok("/v1/servers"),
        Some("db") => Ok("/v1/resources"),
        Some("op") => Ok("/v1/operations"),
        Some("inc") => Ok("/v1/incidents"),
        _ => bail!("{id} is no id of anything"),
    }
}
