//! `create_follower`: a base backup of the leader on a server of its own, that
//! streams from a slot of its own.

use std::time::Duration;

use drover::model::{OperationKind, Resource, Server, State, SubjectId, slot_of};
use drover::store::subjects::Known;

use super::create_resource::{
    await_server, certificate, customer, libraries, most_connections, plan, start,
};
use super::follow::{make_slots, node, pass_line, replication_password};
use super::kind::{self, Context, NoMemo, NoParams, Operation, Outcome, Step, Turn, Work, step};
use super::{enter, script, sync};
use crate::host::scripts::{COPY_CLUSTER, VERSION};

/// A follower is made. The record has all that was asked.
pub(super) struct CreateFollower;

impl Operation for CreateFollower {
    type Params = NoParams;
    type Memo = NoMemo;
    const KIND: OperationKind = OperationKind::CreateFollower;
    const STEPS: &'static [Step<Self>] = &[
        await_server(),
        step!("await_leader", "wait for its leader" => await_leader),
        step!("slot", "keep WAL for it at its leader" => slot),
        step!("backup", "copy its leader" => backup),
        certificate(),
        step!("start", "start it" => start_own),
        enter::step(),
        enter::first_look(),
        // Not before: until then, commits wait for the others, or for this one to come.
        step!("names", "have its leader's commits wait for it, if they do for any" => names),
    ];

    fn also_changes(step: &str, known: Option<&Known>, _memo: &Self::Memo) -> Vec<SubjectId> {
        match step {
            "slot" => kind::follows(known),
            _ => vec![],
        }
    }
}

/// What followers log in as.
pub(super) const REPLICATION: &str = "drover_replication";

const SOON: Duration = Duration::from_millis(500);

/// The resource that this one follows, and its server.
pub(super) async fn leader_of(
    turn: &Context<'_>,
    resource: &Resource,
) -> Result<(Box<Resource>, Box<Server>), Outcome> {
    let id = resource.leader;
    let id = id.ok_or_else(|| Outcome::hopeless("it follows nobody"))?;
    node(turn, id).await
}

async fn await_leader(turn: &mut Turn<'_, CreateFollower>) -> Work {
    let (resource, _) = turn.resource()?;
    let (leader, _) = leader_of(turn, resource).await?;
    let name = &leader.subject.name;
    match leader.subject.state {
        State::Available => Ok(Outcome::done(format!("its leader {name} is in service"))),
        State::Creating | State::Uncertain | State::Unavailable => Err(Outcome::again(
            SOON,
            format!("its leader {name} is {}", leader.subject.state),
        )),
        State::Destroying | State::Destroyed => {
            Err(Outcome::hopeless(format!("its leader {name} is gone")))
        }
    }
}

async fn start_own(turn: &mut Turn<'_, CreateFollower>) -> Work {
    let (resource, server) = turn.resource()?;
    start(turn, resource, server).await
}

async fn names(turn: &mut Turn<'_, CreateFollower>) -> Work {
    let (resource, _) = turn.resource()?;
    match resource.leader {
        Some(leader) => {
            let said = sync::join(turn, leader, resource.subject.id).await?;
            Ok(Outcome::done(said))
        }
        None => Ok(Outcome::done("it leads by now")),
    }
}

async fn slot(turn: &mut Turn<'_, CreateFollower>) -> Work {
    let (resource, _) = turn.resource()?;
    let (leader, server) = leader_of(turn, resource).await?;
    let password = replication_password(&leader)?;
    let keep = plan(turn, resource).await?.slot_wal_mib;
    let said = make_slots(turn, (&leader, &server), password, &[resource], keep).await?;
    Ok(Outcome::done(said))
}

async fn backup(turn: &mut Turn<'_, CreateFollower>) -> Work {
    let (resource, server) = turn.resource()?;
    let (leader, its_server) = leader_of(turn, resource).await?;
    let on = (&*leader, &*its_server);
    let version = script::at_cluster(turn, on, VERSION, &[], b"").await?;
    let version = version.value("version")?.to_owned();
    let plan = plan(turn, resource).await?;
    let certificate = leader.tls_root_cert.as_deref();
    let certificate =
        certificate.ok_or_else(|| Outcome::hopeless("the leader's certificate is not known"))?;
    let password = replication_password(&leader)?;
    let pass = pass_line(&leader, &its_server, password);
    let input = format!("{pass}{certificate}");
    let most = most_connections(&plan).to_string();
    let arguments = [
        version.as_str(),
        &customer(resource)?.database,
        &resource.port.to_string(),
        &server.address,
        &its_server.address,
        &leader.port.to_string(),
        &slot_of(resource.subject.id),
        &plan.backup_rate_mib.to_string(),
        &most,
        libraries(&plan),
    ];
    let said = script::run(turn, server, COPY_CLUSTER, &arguments, input.as_bytes()).await?;
    Ok(Outcome::done(said.last_words()))
}
