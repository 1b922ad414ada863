//! `grow`: a server's data volume grows, while it is in service. A person says how large
//! it is to be; an incident has whatever is almost full grow by a quarter.

mod targets;

use std::time::Duration;

use drover::model::{OperationKind, Server};
use drover::store::operations::Fact;
use serde::{Deserialize, Serialize};

use super::instance::{self, Machine, POWER, SOON};
use super::kind::{Context, Operation, Outcome, Step, Turn, Work, step};
use super::script;
use crate::cloud::{Cloud as _, CloudAction, Volume};
use crate::host::scripts::GROW_FILESYSTEM;
use targets::Target;

/// A server's data volume grows.
pub(super) struct Grow;

/// What was asked.
#[derive(Deserialize)]
pub(super) struct Params {
    /// How large the volume is to be; `None`: a quarter larger, each that is almost full.
    #[serde(default)]
    volume_gib: Option<u32>,
}

/// How large each volume is to be, where nobody has said it.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    /// How often there was room.
    room_seen: u64,
    targets: Vec<Target>,
}

impl Operation for Grow {
    type Params = Params;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::Grow;
    const STEPS: &'static [Step<Self>] = &[
        step!("target", "tell how large it is to be" => target).may_end(),
        step!("grow", "have its cloud make the volume larger" => grow)
            .within(POWER)
            .may_end(),
        step!("extend", "have the filesystem take the room" => extend).may_end(),
    ];
}

const GIB: u64 = 1 << 30;
/// By then the filesystem must have grown that an incident waits for.
const PATIENCE: Duration = Duration::from_secs(90);

/// The instance, if its cloud can make its volumes larger. Where it cannot, an incident
/// goes on to what else may help.
fn machine<'a>(turn: &Context<'a>) -> Result<Machine<'a>, Outcome> {
    let able = instance::able(turn, CloudAction::GrowVolume);
    able.map_err(|outcome| match turn.incident {
        Some(_) => Outcome::skipped(outcome.note),
        None => outcome,
    })
}

/// The data volume as its cloud has it now.
async fn volume(machine: &Machine<'_>) -> Result<Volume, Outcome> {
    let all = machine.cloud.volumes(machine.id).await?;
    let recorded = machine.server.volume.as_ref().and_then(|v| v.id.as_deref());
    let found = match recorded {
        Some(id) => all.into_iter().find(|volume| volume.id == id),
        // Of an adopted server it is known only where it can be but one.
        None => match <[Volume; 1]>::try_from(all) {
            Ok([only]) => Some(only),
            Err(_) => None,
        },
    };
    found.ok_or_else(|| {
        let id = machine.id;
        Outcome::hopeless(match recorded {
            Some(volume) => format!("{id} has no volume {volume} that could grow"),
            None => format!("which of the volumes of {id} holds the data is not known"),
        })
    })
}

/// It is not larger yet. An incident waits for that only so long.
fn not_yet(turn: &Context<'_>, waits: String) -> Outcome {
    match turn.incident.is_some() && turn.waited() > PATIENCE {
        true => Outcome::failed(format!("{waits}, for too long")),
        false => Outcome::again(SOON, waits),
    }
}

/// Has the filesystem on a volume take its room, and says how large it is, for people,
/// once it has this many bytes. Device and mount point may be empty.
async fn take_room(
    turn: &Context<'_>,
    server: &Server,
    [volume, device, mount]: [&str; 3],
    least: u64,
) -> Result<String, Outcome> {
    let arguments = [volume, device, mount, &least.to_string()];
    let said = script::run(turn, server, GROW_FILESYSTEM, &arguments, b"").await?;
    Ok(format!(
        "{} has {}",
        said.value("mount")?,
        said.value("size")?
    ))
}

/// An incident's is written down before the cloud is asked, so that whoever asks again
/// asks for the same.
async fn target(turn: &mut Turn<'_, Grow>) -> Work {
    match turn.params.volume_gib {
        Some(gib) => Ok(Outcome::done(format!("it is to have {gib} GiB"))),
        None => targets::target(turn).await,
    }
}

async fn grow(turn: &mut Turn<'_, Grow>) -> Work {
    let Some(gib) = turn.params.volume_gib else {
        return targets::grow(turn).await;
    };
    let machine = machine(turn)?;
    let volume = volume(&machine).await?;
    let to = u64::from(gib) * GIB;
    if volume.size_bytes >= to {
        let has = format!("volume {} has {gib} GiB or more", volume.id);
        return Ok(Outcome::done(has));
    }
    let asked = machine.cloud.grow_volume(machine.id, &volume.id, to);
    machine.act(turn, "growing it", asked).await??;
    Ok(Outcome::done(format!(
        "volume {} is to have {gib} GiB",
        volume.id
    )))
}

async fn extend(turn: &mut Turn<'_, Grow>) -> Work {
    let Some(gib) = turn.params.volume_gib else {
        return targets::extend(turn).await;
    };
    let machine = machine(turn)?;
    let volume = volume(&machine).await?;
    let to = u64::from(gib) * GIB;
    if volume.size_bytes < to {
        let waits = format!("volume {} is not larger yet", volume.id);
        return Err(not_yet(turn, waits));
    }
    // One that was larger already is shown as it is.
    let gib = u32::try_from(volume.size_bytes / GIB).unwrap_or(gib);
    let which = [
        volume.id.as_str(),
        volume.device.as_deref().unwrap_or_default(),
        volume.mount.as_deref().unwrap_or_default(),
    ];
    // A filesystem takes some of its disk for itself.
    let has = take_room(turn, machine.server, which, to / 10 * 9).await?;
    Ok(Outcome::done(has).with(Fact::VolumeGib(gib)))
}
