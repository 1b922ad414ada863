//! The arguments of the `drover` command, and what each of them does.

mod act;
mod adopt;
mod answer;
mod change;
mod create;
mod events;
mod follow;
mod gameday;
mod incidents;
mod listing;
mod messages;
mod modes;
mod operations;
mod orphans;
mod playbooks;
mod processes;
mod record;
mod replay;
mod subject;
mod table;
mod timeline;
mod who;
mod work;
mod wrong_use;

use std::ffi::OsString;
use std::io::Write;

use answer::{Answer, List, Session};
use clap::{Parser, Subcommand};
use drover::client::{Client, ClientError};
use drover::config::{ClientConfig, ConfigError, Env};
use drover::model::{IncidentId, IncidentKind, MessageId, OperationId, State};
use drover::store::ConnectError;
use who::Who;

pub use wrong_use::{one_line, wrong_arguments};

const ENVIRONMENT: &str = "\
Environment of the processes:
  DATABASE_URL           the control database (migrate, web, clock, replay)
  DROVER_SECRET_KEY      32 bytes in base 64 that secrets are sealed with (web)
  DROVER_API_TOKEN       the bearer token of the API (web)
  DROVER_ADMIN_TOKEN     if set, game days need it in its place (web)
  DROVER_BIND, PORT      where web listens (127.0.0.1, 8080)
  DROVER_RULES           what differs from the built-in rules, as JSON (web, replay)
  DROVER_QUOTA_RESOURCES, DROVER_QUOTA_SERVERS
                         how many drover may make (web; 10000, 2000)
  DROVER_GAMEDAY         allow: things may be broken on purpose (web)
  DROVER_RETENTION_DAYS  days that observations are kept (clock; 14)
  DROVER_LOG             log filter, such as debug or drover=trace (info)

Environment of the other commands:
  DROVER_URL             where web answers (http://127.0.0.1:$PORT)
  DROVER_API_TOKEN       the bearer token of the API
  DROVER_ADMIN_TOKEN     what drover gameday presents in its place, if set

Exit status: 0 done, 1 failed, 2 wrong use.";

/// A control plane that keeps a herd of PostgreSQL servers and databases alive.
#[derive(Parser)]
#[command(name = "drover", version, after_help = ENVIRONMENT)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Answer in JSON, as the API does.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Bring the control database's tables to this version.
    Migrate,
    /// Serve the API and the page.
    Web,
    /// Keep time and keep the ring.
    Clock,
    /// List the servers of the herd.
    Servers {
        /// Only those in this state.
        #[arg(long)]
        state: Option<State>,
        /// At most this many.
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// List the resources of the herd.
    Resources {
        /// Only those in this state.
        #[arg(long)]
        state: Option<State>,
        /// Only those on this server: srv_… or its name.
        #[arg(long)]
        server: Option<Who>,
        /// At most this many.
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// Show one server or resource with what was last seen of it.
    Show {
        /// srv_…, db_… or a name.
        id: Who,
    },
    /// List what was seen of a server or resource, newest first.
    Observations {
        /// srv_…, db_… or a name.
        id: Who,
        /// At most this many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// List the changes of state of a server or resource, newest first.
    Transitions {
        /// srv_…, db_… or a name.
        id: Who,
        /// At most this many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show the ring's numbers.
    Ring,
    /// Take an existing server or resource into the herd.
    #[command(subcommand)]
    Adopt(adopt::Adopt),
    /// Take a server or resource out of the herd; nothing in the world is touched.
    Forget {
        /// srv_…, db_… or a name.
        id: Who,
    },
    /// Create a server or resource.
    #[command(subcommand)]
    Create(create::Create),
    /// Create a follower of a resource: a read-only replica that streams from it.
    Follow {
        /// The leader to follow: db_… or a name.
        id: Who,
        #[command(flatten)]
        wanted: follow::Follower,
    },
    /// Print where clients of a resource connect: all its nodes, without a password.
    Url {
        /// db_… or a name.
        id: Who,
        /// For clients that write (leader), or that only read (follower).
        #[arg(long, value_enum, default_value = "leader")]
        role: follow::Role,
    },
    /// Destroy a server or resource that drover made, with all that is on it.
    Destroy {
        /// srv_…, db_… or a name.
        id: Who,
        /// Its name, once more.
        #[arg(long, value_name = "NAME")]
        confirm: String,
    },
    /// Act on a server or resource: restart, resize, grow …
    ///
    /// What interrupts its service waits for its maintenance window, unless you give
    /// --now and a reason.
    Act {
        /// srv_…, db_… or a name.
        id: Who,
        #[command(subcommand)]
        what: act::Act,
    },
    /// Show what a customer connects with. It holds the password.
    Credentials {
        /// db_… or a name.
        id: Who,
    },
    /// List what can be bought.
    Plans,
    /// List where things can be made, and of what size.
    Regions,
    /// List the operations that are not done yet, newest first.
    Operations(operations::List),
    /// Show an operation with its timeline, or do something about it.
    ///
    /// retry: try a stuck one again at once. override: answer what a stuck failover says that
    /// drover does not dare. cancel: give up one that waits for its maintenance window, or a
    /// failover that has not begun to fence.
    Operation {
        /// op_…
        #[arg(value_parser = operations::id)]
        id: OperationId,
        #[command(flatten)]
        asked: operations::Act,
    },
    /// List the changes of leader, newest first.
    Events(events::List),
    /// Break a server or resource on purpose, and see how long drover takes to mend it.
    ///
    /// kill: SIGKILL to its PostgreSQL. freeze: SIGSTOP. unplug: the server loses its
    /// power. partition: nobody reaches the server (local cloud). fill: its data volume
    /// is filled. Only in a deployment with DROVER_GAMEDAY=allow, and with its
    /// DROVER_ADMIN_TOKEN where it has one. Ends with 0 when it is in service again, with
    /// 1 if it is not in time.
    Gameday(gameday::Gameday),
    /// Feel a server or resource now.
    Feel {
        /// srv_…, db_… or a name.
        id: Who,
    },
    /// List the messages to people, newest first.
    Messages {
        /// Only those that were refused or given up.
        #[arg(long)]
        dead: bool,
        /// At most this many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Do something about one message.
    #[command(subcommand)]
    Message(MessageCommand),
    /// List what is wrong, newest first: the open incidents.
    Incidents(incidents::List),
    /// Show an incident with its whole timeline, or do something about it.
    ///
    /// acknowledge: a human is on it. retry: start the playbook over (if it needs a
    /// human). hold, release: keep resolvers off it, and let them continue. resolve: say
    /// that it is over (with a reason).
    Incident {
        /// inc_…
        #[arg(value_parser = incidents::id)]
        id: IncidentId,
        #[command(flatten)]
        asked: incidents::Act,
    },
    /// Show the playbooks, or one: what drover does about a kind of incident.
    Playbook {
        /// resource_down, server_down …
        kind: Option<IncidentKind>,
    },
    /// Show what resolvers may do, or set it: act, advise, hold.
    ///
    /// act: mend what breaks. advise: write down what would be done, do nothing,
    /// and call a human. hold: feel and think only. The most cautious of the
    /// herd's, the tier's, the server's and the subject's own mode holds.
    Mode(modes::Args),
    /// List what the clouds have that bears this deployment's mark and is nobody's.
    Orphans,
    /// Show where the record differs from what the servers know, or bring it up to them.
    ///
    /// A control database that was restored from a dump, or copied, may say that somebody leads
    /// who has long been replaced. Servers obey no older word than their last, so nothing is
    /// changed then, and a human is called. With --yes, who leads is taken from the nodes, and
    /// drover goes on. Nothing is destroyed: what was made since the dump is an orphan.
    AdoptRecord(record::Adoption),
    /// List the tiers and their rules.
    Tiers,
    /// Make a tier, or give it other rules.
    Tier {
        /// Its name.
        name: String,
        /// What differs from the deployment's rules, as JSON:
        /// '{"cadence":{"available":"5s"}}'.
        #[arg(long, value_name = "JSON")]
        rules: String,
    },
    /// Think again over what was observed, by today's rules or others, and show
    /// what differs (see drover replay --help).
    #[command(disable_help_flag = true)]
    Replay {
        /// As drover-worker replay takes them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        arguments: Vec<OsString>,
    },
}

#[derive(Subcommand)]
enum MessageCommand {
    /// Have a dead message sent again.
    Retry {
        /// msg_…
        #[arg(value_parser = messages::message_id)]
        id: MessageId,
    },
}

/// Why a command ended badly.
pub enum Failure {
    /// It could not be done: exit 1.
    Failed(String),
    /// It cannot be asked like this: exit 2.
    WrongUse(String),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Failure::WrongUse(error.to_string())
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Url(_) => Failure::WrongUse(error.to_string()),
            ConnectError::Unreachable(_) | ConnectError::TooOld(_) | ConnectError::NotMigrated => {
                Failure::Failed(error.to_string())
            }
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Failure::Failed(error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure::Failed(format!("{error:#}"))
    }
}

/// Does what the arguments say.
///
/// # Errors
/// One line that says what failed.
pub async fn run(cli: Cli, env: Env<'_>) -> Result<(), Failure> {
    let api = |config: Result<ClientConfig, ConfigError>| -> Result<_, Failure> {
        let (client, json) = (Client::new(config?)?, cli.json);
        Ok(Session { client, env, json })
    };
    let to = || api(ClientConfig::from_env(env));
    match cli.command {
        Command::Migrate => processes::migrate(env).await,
        Command::Web => processes::web(env).await,
        Command::Clock => processes::clock(env).await,
        Command::Servers { state, limit } => listing::servers(&to()?, state, limit).await,
        Command::Resources {
            state,
            server,
            limit,
        } => listing::resources(&to()?, state, server, limit).await,
        Command::Show { id } => listing::show(&to()?, id).await,
        Command::Observations { id, limit } => listing::observations(&to()?, id, limit).await,
        Command::Transitions { id, limit } => listing::transitions(&to()?, id, limit).await,
        Command::Ring => listing::ring(&to()?).await,
        Command::Adopt(what) => adopt::run(&to()?, what).await,
        Command::Forget { id } => change::forget(&to()?, id).await,
        Command::Create(what) => create::run(&to()?, what).await,
        Command::Follow { id, wanted } => follow::follow(&to()?, id, wanted).await,
        Command::Url { id, role } => follow::url(&to()?, id, role).await,
        Command::Destroy { id, confirm } => create::destroy(&to()?, id, &confirm).await,
        Command::Act { id, what } => act::run(&to()?, id, what).await,
        Command::Credentials { id } => listing::credentials(&to()?, id).await,
        Command::Plans => listing::plans(&to()?).await,
        Command::Regions => listing::regions(&to()?).await,
        Command::Operations(list) => operations::list(&to()?, list).await,
        Command::Operation { id, asked } => operations::one(&to()?, id, asked).await,
        Command::Gameday(asked) => {
            gameday::run(&api(ClientConfig::admin_from_env(env))?, asked).await
        }
        Command::Events(list) => events::list(&to()?, list).await,
        Command::Feel { id } => change::feel(&to()?, id).await,
        Command::Messages { dead, limit } => messages::list(&to()?, dead, limit).await,
        Command::Message(MessageCommand::Retry { id }) => messages::retry(&to()?, id).await,
        Command::Incidents(list) => incidents::list(&to()?, list).await,
        Command::Incident { id, asked } => incidents::one(&to()?, id, asked).await,
        Command::Playbook { kind } => playbooks::run(&to()?, kind).await,
        Command::Mode(args) => modes::run(&to()?, args).await,
        Command::Orphans => orphans::list(&to()?).await,
        Command::AdoptRecord(asked) => record::run(&to()?, asked).await,
        Command::Tiers => listing::tiers(&to()?).await,
        Command::Replay { arguments } => replay::hand_over(arguments, cli.json),
        Command::Tier { name, rules } => change::tier(&to()?, &name, &rules).await,
    }
}

/// Prints to stdout. A reader that has enough (`| head`) is no failure.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("writing to stdout: {e}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
