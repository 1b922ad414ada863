//! `drover gameday`: breaks something on purpose, waits until it is mended, and tells
//! how long each part of that took.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use drover::client::{Client, ClientError};
use drover::config::Env;
use drover::model::{Harm, OperationId};
use serde_json::{Value, json};

use super::table::{ago, array, bare, items, listed, shown, text, with_header};
use super::who::Who;
use super::{Failure, answer, listing, operations, say};

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
pub async fn run(client: &Client, asked: Gameday, env: Env<'_>, json: bool) -> Result<(), Failure> {
    match asked.what {
        Some(Command::List { limit }) => {
            let found = listing::pages(client, "/v1/gameday", "", limit).await?;
            answer(&found, json, |found| table(found, Utc::now()))
        }
        Some(Command::Show { id }) => {
            let found = client.get(&path(id)).await?;
            answer(&found, json, report)
        }
        Some(Command::Heal { id }) => {
            let path = format!("{}/heal", path(id));
            let found = client.post(&path, &json!({})).await?;
            answer(&found, json, |found| {
                format!("what it did to {} is taken back", text(&found["name"]))
            })
        }
        None => begin(client, asked, env, json).await,
    }
}

fn path(id: OperationId) -> String {
    format!("/v1/gameday/{}", id.public())
}

async fn begin(client: &Client, asked: Gameday, env: Env<'_>, json: bool) -> Result<(), Failure> {
    let (Some(who), Some(how)) = (asked.subject, asked.how) else {
        return Err(Failure::WrongUse("which subject, and how?".into()));
    };
    let body = json!({
        "subject": who.find(client).await?,
        "how": how,
        "for_s": asked.lasts.map(|lasts| lasts.as_secs()),
        "reason": asked.reason,
        "by": asked.by.or_else(|| env.get("USER")),
    });
    let begun = client.post_once("/v1/gameday", &body).await?;
    let id = text(&begun["id"]);
    if !json {
        say(&format!("{how} of {}: {id}", text(&begun["name"])))?;
    }
    let until = Instant::now() + asked.timeout;
    let path = format!("/v1/gameday/{id}");
    loop {
        let found = match client.get(&path).await {
            Ok(found) => found,
            // A web that is being restarted is no reason to give up.
            Err(ClientError::Unreachable { .. }) if Instant::now() < until => {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            Err(e) => return Err(e.into()),
        };
        match found["state"].as_str() {
            Some("recovered") => return answer(&found, json, report),
            Some("failed") => {
                answer(&found, json, report)?;
                let why = text(&found["problem"]);
                return Err(Failure::Failed(format!("nothing was broken: {why}")));
            }
            _ if Instant::now() >= until => {
                answer(&found, json, report)?;
                let limit = humantime::format_duration(asked.timeout);
                let after = format!("; drover gameday show {id} tells what becomes of it");
                return Err(Failure::Failed(format!("not mended within {limit}{after}")));
            }
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

fn seconds(value: &Value) -> String {
    value.as_f64().map_or("-".into(), |s| format!("{s:.1} s"))
}

fn table(list: &Value, now: DateTime<Utc>) -> String {
    let mut table = with_header(&[
        "ID", "WHEN", "OF", "HOW", "STATE", "NOTICED", "INCIDENT", "FAILOVER", "MENDED", "BY",
        "REASON",
    ]);
    for gameday in items(list) {
        let after = &gameday["after_s"];
        table.add_row(vec![
            text(&gameday["id"]),
            ago(&gameday["asked_at"], now),
            text(&gameday["name"]),
            text(&gameday["how"]),
            text(&gameday["state"]),
            seconds(&after["detected"]),
            seconds(&after["incident"]),
            seconds(&after["failover"]),
            seconds(&after["recovered"]),
            text(&gameday["asked_by"]),
            text(&gameday["reason"]),
        ]);
    }
    listed(&table, list, "game days")
}

/// What happened, and how long after the break.
fn report(gameday: &Value) -> String {
    let after = &gameday["after_s"];
    let mut lines: Vec<(f64, String)> = Vec::new();
    let mut add = |at: &Value, what: String| {
        if let Some(at) = at.as_f64() {
            lines.push((at, what));
        }
    };
    add(&after["detected"], "noticed".into());
    add(&after["unavailable"], "unavailable".into());
    for incident in array(&gameday["incidents"]) {
        let [id, kind] = [&incident["id"], &incident["kind"]].map(text);
        add(&incident["opened_s"], format!("{kind} ({id})"));
    }
    for used in array(&gameday["remedies"]) {
        let [resolver, remedy, outcome] =
            [&used["resolver"], &used["remedy"], &used["outcome"]].map(text);
        add(&used["begun_s"], format!("{resolver}: {remedy}, {outcome}"));
    }
    let leaders: Vec<String> = array(&gameday["leaders"])
        .map(|leader| format!("{} leads {}", text(&leader["id"]), text(&leader["name"])))
        .collect();
    add(&after["failover"], leaders.join(", "));
    add(&after["healed"], "taken back".into());
    add(&after["recovered"], "in service again".into());
    lines.sort_by(|a, b| a.0.total_cmp(&b.0));
    let [name, how, state] = [&gameday["name"], &gameday["how"], &gameday["state"]].map(text);
    let mut table = bare();
    table.add_row(vec!["broken".to_owned(), text(&gameday["broken_at"])]);
    for (at, what) in lines {
        table.add_row(vec![format!("{at:.1} s"), what]);
    }
    let problem = match gameday["problem"].as_str() {
        Some(_) => format!("\n{}", text(&gameday["problem"])),
        None => String::new(),
    };
    format!("{how} of {name}: {state}\n{}{problem}", shown(&table))
}
