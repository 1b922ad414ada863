//! `drover gameday`: breaks something on purpose, waits until it is mended, and tells
//! how long each part of that took.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use drover::api::{self, BreakOnPurpose, Stage};
use drover::client::ClientError;
use drover::model::{Harm, OperationId};

use super::table::{Columns, ago, bare, or_dash, plain, shown, stamp, text};
use super::who::Who;
use super::{Answer, Failure, List, Session, operations, say};

/// How often is looked whether it is mended.
const LOOK: Duration = Duration::from_millis(500);

/// `drover gameday`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Gameday {
    #[command(subcommand)]
    what: Option<Command>,
    /// What is broken: srv_…, db_… or a name.
    #[arg(required = true)]
    subject: Option<Who>,
    /// kill, freeze, unplug, partition or fill.
    #[arg(required = true)]
    how: Option<Harm>,
    /// Why, for the timeline.
    #[arg(long, required = true)]
    reason: Option<String>,
    /// After how long it is taken back (partition and fill) [default: 5m].
    #[arg(long = "for", value_name = "WHILE", value_parser = humantime::parse_duration)]
    lasts: Option<Duration>,
    /// How long to wait until it is mended.
    #[arg(long, default_value = "10m", value_name = "WHILE",
          value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Who asks, for the timeline [default: $USER].
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// List game days, newest first.
    List {
        /// At most this many.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Show what became of one.
    Show {
        /// op_…
        #[arg(value_parser = operations::id)]
        id: OperationId,
    },
    /// Take back what one broke: a partition, a full volume, a freeze.
    Heal {
        /// op_…
        #[arg(value_parser = operations::id)]
        id: OperationId,
    },
}

/// Does it.
pub async fn run(to: &Session<'_>, asked: Gameday) -> Result<(), Failure> {
    match asked.what {
        Some(Command::List { limit }) => {
            let show = |found: &List<_>| table(found, Utc::now());
            to.pages("/v1/gameday", "", limit, show).await
        }
        Some(Command::Show { id }) => to.show(&path(id), report).await,
        Some(Command::Heal { id }) => {
            let path = format!("{}/heal", path(id));
            let nothing = serde_json::Map::new();
            let found: Answer<api::Gameday> = to.client.post(&path, &nothing).await?;
            to.answer(&found, |found| {
                format!("Undoing what it did to {}", plain(&found.name))
            })
        }
        None => begin(to, asked).await,
    }
}

fn path(id: OperationId) -> String {
    format!("/v1/gameday/{}", id.public())
}

async fn begin(to: &Session<'_>, asked: Gameday) -> Result<(), Failure> {
    let (Some(who), Some(how), Some(reason)) = (asked.subject, asked.how, asked.reason) else {
        return Err(Failure::WrongUse("which subject, how, and why?".into()));
    };
    let lasts = asked.lasts.map(|lasts| u32::try_from(lasts.as_secs()));
    let body = BreakOnPurpose {
        subject: who.find(&to.client).await?,
        how,
        for_s: lasts.map(|lasts| lasts.unwrap_or(u32::MAX)),
        reason,
        by: to.by(asked.by),
    };
    let begun: api::Gameday = to.client.post_once("/v1/gameday", &body).await?;
    let id = begun.id;
    if !to.json {
        say(&format!("{how} of {}: {id}", plain(&begun.name)))?;
    }
    let until = Instant::now() + asked.timeout;
    loop {
        let found: Answer<api::Gameday> = match to.client.get(&path(id.0)).await {
            Ok(found) => found,
            // A web that is being restarted is no reason to give up.
            Err(ClientError::Unreachable { .. }) if Instant::now() < until => {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            Err(e) => return Err(e.into()),
        };
        match found.state {
            Stage::Recovered => return to.answer(&found, |found| report(found)),
            Stage::Failed => {
                to.answer(&found, |found| report(found))?;
                let why = or_dash(found.problem.as_ref());
                return Err(Failure::Failed(format!("nothing was broken: {why}")));
            }
            Stage::Queued | Stage::Broken if Instant::now() >= until => {
                to.answer(&found, |found| report(found))?;
                let limit = humantime::format_duration(asked.timeout);
                let after = format!("; drover gameday show {id} tells what becomes of it");
                return Err(Failure::Failed(format!("not mended within {limit}{after}")));
            }
            Stage::Queued | Stage::Broken => tokio::time::sleep(LOOK).await,
        }
    }
}

fn seconds(passed: Option<f64>) -> String {
    or_dash(passed.map(|s| format!("{s:.1} s")))
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Queued => "queued",
        Stage::Broken => "broken",
        Stage::Recovered => "recovered",
        Stage::Failed => "failed",
    }
}

fn table(list: &List<api::Gameday>, now: DateTime<Utc>) -> String {
    Columns::of(list)
        .column("ID", |gameday| text(gameday.id))
        .column("WHEN", |gameday| ago(gameday.asked_at, now))
        .column("SUBJECT", |gameday| text(&gameday.name))
        .column("HOW", |gameday| text(gameday.how))
        .column("STATE", |gameday| text(stage(gameday.state)))
        .column("NOTICED", |gameday| seconds(gameday.after_s.detected))
        .column("INCIDENT", |gameday| seconds(gameday.after_s.incident))
        .column("FAILOVER", |gameday| seconds(gameday.after_s.failover))
        .column("MENDED", |gameday| seconds(gameday.after_s.recovered))
        .column("BY", |gameday| text(&gameday.asked_by))
        .column("REASON", |gameday| or_dash(gameday.reason.as_ref()))
        .listed("game days")
}

/// What happened, and how long after the break.
fn report(gameday: &api::Gameday) -> String {
    let after = gameday.after_s;
    let mut lines: Vec<(f64, String)> = Vec::new();
    let mut add = |at: Option<f64>, what: String| lines.extend(at.map(|at| (at, what)));
    add(after.detected, "noticed".into());
    add(after.unavailable, "unavailable".into());
    for incident in &gameday.incidents {
        add(
            incident.opened_s,
            format!("{} ({})", incident.kind, incident.id),
        );
    }
    for used in &gameday.remedies {
        let outcome = used.outcome.as_deref().unwrap_or("-");
        add(
            used.begun_s,
            format!("{}: {}, {outcome}", used.resolver, used.remedy),
        );
    }
    let leaders = gameday.leaders.iter();
    let leaders: Vec<String> = leaders
        .map(|leader| format!("{} leads {}", leader.id, leader.name))
        .collect();
    add(after.failover, leaders.join(", "));
    add(after.healed, "undone".into());
    add(after.recovered, "in service again".into());
    lines.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut table = bare();
    let broken = or_dash(gameday.broken_at.map(stamp));
    table.add_row(vec!["broken".to_owned(), broken]);
    for (at, what) in lines {
        table.add_row(vec![format!("{at:.1} s"), plain(&what)]);
    }
    let (how, name) = (gameday.how, plain(&gameday.name));
    let problem = gameday.problem.as_ref();
    let problem = problem.map_or(String::new(), |why| format!("\n{}", plain(why)));
    format!(
        "{how} of {name}: {}\n{}{problem}",
        stage(gameday.state),
        shown(&table)
    )
}
