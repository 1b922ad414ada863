//! `grow`: a server's data volume grows, while it is in service.

use drover::model::OperationKind;
use drover::store::operations::Fact;
use serde::Deserialize;

use super::instance::{self, Machine, SOON};
use super::kind::{Context, NoMemo, Operation, Outcome, Step, Turn, Work};
use super::script;
use crate::cloud::{Cloud as _, CloudAction, Volume};

/// A server's data volume grows.
pub(super) struct Grow;

/// What was asked.
#[derive(Deserialize)]
pub(super) struct Params {
    /// How large the volume is to be.
    volume_gib: u32,
}

impl Operation for Grow {
    type Params = Params;
    type Memo = NoMemo;
    const KIND: OperationKind = OperationKind::Grow;
    const STEPS: &'static [Step<Self>] = &[
        Step::new("grow", "have its cloud make the volume larger", |turn| {
            Box::pin(grow(turn))
        }),
        Step::new("extend", "have the filesystem take the room", |turn| {
            Box::pin(extend(turn))
        }),
    ];
}

const GIB: u64 = 1 << 30;

const EXTEND: &str = include_str!("../../host/scripts/grow_filesystem.sh");

fn machine<'a>(turn: &Context<'a>) -> Result<Machine<'a>, Outcome> {
    instance::able(turn, CloudAction::GrowVolume)
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

async fn grow(turn: &mut Turn<'_, Grow>) -> Work {
    let machine = machine(turn)?;
    let gib = turn.params.volume_gib;
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
    let machine = machine(turn)?;
    let gib = turn.params.volume_gib;
    let volume = volume(&machine).await?;
    let to = u64::from(gib) * GIB;
    if volume.size_bytes < to {
        let waits = format!("volume {} is not larger yet", volume.id);
        return Err(Outcome::again(SOON, waits));
    }
    // One that was larger already is shown as it is.
    let gib = u32::try_from(volume.size_bytes / GIB).unwrap_or(gib);
    let arguments = [
        volume.id.as_str(),
        volume.device.as_deref().unwrap_or_default(),
        volume.mount.as_deref().unwrap_or_default(),
        &to.to_string(),
    ];
    let said = script::run(turn, machine.server, EXTEND, &arguments, b"").await?;
    let mut lines = said.out.lines();
    let (size, mount) = (lines.next(), lines.next());
    let (size, mount) = (size.unwrap_or_default(), mount.unwrap_or_default());
    Ok(Outcome::done(format!("{mount} has {size}")).with(Fact::VolumeGib(gib)))
}
