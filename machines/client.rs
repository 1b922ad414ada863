//! The daemon's client.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use crate::image::Made;
use crate::network::{End, Fault};
use crate::protocol::{
    About, Answer, Exec, Health, Machine, Make, NewVolume, Output, Power, Problem, ProblemKind,
    Reply, Request, Volume,
};

/// What an answer may take; making an image takes minutes, and may be waited for.
const LIMIT: Duration = Duration::from_secs(120);
const LIMIT_OF_MAKING: Duration = Duration::from_secs(45 * 60);

#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens there: the daemon is not running, or the socket is another's.
    #[error("no daemon answers at {0}; start one with: drover-machines serve ({1})")]
    NoDaemon(PathBuf, std::io::Error),
    #[error(transparent)]
    Refused(#[from] Problem),
    #[error("the daemon went away before it answered ({0})")]
    Lost(std::io::Error),
    #[error("the daemon did not answer within {0:?}")]
    Late(Duration),
    #[error("the daemon's answer is not of this version: {0}")]
    Strange(String),
}

impl ClientError {
    /// Whether what was named does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.kind == ProblemKind::NotFound)
    }
}

type Result<T> = std::result::Result<T, ClientError>;

/// Asks one daemon. Each request has a connection of its own, so that a client is cheap,
/// can be cloned, and outlives a restart of the daemon.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    pub fn at(socket: impl AsRef<Path>) -> Self {
        Self {
            socket: socket.as_ref().into(),
        }
    }

    /// One request and its answer.
    ///
    /// # Errors
    /// If there is no daemon, if it refuses, or does not answer in time.
    pub async fn call(&self, request: Request) -> Result<Answer> {
        let making = matches!(
            request,
            Request::Make(_)
                | Request::MakeImage { .. }
                | Request::DestroyAll
                | Request::DestroyGroup { .. }
        );
        let own = if let Request::Exec(exec) = &request {
            Duration::from_secs(exec.limit)
        } else {
            Duration::ZERO
        };
        let limit = own + if making { LIMIT_OF_MAKING } else { LIMIT };
        match tokio::time::timeout(limit, self.talk(&request)).await {
            Ok(Ok(Reply::Ok(answer))) => Ok(answer),
            Ok(Ok(Reply::Error(problem))) => Err(problem.into()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ClientError::Late(limit)),
        }
    }

    async fn talk(&self, request: &Request) -> Result<Reply> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| ClientError::NoDaemon(self.socket.clone(), error))?;
        let mut stream = BufReader::new(stream);
        let mut line = serde_json::to_string(request).expect("requests are JSON");
        line.push('\n');
        stream
            .write_all(line.as_bytes())
            .await
            .map_err(ClientError::Lost)?;
        line.clear();
        stream
            .read_line(&mut line)
            .await
            .map_err(ClientError::Lost)?;
        if line.is_empty() {
            return Err(ClientError::Lost(std::io::ErrorKind::UnexpectedEof.into()));
        }
        serde_json::from_str(&line).map_err(|error| ClientError::Strange(error.to_string()))
    }

    /// What daemon it is.
    ///
    /// # Errors
    /// As [`Client::call`], and so are those of all below.
    pub async fn about(&self) -> Result<About> {
        let Answer::About(about) = self.call(Request::About).await? else {
            return Err(strange());
        };
        Ok(about)
    }

    pub async fn images(&self) -> Result<Vec<Made>> {
        let Answer::Images(images) = self.call(Request::Images).await? else {
            return Err(strange());
        };
        Ok(images)
    }

    pub async fn make(&self, make: Make) -> Result<Machine> {
        self.machine(Request::Make(make)).await
    }

    pub async fn show(&self, machine: &str) -> Result<Machine> {
        self.machine(Request::Show {
            machine: machine.into(),
        })
        .await
    }

    pub async fn list(&self, group: Option<&str>) -> Result<Vec<Machine>> {
        let group = group.map(str::to_owned);
        let Answer::Machines(machines) = self.call(Request::List { group }).await? else {
            return Err(strange());
        };
        Ok(machines)
    }

    pub async fn start(&self, machine: &str) -> Result<()> {
        self.done(Request::Start {
            machine: machine.into(),
        })
        .await
    }

    /// Begins to shut it down. [`Client::wait_for`] waits until it is off.
    pub async fn stop(&self, machine: &str, takes: Duration) -> Result<()> {
        let takes = takes.as_secs();
        self.done(Request::Stop {
            machine: machine.into(),
            takes,
        })
        .await
    }

    /// Restarts it; once only for each token, if one is given.
    pub async fn reboot(&self, machine: &str, token: Option<&str>) -> Result<()> {
        self.done(Request::Reboot {
            machine: machine.into(),
            token: token.map(str::to_owned),
        })
        .await
    }

    pub async fn kill(&self, machine: &str) -> Result<()> {
        self.done(Request::Kill {
            machine: machine.into(),
        })
        .await
    }

    pub async fn freeze(&self, machine: &str) -> Result<()> {
        self.done(Request::Freeze {
            machine: machine.into(),
        })
        .await
    }

    pub async fn thaw(&self, machine: &str) -> Result<()> {
        self.done(Request::Thaw {
            machine: machine.into(),
        })
        .await
    }

    pub async fn destroy(&self, machine: &str) -> Result<()> {
        self.done(Request::Destroy {
            machine: machine.into(),
        })
        .await
    }

    pub async fn destroy_group(&self, group: &str) -> Result<()> {
        self.done(Request::DestroyGroup {
            group: group.into(),
        })
        .await
    }

    pub async fn destroy_all(&self) -> Result<()> {
        self.done(Request::DestroyAll).await
    }

    pub async fn console(&self, machine: &str) -> Result<String> {
        let Answer::Text(text) = self
            .call(Request::Console {
                machine: machine.into(),
            })
            .await?
        else {
            return Err(strange());
        };
        Ok(text)
    }

    /// Runs a shell's words in it, as [`Request::Exec`] does.
    pub async fn sh(&self, machine: &str, script: &str, limit: Duration) -> Result<Output> {
        self.exec(Exec {
            machine: machine.into(),
            command: ["sh", "-c", script].map(str::to_owned).into(),
            input: String::new(),
            limit: limit.as_secs().max(1),
        })
        .await
    }

    pub async fn exec(&self, exec: Exec) -> Result<Output> {
        let Answer::Output(output) = self.call(Request::Exec(exec)).await? else {
            return Err(strange());
        };
        Ok(output)
    }

    pub async fn break_network(&self, fault: Fault) -> Result<()> {
        self.done(Request::Break(fault)).await
    }

    pub async fn heal(&self, from: End, to: End) -> Result<()> {
        self.done(Request::Heal { from, to }).await
    }

    pub async fn clock(&self, machine: &str, offset: i64) -> Result<()> {
        self.done(Request::Clock {
            machine: machine.into(),
            offset,
        })
        .await
    }

    /// Gives a machine that is off another second address, or none.
    pub async fn set_address(&self, machine: &str, address: Option<Ipv4Addr>) -> Result<()> {
        self.done(Request::SetAddress {
            machine: machine.into(),
            address,
        })
        .await
    }

    pub async fn make_volume(&self, new: NewVolume) -> Result<Volume> {
        self.volume(Request::MakeVolume(new)).await
    }

    pub async fn volumes(&self, group: Option<&str>) -> Result<Vec<Volume>> {
        let group = group.map(str::to_owned);
        let Answer::Volumes(volumes) = self.call(Request::ListVolumes { group }).await? else {
            return Err(strange());
        };
        Ok(volumes)
    }

    pub async fn attach(&self, volume: &str, machine: &str) -> Result<Volume> {
        let (volume, machine) = (volume.into(), machine.into());
        self.volume(Request::Attach { volume, machine }).await
    }

    pub async fn detach(&self, volume: &str) -> Result<Volume> {
        let (volume, force) = (volume.into(), false);
        self.volume(Request::Detach { volume, force }).await
    }

    /// Detaches it though it is mounted and written to.
    pub async fn detach_by_force(&self, volume: &str) -> Result<Volume> {
        let (volume, force) = (volume.into(), true);
        self.volume(Request::Detach { volume, force }).await
    }

    pub async fn set_volume(&self, volume: &str, health: Health) -> Result<Volume> {
        let volume = volume.into();
        self.volume(Request::SetVolume { volume, health }).await
    }

    pub async fn destroy_volume(&self, volume: &str) -> Result<()> {
        self.done(Request::DestroyVolume {
            volume: volume.into(),
        })
        .await
    }

    pub async fn grow(&self, volume: &str, size: u64) -> Result<Volume> {
        self.volume(Request::Grow {
            volume: volume.into(),
            size,
        })
        .await
    }

    /// Waits until a machine's power is as asked.
    pub async fn wait_for(&self, machine: &str, power: Power, limit: Duration) -> Result<Machine> {
        let look = async {
            loop {
                let seen = self.show(machine).await?;
                if seen.power == power {
                    return Ok(seen);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(limit, look)
            .await
            .unwrap_or(Err(ClientError::Late(limit)))
    }

    async fn done(&self, request: Request) -> Result<()> {
        let Answer::Done = self.call(request).await? else {
            return Err(strange());
        };
        Ok(())
    }

    async fn machine(&self, request: Request) -> Result<Machine> {
        let Answer::Machine(machine) = self.call(request).await? else {
            return Err(strange());
        };
        Ok(*machine)
    }

    async fn volume(&self, request: Request) -> Result<Volume> {
        let Answer::Volume(volume) = self.call(request).await? else {
            return Err(strange());
        };
        Ok(volume)
    }
}

fn strange() -> ClientError {
    ClientError::Strange("it answers something else".into())
}
