//! `volume_stuck`: a data volume takes no writes, or takes them far too slowly.

use std::time::Duration;

use drover::model::{Fsync, IncidentKind, Severity};
use serde_json::{Value, json};

use super::instance::{self, Machine, half_done};
use super::playbook::{Blast, Budget, Playbook, Remedy, Step, Tells, Tiers};
use super::server_down::{STOP_START, power, stop_start};
use super::{Outcome, Turn};
use crate::cloud::{Cloud as _, CloudAction, Volume};

pub const PLAYBOOK: Playbook = Playbook {
    kind: IncidentKind::VolumeStuck,
    title: "a data volume takes no writes, or takes seconds for a small one",
    opened_when: "a data volume is mounted read-only, or a small write with fsync takes over \
                  `limits.fsync` twice in a row",
    tiers: Tiers::All,
    severity: Severity::Critical,
    budget: Budget {
        attempts: 2,
        deadline: Duration::from_secs(900),
    },
    blast_radius: Blast::Server,
    looks_round: true,
    remedies: &[
        Remedy {
            attempts: 1,
            ..STOP_START
        },
        Remedy {
            name: "reattach",
            does: "stop the server, detach the volume and attach it again, start the server",
            attempts: 1,
            settle: Duration::from_secs(90),
            steps: &[
                Step::new("mark"),
                power("stop"),
                power("detach"),
                power("attach"),
                power("start"),
                Step::new("await"),
            ],
        },
    ],
    undo: None,
    tells: Tells::Page,
};

/// Does a step.
pub async fn perform(turn: &Turn<'_>) -> Outcome {
    let done = match turn.remedy {
        "stop_start" => stop_start(turn).await,
        _ => reattach(turn).await,
    };
    done.unwrap_or_else(|outcome| outcome)
}

async fn reattach(turn: &Turn<'_>) -> Result<Outcome, Outcome> {
    let machine = instance::able(turn, CloudAction::ReattachVolume)?;
    let done = match turn.step {
        "mark" => return mark(turn, &machine).await,
        "stop" => machine.stop(turn).await,
        "detach" | "attach" => move_volumes(turn, &machine).await,
        "start" => machine.start(turn).await,
        _ => machine.await_running(turn).await,
    };
    Ok(match done {
        Ok(done) => done,
        Err(outcome) => machine.give_up(outcome).await,
    })
}

/// Remembers which volumes it is about.
async fn mark(turn: &Turn<'_>, machine: &Machine<'_>) -> Result<Outcome, Outcome> {
    machine.there(turn).await?;
    let asked = machine.cloud.volumes(machine.id).await;
    let volumes = asked.map_err(|e| Outcome::failed(format!("its volumes: {e}")))?;
    let stuck = stuck(turn);
    let named = |volume: &&Volume| {
        stuck.iter().any(|(mount, device)| {
            volume.mount.as_deref() == Some(mount) || volume.device.as_deref() == Some(device)
        })
    };
    let mut found: Vec<&Volume> = volumes.iter().filter(named).collect();
    if let ([only], true) = (volumes.as_slice(), found.is_empty()) {
        found.push(only);
    }
    // The system's own disk is stopped and started with the server, and that is all.
    found.retain(|volume| volume.mount.as_deref() != Some("/"));
    if found.is_empty() {
        let name = &machine.server.subject.name;
        let why = format!("the cloud knows of no volume of {name} that is the stuck one");
        return Err(Outcome::passed_over(why));
    }
    let ids: Vec<&str> = found.iter().map(|volume| volume.id.as_str()).collect();
    let note = format!("it is about {}", ids.join(", "));
    let marked = Outcome::done(note).remember("boot", Value::Null);
    Ok(half_done(marked.remember("volumes", json!(ids))))
}

/// Mount and device of each volume that the newest observation shows to be stuck.
fn stuck(turn: &Turn<'_>) -> Vec<(String, String)> {
    let seen = turn
        .seen
        .and_then(|s| s.attributes.server.volumes.as_deref());
    let slow = turn.rules.limits.fsync.as_secs_f64() * 1000.0;
    let text = |of: &Option<String>| of.clone().unwrap_or_default();
    let all = seen.unwrap_or_default().iter();
    all.filter(|v| v.data == Some(true))
        .filter(|v| {
            v.writable == Some(false)
                || matches!(
                    v.fsync,
                    Some(Fsync::Stuck | Fsync::Failed | Fsync::ReadOnly)
                )
                || v.fsync_ms.is_some_and(|ms| ms >= slow)
        })
        .map(|v| (text(&v.mount), text(&v.device)))
        .collect()
}

async fn move_volumes(turn: &Turn<'_>, machine: &Machine<'_>) -> Result<Outcome, Outcome> {
    let ids = turn.incident.memo["volumes"].as_array();
    let ids: Vec<&str> = ids
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut done = Outcome::done(format!("{} of {}: done", turn.step, ids.join(", ")));
    for id in ids {
        match turn.step {
            "detach" => {
                let detach = machine.cloud.detach_volume(machine.id, id);
                machine.act(turn, "to detach it", detach).await?;
            }
            _ => {
                let attach = machine.cloud.attach_volume(machine.id, id);
                machine.act(turn, "to attach it", attach).await?;
            }
        }
        done = done.touching(format!("volume {id} of {}", machine.server.subject.name));
    }
    Ok(done)
}
