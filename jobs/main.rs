//! `drover-worker`: works at queues, and keeps the local cloud.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use drover::config::{self, ConfigError, Env, WorkerConfig};
use drover::store::ConnectError;
use drover::store::queue::Queue;
use drover_jobs::cloud::Clouds;
#[cfg(feature = "ec2")]
use drover_jobs::cloud::ec2::{Access, Ec2};
use drover_jobs::cloud::local::LocalCloud;
use drover_jobs::feel::followers::Followers;
use drover_jobs::feel::statuses::Statuses;
use drover_jobs::feel::{FeelContext, World};
use drover_jobs::host::helper;
use drover_jobs::local;
use drover_jobs::replay;
use drover_jobs::resolve::Tools;
use drover_jobs::ssh;
use drover_jobs::verbs;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Works at drover's queues.
#[derive(Parser)]
#[command(
    name = "drover-worker",
    version,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_help = "Settings are read from the environment:\n  \
        DATABASE_URL           the control database\n  \
        DROVER_SECRET_KEY      32 bytes in base 64 that secrets are sealed with\n  \
        DROVER_SSH_KEY_FILE    the deployment's own SSH key (or DROVER_SSH_KEY)\n  \
        DROVER_CONCURRENCY     jobs at work at once per queue (100)\n  \
        DROVER_POLL_MS         longest wait of an idle worker, in ms (100)\n  \
        DROVER_RULES           what differs from the built-in rules, as JSON\n  \
        DROVER_LOCAL_DIR       where the local cloud keeps what it knows of its machines\n  \
        DROVER_MACHINES        the socket of their daemon (machines/socket in there)\n  \
        DROVER_LOCAL_IMAGE     what they start from (bookworm)\n  \
        DROVER_EC2_REGIONS     regions of EC2, with commas between (AWS_REGION); the AWS\n  \
                               SDK reads its own AWS_* variables for credentials\n  \
        DROVER_DEPLOYMENT      marks what drover makes in a cloud as its own (drover)\n  \
        DROVER_EC2_IMAGE       and …_SUBNETS, …_SECURITY_GROUPS, …_ADDRESS, …_SSH_PORT,\n  \
                               …_INSTANCE_PROFILE: docs/clouds.md\n  \
        DROVER_PAGERDUTY_KEY   routing key of the one on call (and DROVER_PAGERDUTY_URL)\n  \
        DROVER_WEBHOOK_URL     whom customers' tickets go to (and DROVER_WEBHOOK_SECRET),\n  \
        DROVER_ZENDESK_URL     or this (and DROVER_ZENDESK_EMAIL, DROVER_ZENDESK_TOKEN)\n  \
        DROVER_GAMEDAY         allow: things may be broken on purpose (drover gameday)\n  \
        DROVER_LOG             log filter (info)"
)]
struct Arguments {
    #[arg(help = help_on_queues())]
    queues: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Keeps servers on this very machine: real sshd, real PostgreSQL
    #[command(subcommand)]
    Local(local::Command),
    /// Thinks again over recorded observations and shows what differs
    Replay(replay::Arguments),
    /// Prints what root's shell runs on an adopted server, so that drover's login may use
    /// drover-root there: `drover-worker helper drover | ssh root@SERVER sh`
    Helper {
        /// As whom drover logs in there
        user: String,
        /// The server's own login key, if it was adopted with one; else the deployment's
        #[arg(long, value_name = "FILE")]
        ssh_key: Option<PathBuf>,
    },
}

/// How it ended, for the exit code.
enum Failure {
    /// Exit 2: it was called wrongly.
    Usage(String),
    /// Exit 1: it was called rightly, and failed.
    Failed(String),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Failure::Usage(error.to_string())
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Url(_) => Failure::Usage(error.to_string()),
            ConnectError::Unreachable(_) | ConnectError::TooOld(_) | ConnectError::NotMigrated => {
                Failure::Failed(error.to_string())
            }
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast_ref::<ConfigError>() {
            Some(wrong) => Failure::Usage(wrong.to_string()),
            None => Failure::Failed(format!("{error:#}")),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments = Arguments::parse();
    let done = match (arguments.command, arguments.queues) {
        (Some(Command::Local(command)), _) => local::run(command, Env::process())
            .await
            .map_err(Failure::from),
        (Some(Command::Replay(arguments)), _) => replay::run(arguments, Env::process())
            .await
            .map_err(Failure::from),
        (Some(Command::Helper { user, ssh_key }), _) => helper_for(&user, ssh_key),
        (None, Some(queues)) => work(&queues).await,
        (None, None) => Err(Failure::Usage(
            "which queues? see drover-worker --help".into(),
        )),
    };
    let (code, message) = match done {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Failed(message)) => (1, message),
        Err(Failure::Usage(message)) => (2, message),
    };
    // One line, whatever it was made of.
    let words: Vec<&str> = message.split_whitespace().collect();
    eprintln!("drover-worker: {}", words.join(" "));
    ExitCode::from(code)
}

fn helper_for(user: &str, ssh_key: Option<PathBuf>) -> Result<(), Failure> {
    if !helper::is_login(user) {
        return Err(Failure::Usage(format!("`{user}` is no login")));
    }
    let key = match ssh_key {
        Some(file) => match std::fs::read_to_string(&file) {
            Ok(text) => drover::model::secret(text),
            Err(e) => return Err(Failure::Usage(format!("{}: {e}", file.display()))),
        },
        None => WorkerConfig::from_env(Env::process())?
            .ssh_key
            .ok_or_else(|| {
                Failure::Usage("whose key? DROVER_SSH_KEY_FILE is not set: --ssh-key FILE".into())
            })?,
    };
    let script = helper::install(user, &ssh::public_half(&key)?)?;
    print!("{script}");
    Ok(())
}

fn help_on_queues() -> String {
    let names: Vec<&str> = Queue::ALL.iter().map(|queue| queue.as_str()).collect();
    let names = names.join(", ");
    format!("The queues to work at, with commas between: {names}")
}

fn queue(name: &str) -> Result<Queue, String> {
    let queue = name.parse::<Queue>();
    queue.map_err(|known| format!("unknown queue `{name}`; it {known}"))
}

async fn work(queues: &str) -> Result<(), Failure> {
    let queues = queues
        .split(',')
        .map(|name| queue(name.trim()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(Failure::Usage)?;
    let env = Env::process();
    let url = config::database_url(env)?;
    let config = WorkerConfig::from_env(env)?;
    drover::log::init(env)?;
    let stop = CancellationToken::new();
    let stopper = stop.clone();
    let mut term = signal(SignalKind::terminate()).map_err(|e| Failure::Failed(e.to_string()))?;
    let mut interrupt =
        signal(SignalKind::interrupt()).map_err(|e| Failure::Failed(e.to_string()))?;
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to stop; draining");
        stopper.cancel();
    });
    let pool = drover::store::connect_migrated(&url, pool_size(&queues)).await?;
    let local = config.local.as_ref();
    let local = local.map(|local| LocalCloud::new(local, config.ssh_key.clone()));
    let context = FeelContext {
        ssh_key: config.ssh_key.clone(),
        clouds: Clouds {
            local: local
                .transpose()
                .map_err(|e| Failure::Usage(format!("the local cloud: {e:#}")))?,
            #[cfg(feature = "ec2")]
            ec2: match &config.ec2 {
                Some(config) => Some(Ec2::new(config, Access::Own).await),
                None => None,
            },
        },
        statuses: Some(Statuses::new(pool.clone())),
        followers: Some(Followers::new(pool.clone(), config.secret_key.clone())),
    };
    let config = verbs::Config {
        concurrency: config.concurrency,
        secret_key: config.secret_key.clone(),
        rules: config.rules.clone(),
        drain: config.drain,
        poll: config.poll,
        notify: config.notify.clone(),
        cadence: None,
        tools: Some(Tools {
            context: context.clone(),
            pool: pool.clone(),
            secret_key: config.secret_key.clone(),
            rules: config.rules.clone(),
            gameday: config.gameday,
        }),
    };
    verbs::run(pool.clone(), config, World::new(context), &queues, stop)
        .await
        .map_err(|e| Failure::Failed(format!("{e:#}")))?;
    let _ = tokio::time::timeout(Duration::from_secs(1), pool.close()).await;
    Ok(())
}

/// Per queue: one connection to claim with, one to load, one to commit, one for
/// the heartbeat and the rest.
fn pool_size(queues: &[Queue]) -> u32 {
    4 * u32::try_from(verbs::served(queues).len()).unwrap_or(5)
}
