//! A PostgreSQL cluster of our own, gone when it is dropped.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User, chown};
use sqlx::PgPool;
use tokio::sync::OnceCell;

/// A running cluster in a temporary directory. Both go when it is dropped, or
/// when this process is gone, however it went.
pub struct Postgres {
    dir: PathBuf,
    bin: PathBuf,
    guard: Option<Child>,
    /// Port on 127.0.0.1.
    pub port: u16,
}

/// Waits until its stdin ends, which it does with the process that holds the
/// other end; then stops the cluster and removes its directory.
const GUARD: &str = r#"
trap '' INT TERM HUP
cat >/dev/null
"$1/pg_ctl" -D "$2/data" -m immediate -s stop >/dev/null 2>&1
rm -rf "$2"
"#;

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

/// The name of whoever PostgreSQL runs as.
pub fn owner_name() -> Result<String> {
    let user = match owner()? {
        Some(user) => Some(user),
        None => User::from_uid(Uid::effective())?,
    };
    Ok(user.context("nobody has our user id")?.name)
}

/// Gives a file to the same.
pub fn as_owner(path: &Path) -> Result<()> {
    if let Some(user) = owner()? {
        chown(path, Some(user.uid), Some(user.gid))?;
    }
    Ok(())
}

/// Has a command run as the same.
pub fn become_owner(command: &mut Command) -> Result<()> {
    if let Some(user) = owner()? {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    Ok(())
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
pub fn owned_dir(path: &Path) -> Result<()> {
    std::fs::create_dir(path)?;
    as_owner(path)
}

/// Makes an SSH key pair that belongs to the same.
pub fn ssh_key(path: &Path) -> Result<()> {
    let mut command = Command::new("ssh-keygen");
    command
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "drover", "-f"])
        .arg(path);
    become_owner(&mut command)?;
    let status = command.stdin(std::process::Stdio::null()).status()?;
    if !status.success() {
        bail!("ssh-keygen ended with {status}");
    }
    Ok(())
}

/// A port that nobody listens on right now. It is none that Linux gives to connections that
/// go out (32768 and up), of which one could have it before who asked listens there.
pub fn free_port() -> Result<u16> {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut tries = std::iter::repeat_with(|| rand::random_range(10_000..30_000)).take(100);
    tries.find(free).context("no free port")
}

impl Postgres {
    /// Starts one with these settings (`name = value`) beside the defaults.
    pub fn start(settings: &[&str]) -> Result<Self> {
        let this = Self::empty()?;
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
        let port = format!("port = {}", this.port);
        this.configure(&[
            "listen_addresses = '127.0.0.1'",
            &port,
            "unix_socket_directories = ''",
            "max_connections = 200",
            "log_min_messages = warning",
        ])?;
        this.configure(settings)?;
        this.pg_ctl(&["start"])?;
        Ok(this)
    }

    /// One with drover's record, empty, in the database `drover`, and a pool on that.
    /// The first is made as drover makes it, the others of this process are copies:
    /// initdb and the migrations take seconds.
    pub async fn with_record() -> Result<(Self, String, PgPool)> {
        static FIRST: OnceCell<Postgres> = OnceCell::const_new();
        let make = async || {
            let first = Self::start(&[])?;
            let (_, pool) = first.database("drover").await?;
            pool.close().await;
            first.pg_ctl(&["stop", "-m", "fast"])?;
            anyhow::Ok(first)
        };
        let first = FIRST.get_or_try_init(make).await?;
        let this = Self::empty()?;
        this.run("/bin/cp", |c| {
            c.arg("-a").args([first.data(), this.data()]);
        })?;
        this.configure(&[&format!("port = {}", this.port)])?;
        this.pg_ctl(&["start"])?;
        let url = this.url("drover");
        let pool = drover::store::connect(&url, 10).await?;
        Ok((this, url, pool))
    }

    /// A place for a cluster, and nothing in it yet.
    fn empty() -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("drover-pg-")
            .tempdir_in("/tmp")?
            .keep();
        let mut this = Self {
            dir,
            bin: programs()?,
            guard: None,
            port: free_port()?,
        };
        as_owner(&this.dir)?;
        this.guard = Some(this.guard()?);
        Ok(this)
    }

    /// Sends a signal to the postmaster and to all its children.
    ///
    /// # Errors
    /// If it does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid"))?;
        let postmaster = file.lines().next().context("an empty postmaster.pid")?;
        let children = Command::new("ps")
            .args(["-o", "pid=", "--ppid", postmaster])
            .output()?;
        let children = String::from_utf8(children.stdout)?;
        // The postmaster first, so that there is nobody who starts another.
        for pid in std::iter::once(postmaster).chain(children.split_whitespace()) {
            match kill(Pid::from_raw(pid.parse()?), signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Writes all of a database into a file, as SQL.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn dump(&self, database: &str, to: &Path) -> Result<()> {
        let mut dump = Command::new(self.bin.join("pg_dump"));
        dump.arg("--file").arg(to).arg(self.url(database));
        let done = dump.stdin(Stdio::null()).output()?;
        if !done.status.success() {
            bail!("pg_dump: {}", String::from_utf8_lossy(&done.stderr));
        }
        Ok(())
    }

    /// `pg_ctl restart -m immediate`: as after a crash.
    pub fn restart_immediate(&self) -> Result<()> {
        self.pg_ctl(&["restart", "-m", "immediate"])
    }

    /// `pg_ctl ACTION`, waiting until it is done.
    pub fn pg_ctl(&self, action: &[&str]) -> Result<()> {
        let (data, log) = (self.data(), self.dir.join("log"));
        self.run("pg_ctl", |c| {
            c.args(["-s", "-w", "-t", "60", "-D"])
                .arg(&data)
                .arg("-l")
                .arg(&log)
                .args(action);
        })
    }

    /// URL of a database in it, for who gets there by the filesystem alone.
    pub fn url_by_socket(&self, database: &str, sockets: &Path) -> String {
        let host = sockets.display().to_string().replace('/', "%2F");
        format!("postgres://drover@{host}:{}/{database}", self.port)
    }

    /// URL of a database in it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://drover@127.0.0.1:{}/{database}", self.port)
    }

    /// A new, migrated database, and a pool on it.
    pub async fn database(&self, name: &str) -> Result<(String, PgPool)> {
        let (url, pool) = self.empty_database(name).await?;
        drover::store::migrate(&pool).await?;
        Ok((url, pool))
    }

    /// A new database with nothing in it, and a pool on it.
    pub async fn empty_database(&self, name: &str) -> Result<(String, PgPool)> {
        self.copy_of("template1", name).await
    }

    /// A copy of a database that nobody is in, and a pool on it.
    async fn copy_of(&self, template: &str, name: &str) -> Result<(String, PgPool)> {
        let admin = drover::store::connect(&self.url("postgres"), 1).await?;
        let create = format!("create database {name} template {template}");
        sqlx::query(sqlx::AssertSqlSafe(create))
            .execute(&admin)
            .await?;
        admin.close().await;
        let url = self.url(name);
        let pool = drover::store::connect(&url, 10).await?;
        Ok((url, pool))
    }

    /// Restores a dump into a database, in place of what is in it.
    pub fn restore(&self, file: &Path, database: &str) -> Result<()> {
        let url = self.url(database);
        self.run("psql", |c| {
            c.args(["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1"]);
            c.args(["--dbname", &url, "--command"]);
            c.arg(
                "drop schema if exists apalis cascade; drop schema public cascade; \
                   create schema public",
            );
        })?;
        self.run("psql", |c| {
            c.args(["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1"]);
            c.args(["--dbname", &url, "--file"]).arg(file);
        })
    }

    /// Writes a file into its data directory, readable by PostgreSQL only.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.data().join(name);
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
        as_owner(&path)
    }

    /// Sets what the next start or reload is to use, over what was set before.
    pub fn configure(&self, settings: &[&str]) -> Result<()> {
        let mut conf = std::fs::read_to_string(self.data().join("postgresql.conf"))?;
        for setting in settings {
            conf.push_str(setting);
            conf.push('\n');
        }
        self.write("postgresql.conf", &conf)
    }

    /// A hot standby of it, started.
    ///
    /// # Errors
    /// If the base backup fails, or the standby does not start.
    pub fn standby(&self) -> Result<Self> {
        let standby = Self::empty()?;
        let (data, port) = (standby.data(), self.port.to_string());
        standby.run("pg_basebackup", |c| {
            c.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
                .args(["-h", "127.0.0.1", "-U", "drover", "-p", &port, "-D"])
                .arg(&data);
        })?;
        standby.configure(&[&format!("port = {}", standby.port)])?;
        standby.pg_ctl(&["start"])?;
        Ok(standby)
    }

    /// Its standby, which was stopped, takes its place and its port, now that this one was killed.
    ///
    /// # Errors
    /// If it does not start there.
    pub fn replace_by(&self, standby: &Self) -> Result<()> {
        let dead = self.dir.join("dead");
        if dead.exists() {
            std::fs::remove_dir_all(&dead)?;
        }
        std::fs::rename(self.data(), &dead)?;
        std::fs::rename(standby.data(), self.data())?;
        self.configure(&[&format!("port = {}", self.port)])?;
        self.pg_ctl(&["start"])?;
        self.pg_ctl(&["promote"])
    }

    /// Its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn guard(&self) -> Result<Child> {
        let mut command = Command::new("sh");
        command
            .args(["-c", GUARD, "guard"])
            .args([&self.bin, &self.dir])
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        become_owner(&mut command)?;
        command.spawn().context("starting the guard")
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn run(&self, program: &str, arguments: impl FnOnce(&mut Command)) -> Result<()> {
        let mut command = Command::new(self.bin.join(program));
        arguments(&mut command);
        command
            .current_dir(Path::new("/"))
            .stdin(std::process::Stdio::null());
        become_owner(&mut command)?;
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
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            let _ = guard.wait();
        }
    }
}

/// A new, migrated database in a cluster that all tests of one binary share.
pub async fn shared_database() -> Result<(String, PgPool)> {
    shared("drover").await
}

/// The same, but nothing is in it yet.
pub async fn shared_empty_database() -> Result<(String, PgPool)> {
    shared("template1").await
}

async fn shared(template: &str) -> Result<(String, PgPool)> {
    static SHARED: OnceCell<Postgres> = OnceCell::const_new();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = async || {
        let (shared, _, pool) = Postgres::with_record().await?;
        pool.close().await;
        anyhow::Ok(shared)
    };
    let shared = SHARED.get_or_try_init(start).await?;
    let name = format!("shared_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    shared.copy_of(template, &name).await
}
