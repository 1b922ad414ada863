//! `drover create` and `drover destroy`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use drover::api::{self, CreateResource, CreateServer, Subject, SubjectCore};
use drover::client::ClientError;
use drover::model::{Cloud, Durability, Origin, PublicId, State};
use serde::Serialize;

use super::table::plain;
use super::who::Who;
use super::{Answer, Failure, Session, adopt, listing, say, work};

/// How often is looked whether it is there.
const LOOK: Duration = Duration::from_secs(1);

/// What is made.
#[derive(Subcommand)]
pub enum Create {
    /// A server, with a data volume.
    Server(Server),
    /// A database, on a server that its plan says.
    Resource(Resource),
}

#[derive(Args)]
pub struct Server {
    /// Its name in the herd.
    #[arg(long)]
    name: String,
    #[command(flatten)]
    place: Place,
    /// Its size [default: the first of the plan production].
    #[arg(long)]
    size: Option<String>,
    /// GiB of its data volume [default: 100].
    #[arg(long)]
    volume_gib: Option<u32>,
    /// The volume's type [default: gp3].
    #[arg(long)]
    volume_type: Option<String>,
    /// Whose rules it goes by [default: standard].
    #[arg(long)]
    tier: Option<String>,
    /// PostgreSQL's major version [default: its distribution's].
    #[arg(long)]
    postgres: Option<u32>,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Args)]
pub struct Resource {
    /// Its name in the herd.
    #[arg(long)]
    name: String,
    /// What is bought: drover plans lists them.
    #[arg(long)]
    plan: String,
    #[command(flatten)]
    place: Place,
    /// When it may be disturbed: "sun 03:00 Europe/Berlin".
    #[arg(long, value_name = "WINDOW")]
    maintenance_window: Option<String>,
    /// What its commits wait for: async (its own disk) or sync (a follower's too, of a
    /// plan with followers) [default: the plan's].
    #[arg(long)]
    durability: Option<Durability>,
    /// File with the customer's password (`-`: stdin); without it, one is made.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Args)]
struct Place {
    /// In which cloud: local or ec2.
    #[arg(long)]
    cloud: Option<Cloud>,
    /// In which region: drover regions lists them [default: the only one].
    #[arg(long)]
    region: Option<String>,
    /// In which availability zone [default: any].
    #[arg(long)]
    zone: Option<String>,
}

#[derive(Args)]
pub struct Wait {
    /// Wait until it and its followers are available, and show the progress.
    #[arg(long)]
    wait: bool,
    /// How long to wait at most.
    #[arg(long, default_value = "30m", requires = "wait", value_name = "WHILE",
          value_parser = humantime::parse_duration)]
    limit: Duration,
}

/// `drover create`.
pub async fn run(to: &Session<'_>, what: Create) -> Result<(), Failure> {
    match what {
        Create::Server(server) => {
            let body = CreateServer {
                name: server.name,
                cloud: server.place.cloud,
                region: server.place.region,
                zone: server.place.zone,
                size: server.size,
                volume_gib: server.volume_gib,
                volume_type: server.volume_type,
                tier: server.tier,
                postgres: server.postgres,
            };
            make(to, "/v1/servers", &body, server.wait).await
        }
        Create::Resource(resource) => {
            let password = resource.password_file.as_deref();
            let body = CreateResource {
                name: resource.name,
                plan: resource.plan,
                cloud: resource.place.cloud,
                region: resource.place.region,
                zone: resource.place.zone,
                maintenance_window: resource.maintenance_window,
                durability: resource.durability,
                password: password.map(adopt::password_in).transpose()?,
            };
            make(to, "/v1/resources", &body, resource.wait).await
        }
    }
}

/// Asks for something to be made, and waits until it is, if that is wanted.
///
/// # Errors
/// If the API refuses, or it is not there in time.
pub async fn make(
    to: &Session<'_>,
    path: &str,
    body: &impl Serialize,
    wait: Wait,
) -> Result<(), Failure> {
    let created: Answer<Subject> = to.client.post_once(path, body).await?;
    if !wait.wait {
        return to.answer(&created, |created| being_made(created));
    }
    if !to.json {
        say(&being_made(&created))?;
    }
    let begun = Instant::now();
    let until = begun + wait.limit;
    let available = |there: &SubjectCore| {
        let (name, took) = (plain(&there.name), begun.elapsed().as_secs());
        format!("{name} is available, after {took} s")
    };
    let there = until_available(to, created.core().id, until).await?;
    if !to.json {
        say(&available(there.core()))?;
    }
    // What its plan gives it from birth belongs to it.
    if let Subject::Resource(resource) = &*there {
        for follower in &resource.followers {
            let follower = until_available(to, *follower, until).await?;
            if !to.json {
                say(&available(follower.core()))?;
            }
        }
    }
    if to.json {
        to.answer(&there, |there| available(there.core()))?;
    }
    Ok(())
}

fn being_made(created: &Subject) -> String {
    let (core, operation) = (created.core(), &created.standing().operation);
    let operation = operation.as_ref().map_or("-".into(), |o| o.id.to_string());
    format!("Creating {}: {} ({operation})", plain(&core.name), core.id)
}

/// Looks until it is available and nothing is left to do for it, and says what goes on
/// meanwhile: with it, and with the server that is made for it.
async fn until_available(
    to: &Session<'_>,
    id: PublicId,
    until: Instant,
) -> Result<Answer<Subject>, Failure> {
    let mut told = [String::new(), String::new()];
    loop {
        let subject: Answer<Subject> = match to.client.get(&listing::path(id)).await {
            Ok(subject) => subject,
            // A web that is being restarted is no reason to give up.
            Err(ClientError::Unreachable { .. }) if Instant::now() < until => {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match subject.core().state {
            State::Available if subject.standing().operation.is_none() => return Ok(subject),
            State::Destroying => {
                return Err(Failure::Failed(format!("{id} is being destroyed")));
            }
            State::Creating
            | State::Available
            | State::Uncertain
            | State::Unavailable
            | State::Destroyed => {}
        }
        let server: Option<api::Server> = match &*subject {
            Subject::Resource(resource) => {
                Some(to.client.get(&listing::path(resource.server)).await?)
            }
            Subject::Server(_) => None,
        };
        let server = server.as_ref().map(|s| (&s.core, &s.standing));
        let subject = Some((subject.core(), subject.standing()));
        for (one, told) in [server, subject].into_iter().zip(&mut told) {
            let Some((core, standing)) = one else {
                continue;
            };
            let Some(operation) = &standing.operation else {
                continue;
            };
            let now = format!("{}: {}", plain(&core.name), work::step(operation));
            if now != *told && !to.json {
                say(&now)?;
            }
            *told = now;
            if operation.stuck_since.is_some() {
                return Err(Failure::Failed(format!(
                    "{told}; drover keeps trying, but needs a human: see drover operation {}",
                    operation.id
                )));
            }
        }
        if Instant::now() >= until {
            return Err(Failure::Failed(format!(
                "{id} is not available in time; drover goes on creating it"
            )));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// `drover destroy`.
pub async fn destroy(to: &Session<'_>, who: Who, confirm: &str) -> Result<(), Failure> {
    let id = who.find(&to.client).await?;
    let path = listing::path(id);
    let subject: Subject = to.client.get(&path).await?;
    if subject.core().origin == Origin::Adopted {
        return Err(Failure::Failed(format!(
            "{id} was adopted, and drover destroys only what it made; drover forget takes it out \
             of the herd"
        )));
    }
    let of_a_name = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if !confirm.bytes().all(of_a_name) {
        return Err(Failure::WrongUse("--confirm is no name".into()));
    }
    let path = format!("{path}?confirm={confirm}");
    let going: Answer<Subject> = to.client.delete(&path).await?;
    to.answer(&going, |going| {
        let operation = going.standing().operation.as_ref();
        format!(
            "Destroying {} ({})",
            plain(&going.core().name),
            operation.map_or("-".into(), |o| o.id.to_string())
        )
    })
}
