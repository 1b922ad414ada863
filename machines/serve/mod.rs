//! The daemon: a socket, a line in, a line out.

mod address;
mod destroy;
mod disks;
mod make;
mod power;
mod world;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use nix::unistd::User;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};

pub(crate) use self::disks::SMALLEST;
pub(crate) use self::make::{ZONE, new_id};
pub use self::world::{Settings, World};
pub(crate) use self::world::{is_name, lock_folder, now};
use crate::check;
use crate::processes::{self, Processes};
use crate::protocol::{Answer, Kind, Problem, Reply, Request};

/// The longest request: user data are at most 16 KiB on EC2, and input of a command more.
const LONGEST: u64 = 4 << 20;

/// Enough for a thousand machines.
const INOTIFY_INSTANCES: u32 = 8192;

/// The machines of either kind.
#[derive(Clone)]
enum Served {
    Machines(Arc<World>),
    Processes(Arc<Processes>),
}

impl Served {
    async fn take_up(settings: Settings, kind: Kind) -> anyhow::Result<Self> {
        match kind {
            Kind::Machines => {
                refuse_other_kind(&processes::machines_in(&settings.folder))?;
                fs::create_dir_all(&settings.folder)?;
                complain(
                    "no machines can be had here",
                    &check::missing(&settings.folder).await,
                )
                .context(
                    "with `serve --processes`, machines are processes of one user instead: \
                         no root, no systemd, no network of their own",
                )?;
                make_room();
                let world = World::open(settings).await?;
                world.take_up().await;
                Ok(Self::Machines(world))
            }
            Kind::Processes => {
                refuse_other_kind(&settings.folder.join("machines"))?;
                complain("not even processes can be had here", &processes::missing())?;
                let world = Processes::open(&settings.folder).await?;
                world.take_up().await;
                Ok(Self::Processes(world))
            }
        }
    }

    async fn answer(&self, request: Request) -> Result<Answer, Problem> {
        match self {
            Self::Machines(world) => answer(world, request).await,
            Self::Processes(world) => world.answer(request).await,
        }
    }
}

/// Each machine has some ten of inotify's instances, and all of root's together may have 128 where
/// nobody has said otherwise: no more than a dozen machines would boot.
fn make_room() {
    let file = "/proc/sys/fs/inotify/max_user_instances";
    let has = fs::read_to_string(file).unwrap_or_default();
    if has
        .trim()
        .parse::<u32>()
        .is_ok_and(|has| has >= INOTIFY_INSTANCES)
    {
        return;
    }
    match fs::write(file, INOTIFY_INSTANCES.to_string()) {
        Ok(()) => tracing::info!(file, now = INOTIFY_INSTANCES, "raised, for many machines"),
        Err(error) => tracing::warn!(file, %error, "cannot be raised: few machines will boot"),
    }
}

/// A folder has machines of one kind.
fn refuse_other_kind(machines: &Path) -> anyhow::Result<()> {
    if fs::read_dir(machines).is_ok_and(|mut machines| machines.next().is_some()) {
        bail!(
            "{} has machines of the other kind; destroy them first (drover-machines destroy --all)",
            machines.display()
        );
    }
    Ok(())
}

fn complain(what: &str, missing: &[String]) -> anyhow::Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    bail!("{what}: {}", missing.join("; "))
}

/// Destroys all machines in a folder that no daemon has.
///
/// # Errors
/// If a daemon has it, or something resists.
pub async fn destroy_all(settings: Settings) -> anyhow::Result<()> {
    if processes::machines_in(&settings.folder).exists() {
        let world = Processes::open(&settings.folder).await?;
        world.destroy_group(None).await?;
    }
    if settings.folder.join("machines").exists() {
        let world = World::open(settings).await?;
        world.destroy_group(None).await?;
    }
    Ok(())
}

/// Serves until SIGTERM or Ctrl-C. Machines live on.
///
/// # Errors
/// If machines of this kind cannot be had, the folder is another daemon's, or the socket
/// cannot be made.
pub async fn serve(
    settings: Settings,
    kind: Kind,
    socket: &Path,
    owner: Option<&str>,
) -> anyhow::Result<()> {
    let world = Served::take_up(settings, kind).await?;
    let listener = listen(socket, owner)?;
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tracing::info!(socket = %socket.display(), "ready");
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(tokio::spawn(talk(world.clone(), stream))),
                Err(error) => {
                    tracing::warn!(%error, "a client could not be let in");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            },
            _ = term.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    let _ = fs::remove_file(socket);
    Ok(())
}

fn listen(socket: &Path, owner: Option<&str>) -> anyhow::Result<UnixListener> {
    if let Some(folder) = socket.parent() {
        fs::create_dir_all(folder)?;
    }
    // The lock of the folder says that no daemon of ours is there; a socket that is there
    // was left by a dead one.
    let _ = fs::remove_file(socket);
    let listener = UnixListener::bind(socket).with_context(|| socket.display().to_string())?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    if let Some(owner) = owner {
        let user = User::from_name(owner)?.with_context(|| format!("there is no user {owner}"))?;
        std::os::unix::fs::chown(socket, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    }
    Ok(listener)
}

/// One client, for as many requests as it has.
async fn talk(world: Served, stream: UnixStream) {
    let (reads, mut writes) = stream.into_split();
    let mut reads = BufReader::new(reads);
    loop {
        let mut line = String::new();
        match (&mut reads).take(LONGEST).read_line(&mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        // In a task of its own: what was begun is ended, though the client goes away.
        let world = world.clone();
        let reply = match tokio::spawn(async move { reply(&world, &line).await }).await {
            Ok(reply) => reply,
            Err(error) => Reply::Error(anyhow::anyhow!("a fault of the daemon: {error}").into()),
        };
        let mut text = serde_json::to_string(&reply).expect("replies are JSON");
        text.push('\n');
        if writes.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn reply(world: &Served, line: &str) -> Reply {
    let request: Request = match serde_json::from_str(line) {
        Ok(request) => request,
        Err(error) => return Reply::Error(Problem::invalid(format!("no request: {error}"))),
    };
    match world.answer(request).await {
        Ok(answer) => Reply::Ok(answer),
        Err(problem) => Reply::Error(problem),
    }
}

async fn answer(world: &Arc<World>, request: Request) -> Result<Answer, Problem> {
    let done = |(): ()| Answer::Done;
    match request {
        Request::About => Ok(world.about().await),
        Request::Make(make) => world.make(make).await,
        Request::List { group } => world.list(group.as_deref()).await,
        Request::Show { machine } => {
            let machine = world.find(&machine).await?;
            Ok(Answer::Machine(Box::new(
                world.view(&*machine.lock().await).await,
            )))
        }
        Request::Console { machine } => {
            let machine = world.find(&machine).await?;
            let text = machine.lock().await.machine.console();
            Ok(Answer::Text(text))
        }
        Request::Exec(exec) => world.exec(exec).await,
        Request::Start { machine } => world.start(&machine).await.map(done),
        Request::Stop { machine, takes } => world.stop(&machine, takes).await.map(done),
        Request::Reboot { machine, token } => world.reboot(&machine, token).await.map(done),
        Request::Kill { machine } => world.kill(&machine).await.map(done),
        Request::Freeze { machine } => world.freeze(&machine, true).await.map(done),
        Request::Thaw { machine } => world.freeze(&machine, false).await.map(done),
        Request::Destroy { machine } => world.destroy(&machine).await.map(done),
        Request::DestroyGroup { group } => world.destroy_group(Some(&group)).await.map(done),
        Request::DestroyAll => world.destroy_group(None).await.map(done),
        Request::Break(fault) => world.break_network(fault).await.map(done),
        Request::Heal { from, to } => world.heal(&from, &to).await.map(done),
        Request::Clock { machine, offset } => world.set_clock(&machine, offset).await.map(done),
        Request::SetAddress { machine, address } => {
            world.set_address(&machine, address).await.map(done)
        }
        Request::MakeVolume(new) => world.make_volume(new).await,
        Request::ListVolumes { group } => world.list_volumes(group.as_deref()).await,
        Request::Attach { volume, machine } => world.attach(&volume, &machine).await,
        Request::Detach { volume, force } => world.detach(&volume, force).await,
        Request::Grow { volume, size } => world.grow(&volume, size).await,
        Request::SetVolume { volume, health } => world.set_volume(&volume, health).await,
        Request::DestroyVolume { volume } => world.destroy_volume(&volume).await.map(done),
        Request::Images => Ok(Answer::Images(world.settings.cache.list())),
        Request::MakeImage { image } => {
            world.settings.cache.ensure(image).await?;
            Ok(Answer::Images(world.settings.cache.list()))
        }
    }
}

/// The default socket of the daemon that keeps its machines in this folder.
pub fn socket_in(folder: &Path) -> PathBuf {
    folder.join("socket")
}
