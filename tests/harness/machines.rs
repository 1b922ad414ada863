//! The machines behind moto's instances, which are rows of a table there: for each
//! instance that runs, a real sshd at the address that moto gives it, with the host
//! key and the login that its user data name, and room for real clusters.
//!
//! What cannot be had on one machine stands in: a kernel of its own (the boot id is a
//! file) and a disk of its own (its clusters are in a directory).

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drover_jobs::cloud::local::COMMANDS;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::Moto;
use crate::aws::text;
use crate::postgres::{as_owner, owned_dir, owner_name};

/// Port of each machine's sshd: nobody but root may listen at 22.
pub const SSH_PORT: u16 = 2222;

/// Attends to moto's instances until it is dropped.
pub struct Machines {
    task: JoinHandle<()>,
    dir: PathBuf,
}

impl Machines {
    /// Begins to; the machines' directories are made below `dir`. A reboot is seen by
    /// the call, for moto takes note of it and no more.
    pub fn attend(moto: Arc<Moto>, dir: &Path) -> Result<Self> {
        owned_dir(dir)?;
        let root = dir.to_owned();
        let task = tokio::spawn(async move {
            let mut known: HashMap<String, Machine> = HashMap::new();
            loop {
                if let Err(e) = look(&moto, &root, &mut known).await {
                    eprintln!("machines: {e:#}");
                }
                for id in moto.rebooted() {
                    if let Some(machine) = known.get(&id) {
                        machine.unplug();
                        if let Err(e) = machine.plug() {
                            eprintln!("machines: {id}: {e:#}");
                        }
                    }
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        Ok(Self {
            task,
            dir: dir.to_owned(),
        })
    }

    /// Processes that run on any of them.
    pub fn processes(&self) -> usize {
        processes_of(&self.dir).len()
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        self.task.abort();
        kill(&self.dir);
    }
}

async fn look(moto: &Moto, root: &Path, known: &mut HashMap<String, Machine>) -> Result<()> {
    for (id, state, address) in instances(moto).await? {
        let running = state == "running";
        let Some(machine) = known.get_mut(&id) else {
            if running {
                let user_data = user_data(moto, &id).await?;
                let machine = Machine::new(root.join(&id), &address, &user_data)?;
                machine.plug()?;
                known.insert(id, machine);
            }
            continue;
        };
        match (running, machine.on) {
            (true, false) => {
                machine.plug()?;
                machine.on = true;
            }
            (false, true) => {
                machine.unplug();
                machine.on = false;
            }
            (true, true) | (false, false) => {}
        }
        if state == "terminated" {
            let _ = std::fs::remove_dir_all(&machine.dir);
        }
    }
    Ok(())
}

struct Machine {
    dir: PathBuf,
    on: bool,
}

impl Machine {
    fn new(dir: PathBuf, address: &str, user_data: &str) -> Result<Self> {
        let (first, body) = user_data.split_once('\n').context("empty user data")?;
        ensure!(first == "#cloud-config", "user data begin with {first:?}");
        let body: Value = serde_json::from_str(body).context("the user data are no JSON")?;
        let host_key = body["ssh_keys"]["ed25519_private"].as_str();
        let host_key = host_key.context("no host key in the user data")?;
        let login = body["users"][0]["ssh_authorized_keys"][0].as_str();
        let login = login.context("nobody may log in")?;
        let user = body["users"][0]["name"].as_str().context("no user")?;
        ensure!(user == owner_name()?, "this machine has no user {user}");
        for part in [
            "", "pg", "pg/conf", "pg/data", "pg/log", "pg/pid", "run", "bin",
        ] {
            owned_dir(&dir.join(part))?;
        }
        std::fs::set_permissions(dir.join("run"), PermissionsExt::from_mode(0o700))?;
        let here = dir.display();
        let write = |name: &str, text: &str, mode: u32| -> Result<()> {
            let path = dir.join(name);
            std::fs::write(&path, text)?;
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode))?;
            as_owner(&path)
        };
        write("host_key", host_key, 0o600)?;
        write("authorized_keys", &format!("{login}\n"), 0o600)?;
        write(
            "bin/cat",
            &format!(
                "#!/bin/sh\ncase \"$*\" in\n/proc/sys/kernel/random/boot_id) exec /bin/cat {here}/boot_id;;\n\
                 *) exec /bin/cat \"$@\";;\nesac\n"
            ),
            0o755,
        )?;
        for (name, text) in COMMANDS {
            write(&format!("bin/{name}"), text, 0o755)?;
        }
        write(
            "folders",
            &format!("storage='{here}/pg' sockets='{here}/run' address='{address}'\n"),
            0o644,
        )?;
        write(
            "createcluster.conf",
            &format!(
                "start_conf = 'auto'\ndata_directory = '{here}/pg/data/%c'\nadd_include_dir = 'conf.d'\n\
                 initdb_options = '--no-sync'\ncluster_name = '%v/%c'\nfsync = off\n\
                 shared_buffers = '16MB'\nmax_wal_size = '128MB'\nmin_wal_size = '32MB'\n\
                 external_pid_file = '{here}/pg/pid/%c'\n"
            ),
            0o644,
        )?;
        write(
            "sshd_config",
            &format!(
                "ListenAddress {address}\nPort {SSH_PORT}\nHostKey {here}/host_key\nPidFile {here}/sshd.pid\n\
                 AuthorizedKeysFile {here}/authorized_keys\nStrictModes no\nUsePAM no\n\
                 PasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\nPrintMotd no\n\
                 MaxStartups 100:30:200\nAllowUsers {user}\n\
                 SetEnv PATH={here}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
                 PG_CLUSTER_CONF_ROOT={here}/pg/conf HOME={here}\n"
            ),
            0o644,
        )?;
        Ok(Self { dir, on: true })
    }

    /// Boots it: another boot id, its sshd, and the clusters that it has.
    fn plug(&self) -> Result<()> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        std::fs::write(self.dir.join("boot_id"), boot)?;
        std::fs::set_permissions(self.dir.join("boot_id"), PermissionsExt::from_mode(0o644))?;
        let here = self.dir.display();
        let script = format!(
            "/usr/sbin/sshd -f {here}/sshd_config -E {here}/sshd.log || exit 1
             export PG_CLUSTER_CONF_ROOT={here}/pg/conf
             for d in {here}/pg/conf/*/*; do
               [ -e \"$d/postgresql.conf\" ] || continue
               v=${{d%/*}}; v=${{v##*/}}; c=${{d##*/}}
               rm -f {here}/pg/data/$c/postmaster.pid {here}/run/.s.PGSQL.*
               pg_ctlcluster \"$v\" \"$c\" start &
             done; wait"
        );
        let mut command = Command::new("sh");
        crate::postgres::become_owner(&mut command)?;
        let done = command
            .args(["-c", &script])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        ensure!(done.success(), "its sshd does not start");
        Ok(())
    }

    fn unplug(&self) {
        kill(&self.dir);
    }
}

/// SIGKILL to all that runs below a directory.
fn kill(dir: &Path) {
    for _ in 0..50 {
        let found = processes_of(dir);
        if found.is_empty() {
            return;
        }
        for pid in found {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Processes whose command line names the directory, or that work in it; no zombies.
pub fn processes_of(dir: &Path) -> Vec<i32> {
    let name = dir.to_string_lossy().into_owned();
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let cwd = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            let here = String::from_utf8_lossy(&line).contains(&name) || cwd.starts_with(dir);
            (here && !line.is_empty() && pid != own).then_some(pid)
        })
        .collect()
}

/// Id, state and private address of every instance.
async fn instances(moto: &Moto) -> Result<Vec<(String, String, String)>> {
    let told = moto.ask("DescribeInstances", &[]).await?;
    let found = told.split("<instanceId>").skip(1).filter_map(|rest| {
        let (id, rest) = rest.split_once("</instanceId>")?;
        let (_, state) = rest.split_once("<instanceState>")?;
        let state = text(state, "name").ok()?.to_owned();
        let address = text(rest, "privateIpAddress").unwrap_or_default();
        Some((id.trim().to_owned(), state, address.to_owned()))
    });
    Ok(found.collect())
}

async fn user_data(moto: &Moto, id: &str) -> Result<String> {
    let parameters = [("InstanceId", id), ("Attribute", "userData")];
    let told = moto.ask("DescribeInstanceAttribute", &parameters).await?;
    let encoded = text(&told, "value")?.trim();
    Ok(String::from_utf8(STANDARD.decode(encoded)?)?)
}
