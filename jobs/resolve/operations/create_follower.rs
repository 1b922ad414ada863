//! `create_follower`: a base backup of the leader on a server of its own, that
//! streams from a slot of its own.

use drover::model::slot_of;
use std::time::Duration;

use drover::model::{Resource, Server, State};

use super::create_resource::{await_server, certificate, customer, plan, start};
use super::create_server::{enter, first_look};
use super::follow::{make_slot, node, pass_line, replication_password};
use super::{Book, Context, Outcome, Step, Work, script, sync, unknown};

pub(super) const BOOK: Book = Book {
    steps: &[
        Step::new("await_server", "wait for its server"),
        Step::new("await_leader", "wait for its leader"),
        Step::new("slot", "keep WAL for it at its leader"),
        Step::new("backup", "copy its leader"),
        Step::new("certificate", "pin its certificate"),
        Step::new("start", "start it"),
        Step::new("enter", "let it enter the ring"),
        Step::new("first_look", "wait until it is felt to be in service"),
        // Not before: until then, commits wait for the others, or for this one to come.
        Step::new(
            "names",
            "have its leader's commits wait for it, if they do for any",
        ),
    ],
    creates: true,
};

/// What followers log in as.
pub(super) const REPLICATION: &str = "drover_replication";

const SOON: Duration = Duration::from_millis(500);

pub(super) async fn perform(turn: &Context<'_>) -> Work {
    let (resource, server) = turn.resource()?;
    match turn.step {
        "await_server" => await_server(server),
        "await_leader" => await_leader(turn, resource).await,
        "slot" => slot(turn, resource).await,
        "backup" => backup(turn, resource, server).await,
        "certificate" => certificate(turn, resource, server).await,
        "start" => start(turn, resource, server).await,
        "enter" => enter(),
        "first_look" => first_look(resource.subject.state),
        "names" => names(turn, resource).await,
        step => unknown(step),
    }
}

/// The resource that this one follows, and its server.
pub(super) async fn leader_of(
    turn: &Context<'_>,
    resource: &Resource,
) -> Result<(Box<Resource>, Box<Server>), Outcome> {
    let id = resource.leader;
    let id = id.ok_or_else(|| Outcome::hopeless("it follows nobody"))?;
    node(turn, id).await
}

async fn await_leader(turn: &Context<'_>, resource: &Resource) -> Work {
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

async fn names(turn: &Context<'_>, resource: &Resource) -> Work {
    match resource.leader {
        Some(leader) => Ok(Outcome::done(sync::if_sync(turn, leader).await?)),
        None => Ok(Outcome::done("it leads by now")),
    }
}

async fn slot(turn: &Context<'_>, resource: &Resource) -> Work {
    let (leader, server) = leader_of(turn, resource).await?;
    let password = replication_password(&leader)?;
    let keep = plan(turn, resource).await?.slot_wal_mib;
    let said = make_slot(turn, (&leader, &server), password, resource, keep).await?;
    Ok(Outcome::done(said))
}

pub(super) const BACKUP: &str = concat!(
    include_str!("../../host/scripts/prelude/copy_cluster_arguments.sh"),
    include_str!("../../host/scripts/prelude/put.sh"),
    include_str!("../../host/scripts/prelude/leader.sh"),
    include_str!("../../host/scripts/prelude/new_cluster.sh"),
    include_str!("../../host/scripts/copy_cluster.sh")
);

const VERSION: &str = include_str!("../../host/scripts/version.sh");

async fn backup(turn: &Context<'_>, resource: &Resource, server: &Server) -> Work {
    let (leader, its_server) = leader_of(turn, resource).await?;
    let on = (&*leader, &*its_server);
    let version = script::at_cluster(turn, on, VERSION, &[], b"").await?;
    let version = version.out.trim().to_owned();
    let plan = plan(turn, resource).await?;
    let certificate = leader.tls_root_cert.as_deref();
    let certificate =
        certificate.ok_or_else(|| Outcome::hopeless("the leader's certificate is not known"))?;
    let password = replication_password(&leader)?;
    let pass = pass_line(&leader, &its_server, password);
    let input = format!("{pass}{certificate}");
    let most = super::create_resource::most_connections(&plan).to_string();
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
        super::create_resource::libraries(&plan),
    ];
    let script = format!("{}{BACKUP}", script::BACKGROUND);
    let said = script::run(turn, server, &script, &arguments, input.as_bytes()).await?;
    Ok(Outcome::done(said.last_words()))
}
