//! How a terminal shows the API's answers.

use chrono::{DateTime, Utc};
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde_json::{Map, Value};

/// `drover servers`.
pub fn servers(list: &Value, now: DateTime<Utc>) -> String {
    let mut table = with_header(&[
        "ID",
        "NAME",
        "STATE",
        "CHANGED",
        "ADDRESS",
        "TIER",
        "LAST SEEN",
    ]);
    for server in items(list) {
        table.add_row(vec![
            text(&server["id"]),
            text(&server["name"]),
            text(&server["state"]),
            ago(&server["state_since"], now),
            format!("{}:{}", text(&server["address"]), text(&server["ssh_port"])),
            text(&server["tier"]),
            last_seen(&server["last_observation"], now),
        ]);
    }
    listed(&table, list, "servers")
}

/// `drover resources`.
pub fn resources(list: &Value, now: DateTime<Utc>) -> String {
    let mut table = with_header(&[
        "ID",
        "NAME",
        "STATE",
        "CHANGED",
        "SERVER",
        "PORT",
        "DATABASE",
        "TIER",
        "LAST SEEN",
    ]);
    for resource in items(list) {
        table.add_row(vec![
            text(&resource["id"]),
            text(&resource["name"]),
            text(&resource["state"]),
            ago(&resource["state_since"], now),
            text(&resource["server"]),
            text(&resource["port"]),
            text(&resource["database"]),
            text(&resource["tier"]),
            last_seen(&resource["last_observation"], now),
        ]);
    }
    listed(&table, list, "resources")
}

/// What `drover show` begins with; the fields of the kind follow.
const FIRST: [&str; 8] = [
    "id",
    "kind",
    "name",
    "state",
    "state_since",
    "origin",
    "tier",
    "created_at",
];

/// `drover show`: every field of the subject, then what was last seen.
pub fn subject(subject: &Value, now: DateTime<Utc>) -> String {
    let mut table = bare();
    let of_kind = entries(subject)
        .map(|(name, _)| name.as_str())
        .filter(|name| !FIRST.contains(name) && *name != "last_observation");
    for name in FIRST.into_iter().chain(of_kind) {
        let value = &subject[name];
        let shown = match name {
            "state_since" | "created_at" => format!("{} ({})", text(value), ago(value, now)),
            _ => text(value),
        };
        table.add_row(vec![name.to_owned(), shown]);
    }
    let seen = &subject["last_observation"];
    table.add_row(vec!["last_observation".into(), last_seen(seen, now)]);
    for (name, value) in entries(&seen["attributes"]) {
        table.add_row(vec![format!("  {name}"), text(value)]);
    }
    shown(&table)
}

/// `drover observations`.
pub fn observations(list: &Value, now: DateTime<Utc>) -> String {
    let mut table = with_header(&[
        "ID", "WHEN", "SEEN", "LATENCY", "WITNESS", "WORKER", "MESSAGE",
    ]);
    for seen in items(list) {
        let attributes = &seen["attributes"];
        table.add_row(vec![
            text(&seen["id"]),
            ago(&seen["created_at"], now),
            verdict(attributes),
            latency(attributes),
            text(&attributes["witness"]["says"]),
            text(&seen["worker"]),
            text(&attributes["message"]),
        ]);
    }
    listed(&table, list, "observations")
}

/// `drover transitions`.
pub fn transitions(list: &Value, now: DateTime<Utc>) -> String {
    let mut table = with_header(&["ID", "WHEN", "FROM", "TO", "OPENS", "REASON"]);
    for change in items(list) {
        table.add_row(vec![
            text(&change["id"]),
            ago(&change["created_at"], now),
            text(&change["from"]),
            text(&change["to"]),
            text(&change["opens"]),
            text(&change["reason"]),
        ]);
    }
    listed(&table, list, "transitions")
}

/// `drover messages`.
pub fn messages(list: &Value, now: DateTime<Utc>) -> String {
    let mut table = with_header(&[
        "ID",
        "WHEN",
        "INCIDENT",
        "FOR",
        "ACTION",
        "STATE",
        "BY",
        "TRIES",
        "SUMMARY",
        "LAST ERROR",
    ]);
    for message in items(list) {
        table.add_row(vec![
            text(&message["id"]),
            ago(&message["created_at"], now),
            text(&message["incident"]),
            text(&message["channel"]),
            text(&message["action"]),
            text(&message["state"]),
            text(&message["delivered_by"]),
            text(&message["attempts"]),
            text(&message["summary"]),
            text(&message["last_error"]),
        ]);
    }
    listed(&table, list, "messages")
}

/// `drover tiers`.
pub fn tiers(list: &Value) -> String {
    let mut table = with_header(&["TIER", "RULES"]);
    for tier in items(list) {
        table.add_row(vec![text(&tier["name"]), text(&tier["rules"])]);
    }
    listed(&table, list, "tiers")
}

/// `drover ring`.
pub fn ring(ring: &Value) -> String {
    let mut table = bare();
    let mut line = |name: String, value: String| {
        table.add_row(vec![
            Cell::new(name),
            Cell::new(value).set_alignment(CellAlignment::Right),
        ]);
    };
    for (name, field) in [
        ("live subjects", "live_subjects"),
        ("tokens", "tokens"),
        ("tokens astray", "astray"),
        ("laps in the last minute", "laps_last_minute"),
    ] {
        line(name.into(), text(&ring[field]));
    }
    let oldest = ring["oldest_observation_s"].as_f64();
    line(
        "oldest observation".into(),
        oldest.map_or("none yet".into(), |s| format!("{s:.1} s")),
    );
    for (kind, states) in entries(&ring["herd"]) {
        for (state, n) in entries(states) {
            line(format!("{kind}s {state}"), text(n));
        }
    }
    for (queue, statuses) in entries(&ring["queues"]) {
        for (status, n) in entries(statuses) {
            line(format!("{queue} {}", status.to_lowercase()), text(n));
        }
    }
    for (queue, n) in entries(&ring["workers"]) {
        line(format!("{queue} workers"), text(n));
    }
    shown(&table)
}

/// `drover adopt`.
pub fn adopted(subject: &Value) -> String {
    let mut lines = vec![format!(
        "adopted {} as {}",
        text(&subject["name"]),
        text(&subject["id"])
    )];
    for (name, field) in [
        ("host key", "host_key"),
        ("fingerprint", "host_key_fingerprint"),
    ] {
        if !subject[field].is_null() {
            lines.push(format!("{name}: {}", text(&subject[field])));
        }
    }
    if !subject["note"].is_null() {
        lines.push(format!("note: {}", text(&subject["note"])));
    }
    lines.join("\n")
}

/// Text that does nothing to a terminal: what servers say is shown, and could
/// hold escape sequences.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn bare() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

fn with_header(names: &[&str]) -> Table {
    let mut table = bare();
    table.set_header(names.to_vec());
    table
}

fn shown(table: &Table) -> String {
    // Every line begins with its first cell's padding.
    let lines = table
        .lines()
        .map(|l| l.strip_prefix(' ').unwrap_or(&l).trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

fn listed(table: &Table, list: &Value, what: &str) -> String {
    if table.is_empty() {
        return format!("no {what}");
    }
    match list["next_cursor"].as_str() {
        Some(_) => format!("{}\n… and more: raise --limit", shown(table)),
        None => shown(table),
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => plain(text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            plain(&value.to_string())
        }
    }
}

fn last_seen(seen: &Value, now: DateTime<Utc>) -> String {
    if seen.is_null() {
        return "never".into();
    }
    let attributes = &seen["attributes"];
    format!("{}, {}", ago(&seen["created_at"], now), verdict(attributes))
}

fn verdict(attributes: &Value) -> String {
    if attributes["service_available"] == true {
        return "ok".into();
    }
    attributes["cause"]
        .as_str()
        .map_or("not available".into(), plain)
}

fn latency(attributes: &Value) -> String {
    let latency = attributes["latency_ms"].as_f64();
    latency.map_or("-".into(), |ms| format!("{ms:.1} ms"))
}

fn ago(time: &Value, now: DateTime<Utc>) -> String {
    let then = time
        .as_str()
        .and_then(|t| DateTime::parse_from_rfc3339(t).ok());
    let Some(then) = then else { return "-".into() };
    // The two clocks may differ a little; nothing was seen in the future.
    let seconds = (now - then.to_utc()).num_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds}s ago"),
        60..3600 => format!("{}m ago", seconds / 60),
        3600..86_400 => format!("{}h ago", seconds / 3600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}
