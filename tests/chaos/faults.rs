//! How each fault begins, and how it ends. What a fault is stands in one place each.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use drover_machines::network::{End, Fault as NetFault, What as Wrong};
use drover_machines::protocol::Health;
use drover_tests::{Lead, until};
use nix::sys::signal::Signal;

use crate::plan::{
    Blow, DatabaseFault, DiskFault, MachineFault, NetworkFault, Node, Process, Way, What,
};
use crate::world::{KINDS, World};

/// What ends a fault that has begun.
#[derive(Clone, Debug)]
pub enum Cure {
    /// Nothing: it has no duration.
    None,
    /// The process goes on.
    Continue(u32),
    /// Another one is started.
    Start(Process),
    /// The one that was told to end is gone by then.
    Gone(u32),
    PowerOn(String),
    Thaw(String),
    Clock(String),
    Heal(End, End),
    /// The volumes.
    Repair(Vec<String>),
    StartDatabase,
    ContinueDatabase,
    /// What was dumped into this file is put in its place.
    RestoreDatabase(PathBuf),
    /// Its standby takes its place.
    FailOverDatabase,
    CloudIsWell,
}

/// A fault that has begun: at whom, and what ends it.
pub struct Begun {
    pub at: String,
    pub cure: Cure,
}

impl Begun {
    fn at(node: &Lead, cure: Cure) -> Self {
        Self {
            at: node.address.clone(),
            cure,
        }
    }
}

/// Has it begin.
///
/// # Errors
/// If it cannot be: the machine is off already, say.
pub async fn begin(world: &World, what: What) -> Result<Begun> {
    match what {
        What::Process(process, blow) => strike(world, process, blow),
        What::Machine(node, fault) => machine(world, &world.node(node)?, fault).await,
        What::Network(node, way, fault) => network(world, node, way, fault).await,
        What::Postmaster(node) => postmaster(world, &world.node(node)?).await,
        What::Disk(node, fault) => disk(world, &world.node(node)?, fault).await,
        What::ControlDatabase(fault) => control_database(world, fault),
        What::Cloud(fault) => {
            world.cloud.set(Some(fault));
            Ok(Begun {
                at: "the daemon of the machines".to_owned(),
                cure: Cure::CloudIsWell,
            })
        }
    }
}

fn strike(world: &World, process: Process, blow: Blow) -> Result<Begun> {
    let mut processes = world.processes();
    let pids = processes.pids(process.name());
    // Each in its turn, so that one that is to end already is not told once more.
    let turn = world.blows.fetch_add(1, Ordering::Relaxed);
    let pid = *pids.get(turn % pids.len().max(1)).context("none runs")?;
    let cure = match blow {
        Blow::Kill => {
            processes.kill_pid(pid)?;
            Cure::Start(process)
        }
        Blow::Pause => {
            processes.signal(pid, Signal::SIGSTOP)?;
            Cure::Continue(pid)
        }
        Blow::Restart => {
            processes.signal(pid, Signal::SIGTERM)?;
            // One web only can have the port.
            if process != Process::Web {
                processes.start(process.name())?;
            }
            Cure::Gone(pid)
        }
    };
    Ok(Begun {
        at: format!("pid {pid}"),
        cure,
    })
}

async fn machine(world: &World, node: &Lead, fault: MachineFault) -> Result<Begun> {
    let (machines, name) = (world.machines(), node.instance.clone());
    let cure = match fault {
        MachineFault::PowerOff => {
            machines.kill(&name).await?;
            Cure::PowerOn(name)
        }
        MachineFault::Reboot => {
            machines.reboot(&name, None).await?;
            Cure::None
        }
        MachineFault::Freeze => {
            machines.freeze(&name).await?;
            Cure::Thaw(name)
        }
        MachineFault::Clock(offset) => {
            machines.clock(&name, offset).await?;
            Cure::Clock(name)
        }
    };
    Ok(Begun::at(node, cure))
}

async fn network(world: &World, node: Node, way: Way, fault: NetworkFault) -> Result<Begun> {
    let node = world.node(node)?;
    let own = End::Machine(node.instance.clone());
    let other = match way {
        Way::ControlPlane => End::Host,
        Way::Everybody => End::All,
        Way::Customers => End::Machine(world.customers.name.clone()),
        Way::Peer => End::Machine(world.peer_of(&node)?.instance),
    };
    let there = (own.clone(), other.clone());
    let (from, to) = match fault {
        NetworkFault::CutIn => (other.clone(), own.clone()),
        NetworkFault::Cut
        | NetworkFault::CutOut
        | NetworkFault::Lossy(_)
        | NetworkFault::Slow(_) => there,
    };
    let what = match fault {
        NetworkFault::Cut | NetworkFault::CutOut | NetworkFault::CutIn => Wrong::Cut,
        NetworkFault::Lossy(percent) => Wrong::Loss(percent),
        NetworkFault::Slow(rate) => Wrong::Slow(rate),
    };
    let one_way = matches!(fault, NetworkFault::CutOut | NetworkFault::CutIn);
    let broken = NetFault {
        from,
        to,
        what,
        one_way,
    };
    world.machines().break_network(broken).await?;
    Ok(Begun {
        at: node.address,
        cure: Cure::Heal(own, other),
    })
}

async fn postmaster(world: &World, node: &Lead) -> Result<Begun> {
    let script = "kill -KILL $(head -qn 1 /var/lib/postgresql/*/*/postmaster.pid)";
    let limit = Duration::from_secs(10);
    let said = world.machines().sh(&node.instance, script, limit).await?;
    ensure!(said.status == Some(0), "{}", said.stderr.trim());
    Ok(Begun::at(node, Cure::None))
}

async fn disk(world: &World, node: &Lead, fault: DiskFault) -> Result<Begun> {
    let health = match fault {
        DiskFault::Full => Health::Full,
        DiskFault::Hanging => Health::Hanging,
        DiskFault::ReadOnly => Health::ReadOnly,
    };
    let volumes = world.machines().show(&node.instance).await?.volumes;
    ensure!(!volumes.is_empty(), "{} has no volume", node.instance);
    for volume in &volumes {
        let set = world.machines().set_volume(volume, health).await;
        if set.is_err() {
            // What fills it may lie there in part.
            let script = "rm -f /var/lib/postgresql/.full";
            let limit = Duration::from_secs(20);
            let _ = world.machines().sh(&node.instance, script, limit).await;
        }
        set?;
    }
    Ok(Begun::at(node, Cure::Repair(volumes)))
}

fn control_database(world: &World, fault: DatabaseFault) -> Result<Begun> {
    let database = &world.drover.postgres;
    let cure = match fault {
        DatabaseFault::Kill => {
            database.signal(Signal::SIGKILL)?;
            Cure::StartDatabase
        }
        DatabaseFault::Freeze => {
            database.signal(Signal::SIGSTOP)?;
            Cure::ContinueDatabase
        }
        DatabaseFault::Restore => {
            let restores = world.restores.load(Ordering::SeqCst);
            let file = world.drover.dir().join(format!("dump-{restores}.sql"));
            tokio::task::block_in_place(|| database.dump("drover", &file))?;
            Cure::RestoreDatabase(file)
        }
        DatabaseFault::FailOver => {
            let standby = tokio::task::block_in_place(|| database.standby())?;
            world.keep_standby(standby);
            Cure::FailOverDatabase
        }
    };
    Ok(Begun {
        at: format!("port {}", database.port),
        cure,
    })
}

/// How long it may take to end a fault: the daemon of the machines may be busy.
const ENDED_WITHIN: Duration = Duration::from_secs(300);

/// Ends what has begun. What somebody else has mended meanwhile stays so.
///
/// # Errors
/// If it cannot be ended; nothing can be told of drover then.
pub async fn end(world: &World, cure: Cure) -> Result<()> {
    let ended = until("it is over", ENDED_WITHIN, || async {
        end_once(world, cure.clone()).await.map(Ok)
    });
    ended.await.map(drop)
}

async fn end_once(world: &World, cure: Cure) -> Result<()> {
    match cure {
        Cure::None => {}
        Cure::Continue(pid) => {
            // It may have been killed meanwhile.
            let _ = world.processes().signal(pid, Signal::SIGCONT);
        }
        Cure::Start(process) => {
            world.processes().start(process.name())?;
        }
        Cure::Gone(pid) => gone(world, pid)?,
        Cure::PowerOn(machine) => as_it_is(world.machines().start(&machine).await)?,
        Cure::Thaw(machine) => as_it_is(world.machines().thaw(&machine).await)?,
        Cure::Clock(machine) => as_it_is(world.machines().clock(&machine, 0).await)?,
        Cure::Heal(from, to) => as_it_is(world.machines().heal(from, to).await)?,
        Cure::Repair(volumes) => {
            for volume in volumes {
                repair(world, &volume).await?;
            }
        }
        Cure::StartDatabase => {
            let database = &world.drover.postgres;
            // Whoever was not dead yet a moment ago is by now; or it runs already.
            if database.pg_ctl(&["start"]).is_err() {
                database.pg_ctl(&["status"])?;
            }
        }
        Cure::ContinueDatabase => world.drover.postgres.signal(Signal::SIGCONT)?,
        Cure::RestoreDatabase(file) => restore(world, &file).await?,
        Cure::FailOverDatabase => fail_over(world).await?,
        Cure::CloudIsWell => world.cloud.set(None),
    }
    Ok(())
}

/// Nobody works with the record while it is put in place; all of them are others then. What it
/// knew is remembered for the laws.
async fn restore(world: &World, file: &Path) -> Result<()> {
    {
        let mut processes = world.processes();
        for kind in Process::ALL {
            processes.kill(kind.name())?;
        }
    }
    world.before_restoring().await?;
    let database = &world.drover.postgres;
    tokio::task::block_in_place(|| database.restore(file, "drover"))?;
    world.restored().await?;
    let mut processes = world.processes();
    for kind in KINDS {
        processes.start(kind)?;
    }
    Ok(())
}

/// What is committed after the standby hears no more is lost. drover's processes are halted while
/// the record is read for the last time, and go on with the one that is a little older.
async fn fail_over(world: &World) -> Result<()> {
    let standby = world.take_standby().context("there is no standby")?;
    tokio::task::block_in_place(|| standby.pg_ctl(&["stop", "-m", "fast"]))?;
    tokio::time::sleep(UNHEARD).await;
    signal_all(world, Signal::SIGSTOP)?;
    let done = async {
        world.before_restoring().await?;
        let database = &world.drover.postgres;
        database.signal(Signal::SIGKILL)?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        tokio::task::block_in_place(|| database.replace_by(&standby))?;
        world.restored().await
    };
    let done = done.await;
    signal_all(world, Signal::SIGCONT)?;
    done
}

/// How long the standby of the control database hears nothing before it takes its place.
const UNHEARD: Duration = Duration::from_secs(2);

fn signal_all(world: &World, signal: Signal) -> Result<()> {
    let processes = world.processes();
    for pid in Process::ALL
        .iter()
        .flat_map(|kind| processes.pids(kind.name()))
    {
        // One that has ended meanwhile is started by its own fault's end.
        let _ = processes.signal(pid, signal);
    }
    Ok(())
}

/// What fills it is removed, and what hangs goes on; one whose machine was off is well already
/// if it was mounted anew.
async fn repair(world: &World, volume: &str) -> Result<()> {
    let there = world.machines().volumes(None).await?;
    let health = there.iter().find(|one| one.id == volume);
    match health.map(|one| one.health) {
        // It is gone, and so may be its server.
        None | Some(Health::Well) => Ok(()),
        Some(Health::Full | Health::Hanging | Health::ReadOnly) => {
            world.machines().set_volume(volume, Health::Well).await?;
            Ok(())
        }
    }
}

/// One that was told to end, 27 s ago; and where it was the only one of its kind, its successor
/// is started.
fn gone(world: &World, pid: u32) -> Result<()> {
    let mut processes = world.processes();
    let _ = processes.kill_pid(pid);
    if processes.pids("web").is_empty() {
        processes.start("web")?;
    }
    Ok(())
}

/// A machine that is gone, or is as it should be already, is no failure.
fn as_it_is(done: Result<(), drover_machines::client::ClientError>) -> Result<()> {
    use drover_machines::client::ClientError;
    use drover_machines::protocol::ProblemKind;
    match done {
        Ok(()) => Ok(()),
        Err(ClientError::Refused(problem))
            if matches!(problem.kind, ProblemKind::NotFound | ProblemKind::Conflict) =>
        {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
