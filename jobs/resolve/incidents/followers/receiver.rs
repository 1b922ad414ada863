//! `restart_receiver`: what a follower needs to stream is made as the record has it,
//! at both sides, and its receiver connects anew.

use drover::model::slot_of;
use std::time::Duration;

use drover::model::{Resource, Server};
use drover::store::plans;

use super::{follower, node, record};
use crate::resolve::incidents::playbook::{Remedy, Step};
use crate::resolve::incidents::shell::{self, FIND_CLUSTER};
use crate::resolve::incidents::superuser::{self, INPUT, SUPERUSER};
use crate::resolve::incidents::{Ended, Outcome, Turn};
use crate::resolve::operations::{FOLLOW, ROOT, SLOT, Telling, slot_input};

pub(in crate::resolve::incidents) const RESTART_RECEIVER: Remedy = Remedy {
    name: "restart_receiver",
    does: "tell the follower anew whom it follows, and have its receiver connect again",
    attempts: 2,
    settle: Duration::from_secs(45),
    steps: &[Step::new("reconnect"), Step::watching("streams")],
};

const END_RECEIVER: &str = include_str!("../../../host/scripts/end_receiver.sh");

/// All of it can be done again and again: the slot and the role at the leader, address,
/// password and certificate at the follower.
pub(super) async fn reconnect(turn: &Turn<'_>) -> Result<Outcome, Outcome> {
    let (resource, server, leader) = follower(turn)?;
    let (leader, its_server) = node(turn, leader).await?;
    let password = leader.replication_password.as_ref();
    let password = password.ok_or_else(|| Outcome::passed_over("its leader has no followers"))?;
    let told = Telling::new(resource, (&leader, &its_server), password);
    let told = told.ok_or_else(|| Outcome::passed_over("its leader's certificate is not known"))?;
    let plan = {
        let mut db = turn.tools.pool.acquire().await.map_err(record)?;
        plans::find(&mut db, &leader.plan).await.map_err(record)?
    };
    let plan = plan.ok_or_else(|| {
        Outcome::passed_over(format!("there is no plan {} any more", leader.plan))
    })?;
    let keep = plan.slot_wal_mib.to_string();

    let slot = slot_of(resource.subject.id);
    let input = slot_input(&slot, password);
    let on = (&*leader, &*its_server);
    let script = format!("{SUPERUSER}{SLOT}");
    as_root(turn, on, &script, &[&slot, &keep], &input).await?;
    let on = (resource, server);
    as_root(turn, on, FOLLOW, &told.arguments(), &told.input).await?;
    let said = superuser::run(turn, on, END_RECEIVER, &[], b"").await?;
    Ok(Outcome::done(said.last_words())
        .remember("looks", 0)
        .touching(format!("the receiver of {}", resource.subject.name))
        .touching(format!("slot {slot} of {}", leader.subject.name)))
}

/// Runs a script of operations, which may become root.
async fn as_root(
    turn: &Turn<'_>,
    (resource, server): (&Resource, &Server),
    script: &str,
    arguments: &[&str],
    input: &str,
) -> Result<(), Outcome> {
    let script = format!("{INPUT}{ROOT}{FIND_CLUSTER}{script}");
    let port = resource.port.to_string();
    let arguments = [&[port.as_str()], arguments].concat();
    let (tools, input) = (turn.tools, input.as_bytes());
    let said = shell::run_with_input(tools, server, &script, &arguments, input, turn.limit).await?;
    match said.status {
        0 => Ok(()),
        _ => Err(Outcome::failed(format!(
            "{} on {}",
            said.last_words(),
            server.subject.name
        ))),
    }
}

const STREAMS: &str = include_str!("../../../host/scripts/receiver_status.sh");

/// How soon it is asked again.
const SOON: Duration = Duration::from_secs(1);
/// So often.
const LOOKS: u64 = 10;

pub(super) async fn streams(turn: &Turn<'_>) -> Result<Outcome, Outcome> {
    let (resource, server, _) = follower(turn)?;
    let told = superuser::ask(turn, (resource, server), STREAMS, &[]).await?;
    let status = told["status"].as_str().unwrap_or("unknown");
    let looks = turn.incident.memo["looks"].as_u64().unwrap_or(0) + 1;
    if status == "streaming" {
        return Ok(Outcome::done("its receiver streams"));
    }
    let status: String = status.chars().take(40).collect();
    let why = format!("its receiver is {status}");
    Err(match looks < LOOKS {
        true => Outcome::new(Ended::Again(SOON), why).remember("looks", looks),
        false => Outcome::failed(why),
    })
}
