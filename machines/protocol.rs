//! What the daemon is asked and answers: one JSON value a line, each way.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::image::{Image, Made};
use crate::network::{End, Fault};

/// Sizes are in bytes, times in seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// What daemon this is
    About,
    /// Makes a machine and turns it on
    Make(Make),
    List {
        group: Option<String>,
    },
    Show {
        machine: String,
    },
    /// What it said on its console last
    Console {
        machine: String,
    },
    /// Runs a command in it: as root in a Debian of its own, as the owner where it is processes
    Exec(Exec),
    Start {
        machine: String,
    },
    /// Shuts it down; it is off at the earliest after `takes`, at the latest when the
    /// limit of an orderly shutdown has passed
    Stop {
        machine: String,
        takes: u64,
    },
    /// Restarts it in an orderly way; one that is frozen hears nothing, and has its power cut.
    /// Once only for each token: with that of the last reboot, nothing happens, but that one
    /// that was cut off is carried on
    Reboot {
        machine: String,
        #[serde(default)]
        token: Option<String>,
    },
    /// Cuts its power
    Kill {
        machine: String,
    },
    /// Stops all its processes where they are
    Freeze {
        machine: String,
    },
    Thaw {
        machine: String,
    },
    Destroy {
        machine: String,
    },
    /// Destroys the machines and volumes of a group
    DestroyGroup {
        group: String,
    },
    DestroyAll,
    /// What is from now on wrong with the network
    Break(Fault),
    /// Nothing is wrong any more between the two, either way
    Heal {
        from: End,
        to: End,
    },
    /// Moves its wall clock by seconds, for processes that start from now on, and those that
    /// started while it was moved already
    Clock {
        machine: String,
        offset: i64,
    },
    /// Gives a machine that is off another second address, or none
    SetAddress {
        machine: String,
        address: Option<Ipv4Addr>,
    },
    MakeVolume(NewVolume),
    ListVolumes {
        group: Option<String>,
    },
    Attach {
        volume: String,
        machine: String,
    },
    /// `force`: even while it is mounted
    Detach {
        volume: String,
        force: bool,
    },
    Grow {
        volume: String,
        size: u64,
    },
    SetVolume {
        volume: String,
        health: Health,
    },
    DestroyVolume {
        volume: String,
    },
    Images,
    /// Makes an image, if it is not there: minutes
    MakeImage {
        image: Image,
    },
}

/// A machine as it is asked for. What is left out is chosen.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Make {
    /// Its name and host name, unique with this daemon
    pub name: Option<String>,
    /// Whose it is: `destroy --group` destroys all of one
    pub group: String,
    pub image: Image,
    /// Its id, as EC2 would give it
    pub instance_id: Option<String>,
    /// An address that it has besides that of the daemon's own network
    pub address: Option<Ipv4Addr>,
    pub zone: Option<String>,
    /// What cloud-init reads at the first boot, as it is (not in base 64)
    pub user_data: Option<String>,
    /// Keys that the image's own user (`debian`) is reached by
    pub public_keys: Vec<String>,
    /// Volumes that it begins with, and that are destroyed with it
    pub volumes: Vec<NewVolume>,
    /// Whether it stays off
    pub off: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NewVolume {
    pub id: Option<String>,
    pub group: String,
    /// In bytes
    pub size: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exec {
    pub machine: String,
    pub command: Vec<String>,
    #[serde(default)]
    pub input: String,
    /// Seconds; it is killed then
    pub limit: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    About(About),
    Machine(Box<Machine>),
    Machines(Vec<Machine>),
    Volume(Volume),
    Volumes(Vec<Volume>),
    Text(String),
    Output(Output),
    Images(Vec<Made>),
    Done,
}

/// What daemon this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub version: String,
    pub kind: Kind,
    /// Where its machines have their addresses, once there are any
    pub network: Option<String>,
    /// The one user that may log in; None where that is whomever the user data name
    pub login: Option<String>,
    /// Where sshd listens, unless the user data say otherwise
    pub ssh_port: u16,
    /// Whether machines can have volumes here
    pub volumes: bool,
}

/// What a daemon's machines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Each a Debian of its own
    Machines,
    /// Each a folder, an address and processes of one user of this host
    Processes,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub name: String,
    pub instance_id: String,
    pub group: String,
    pub image: Image,
    pub zone: String,
    pub address: Ipv4Addr,
    /// The address that it was asked to have besides
    pub second_address: Option<Ipv4Addr>,
    pub power: Power,
    /// Another after each boot; None while it is off, or on its way up
    pub boot: Option<String>,
    /// Its init (or sshd, where it is processes), as this host counts
    pub pid: Option<i32>,
    pub volumes: Vec<String>,
    /// How far its wall clock is off, in seconds
    pub clock: i64,
    pub faults: Vec<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    On,
    Frozen,
    /// Until it is off, and for as long as a stop was asked to take
    Stopping,
    Off,
}

impl fmt::Display for Power {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::On => "on",
            Self::Frozen => "frozen",
            Self::Stopping => "stopping",
            Self::Off => "off",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub id: String,
    pub group: String,
    pub size: u64,
    pub machine: Option<String>,
    /// Its device, on this host and in the machine
    pub device: Option<String>,
    pub health: Health,
}

/// How well a volume is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    #[default]
    Well,
    /// Its filesystem takes no writes, as after an error of the disk
    ReadOnly,
    /// A file fills it to the last block
    Full,
    /// Whoever writes waits
    Hanging,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// None: a signal ended it
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// What is kept of what a command says.
const MOST: usize = 4 << 20;

impl From<std::process::Output> for Output {
    fn from(output: std::process::Output) -> Self {
        let text =
            |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(MOST)]).into_owned();
        Self {
            status: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    pub kind: ProblemKind,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// There is no machine, volume or group of this name
    NotFound,
    /// It cannot be done as things stand: a machine that is off cannot be frozen
    Conflict,
    /// What was asked makes no sense
    Invalid,
    /// It was tried, and went wrong
    Failed,
}

impl Problem {
    pub fn not_found(message: impl Into<String>) -> Self {
        Self {
            kind: ProblemKind::NotFound,
            message: message.into(),
        }
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self {
            kind: ProblemKind::Conflict,
            message: message.into(),
        }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self {
            kind: ProblemKind::Invalid,
            message: message.into(),
        }
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Self {
            kind: ProblemKind::Failed,
            message: format!("{error:#}"),
        }
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}

/// A line that the daemon writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Ok(Answer),
    Error(Problem),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_readable_line() {
        let asked: Request =
            serde_json::from_str(r#"{"do":"make","group":"a","image":"bookworm-bare"}"#).unwrap();
        let Request::Make(make) = &asked else {
            panic!("{asked:?}")
        };
        assert_eq!(
            (make.group.as_str(), make.image),
            ("a", Image::BookwormBare)
        );
        let cut = Request::Break(Fault::cut(End::Host, End::Machine("a".into())));
        assert_eq!(
            serde_json::to_string(&cut).unwrap(),
            r#"{"do":"break","from":"host","to":"a","what":"cut"}"#
        );
    }
}
