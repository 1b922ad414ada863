//! `create_resource`: a cluster on a server that is there or on its way, with a
//! certificate, drover's own role and database, and the customer's.

use std::time::Duration;

use drover::model::{Customer, ExposeSecret, OperationKind, Resource, Secret, Server, State};
use drover::store::operations::Fact;
use drover::store::plans::{self, Plan};
use postgres_protocol::password::scram_sha_256;

use super::follows::{nobody_else_leads, role};
use super::kind::{Context, NoMemo, NoParams, Operation, Outcome, Step, Turn, Work, step};
use super::{enter, script, sync};
use crate::host::scripts::{CERTIFICATE, MAKE_CLUSTER, MAKE_ROLES, START_CLUSTER};

/// A resource is made. The record has all that was asked.
pub(super) struct CreateResource;

impl Operation for CreateResource {
    type Params = NoParams;
    type Memo = NoMemo;
    const KIND: OperationKind = OperationKind::CreateResource;
    const STEPS: &'static [Step<Self>] = &[
        await_server(),
        step!("cluster", "make its cluster" => cluster),
        certificate(),
        step!("start", "start its cluster" => start_own),
        step!("roles", "make its roles and its database" => roles),
        step!("names", "have its commits wait for a follower, if they are to" => names),
        enter::step(),
        enter::first_look(),
    ];
}

const SOON: Duration = Duration::from_millis(500);
/// Connections beside the customer's: drover's own, and what mends by hand.
const OURS: i32 = 10;

/// What is made on a server waits for it.
pub(super) const fn await_server<O: Operation>() -> Step<O> {
    Step::new("await_server", "wait for its server", |turn| {
        Box::pin(async { has_server(turn) })
    })
}

fn has_server(turn: &Context<'_>) -> Work {
    let (_, server) = turn.resource()?;
    let name = &server.subject.name;
    match server.subject.state {
        State::Available => Ok(Outcome::done(format!("server {name} is in service"))),
        State::Creating | State::Uncertain | State::Unavailable => Err(Outcome::again(
            SOON,
            format!("server {name} is {}", server.subject.state),
        )),
        State::Destroying | State::Destroyed => {
            Err(Outcome::hopeless(format!("server {name} is gone")))
        }
    }
}

async fn cluster(turn: &mut Turn<'_, CreateResource>) -> Work {
    let (resource, server) = turn.resource()?;
    let plan = plan(turn, resource).await?;
    let version = plan.postgres.map_or(String::new(), |v| v.to_string());
    let arguments = [
        version.as_str(),
        &customer(resource)?.database,
        &resource.port.to_string(),
        &server.address,
        &most_connections(&plan).to_string(),
        libraries(&plan),
    ];
    let said = script::run(turn, server, MAKE_CLUSTER, &arguments, b"").await?;
    Ok(Outcome::done(said.last_words()))
}

/// Connections that a cluster of this plan takes.
pub(super) fn most_connections(plan: &Plan) -> i32 {
    plan.connections.saturating_add(OURS)
}

/// What a cluster of this plan loads at its start.
pub(super) fn libraries(plan: &Plan) -> &'static str {
    match plan.extensions.iter().any(|e| e == "pg_stat_statements") {
        true => "pg_stat_statements",
        false => "",
    }
}

/// Whoever logs in later knows by it whom they find.
pub(super) const fn certificate<O: Operation>() -> Step<O> {
    step!("certificate", "pin its certificate" => pin)
}

async fn pin(turn: &Context<'_>) -> Work {
    let said = script::at_cluster(turn, turn.resource()?, CERTIFICATE, &[], b"").await?;
    if !said.text().contains("BEGIN CERTIFICATE") {
        return Err(Outcome::failed("its certificate cannot be read"));
    }
    let pem = format!("{}\n", said.text());
    Ok(Outcome::done("its certificate is pinned").with(Fact::Certificate(pem)))
}

pub(super) async fn start(turn: &Context<'_>, resource: &Resource, server: &Server) -> Work {
    nobody_else_leads(turn, resource).await?;
    let on = (resource, server);
    let said = script::at_cluster(turn, on, START_CLUSTER, &[role(resource)], b"").await?;
    Ok(Outcome::done(said.last_words()))
}

async fn start_own(turn: &mut Turn<'_, CreateResource>) -> Work {
    let (resource, server) = turn.resource()?;
    start(turn, resource, server).await
}

/// Extensions that only a superuser may create; the others the customer creates.
const SUPERUSERS: [&str; 1] = ["pg_stat_statements"];

async fn roles(turn: &mut Turn<'_, CreateResource>) -> Work {
    let (resource, server) = turn.resource()?;
    let plan = plan(turn, resource).await?;
    let customer = customer(resource)?;
    let set = |name: &str, value: &str| format!("\\set {name} '{value}'\n");
    let verifier = |password: &Secret| scram_sha_256(password.expose_secret().as_bytes());
    let input = [
        set("own", &resource.role),
        set("own_verifier", &verifier(&resource.password)),
        set("role", &customer.role),
        set("role_verifier", &verifier(&customer.password)),
        set("database", &customer.database),
        set("most", &plan.connections.to_string()),
    ]
    .concat();
    let mut arguments = vec![customer.database.as_str()];
    arguments.extend(
        SUPERUSERS
            .iter()
            .filter(|e| plan.extensions.iter().any(|x| x == *e)),
    );
    let input = input.as_bytes();
    let said = script::at_cluster(turn, (resource, server), MAKE_ROLES, &arguments, input).await?;
    Ok(Outcome::done(said.last_words()))
}

/// From its first commit on: until a follower streams, none is acknowledged.
async fn names(turn: &mut Turn<'_, CreateResource>) -> Work {
    let (resource, _) = turn.resource()?;
    let said = sync::if_sync(turn, resource.subject.id).await?;
    Ok(Outcome::done(said))
}

pub(super) async fn plan(turn: &Context<'_>, resource: &Resource) -> Result<Plan, Outcome> {
    let mut db = turn.tools.pool.acquire().await?;
    let plan = plans::find(&mut db, &resource.plan).await?;
    plan.ok_or_else(|| Outcome::hopeless(format!("there is no plan {} any more", resource.plan)))
}

pub(super) fn customer(resource: &Resource) -> Result<&Customer, Outcome> {
    let customer = resource.customer.as_ref();
    customer.ok_or_else(|| Outcome::hopeless("nothing of it is a customer's"))
}
