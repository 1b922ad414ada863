//! `reconnect`: what a follower needs to stream is made as the record has it, at both
//! sides, and its receiver connects anew.

use std::time::Duration;

use drover::model::{OperationKind, Resource, Server, SubjectId, slot_of};
use drover::store::subjects::Known;
use serde::{Deserialize, Serialize};

use super::create_resource::plan;
use super::follow::{follow, make_slots, node};
use super::kind::{self, Context, NoParams, Operation, Outcome, Step, Turn, Work, step};
use super::script;
use crate::host::scripts::{END_RECEIVER, RECEIVER_STATUS};

/// A follower's receiver connects again.
pub(super) struct Reconnect;

/// How often its receiver was asked after.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    looks: u32,
}

impl Operation for Reconnect {
    type Params = NoParams;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::Reconnect;
    const STEPS: &'static [Step<Self>] = &[
        step!("reconnect", "tell it anew whom it follows" => reconnect).may_end(),
        step!("streams", "wait until it streams" => streams)
            .may_end()
            .watching(),
    ];

    fn also_changes(step: &str, known: Option<&Known>, _memo: &Self::Memo) -> Vec<SubjectId> {
        match step {
            "reconnect" => kind::follows(known),
            _ => vec![],
        }
    }
}

/// How soon it is asked after again.
const SOON: Duration = Duration::from_secs(1);
/// So often.
const LOOKS: u32 = 10;

/// The follower, its server, and whom it follows.
///
/// # Errors
/// If it follows nobody.
pub(super) fn follower<'a>(
    turn: &Context<'a>,
) -> Result<(&'a Resource, &'a Server, SubjectId), Outcome> {
    let (resource, server) = turn.resource()?;
    let leader = resource.leader;
    let leader = leader.ok_or_else(|| Outcome::skipped("it follows nobody"))?;
    Ok((resource, server, leader))
}

/// All of it can be done again and again: the slot and the role at the leader, address,
/// password and certificate at the follower.
async fn reconnect(turn: &mut Turn<'_, Reconnect>) -> Work {
    let (resource, server, leader) = follower(turn)?;
    let (leader, its_server) = node(turn, leader).await?;
    let password = leader.replication_password.as_ref();
    let password = password.ok_or_else(|| Outcome::skipped("its leader has no followers"))?;
    if leader.tls_root_cert.is_none() {
        return Err(Outcome::skipped("its leader's certificate is not known"));
    }
    let keep = plan(turn, &leader).await?.slot_wal_mib;
    let to = (&*leader, &*its_server);
    make_slots(turn, to, password, &[resource], keep).await?;
    follow(turn, (resource, server), to, password).await?;
    let on = (resource, server);
    let said = script::at_cluster(turn, on, END_RECEIVER, &[], b"").await;
    let said = said.map_err(script::or_skip)?;
    let slot = slot_of(resource.subject.id);
    Ok(Outcome::done(said.last_words())
        .touching(format!("the receiver of {}", resource.subject.name))
        .touching(format!("slot {slot} of {}", leader.subject.name)))
}

#[derive(Deserialize)]
struct Told {
    status: Option<String>,
}

async fn streams(turn: &mut Turn<'_, Reconnect>) -> Work {
    let told: Told = script::ask(turn, turn.resource()?, RECEIVER_STATUS, &[]).await?;
    let status = told.status.unwrap_or_else(|| "unknown".into());
    if status == "streaming" {
        return Ok(Outcome::done("its receiver streams"));
    }
    let status: String = status.chars().take(40).collect();
    let why = format!("its receiver is {status}");
    turn.memo.looks += 1;
    Err(match turn.memo.looks < LOOKS {
        true => Outcome::again(SOON, why),
        false => Outcome::failed(why),
    })
}
