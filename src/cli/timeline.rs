//! How a terminal shows incidents: as a person reads them who was just woken.

use chrono::{DateTime, Utc};
use drover::model::Action;
use serde_json::Value;

use super::table::{ago, array, bare, items, listed, mode, plain, shown, text, whole, with_header};

/// `drover incidents`.
pub fn incidents(list: &Value, what: &str, now: DateTime<Utc>) -> String {
    let mut table = with_header(&[
        "ID", "KIND", "OF", "STATE", "SINCE", "OPENED", "REASON", "NOTE",
    ]);
    for incident in items(list) {
        table.add_row(vec![
            text(&incident["id"]),
            text(&incident["kind"]),
            whose(incident),
            text(&incident["state"]),
            ago(&incident["state_since"], now),
            ago(&incident["opened_at"], now),
            text(&incident["reason"]),
            remarks(incident).join(", "),
        ]);
    }
    listed(&table, list, what)
}

/// `drover incident ID`.
pub fn incident(incident: &Value, now: DateTime<Utc>) -> String {
    let mut table = bare();
    let mut line = |name: &str, value: String| {
        table.add_row(vec![name.to_owned(), value]);
    };
    line("incident", text(&incident["id"]));
    line("what", text(&incident["kind"]));
    line("of", {
        let id = text(&incident["subject"]);
        match incident["subject"].is_null() {
            true => whose(incident),
            false => format!("{} ({id})", whose(incident)),
        }
    });
    line("reason", text(&incident["reason"]));
    line("state", {
        let since = ago(&incident["state_since"], now);
        let remarks = remarks(incident);
        let state = text(&incident["state"]);
        [vec![format!("{state}, since {since}")], remarks]
            .concat()
            .join(", ")
    });
    line("opened", at_and_ago(&incident["opened_at"], now));
    if incident["state"] != "resolved" {
        line("attempts", {
            let tried = text(&incident["attempts"]);
            match incident["deadline"].as_str() {
                Some(_) => format!("{tried}, until {}", clock(&incident["deadline"])),
                None => tried,
            }
        });
        line("mode", mode(&incident["mode"]));
        let actions: Vec<String> = array(&incident["actions"]).map(text).collect();
        line("possible", actions.join(", "));
    } else {
        line("resolved", at_and_ago(&incident["resolved_at"], now));
    }
    format!("{}\n\n{}", shown(&table), timeline(incident))
}

/// What an action came to.
pub fn done(action: Action, incident: &Value) -> String {
    let id = text(&incident["id"]);
    let held = !incident["held_at"].is_null();
    match action {
        Action::Acknowledge => format!("{id} is acknowledged"),
        Action::Retry if held => {
            format!("the playbook of {id} begins anew, once it is released: it is held")
        }
        Action::Retry => format!("the playbook of {id} begins anew"),
        Action::Hold => format!("{id} is held: no resolver touches it until it is released"),
        Action::Release => format!("{id} is released: resolvers may go on"),
        Action::Resolve => format!("{id} is resolved"),
    }
}

/// Name of what it is about.
fn whose(incident: &Value) -> String {
    incident["name"].as_str().map_or("the herd".into(), plain)
}

/// What stands beside the state.
fn remarks(incident: &Value) -> Vec<String> {
    let mut all = Vec::new();
    if !incident["held_at"].is_null() {
        all.push("held".into());
    }
    if let Some(by) = incident["acknowledged_by"].as_str() {
        all.push(format!("acknowledged by {}", plain(by)));
    }
    if let Some(times) = incident["reopened"].as_u64().filter(|n| *n > 0) {
        all.push(format!("back for time {}", times + 1));
    }
    let working = !incident["remedy"].is_null();
    if working {
        all.push(format!("at {}", text(&incident["remedy"])));
    }
    if let Some(why) = incident["resting"].as_str() {
        all.push(plain(why));
    }
    if let Some(by) = incident["resolved_by"].as_str() {
        all.push(format!("by {}", plain(by)));
    }
    all
}

/// A line of the timeline, before it is laid out.
struct Entry {
    at: DateTime<Utc>,
    what: String,
    text: String,
    who: String,
}

fn timeline(incident: &Value) -> String {
    let runs: Vec<&Value> = array(&incident["runs"]).collect();
    let mut entries: Vec<Entry> = array(&incident["events"])
        // The run says so too, and how long it took.
        .filter(|e| {
            let of_a_step = ["step", "failed", "passed_over"].map(Value::from);
            runs.is_empty() || !of_a_step.contains(&e["kind"])
        })
        .filter_map(event)
        .collect();
    entries.extend(steps(&runs));
    entries.extend(array(&incident["messages"]).filter_map(message));
    entries.sort_by_key(|entry| entry.at);
    let start = time(&incident["opened_at"]);
    let mut table = with_header(&["WHEN (UTC)", "AFTER", "WHAT", "", "BY"]);
    for entry in entries {
        let after = start.map_or(0, |start| (entry.at - start).num_milliseconds());
        table.add_row(vec![
            entry.at.format("%Y-%m-%d %H:%M:%S").to_string(),
            format!("+{}", brief(after)),
            entry.what,
            entry.text,
            entry.who,
        ]);
    }
    shown(&table)
}

fn event(event: &Value) -> Option<Entry> {
    Some(Entry {
        at: time(&event["created_at"])?,
        what: text(&event["kind"]),
        text: text(&event["text"]),
        who: text(&event["actor"]),
    })
}

/// A step that is asked after again and again is one line.
fn steps(runs: &[&Value]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut begun: Option<(&Value, i64)> = None;
    for (n, run) in runs.iter().enumerate() {
        let same = |a: &Value, b: &Value| {
            ["remedy", "step", "attempt"]
                .iter()
                .all(|field| a[*field] == b[*field])
        };
        let (first, turns) = begun.take().unwrap_or((run, 0));
        let goes_on = runs
            .get(n + 1)
            .is_some_and(|next| run["outcome"] == "again" && same(run, next));
        if goes_on {
            begun = Some((first, turns + 1));
        } else {
            entries.extend(step(first, run, turns + 1, n + 1 == runs.len()));
        }
    }
    entries
}

fn step(first: &Value, last: &Value, turns: i64, newest: bool) -> Option<Entry> {
    let at = time(&first["begun_at"])?;
    let outcome = match last["outcome"].as_str() {
        Some(outcome) => outcome.replace('_', " "),
        None if newest => "at work".into(),
        None => "cut off".into(),
    };
    let mut told = format!(
        "{}, {}: {outcome}",
        text(&last["remedy"]),
        text(&last["step"])
    );
    if let Some(end) = time(&last["ended_at"]) {
        told += &format!(" in {}", brief((end - at).num_milliseconds()));
    }
    if turns > 1 {
        told += &format!(" and {turns} turns");
    }
    if let Some(detail) = last["detail"].as_str().filter(|d| !d.is_empty()) {
        told += &format!(": {}", plain(detail));
    }
    let touched: Vec<String> = array(&last["touched"]).map(text).collect();
    if !touched.is_empty() {
        told += &format!(" (touched {})", touched.join(", "));
    }
    Some(Entry {
        at,
        what: format!("try {}", text(&last["attempt"])),
        text: told,
        who: text(&last["worker"]),
    })
}

fn message(message: &Value) -> Option<Entry> {
    let at = time(&message["created_at"])?;
    let mut told = format!("{}: {}", text(&message["action"]), text(&message["state"]));
    if let Some(by) = message["delivered_by"].as_str() {
        told += &format!(" by {}", plain(by));
    }
    if let (Some(end), true) = (
        time(&message["settled_at"]),
        message["state"] == "delivered",
    ) {
        told += &format!(" after {}", brief((end - at).num_milliseconds()));
    }
    if message["state"] != "delivered"
        && let Some(error) = message["last_error"].as_str()
    {
        let tries = text(&message["attempts"]);
        told += &format!(" after {tries} attempts, {}", plain(error));
    }
    told += &format!(": {}", text(&message["summary"]));
    Some(Entry {
        at,
        what: text(&message["channel"]),
        text: told,
        who: text(&message["id"]),
    })
}

fn time(value: &Value) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(value.as_str()?).ok()?;
    Some(time.to_utc())
}

fn clock(value: &Value) -> String {
    time(value).map_or("-".into(), |t| {
        t.format("%Y-%m-%d %H:%M:%S UTC").to_string()
    })
}

fn at_and_ago(value: &Value, now: DateTime<Utc>) -> String {
    format!("{} ({})", clock(value), ago(value, now))
}

/// A while as precisely as anybody wants to know it.
fn brief(millis: i64) -> String {
    match millis {
        ..60_000 => format!("{}.{}s", millis / 1000, millis.unsigned_abs() % 1000 / 100),
        60_000..3_600_000 => format!("{}m{:02}s", millis / 60_000, millis / 1000 % 60),
        3_600_000.. => whole(millis / 1000),
    }
}
