//! `drover-worker local …`: a herd on this machine, to try drover with and to
//! break things in.

mod adopt;
mod harm;
mod listing;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use drover::api::{Page, Subject};
use drover::client::Client;
use drover::config::{ClientConfig, Env, LocalConfig, ssh_key};
use drover::model::Secret;
use futures::{StreamExt, TryStreamExt};

use crate::cloud::local::{Cluster, LocalCloud, LocalServer, NewServer, ZONES};

/// More at once only makes two cores slower.
const AT_ONCE: usize = 2;

/// What can be done with the local herd. Servers and databases are named by id
/// (`srv_…`, `db_…`) or by name.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Makes servers with databases, and adopts them; what is there is kept.
    Create(Create),
    /// Lists them, as this machine sees them.
    Ls {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// SIGKILL to a database's postmaster and all its children.
    Kill {
        /// `db_…` or a name.
        database: String,
    },
    /// Starts a database.
    Start {
        /// `db_…` or a name.
        database: String,
    },
    /// Stops a database properly.
    Stop {
        /// `db_…` or a name.
        database: String,
    },
    /// Pulls a server's plug: everything on it dies at once and stays dead.
    Unplug {
        /// `srv_…` or a name.
        server: String,
    },
    /// Plugs a server in again: it boots, and its databases start.
    Plug {
        /// `srv_…` or a name.
        server: String,
    },
    /// Unplugs a server and plugs it in again.
    Reboot {
        /// `srv_…` or a name.
        server: String,
    },
    #[command(flatten)]
    Harm(harm::Command),
    /// Takes servers away, with all that is on them.
    Destroy(Destroy),
}

/// What to make.
#[derive(Args, Debug)]
pub struct Create {
    /// How many servers.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=250))]
    servers: u16,
    /// How many databases on each.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(0..=250))]
    resources_per_server: u16,
    /// What their names begin with.
    #[arg(long, default_value = "pg")]
    prefix: String,
    /// Gives each new server a volume of this size that its databases live on.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(128..=1_048_576))]
    volume_mib: Option<u32>,
}

/// What to take away.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct Destroy {
    /// Every local server.
    #[arg(long)]
    all: bool,
    /// `srv_…` or a name.
    server: Option<String>,
}

/// The directory of the local cloud: `DROVER_LOCAL_DIR`, by default
/// `.drover/local` here.
pub fn dir(env: Env<'_>) -> PathBuf {
    env.get("DROVER_LOCAL_DIR")
        .map_or_else(|| PathBuf::from(".drover/local"), PathBuf::from)
}

/// Carries out one command.
///
/// # Errors
/// Says what could not be done, to what.
pub async fn run(command: Command, env: Env<'_>) -> anyhow::Result<()> {
    let herd = Herd::open(&LocalConfig::from_env(env, dir(env)), ssh_key(env)?)?;
    match command {
        Command::Create(wanted) => create(&herd, &wanted, &client(env)?).await,
        Command::Ls { json: true } => listing::json(&herd.servers().await?).await,
        Command::Ls { json: false } => listing::table(&herd.servers().await?).await,
        Command::Kill { database } => {
            let (server, cluster) = herd.cluster(&database).await?;
            let n = server.kill(&cluster).await?;
            say(&format!("{} killed: {n} processes", cluster.name))
        }
        Command::Start { database } => {
            let (server, cluster) = herd.cluster(&database).await?;
            let started = server.start(&cluster).await;
            started.with_context(|| format!("cannot start {}", cluster.name))?;
            say(&format!("{} runs", cluster.name))
        }
        Command::Stop { database } => {
            let (server, cluster) = herd.cluster(&database).await?;
            server.stop(&cluster).await?;
            say(&format!("{} stopped", cluster.name))
        }
        Command::Unplug { server } => unplug(&herd.server(&server).await?).await,
        Command::Plug { server } => plug(&herd.server(&server).await?).await,
        Command::Reboot { server } => {
            let server = herd.server(&server).await?;
            server.unplug().await?;
            plug(&server).await
        }
        Command::Harm(harm) => harm::run(harm, &herd).await,
        Command::Destroy(Destroy {
            server: Some(server),
            ..
        }) => destroy(herd.server(&server).await?, client(env).ok().as_ref()).await,
        Command::Destroy(Destroy { server: None, .. }) => {
            let client = client(env).ok();
            for server in herd.servers().await? {
                destroy(server, client.as_ref()).await?;
            }
            herd.cloud.clear()
        }
    }
}

struct Herd {
    cloud: LocalCloud,
    /// Whether the deployment has a key of its own.
    keyed: bool,
}

impl Herd {
    fn open(config: &LocalConfig, key: Option<Secret>) -> anyhow::Result<Self> {
        Ok(Self {
            keyed: key.is_some(),
            cloud: LocalCloud::new(config, key)?,
        })
    }

    async fn servers(&self) -> anyhow::Result<Vec<LocalServer>> {
        self.cloud.servers().await
    }

    async fn server(&self, wanted: &str) -> anyhow::Result<LocalServer> {
        let is = |s: &LocalServer| s.name == wanted || s.kept.id.as_deref() == Some(wanted);
        let found = self.servers().await?.into_iter().find(is);
        found.with_context(|| format!("no local server `{wanted}`; `local ls` lists them"))
    }

    async fn cluster(&self, wanted: &str) -> anyhow::Result<(LocalServer, Cluster)> {
        for server in self.servers().await? {
            let is = |c: &Cluster| c.name == wanted || c.id.as_deref() == Some(wanted);
            if let Some(cluster) = server.clusters().await?.into_iter().find(is) {
                return Ok((server, cluster));
            }
        }
        bail!("no local database `{wanted}`; `local ls` lists them")
    }
}

fn client(env: Env<'_>) -> anyhow::Result<Client> {
    Client::new(ClientConfig::from_env(env)?)
}

async fn create(herd: &Herd, wanted: &Create, client: &Client) -> anyhow::Result<()> {
    let begun = Instant::now();
    // Asked first: without the API all the rest would be for nothing.
    client
        .get::<Page<Subject>>("/v1/servers?limit=1")
        .await
        .context("the local herd is adopted through the API")?;
    let new: Vec<_> = (1..=wanted.servers)
        .zip(ZONES.iter().cycle())
        .map(|(n, zone)| NewServer {
            name: format!("{}-{n}", wanted.prefix),
            zone: (*zone).to_owned(),
            volume_mib: wanted.volume_mib,
        })
        .collect();
    if herd.cloud.lacks_image().await? {
        say("making the image that machines start from: some two minutes, once")?;
    }
    say(&format!(
        "making {} servers; each boots in some 5 s",
        new.len()
    ))?;
    let servers = herd.cloud.create(&new).await?;
    say(&format!(
        "{} servers are up; now their databases",
        servers.len()
    ))?;
    // Servers made with a key of this cloud's own are adopted with it: the
    // deployment has none, or another.
    let own_key = match herd.keyed {
        true => None,
        false => Some(std::fs::read_to_string(herd.cloud.key_file())?),
    };
    let fill = |server| {
        fill(
            server,
            wanted.resources_per_server,
            client,
            own_key.as_deref(),
        )
    };
    futures::stream::iter(servers.into_iter().map(fill))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    say(&format!(
        "all there after {:.1} s",
        begun.elapsed().as_secs_f64()
    ))
}

async fn fill(
    mut server: LocalServer,
    databases: u16,
    client: &Client,
    key: Option<&str>,
) -> anyhow::Result<()> {
    let server_id = adopt::server(client, &mut server, key).await?;
    say(&format!(
        "{} {server_id} at {}",
        server.name, server.settings.address
    ))?;
    for n in 1..=databases {
        let cluster = server.create(&format!("{}-db-{n}", server.name)).await?;
        let id = adopt::resource(client, &mut server, server_id, &cluster).await?;
        say(&format!(
            "{} {id} at {}:{}",
            cluster.name, server.settings.address, cluster.port
        ))?;
    }
    Ok(())
}

async fn unplug(server: &LocalServer) -> anyhow::Result<()> {
    server.unplug().await?;
    say(&format!("{} unplugged", server.name))
}

async fn plug(server: &LocalServer) -> anyhow::Result<()> {
    server.plug().await?;
    let clusters = server.clusters().await?;
    for cluster in &clusters {
        let started = server.start(cluster).await;
        started.with_context(|| format!("cannot start {}", cluster.name))?;
    }
    say(&format!(
        "{} is up, with {} databases",
        server.name,
        clusters.len()
    ))
}

async fn destroy(server: LocalServer, client: Option<&Client>) -> anyhow::Result<()> {
    let name = server.name.clone();
    // Forgotten first, so that nobody is alarmed by its end.
    let left = adopt::forget(client, &server).await?;
    server.destroy().await?;
    let note = left
        .map(|why| format!("; the herd still knows it: {why}"))
        .unwrap_or_default();
    say(&format!("{name} destroyed{note}"))
}

/// A line of progress, also where stdout is a pipe that somebody waits at.
fn say(line: &str) -> anyhow::Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{line}").context("cannot write to stdout")
}
