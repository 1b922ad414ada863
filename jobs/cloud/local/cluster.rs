//! The clusters of a local server, made and started with the commands that an
//! EC2 host has too, over SSH.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use drover::model::{ExposeSecret, Secret, secret};
use serde::{Deserialize, Serialize};

use super::processes;
use super::server::LocalServer;
use crate::ssh::quote;

/// The role that drover logs in with, and its database.
pub const ROLE: &str = "drover";
/// See [`ROLE`].
pub const DATABASE: &str = "app";

const FIRST_PORT: u16 = 5501;

/// initdb and a first start take some 3 s; a machine under load, more.
const PATIENCE: Duration = Duration::from_secs(120);

/// One cluster of a local server, as `resources.json` keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cluster {
    /// Its name, and the resource's.
    pub name: String,
    /// Its PostgreSQL's major version.
    pub version: String,
    /// The port it listens on.
    pub port: u16,
    /// Password of [`ROLE`].
    #[serde(with = "plain")]
    pub password: Secret,
    /// Whether it has been set up completely.
    pub ready: bool,
    /// Its id in the herd (`db_…`), once it is adopted.
    pub id: Option<String>,
}

impl LocalServer {
    /// Its data directory.
    pub fn data_dir(&self, cluster: &Cluster) -> PathBuf {
        self.storage().join("data").join(&cluster.name)
    }

    /// Whether it starts when its server does: what Debian's `start.conf` says,
    /// which `pg_createcluster` leaves at `auto`.
    pub(super) fn starts_by_itself(&self, cluster: &Cluster) -> anyhow::Result<bool> {
        let path = self.conf_dir(cluster).join("start.conf");
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let lines = text
                    .lines()
                    .map(|l| l.split('#').next().unwrap_or("").trim());
                Ok(lines.into_iter().find(|l| !l.is_empty()) == Some("auto"))
            }
            // Half made.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// What `pg_createcluster` goes by on this server where it is told nothing else.
    /// Without fsync, because a local server cannot lose power alone: what a killed
    /// process wrote is safe in the kernel.
    pub(super) fn cluster_defaults(&self) -> String {
        let storage = self.storage();
        format!(
            "start_conf = 'auto'\ndata_directory = '{}/data/%c'\nadd_include_dir = 'conf.d'\n\
             initdb_options = '--no-sync'\ncluster_name = '%v/%c'\n\
             log_line_prefix = '%%m [%%p] %%q%%u@%%d '\nfsync = off\n\
             shared_buffers = '16MB'\nmax_wal_size = '128MB'\nmin_wal_size = '32MB'\n\
             external_pid_file = '{}/pg/pid/%c'\n",
            storage.display(),
            self.dir.display(),
        )
    }

    /// The clusters that Debian's own configuration knows here.
    pub(super) fn clusters_set_up(&self) -> anyhow::Result<Vec<Cluster>> {
        let mut clusters = Vec::new();
        for version in entries(&self.path("pg/conf")) {
            for name in entries(&self.path("pg/conf").join(&version)) {
                let file = self.path("pg/conf").join(&version).join(&name);
                let Ok(text) = std::fs::read_to_string(file.join("postgresql.conf")) else {
                    continue;
                };
                let port = text.lines().find_map(|line| {
                    let value = line.trim().strip_prefix("port")?.trim_start();
                    let value = value.strip_prefix('=')?.trim_start();
                    let digits = value.split(|c: char| !c.is_ascii_digit()).next()?;
                    digits.parse().ok()
                });
                clusters.push(Cluster {
                    name,
                    version: version.clone(),
                    port: port.unwrap_or(0),
                    password: Secret::default(),
                    ready: true,
                    id: None,
                });
            }
        }
        Ok(clusters)
    }

    fn conf_dir(&self, cluster: &Cluster) -> PathBuf {
        let (version, name) = (&cluster.version, &cluster.name);
        self.path("pg/conf").join(version).join(name)
    }

    /// Whether anything of this cluster runs.
    pub fn runs(&self, cluster: &Cluster) -> bool {
        let data = self.data_dir(cluster);
        processes::all().iter().any(|p| p.serves(&data))
    }

    /// Makes a cluster, with drover's role and database in it, and starts it. One
    /// that is there already is kept; one that was left half made is made anew.
    ///
    /// # Errors
    /// If one of PostgreSQL's own commands fails.
    pub async fn create(&self, name: &str) -> anyhow::Result<Cluster> {
        super::check_name(name)?;
        let mut clusters = self.clusters()?;
        let at = match clusters.iter().position(|c| c.name == name) {
            Some(at) => at,
            None => {
                clusters.push(Cluster {
                    name: name.to_owned(),
                    version: newest_postgres()?,
                    port: free_port(&clusters)?,
                    password: random_password(),
                    ready: false,
                    id: None,
                });
                // Kept before it is used: a second run must find this password.
                self.keep(&clusters)?;
                clusters.len() - 1
            }
        };
        let cluster = clusters[at].clone();
        // A volume does not outlive the machine.
        let lost = !self.data_dir(&cluster).try_exists().unwrap_or(true);
        if !cluster.ready || lost {
            self.make(&cluster).await?;
            self.let_drover_in(&cluster).await?;
        }
        self.start(&cluster).await?;
        if !cluster.ready {
            clusters[at].ready = true;
            self.keep(&clusters)?;
        }
        Ok(clusters[at].clone())
    }

    async fn make(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let (version, name) = (&cluster.version, &cluster.name);
        let data = self.data_dir(cluster);
        processes::kill_all(|p| p.serves(&data)).await?;
        let file = |path: PathBuf| path.to_string_lossy().into_owned();
        let conf = self.conf_dir(cluster);
        // Without fsync, because a local server cannot lose power alone: what a
        // killed process wrote is safe in the kernel. With it, a start after a
        // crash syncs a thousand files first, which takes seconds.
        let settings = format!(
            "listen_addresses = '{address}'\nexternal_pid_file = '{dir}/pg/pid/{name}'\n\
             fsync = off\npassword_encryption = 'scram-sha-256'\nmax_connections = 30\nshared_buffers = '16MB'\nmax_wal_size = '128MB'\n\
             min_wal_size = '32MB'\n",
            address = self.settings.address,
            dir = self.dir.display(),
        );
        let command = format!(
            "test ! -e {conf} || pg_dropcluster {version} {name}; rm -rf {data}; \
             /usr/bin/pg_createcluster {version} {name} -d {data} -s {sockets} -l {log} -p {port} -- \
             --no-sync --username=postgres --auth-local=trust --auth-host=scram-sha-256 \
             && printf %s {settings} >{file}",
            name = quote(name)?,
            conf = quote(&file(conf.clone()))?,
            data = quote(&file(data))?,
            sockets = quote(&file(self.socket_dir()))?,
            log = quote(&file(
                self.storage().join("log").join(format!("{name}.log"))
            ))?,
            port = cluster.port,
            settings = quote(&settings)?,
            file = quote(&file(conf.join("conf.d/drover.conf")))?,
        );
        self.run(&command, PATIENCE)
            .await
            .map(drop)
            .with_context(|| format!("cannot make {name}"))
    }

    /// Adds role and database before the first start, in single-user mode. The
    /// user's own role is for `pg_ctlcluster start`, which ends with a login as
    /// whoever calls it, and takes 5 s to believe that it cannot.
    async fn let_drover_in(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let mut sql = format!(
            "create role {ROLE} login password '{password}';\n\
             grant pg_monitor to {ROLE};\n\
             create database {DATABASE};\n",
            password = cluster.password.expose_secret(),
        );
        if self.owner.name != ROLE {
            sql.push_str(&format!("create role \"{}\" login;\n", self.owner.name));
        }
        // In a file, because everybody can read a command's arguments; and not in
        // an error either, which would quote the statement.
        let file = self.path(&format!("{}.sql", cluster.name));
        self.owner.write(&file, &sql, 0o600)?;
        let (version, name) = (&cluster.version, &cluster.name);
        let conf = self.conf_dir(cluster).join("postgresql.conf");
        let command = format!(
            "{}/{version}/bin/postgres --single -D {} -c config_file={} -c exit_on_error=on \
             -c log_min_error_statement=panic postgres <{} >/dev/null",
            super::POSTGRES,
            quote(&self.data_dir(cluster).to_string_lossy())?,
            quote(&conf.to_string_lossy())?,
            quote(&file.to_string_lossy())?,
        );
        let done = self.run(&command, PATIENCE).await;
        let _ = std::fs::remove_file(&file);
        done.map(drop)
            .with_context(|| format!("cannot set up {name}"))
    }

    /// Starts a cluster; one that runs is left alone.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start(&self, cluster: &Cluster) -> anyhow::Result<()> {
        if !self.runs(cluster) {
            self.clear_locks(cluster)?;
        }
        // 2: it is running already.
        self.control(cluster, "start", "|| test $? -eq 2").await
    }

    /// Takes away what a killed postmaster left. PostgreSQL clears it by itself once
    /// the old pid is gone; but a killed process stays a zombie until init reaps
    /// it, which takes seconds under some inits and for ever without one.
    fn clear_locks(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let socket = self.socket_dir().join(format!(".s.PGSQL.{}", cluster.port));
        for stale in [
            self.data_dir(cluster).join("postmaster.pid"),
            socket.with_extension(format!("{}.lock", cluster.port)),
            socket,
        ] {
            match std::fs::remove_file(&stale) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                removed => {
                    removed.with_context(|| format!("cannot remove {}", stale.display()))?;
                }
            }
        }
        Ok(())
    }

    /// Stops a cluster properly; one that is down is left alone.
    ///
    /// # Errors
    /// If it does not stop.
    pub async fn stop(&self, cluster: &Cluster) -> anyhow::Result<()> {
        self.control(cluster, "stop", "-m fast || test $? -eq 2")
            .await
    }

    async fn control(&self, cluster: &Cluster, what: &str, rest: &str) -> anyhow::Result<()> {
        let name = quote(&cluster.name)?;
        let command = format!("pg_ctlcluster {} {name} {what} {rest}", cluster.version);
        let done = self.run(&command, PATIENCE).await;
        done.map(drop)
            .with_context(|| format!("cannot {what} {}", cluster.name))
    }

    /// SIGKILL to the cluster's postmaster and all its children. Gives how many
    /// processes there were.
    ///
    /// # Errors
    /// If something survives.
    pub async fn kill(&self, cluster: &Cluster) -> anyhow::Result<usize> {
        let data = self.data_dir(cluster);
        processes::kill_all(|p| p.serves(&data)).await
    }
}

/// The names in a directory; none if it cannot be read.
fn entries(dir: &std::path::Path) -> Vec<String> {
    let found = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = found
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

fn free_port(clusters: &[Cluster]) -> anyhow::Result<u16> {
    let free = (FIRST_PORT..FIRST_PORT + 1000).find(|p| clusters.iter().all(|c| c.port != *p));
    free.context("a local server has room for 1000 clusters")
}

fn newest_postgres() -> anyhow::Result<String> {
    let installed = std::fs::read_dir(super::POSTGRES)
        .into_iter()
        .flatten()
        .flatten();
    let versions = installed.filter(|v| v.path().join("bin/postgres").exists());
    let newest = versions
        .filter_map(|v| v.file_name().to_str()?.parse::<u32>().ok())
        .max();
    match newest {
        Some(version) => Ok(version.to_string()),
        None => bail!(
            "no PostgreSQL under {}; install Debian's `postgresql`",
            super::POSTGRES
        ),
    }
}

/// 32 letters and digits, so that no quoting anywhere can spoil it.
fn random_password() -> Secret {
    use rand::RngExt;
    use rand::distr::Alphanumeric;
    secret(
        rand::rng()
            .sample_iter(Alphanumeric)
            .take(32)
            .map(char::from)
            .collect::<String>(),
    )
}

/// `resources.json` is the one place where these passwords are readable.
mod plain {
    use drover::model::{ExposeSecret, Secret, secret};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Secret, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(value.expose_secret())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        String::deserialize(from).map(secret)
    }
}
