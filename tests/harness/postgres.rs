//! A PostgreSQL cluster of our own, gone when it is dropped.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::unistd::{Uid, User, chown};
use sqlx::PgPool;
use tempfile::TempDir;

/// A running cluster in a temporary directory.
pub struct Postgres {
    dir: TempDir,
    bin: PathBuf,
    /// Port on 127.0.0.1.
    pub port: u16,
}

/// The user that PostgreSQL runs as: ourselves, or `drover` when we are root,
/// because PostgreSQL refuses to run as root.
fn owner() -> Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let user = User::from_name("drover")?;
    user.map(Some).context(
        "there is no user `drover` to run PostgreSQL as; bin/test makes it, or: \
         useradd --system --create-home --home-dir /var/lib/drover --shell /bin/sh drover",
    )
}

/// Where the newest PostgreSQL's own programs are.
fn programs() -> Result<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .context("no PostgreSQL in /usr/lib/postgresql; bin/test installs it")?
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            let bin = entry.path().join("bin");
            bin.join("initdb").exists().then_some((version, bin))
        })
        .collect();
    versions.sort_unstable();
    let (_, bin) = versions
        .pop()
        .context("no initdb below /usr/lib/postgresql")?;
    Ok(bin)
}

/// Makes a directory that belongs to whoever PostgreSQL runs as.
///
/// # Errors
/// If it cannot be made.
pub fn owned_dir(path: &Path) -> Result<()> {
    std::fs::create_dir(path)?;
    if let Some(user) = owner()? {
        chown(path, Some(user.uid), Some(user.gid))?;
    }
    Ok(())
}

/// Makes an SSH key pair that belongs to the same.
///
/// # Errors
/// If ssh-keygen fails.
pub fn ssh_key(path: &Path) -> Result<()> {
    let mut command = Command::new("ssh-keygen");
    command
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "drover", "-f"])
        .arg(path);
    if let Some(user) = owner()? {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    let status = command.stdin(std::process::Stdio::null()).status()?;
    if !status.success() {
        bail!("ssh-keygen ended with {status}");
    }
    Ok(())
}

/// A port that nobody listens on right now.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Postgres {
    /// Starts one with these settings (`name = value`) beside the defaults.
    pub fn start(settings: &[&str]) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("drover-pg-")
            .tempdir_in("/tmp")?;
        let this = Self {
            dir,
            bin: programs()?,
            port: free_port()?,
        };
        if let Some(user) = owner()? {
            chown(this.dir.path(), Some(user.uid), Some(user.gid))?;
        }
        let data = this.data();
        this.run("initdb", |c| {
            c.args([
                "--no-sync",
                "--auth=trust",
                "--username=drover",
                "--encoding=UTF8",
            ]);
            c.args(["--locale=C.UTF-8", "-D"]).arg(&data);
        })?;
        let mut conf = std::fs::read_to_string(data.join("postgresql.conf"))?;
        conf.push_str(&format!(
            "\nlisten_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = ''\n\
             max_connections = 200\nlog_min_messages = warning\n",
            this.port
        ));
        for setting in settings {
            conf.push_str(setting);
            conf.push('\n');
        }
        std::fs::write(data.join("postgresql.conf"), conf)?;
        this.pg_ctl(&["start"])?;
        Ok(this)
    }

    /// `pg_ctl restart -m immediate`: as after a crash.
    pub fn restart_immediate(&self) -> Result<()> {
        self.pg_ctl(&["restart", "-m", "immediate"])
    }

    /// `pg_ctl ACTION`, waiting until it is done.
    pub fn pg_ctl(&self, action: &[&str]) -> Result<()> {
        let (data, log) = (self.data(), self.dir.path().join("log"));
        self.run("pg_ctl", |c| {
            c.args(["-s", "-w", "-t", "60", "-D"])
                .arg(&data)
                .arg("-l")
                .arg(&log)
                .args(action);
        })
    }

    /// URL of a database in it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://drover@127.0.0.1:{}/{database}", self.port)
    }

    /// A new, migrated database.
    pub async fn database(&self, name: &str) -> Result<(String, PgPool)> {
        let admin = drover::store::connect(&self.url("postgres"), 1).await?;
        sqlx::query(sqlx::AssertSqlSafe(format!("create database {name}")))
            .execute(&admin)
            .await?;
        let url = self.url(name);
        let pool = drover::store::connect(&url, 10).await?;
        drover::store::migrate(&pool).await?;
        Ok((url, pool))
    }

    /// Its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn run(&self, program: &str, arguments: impl FnOnce(&mut Command)) -> Result<()> {
        let mut command = Command::new(self.bin.join(program));
        arguments(&mut command);
        command
            .current_dir(Path::new("/"))
            .stdin(std::process::Stdio::null());
        if let Some(user) = owner()? {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        // A server that pg_ctl starts must not hold our pipes open.
        let (out, err) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let status = command
            .stdout(out)
            .stderr(err.try_clone()?)
            .status()
            .with_context(|| format!("running {program}"))?;
        if !status.success() {
            use std::io::{Read, Seek};
            let (mut err, mut text) = (err, String::new());
            err.rewind()?;
            err.read_to_string(&mut text)?;
            bail!("{program} failed: {text}\n{}", self.log());
        }
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.pg_ctl(&["stop", "-m", "immediate"]);
    }
}
