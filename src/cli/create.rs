//! `drover create` and `drover destroy`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use drover::client::{Client, ClientError};
use drover::model::{Cloud, Durability, PublicId};
use serde_json::{Value, json};

use super::{Failure, adopt, answer, listing, say, table, work};

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
    /// Wait until it is available, and its followers are, and say how far it is.
    #[arg(long)]
    wait: bool,
    /// How long to wait at most.
    #[arg(long, default_value = "30m", requires = "wait", value_name = "WHILE",
          value_parser = humantime::parse_duration)]
    limit: Duration,
}

/// `drover create`.
pub async fn run(client: &Client, what: Create, json: bool) -> Result<(), Failure> {
    let (path, body, wait) = match what {
        Create::Server(server) => {
            let body = json!({
                "name": server.name,
                "cloud": server.place.cloud,
                "region": server.place.region,
                "zone": server.place.zone,
                "size": server.size,
                "volume_gib": server.volume_gib,
                "volume_type": server.volume_type,
                "tier": server.tier,
                "postgres": server.postgres,
            });
            ("/v1/servers", body, server.wait)
        }
        Create::Resource(resource) => {
            let password = resource.password_file.as_deref();
            let body = json!({
                "name": resource.name,
                "plan": resource.plan,
                "cloud": resource.place.cloud,
                "region": resource.place.region,
                "zone": resource.place.zone,
                "maintenance_window": resource.maintenance_window,
                "durability": resource.durability,
                "password": password.map(adopt::password_in).transpose()?,
            });
            ("/v1/resources", body, resource.wait)
        }
    };
    make(client, path, &body, wait, json).await
}

/// Asks for something to be made, and waits until it is, if that is wanted.
///
/// # Errors
/// If the API refuses, or it is not there in time.
pub async fn make(
    client: &Client,
    path: &str,
    body: &Value,
    wait: Wait,
    json: bool,
) -> Result<(), Failure> {
    let created = client.post_once(path, body).await?;
    if !wait.wait {
        return answer(&created, json, being_made);
    }
    if !json {
        say(&being_made(&created))?;
    }
    let id = created["id"].as_str().unwrap_or_default();
    let id: PublicId = id.parse().map_err(|e| Failure::Failed(format!("{e}")))?;
    let begun = Instant::now();
    let until = begun + wait.limit;
    let available = |there: &Value| {
        let (name, took) = (table::text(&there["name"]), begun.elapsed().as_secs());
        format!("{name} is available, after {took} s")
    };
    let there = until_available(client, id, until, json).await?;
    if !json {
        say(&available(&there))?;
    }
    // What its plan gives it from birth belongs to it.
    for follower in table::array(&there["followers"]) {
        let id = follower.as_str().unwrap_or_default().parse();
        let id = id.map_err(|e| Failure::Failed(format!("{e}")))?;
        let follower = until_available(client, id, until, json).await?;
        if !json {
            say(&available(&follower))?;
        }
    }
    if json {
        answer(&there, json, available)?;
    }
    Ok(())
}

fn being_made(created: &Value) -> String {
    let [name, id, operation] = [
        &created["name"],
        &created["id"],
        &created["operation"]["id"],
    ]
    .map(table::text);
    format!("{name} is being made: {id} ({operation})")
}

/// Looks until it is available and nothing is left to do for it, and says what goes on
/// meanwhile: with it, and with the server that is made for it.
async fn until_available(
    client: &Client,
    id: PublicId,
    until: Instant,
    silent: bool,
) -> Result<Value, Failure> {
    let mut told = [String::new(), String::new()];
    loop {
        let subject = match client.get(&listing::path(id)).await {
            Ok(subject) => subject,
            // A web that is being restarted is no reason to give up.
            Err(ClientError::Unreachable { .. }) if Instant::now() < until => {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match subject["state"].as_str() {
            Some("available") if subject["operation"].is_null() => return Ok(subject),
            Some("destroying") => {
                return Err(Failure::Failed(format!("{id} is being destroyed")));
            }
            _ => {}
        }
        let server = match subject["server"].as_str() {
            Some(server) => client.get(&format!("/v1/servers/{server}")).await?,
            None => Value::Null,
        };
        for (one, told) in [&server, &subject].into_iter().zip(&mut told) {
            let operation = &one["operation"];
            if operation.is_null() {
                continue;
            }
            let now = format!("{}: {}", table::text(&one["name"]), work::step(operation));
            if now != *told && !silent {
                say(&now)?;
            }
            *told = now;
            if !operation["stuck_since"].is_null() {
                return Err(Failure::Failed(format!(
                    "{told}; drover goes on trying, but a human is needed: \
                     drover operation {}",
                    table::text(&operation["id"])
                )));
            }
        }
        if Instant::now() >= until {
            return Err(Failure::Failed(format!(
                "{id} is not available in time; drover goes on making it"
            )));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// `drover destroy`.
pub async fn destroy(
    client: &Client,
    id: PublicId,
    confirm: &str,
    json: bool,
) -> Result<(), Failure> {
    let path = listing::path(id);
    let subject = client.get(&path).await?;
    if subject["origin"] == "adopted" {
        return Err(Failure::Failed(format!(
            "{id} was adopted, and drover destroys only what it made; drover forget takes it out \
             of the herd"
        )));
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if !confirm.bytes().all(plain) {
        return Err(Failure::WrongUse("--confirm is no name".into()));
    }
    let going = client.delete(&format!("{path}?confirm={confirm}")).await?;
    answer(&going, json, |going| {
        format!(
            "{} is being destroyed: {}",
            table::text(&going["name"]),
            table::text(&going["operation"]["id"])
        )
    })
}
