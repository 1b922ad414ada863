//! How a terminal shows the API's answers.

use chrono::{DateTime, Utc};
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde_json::{Map, Value};

use super::work;

/// `drover servers`.
pub fn servers(list: &Value, now: DateTime<Utc>) -> String {
    let beside = Beside::of(list);
    let first = vec!["ID", "NAME", "STATE", "CHANGED", "ADDRESS", "TIER"];
    let mut table = with_header(&beside.header(first));
    for server in items(list) {
        let row = vec![
            text(&server["id"]),
            text(&server["name"]),
            text(&server["state"]),
            ago(&server["state_since"], now),
            address(server),
            text(&server["tier"]),
        ];
        table.add_row(beside.row(row, server, now));
    }
    listed(&table, list, "servers")
}

/// Where a server is reached, once that is known.
fn address(server: &Value) -> String {
    match server["address"].as_str() {
        Some(address) => format!("{}:{}", plain(address), text(&server["ssh_port"])),
        None => "-".into(),
    }
}

/// `drover resources`.
pub fn resources(list: &Value, now: DateTime<Utc>) -> String {
    let beside = Beside::of(list);
    let mut table = with_header(&beside.header(vec![
        "ID", "NAME", "STATE", "CHANGED", "SERVER", "PORT", "DATABASE", "TIER",
    ]));
    for resource in items(list) {
        let row = vec![
            text(&resource["id"]),
            text(&resource["name"]),
            text(&resource["state"]),
            ago(&resource["state_since"], now),
            text(&resource["server"]),
            text(&resource["port"]),
            text(&resource["database"]),
            text(&resource["tier"]),
        ];
        table.add_row(beside.row(row, resource, now));
    }
    listed(&table, list, "resources")
}

/// Which columns a list of subjects has besides the usual ones: only those in
/// which anything would stand.
struct Beside {
    follows: bool,
    modes: bool,
    incidents: bool,
}

impl Beside {
    fn of(list: &Value) -> Self {
        Self {
            follows: items(list).any(|s| s["leader"].is_string()),
            modes: items(list).any(|s| s["mode"]["mode"] != "act"),
            incidents: items(list).any(|s| s["incidents"][0].is_object()),
        }
    }

    fn header(&self, first: Vec<&'static str>) -> Vec<&'static str> {
        self.lay(first, ["FOLLOWS", "MODE", "INCIDENTS"], "LAST SEEN")
    }

    /// A row of cells, of which some stand between the first and the last: whom it
    /// follows, its mode, its incidents.
    fn lay<T>(&self, mut first: Vec<T>, between: [T; 3], last: T) -> Vec<T> {
        let [follows, mode, incidents] = between;
        let between = [
            (self.follows, follows),
            (self.modes, mode),
            (self.incidents, incidents),
        ];
        first.extend(
            between
                .into_iter()
                .filter_map(|(is, cell)| is.then_some(cell)),
        );
        first.push(last);
        first
    }

    fn row(&self, first: Vec<String>, subject: &Value, now: DateTime<Utc>) -> Vec<String> {
        let open: Vec<String> = array(&subject["incidents"])
            .map(|i| format!("{} {}", text(&i["kind"]), text(&i["state"])))
            .collect();
        let open = if open.is_empty() {
            "-".into()
        } else {
            open.join(", ")
        };
        let mode = text(&subject["mode"]["mode"]);
        let seen = last_seen(&subject["last_observation"], now);
        self.lay(first, [text(&subject["leader"]), mode, open], seen)
    }
}

/// A mode with who it was set for, and why: `hold (herd: a migration)`.
pub(super) fn mode(mode: &Value) -> String {
    if mode["scope"].is_null() || mode["reason"].is_null() {
        return text(&mode["mode"]);
    }
    format!(
        "{} ({}: {})",
        text(&mode["mode"]),
        text(&mode["scope"]),
        text(&mode["reason"])
    )
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

/// What it ends with.
const BESIDE: [&str; 4] = ["mode", "incidents", "operation", "last_observation"];

/// `drover show`: every field of the subject, then what was last seen.
pub fn subject(subject: &Value, now: DateTime<Utc>) -> String {
    let mut table = bare();
    let of_kind = entries(subject)
        .map(|(name, _)| name.as_str())
        .filter(|name| !FIRST.contains(name) && !BESIDE.contains(name));
    for name in FIRST.into_iter().chain(of_kind) {
        let value = &subject[name];
        if name == "leader_change" && value.is_null() {
            continue;
        }
        let shown = match name {
            "state_since" | "created_at" => format!("{} ({})", text(value), ago(value, now)),
            "volume" => work::volume(value),
            "leader_change" => {
                let (kind, id) = (text(&value["kind"]), text(&value["id"]));
                format!("{kind} {} ({id})", ago(&value["at"], now))
            }
            "followers" => match array(value).map(text).collect::<Vec<_>>() {
                none if none.is_empty() => "-".into(),
                ids => ids.join(", "),
            },
            _ => text(value),
        };
        table.add_row(vec![name.to_owned(), shown]);
    }
    table.add_row(vec!["mode".into(), mode(&subject["mode"])]);
    for open in array(&subject["incidents"]) {
        let what = [&open["id"], &open["kind"], &open["state"]].map(text);
        table.add_row(vec!["incident".into(), what.join(" ")]);
    }
    let operation = &subject["operation"];
    if !operation.is_null() {
        let told = format!("{} {}", text(&operation["id"]), work::brief(operation));
        table.add_row(vec!["operation".into(), told]);
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
        "ABOUT",
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
            text(match message["incident"].is_null() {
                true => &message["event"],
                false => &message["incident"],
            }),
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
    line("mode".into(), text(&ring["mode"]));
    for (scope, modes) in entries(&ring["modes"]) {
        for (mode, n) in entries(modes) {
            line(format!("{scope}s in mode {mode}"), text(n));
        }
    }
    for (kind, states) in entries(&ring["incidents"]) {
        for (state, n) in entries(states) {
            line(format!("{kind} {state}"), text(n));
        }
    }
    for (kind, states) in entries(&ring["operations"]) {
        for (state, n) in entries(states) {
            line(format!("{kind} {state}"), text(n));
        }
    }
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

/// Text that does nothing to a terminal: what servers say is shown, and could
/// hold escape sequences.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

pub(super) fn bare() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

pub(super) fn with_header(names: &[&str]) -> Table {
    let mut table = bare();
    table.set_header(names.to_vec());
    table
}

pub(super) fn shown(table: &Table) -> String {
    // Every line begins with its first cell's padding.
    let lines = table
        .lines()
        .map(|l| l.strip_prefix(' ').unwrap_or(&l).trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

pub(super) fn listed(table: &Table, list: &Value, what: &str) -> String {
    if table.is_empty() {
        return format!("no {what}");
    }
    match list["next_cursor"].as_str() {
        Some(_) => format!("{}\n… and more: raise --limit", shown(table)),
        None => shown(table),
    }
}

pub(super) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    array(&list["items"])
}

pub(super) fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

pub(super) fn text(value: &Value) -> String {
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

pub(super) fn ago(time: &Value, now: DateTime<Utc>) -> String {
    let then = time
        .as_str()
        .and_then(|t| DateTime::parse_from_rfc3339(t).ok());
    let Some(then) = then else { return "-".into() };
    // The two clocks may differ a little; nothing was seen in the future.
    let seconds = (now - then.to_utc()).num_seconds().max(0);
    format!("{} ago", whole(seconds))
}

/// A while in its largest unit.
pub(super) fn whole(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        86_400.. => format!("{}d", seconds / 86_400),
    }
}
