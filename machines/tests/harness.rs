//! A daemon of the test's own, and what is done with its machines.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use drover_machines::client::Client;
use drover_machines::protocol::{Machine, Make, NewVolume};
use tempfile::TempDir;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_drover-machines");
/// What a machine may take to boot, while others do.
pub(crate) const BOOT: Duration = Duration::from_secs(60);
pub(crate) const MIB: u64 = 1 << 20;

/// A daemon and all its machines, which go with it.
pub(crate) struct Daemon {
    pub(crate) client: Client,
    folder: TempDir,
    serve: &'static str,
    process: Option<Child>,
    /// The key that its machines' users are reached by
    key: PathBuf,
    public_key: String,
}

impl Daemon {
    pub(crate) async fn start() -> Self {
        Self::of("serve", Path::new(env!("CARGO_TARGET_TMPDIR"))).await
    }

    /// One whose machines are processes, of another user's where the test is root's: it has
    /// to reach them.
    pub(crate) async fn of_processes() -> Self {
        Self::of("serve --processes", Path::new("/tmp")).await
    }

    async fn of(serve: &'static str, at: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("m").tempdir_in(at).unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let key = folder.path().join("key");
        let public_key = new_key(&key);
        let client = Client::at(folder.path().join("socket"));
        let mut daemon = Self {
            client,
            folder,
            serve,
            process: None,
            key,
            public_key,
        };
        daemon.restart().await;
        daemon
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn public_key(&self) -> &str {
        &self.public_key
    }

    /// A command of `drover-machines`, for this daemon.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(BINARY);
        command
            .args(line.split_whitespace())
            .env("DROVER_MACHINES_DIR", self.folder());
        command
    }

    /// Starts it (again), and waits until it answers.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder().join("log"))
            .unwrap();
        self.process = Some(
            self.command(self.serve)
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap(),
        );
        let begun = Instant::now();
        while self.client.list(None).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// A machine with the image's own user, and a volume.
    pub(crate) fn plain(&self, name: &str) -> Make {
        Make {
            name: Some(name.into()),
            public_keys: vec![self.public_key.clone()],
            ..Make::default()
        }
    }

    pub(crate) fn with_volume(&self, name: &str, mib: u64) -> Make {
        let volume = NewVolume {
            size: mib * MIB,
            ..NewVolume::default()
        };
        Make {
            volumes: vec![volume],
            ..self.plain(name)
        }
    }

    /// Makes it, and waits until it is up.
    pub(crate) async fn up(&self, make: Make) -> Machine {
        let machine = self.client.make(make).await.unwrap();
        self.booted(&machine.name).await;
        machine
    }

    /// Waits until everything that starts at boot has.
    pub(crate) async fn booted(&self, machine: &str) {
        let begun = Instant::now();
        loop {
            let ready = "test -e /run/cloud-init/result.json && systemctl is-active -q multi-user.target ssh";
            match self.client.sh(machine, ready, BOOT).await {
                Ok(output) if output.status == Some(0) => return,
                seen => assert!(
                    begun.elapsed() < BOOT,
                    "{machine} is not up: {seen:?}\n{}",
                    self.client.console(machine).await.unwrap_or_default()
                ),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What a script of root's prints, that must be well.
    pub(crate) async fn sh(&self, machine: &str, script: &str) -> String {
        let output = self
            .client
            .sh(machine, script, Duration::from_secs(60))
            .await
            .unwrap();
        assert_eq!(output.status, Some(0), "{script}: {output:?}");
        output.stdout.trim().to_owned()
    }

    /// Whether a script of root's is well.
    pub(crate) async fn can(&self, machine: &str, script: &str) -> bool {
        let output = self
            .client
            .sh(machine, script, Duration::from_secs(60))
            .await
            .unwrap();
        output.status == Some(0)
    }

    pub(crate) async fn boot_id(&self, machine: &str) -> String {
        self.sh(machine, "cat /proc/sys/kernel/random/boot_id")
            .await
    }

    /// Over SSH, with the host key that is given, or any.
    pub(crate) fn ssh(&self, to: &str, port: u16, host_key: Option<&str>, script: &str) -> Output {
        let known = self.folder().join("known_hosts");
        let address = to.split_once('@').unwrap().1;
        std::fs::write(
            &known,
            format!("[{address}]:{port} {}\n", host_key.unwrap_or_default()),
        )
        .unwrap();
        let checking = if host_key.is_some() { "yes" } else { "no" };
        Command::new("ssh")
            .args([
                "-o",
                "BatchMode=yes",
                "-o",
                "ConnectTimeout=5",
                "-F",
                "none",
            ])
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", known.display()))
            .arg("-o")
            .arg(format!("StrictHostKeyChecking={checking}"))
            .arg("-i")
            .arg(&self.key)
            .args(["-p", &port.to_string(), to, script])
            .output()
            .unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
        let gone = self.command("destroy --all").status();
        if !std::thread::panicking() {
            assert!(
                gone.unwrap().success(),
                "its machines could not be destroyed"
            );
        }
    }
}

/// Makes a key pair; its public half.
pub(crate) fn new_key(path: &Path) -> String {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    std::fs::read_to_string(path.with_extension("pub"))
        .unwrap()
        .trim()
        .to_owned()
}

/// What a tool of the host's prints.
pub(crate) fn host(line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// How a connection from this host ends: None, if nobody says anything.
pub(crate) async fn connect(to: Ipv4Addr, port: u16) -> Option<std::io::Result<()>> {
    let connecting = tokio::net::TcpStream::connect((to, port));
    let ended = tokio::time::timeout(Duration::from_millis(1500), connecting).await;
    ended.ok().map(|result| result.map(drop))
}
