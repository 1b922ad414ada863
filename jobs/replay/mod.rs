//! `drover-worker replay`: thinks again over what was observed, by today's rules
//! or by others, and shows where the decisions differ from the record.

mod compare;
mod leaders;
mod show;
mod when;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use clap::Args;
use drover::config::{self, ConfigError, Env};
use drover::model::{PublicId, Rules};
use drover::store::history::{self, Past, Span};
use drover::store::{self, tiers};
use serde_json::{Map, Value};
use sqlx::PgConnection;

use compare::{Total, compare};
use show::Show;

/// How often a person is told how far it has come.
const PROGRESS: Duration = Duration::from_secs(2);

/// What is replayed, and by which rules.
#[derive(Args, Debug)]
#[command(after_help = "Settings are read from the environment:\n  \
        DATABASE_URL   the control database; nothing is written to it\n  \
        DROVER_RULES   the deployment's rules, as JSON\n\n\
        Rules are laid over each other: built in, DROVER_RULES, the tier's, FILE, --set.\n\
        The exit status is 0 whether anything differs or not.")]
pub struct Arguments {
    /// From when on: a time ago (1h, 2days) or a moment in UTC (2026-01-31, 2026-01-31T12:00)
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    since: DateTime<Utc>,
    /// Until when: the same; now, if not said
    #[arg(long, value_name = "WHEN", value_parser = when::parse)]
    until: Option<DateTime<Utc>>,
    /// Only this server or resource: srv_…, db_… or a name
    #[arg(long, value_name = "ID|NAME")]
    subject: Option<String>,
    /// A file with what differs from today's rules, as JSON
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// One rule that differs, such as limits.disk_used_ratio=0.8; may be repeated
    #[arg(long, value_name = "RULE=VALUE")]
    set: Vec<String>,
    /// One JSON object a line: a difference each, and at last the totals
    #[arg(long)]
    json: bool,
}

/// Replays, and prints.
///
/// # Errors
/// [`ConfigError`] for wrong use; anything else says what failed.
pub async fn run(arguments: Arguments, env: Env<'_>) -> Result<()> {
    let span = Span {
        since: arguments.since,
        until: arguments.until.unwrap_or_else(Utc::now),
    };
    if span.since >= span.until {
        return wrong(format!(
            "--since {} is not before --until {}",
            show::moment(span.since),
            show::moment(span.until)
        ));
    }
    let deployment = config::rules(env)?;
    let changes = changes(&arguments)?;
    check(&deployment, &changes)?;
    let url = config::database_url(env)?;
    let pool = store::connect_migrated(&url, 2).await?;
    let mut db = pool.acquire().await?;
    let rules = by_tier(&mut db, &deployment, &changes).await?;
    let who = arguments.subject.as_deref().map(bare);
    let past = history::subjects(&mut db, span, who.as_deref()).await?;
    if let (Some(who), true) = (&arguments.subject, past.is_empty()) {
        anyhow::bail!("no server or resource `{who}` was in the herd at that time");
    }
    let show = Show {
        json: arguments.json,
    };
    let mut total = Total::default();
    let mut progress = Progress::new(past.len());
    for past in &past {
        let rules = rules_of(past, &rules)?;
        let found = compare(&mut db, past, span, rules, &mut progress)
            .await
            .with_context(|| format!("replaying {}", past.subject.name))?;
        show.subject(&past.subject, &found)?;
        total.add(&found);
        progress.subjects += 1;
    }
    show.total(span, &total)
}

fn wrong<T>(message: String) -> Result<T> {
    Err(ConfigError(message).into())
}

/// The layers that differ from today's rules.
fn changes(arguments: &Arguments) -> Result<Vec<Value>> {
    let mut layers = Vec::new();
    if let Some(path) = &arguments.rules {
        let name = path.display();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) => return wrong(format!("--rules {name} cannot be read: {e}")),
        };
        match serde_json::from_str(&text) {
            Ok(layer) => layers.push(layer),
            Err(e) => return wrong(format!("--rules {name} is no JSON: {e}")),
        }
    }
    for one in &arguments.set {
        let Some((rule, value)) = one.split_once('=') else {
            return wrong(format!(
                "--set {one}: a rule and its value are wanted, such as limits.disk_used_ratio=0.8"
            ));
        };
        // What is no JSON is a text, such as 5s.
        let mut layer = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        for name in rule.rsplit('.') {
            layer = Value::Object(Map::from_iter([(name.trim().to_owned(), layer)]));
        }
        layers.push(layer);
    }
    Ok(layers)
}

/// Wrong rules are wrong use, whatever the tiers are.
fn check(deployment: &Value, changes: &[Value]) -> Result<()> {
    match layered(deployment, None, changes) {
        Ok(_) => Ok(()),
        Err(e) => wrong(e),
    }
}

fn layered(deployment: &Value, tier: Option<&Value>, changes: &[Value]) -> Result<Rules, String> {
    let mut layers = vec![deployment];
    layers.extend(tier);
    layers.extend(changes);
    Rules::layered(&layers)
}

async fn by_tier(
    db: &mut PgConnection,
    deployment: &Value,
    changes: &[Value],
) -> Result<HashMap<String, Rules>> {
    let mut rules = HashMap::new();
    for (name, layer) in tiers::all(db).await? {
        match layered(deployment, Some(&layer), changes) {
            Ok(of) => rules.insert(name, of),
            Err(e) => return wrong(format!("in tier {name}: {e}")),
        };
    }
    Ok(rules)
}

fn rules_of<'r>(past: &Past, rules: &'r HashMap<String, Rules>) -> Result<&'r Rules> {
    let tier = &past.subject.tier;
    rules
        .get(tier)
        .with_context(|| format!("there is no tier {tier}"))
}

/// An id as the database holds it, or a name.
fn bare(who: &str) -> String {
    match who.parse::<PublicId>() {
        Ok(public) => public.id.to_string(),
        Err(_) => who.to_owned(),
    }
}

/// Tells on stderr how far it has come, now and then.
struct Progress {
    of: usize,
    subjects: usize,
    observations: u64,
    told: Instant,
}

impl Progress {
    fn new(of: usize) -> Self {
        Self {
            of,
            subjects: 0,
            observations: 0,
            told: Instant::now(),
        }
    }

    fn seen(&mut self, observations: usize) {
        self.observations += observations as u64;
        if self.told.elapsed() > PROGRESS {
            self.told = Instant::now();
            eprintln!(
                "drover-worker: {} of {} subjects, {} observations so far",
                self.subjects, self.of, self.observations
            );
        }
    }
}
