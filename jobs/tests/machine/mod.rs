//! A Debian of its own, with PostgreSQL as Debian lays it out, and some who log in to it.

mod cluster;
mod login;
mod trace;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use drover::model::{DeploymentId, OperationId, Secret, secret};
use drover::store::leases::Fence;
use drover::store::words::{Lease, Standing};
use drover_jobs::host::{self, AtPort, Host, Kind, Report, Script, ScriptError, Word};
use drover_jobs::ssh::{self, Limits, Target};
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};

use crate::daemon::Daemon;
pub use cluster::Cluster;
pub use login::Login;

/// Whose words they are.
pub static DEPLOYMENT: LazyLock<DeploymentId> = LazyLock::new(DeploymentId::generate);

/// The first word that a record has about anything, which has all the time there is.
pub fn first_word() -> Word {
    word(0, None, &[(1, "first"), (1, "first")])
}

/// A word of this epoch, raised by this operation, under these leases.
pub fn word(epoch: i64, raised_by: Option<OperationId>, leases: &[(i64, &str)]) -> Word {
    let lease = |(number, nonce): &(i64, &str)| {
        let (fence, nonce) = (Fence(*number), (*nonce).to_owned());
        Some(Lease { fence, nonce })
    };
    Word {
        standing: Standing {
            deployment: *DEPLOYMENT,
            epoch,
            raised_by,
            fences: leases.iter().map(lease).collect(),
            known: None,
        },
        until: Instant::now() + Duration::from_secs(60),
    }
}

/// What a script came to: its report, or its status and its last words.
pub type Ended = Result<Report, (Option<u32>, String)>;

pub struct Machine {
    root: Target,
    daemon: Daemon,
}

/// How soon what goes on is looked at again.
const SOON: Duration = Duration::from_millis(500);

/// No two clusters of these tests have the same port.
static NEXT: AtomicU16 = AtomicU16::new(6001);

impl Daemon {
    /// What a command prints, which has to succeed.
    fn says(&self, arguments: &[&str]) -> String {
        let said = self.command(arguments).output().unwrap();
        assert!(said.status.success(), "{arguments:?}: {said:?}");
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    }
}

impl Machine {
    /// A new one, with PostgreSQL and without a cluster.
    pub async fn make() -> Self {
        Self::made_with(&["--image", "bookworm"]).await
    }

    /// The same of the next Debian, with the next PostgreSQL, and with more shells.
    pub async fn trixie() -> Self {
        Self::made_with(&["--image", "trixie"]).await
    }

    /// One whose clusters are to have a volume of this size.
    pub async fn with_volume(size: &str) -> Self {
        Self::made_with(&["--volume", size]).await
    }

    async fn made_with(with: &[&str]) -> Self {
        let daemon = Daemon::start().await;
        let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
        let public = key.public_key().to_openssh().unwrap();
        daemon.says(&[&["make", "logins", "--wait", "22"], with].concat());
        let lay_out = login::lay_out(&public);
        daemon.says(&["exec", "logins", "--", "sh", "-c", &lay_out]);
        let helper = host::helper::install("helped", &public).unwrap();
        daemon.says(&["exec", "logins", "--", "sh", "-c", &helper]);
        let listed: serde_json::Value =
            serde_json::from_str(&daemon.says(&["ls", "--json"])).unwrap();
        let address = listed[0]["address"].as_str().unwrap();
        let host_key = ssh::read_host_key(address, 22, Duration::from_secs(20)).await;
        Self {
            root: Target {
                address: address.to_owned(),
                port: 22,
                user: "root".to_owned(),
                key: secret(key.to_openssh(LineEnding::LF).unwrap().to_string()),
                host_key: Some(host_key.unwrap()),
            },
            daemon,
        }
    }

    /// Runs a command as root, which has to succeed, and gives what it prints.
    pub async fn root(&self, command: &str) -> String {
        let limits = Limits {
            time: Duration::from_secs(60),
            ..Limits::default()
        };
        let said = ssh::run(&self.root, command, limits).await.unwrap();
        let error = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status, Some(0), "{command}: {error}");
        String::from_utf8_lossy(&said.stdout).trim().to_owned()
    }

    /// Runs a script, as this one, at this cluster, if one is given. What
    /// changes something does it on the first word of all.
    pub async fn run(
        &self,
        login: Login,
        script: &'static Script,
        cluster: Option<AtPort<'_>>,
        arguments: &[&str],
        input: &str,
    ) -> Ended {
        let word = first_word();
        self.told(login, script, &word, cluster, arguments, input)
            .await
    }

    /// Runs a script on a word of its own.
    pub async fn told(
        &self,
        login: Login,
        script: &'static Script,
        word: &Word,
        cluster: Option<AtPort<'_>>,
        arguments: &[&str],
        input: &str,
    ) -> Ended {
        let host = Host {
            name: "debian",
            target: Target {
                user: login.user().to_owned(),
                ..self.root.clone()
            },
            time: Duration::from_secs(60),
            connect: Duration::from_secs(20),
            cluster,
        };
        let input = input.as_bytes();
        let said = match Kind::from(script) {
            Kind::Look(script) => host::look(&host, &script, arguments, input).await,
            Kind::Change(script) => host::change(&host, &script, word, arguments, input).await,
        };
        said.map_err(|e: ScriptError| (e.status(), e.to_string()))
    }

    /// Runs a script that has to succeed; what goes on by itself is waited for.
    pub async fn does(
        &self,
        login: Login,
        script: &'static Script,
        arguments: &[&str],
        input: &str,
    ) -> Report {
        self.does_at(None, login, script, arguments, input).await
    }

    async fn does_at(
        &self,
        cluster: Option<AtPort<'_>>,
        login: Login,
        script: &'static Script,
        arguments: &[&str],
        input: &str,
    ) -> Report {
        let ended = self.ended(login, script, cluster, arguments, input).await;
        ended.unwrap_or_else(|e| panic!("{} as {login:?}: {e:?}", script.name))
    }

    /// As [`Self::run`]; what goes on by itself is waited for.
    async fn ended(
        &self,
        login: Login,
        script: &'static Script,
        cluster: Option<AtPort<'_>>,
        arguments: &[&str],
        input: &str,
    ) -> Ended {
        loop {
            match self.run(login, script, cluster, arguments, input).await {
                Err((Some(ScriptError::GOES_ON), _)) => tokio::time::sleep(SOON).await,
                ended => return ended,
            }
        }
    }

    /// The version of PostgreSQL that is installed.
    pub async fn version(&self) -> String {
        self.root("ls /usr/lib/postgresql | sort -n | tail -n 1")
            .await
    }

    /// A cluster that a script makes, or has made.
    pub fn made(&self, name: &str, version: &str) -> Cluster<'_> {
        Cluster {
            machine: self,
            name: name.to_owned(),
            conf: format!("/etc/postgresql/{version}/{name}"),
            data: format!("/var/lib/postgresql/{version}/{name}"),
            version: version.to_owned(),
            port: NEXT.fetch_add(1, Ordering::Relaxed),
            is: None,
        }
    }

    /// Nothing in /tmp is run from now on, nor makes anything of anybody.
    pub async fn runs_nothing_of_tmp(&self) {
        let how = "noexec,nosuid,nodev";
        let mount = format!(
            "mount -o remount,{how} /tmp 2>/dev/null || mount -t tmpfs -o {how},mode=1777 none /tmp
             cp /bin/true /tmp/true; ! /tmp/true 2>/dev/null"
        );
        self.root(&mount).await;
    }

    /// Sets its clock, by that of this host.
    pub fn set_clock(&self, offset: &str) {
        self.daemon.says(&["clock", "logins", offset]);
    }

    /// Its volume: its id.
    pub fn volume(&self) -> String {
        let all = self.daemon.says(&["volume", "ls", "--json"]);
        let all: serde_json::Value = serde_json::from_str(&all).unwrap();
        all[0]["id"].as_str().unwrap().to_owned()
    }

    /// Makes its volume full, read-only, or well.
    pub fn make_volume(&self, health: &str) {
        self.daemon.says(&["volume", "set", &self.volume(), health]);
    }

    pub fn grow_volume(&self, size: &str) {
        self.daemon.says(&["volume", "grow", &self.volume(), size]);
    }

    /// Turns it off and on again.
    pub async fn reboots(&self) {
        let boot = "cat /proc/sys/kernel/random/boot_id";
        let before = self.root(boot).await;
        self.daemon.says(&["reboot", "logins"]);
        loop {
            let limits = Limits::default();
            let said = ssh::run(&self.root, boot, limits).await;
            if said.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).trim() != before) {
                return;
            }
            tokio::time::sleep(SOON).await;
        }
    }

    /// Runs a command as this one: its status, and what it prints.
    pub async fn tries(&self, login: Login, command: &str, input: &[u8]) -> (Option<u32>, String) {
        let target = Target {
            user: login.user().to_owned(),
            ..self.root.clone()
        };
        let limits = Limits {
            time: Duration::from_secs(60),
            ..Limits::default()
        };
        let said = ssh::run_with_input(&target, command, input, limits).await;
        let said = said.unwrap();
        let text = [said.stdout, said.stderr].concat();
        (said.status, String::from_utf8_lossy(&text).into_owned())
    }

    /// What all log in with, and what signs a new drover-root.
    pub fn key(&self) -> &Secret {
        &self.root.key
    }

    pub fn address(&self) -> &str {
        &self.root.address
    }

    /// A cluster that runs, of the version that is installed.
    pub async fn cluster(&self, name: &str) -> Cluster<'_> {
        let cluster = self.made(name, &self.version().await);
        cluster
            .root(
                "pg_lsclusters -h $V $N >/dev/null 2>&1 && pg_dropcluster --stop $V $N
                 rm -rf $C $D
                 pg_createcluster -p $P --start $V $N >/dev/null",
            )
            .await;
        cluster
    }
}

/// Ends with "not proved", and has changed nothing.
pub fn is_not_proved(ended: &Ended) -> bool {
    matches!(ended, Err((Some(77), words)) if words.starts_with("not proved: "))
}
