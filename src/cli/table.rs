//! How a terminal shows the API's answers.

use std::fmt::Display;

use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::{Cell, CellAlignment, Table, presets};
use drover::api::{
    Counts, Message, ModeSet, Observation, OpenIncident, Resource, Ring, Server, Standing, Subject,
    SubjectCore, Tier, Transition,
};
use drover::model::{Attributes, PublicId, Witness};
use serde_json::Value;

use super::{List, work};

/// `drover servers`.
pub fn servers(list: &List<Server>, now: DateTime<Utc>) -> String {
    let beside = Beside::of(list.items.iter().map(|s| (&s.standing, None)));
    let first = vec!["ID", "NAME", "STATE", "CHANGED", "ADDRESS", "TIER"];
    let mut table = with_header(&beside.header(first));
    for server in &list.items {
        let core = &server.core;
        let row = vec![
            text(core.id),
            text(&core.name),
            text(core.state),
            ago(core.state_since, now),
            address(server),
            text(&core.tier),
        ];
        table.add_row(beside.row(row, &server.standing, None, now));
    }
    listed(&table, list, "servers")
}

/// Where a server is reached, once that is known.
fn address(server: &Server) -> String {
    match &server.address {
        Some(address) => format!("{}:{}", plain(address), server.ssh_port),
        None => "-".into(),
    }
}

/// `drover resources`.
pub fn resources(list: &List<Resource>, now: DateTime<Utc>) -> String {
    let beside = Beside::of(list.items.iter().map(|r| (&r.standing, r.leader)));
    let mut table = with_header(&beside.header(vec![
        "ID", "NAME", "STATE", "CHANGED", "SERVER", "PORT", "DATABASE", "TIER",
    ]));
    for resource in &list.items {
        let core = &resource.core;
        let row = vec![
            text(core.id),
            text(&core.name),
            text(core.state),
            ago(core.state_since, now),
            text(resource.server),
            text(resource.port),
            text(&resource.database),
            text(&core.tier),
        ];
        table.add_row(beside.row(row, &resource.standing, resource.leader, now));
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
    fn of<'a>(all: impl Iterator<Item = (&'a Standing, Option<PublicId>)>) -> Self {
        let mut beside = Self {
            follows: false,
            modes: false,
            incidents: false,
        };
        for (standing, leader) in all {
            beside.follows |= leader.is_some();
            beside.modes |= standing.mode.mode != drover::model::Mode::Act;
            beside.incidents |= !standing.incidents.is_empty();
        }
        beside
    }

    fn header(&self, first: Vec<&'static str>) -> Vec<&'static str> {
        self.lay(first, ["FOLLOWS", "MODE", "INCIDENTS"], "LAST SEEN")
    }

    /// A row of cells, of which some stand between the first and the last: the leader that
    /// it follows, its mode, its incidents.
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

    fn row(
        &self,
        first: Vec<String>,
        standing: &Standing,
        leader: Option<PublicId>,
        now: DateTime<Utc>,
    ) -> Vec<String> {
        let open = |i: &OpenIncident| format!("{} {}", i.kind, i.state);
        let open = joined(standing.incidents.iter().map(open), ", ");
        let mode = text(standing.mode.mode);
        let seen = last_seen(standing, now);
        self.lay(first, [or_dash(leader), mode, open], seen)
    }
}

/// A mode with who it was set for, and why: `hold (herd: a migration)`.
pub(super) fn mode(set: &ModeSet) -> String {
    match (&set.scope, &set.reason) {
        (Some(scope), Some(reason)) => {
            format!("{} ({}: {})", set.mode, plain(scope), plain(reason))
        }
        (None, _) | (_, None) => text(set.mode),
    }
}

/// `drover show`: all of the subject, then what was last seen.
pub fn subject(subject: &Subject, now: DateTime<Utc>) -> String {
    let mut rows = core(subject.core(), now);
    rows.extend(match subject {
        Subject::Server(server) => of_server(server),
        Subject::Resource(resource) => of_resource(resource, now),
    });
    rows.extend(standing(subject.standing(), now));
    let mut table = bare();
    for (name, shown) in rows {
        table.add_row(vec![name, shown]);
    }
    shown(&table)
}

/// The rows of `drover show`: a name and what stands beside it.
type Rows = Vec<(String, String)>;

fn named<const N: usize>(rows: [(&str, String); N]) -> Rows {
    rows.map(|(name, shown)| (name.to_owned(), shown)).into()
}

fn core(core: &SubjectCore, now: DateTime<Utc>) -> Rows {
    named([
        ("id", text(core.id)),
        ("kind", text(core.kind)),
        ("name", text(&core.name)),
        ("state", text(core.state)),
        ("state_since", at_and_ago(core.state_since, now)),
        ("origin", text(core.origin)),
        ("tier", text(&core.tier)),
        ("created_at", at_and_ago(core.created_at, now)),
    ])
}

fn of_server(server: &Server) -> Rows {
    named([
        ("address", or_dash(server.address.as_ref())),
        ("cloud", or_dash(server.cloud)),
        ("for_plan", or_dash(server.for_plan.as_ref())),
        ("host_key", or_dash(server.host_key.as_ref())),
        (
            "host_key_fingerprint",
            or_dash(server.host_key_fingerprint.as_ref()),
        ),
        ("instance_id", or_dash(server.instance_id.as_ref())),
        ("region", or_dash(server.region.as_ref())),
        ("size", or_dash(server.size.as_ref())),
        ("ssh_port", text(server.ssh_port)),
        ("ssh_user", or_dash(server.ssh_user.as_ref())),
        (
            "volume",
            server.volume.as_ref().map_or("-".into(), work::volume),
        ),
        ("zone", or_dash(server.zone.as_ref())),
    ])
}

fn of_resource(resource: &Resource, now: DateTime<Utc>) -> Rows {
    let mut rows = named([
        ("database", text(&resource.database)),
        ("durability", text(resource.durability)),
        ("epoch", text(resource.epoch)),
        (
            "followers",
            joined(resource.followers.iter().map(text), ", "),
        ),
        ("leader", or_dash(resource.leader)),
    ]);
    if let Some(change) = &resource.leader_change {
        let told = format!("{} {} ({})", change.kind, ago(change.at, now), change.id);
        rows.push(("leader_change".into(), told));
    }
    rows.extend(named([
        (
            "maintenance_window",
            or_dash(resource.maintenance_window.as_ref()),
        ),
        ("max_lag_bytes", text(resource.max_lag_bytes)),
        ("plan", text(&resource.plan)),
        ("port", text(resource.port)),
        ("server", text(resource.server)),
        ("tls_mode", text(resource.tls_mode)),
        ("user", text(&resource.user)),
    ]));
    rows
}

fn standing(standing: &Standing, now: DateTime<Utc>) -> Rows {
    let mut rows = named([("mode", mode(&standing.mode))]);
    for open in &standing.incidents {
        let what = format!("{} {} {}", open.id, open.kind, open.state);
        rows.push(("incident".into(), what));
    }
    if let Some(operation) = &standing.operation {
        let told = format!("{} {}", operation.id, work::brief(operation));
        rows.push(("operation".into(), told));
    }
    rows.push(("last_observation".into(), last_seen(standing, now)));
    let seen = standing.last_observation.as_ref();
    if let Some(Value::Object(attributes)) =
        seen.and_then(|seen| serde_json::to_value(&seen.attributes).ok())
    {
        let shown = attributes.iter();
        rows.extend(shown.map(|(name, value)| (format!("  {}", plain(name)), json(value))));
    }
    rows
}

/// `drover observations`.
pub fn observations(list: &List<Observation>, now: DateTime<Utc>) -> String {
    let mut table = with_header(&[
        "ID", "WHEN", "SEEN", "LATENCY", "WITNESS", "WORKER", "MESSAGE",
    ]);
    for seen in &list.items {
        let attributes = &seen.attributes;
        table.add_row(vec![
            text(&seen.id),
            ago(seen.created_at, now),
            verdict(attributes),
            attributes
                .latency_ms
                .map_or("-".into(), |ms| format!("{ms:.1} ms")),
            or_dash(attributes.witness.as_ref().map(|witness| match witness {
                Witness::Down { .. } => "down",
                Witness::Up { .. } => "up",
                Witness::Silent { .. } => "silent",
            })),
            text(&seen.worker),
            or_dash(attributes.message.as_ref()),
        ]);
    }
    listed(&table, list, "observations")
}

/// `drover transitions`.
pub fn transitions(list: &List<Transition>, now: DateTime<Utc>) -> String {
    let mut table = with_header(&["ID", "WHEN", "FROM", "TO", "OPENS", "REASON"]);
    for change in &list.items {
        table.add_row(vec![
            text(&change.id),
            ago(change.created_at, now),
            text(change.from),
            text(change.to),
            or_dash(change.opens),
            text(&change.reason),
        ]);
    }
    listed(&table, list, "transitions")
}

/// `drover messages`.
pub fn messages(list: &List<Message>, now: DateTime<Utc>) -> String {
    let mut table = with_header(&[
        "ID",
        "WHEN",
        "ABOUT",
        "CHANNEL",
        "ACTION",
        "STATE",
        "PROVIDER",
        "ATTEMPTS",
        "SUMMARY",
        "LAST ERROR",
    ]);
    for message in &list.items {
        let event = || or_dash(message.event);
        table.add_row(vec![
            text(message.id),
            ago(message.created_at, now),
            message.incident.map_or_else(event, text),
            text(message.channel),
            text(message.action),
            text(message.state),
            or_dash(message.delivered_by),
            text(message.attempts),
            text(&message.summary),
            or_dash(message.last_error.as_ref()),
        ]);
    }
    listed(&table, list, "messages")
}

/// `drover tiers`.
pub fn tiers(list: &List<Tier>) -> String {
    let mut table = with_header(&["TIER", "RULES"]);
    for tier in &list.items {
        table.add_row(vec![text(&tier.name), json(&tier.rules)]);
    }
    listed(&table, list, "tiers")
}

/// `drover ring`.
pub fn ring(ring: &Ring) -> String {
    let oldest = ring.oldest_observation_s;
    let mut lines = vec![
        ("live subjects".to_owned(), text(ring.live_subjects)),
        ("tokens".into(), text(ring.tokens)),
        ("lost or extra tokens".into(), text(ring.astray)),
        (
            "laps in the last minute".into(),
            text(ring.laps_last_minute),
        ),
        (
            "oldest observation".into(),
            oldest.map_or("none yet".into(), |s| format!("{s:.1} s")),
        ),
        ("mode".into(), text(ring.mode)),
    ];
    let mut count = |counts: &Counts, name: fn(&str, &str) -> String| {
        for (first, by_second) in counts {
            let of = |(second, n): (&String, &i64)| (name(first, second), text(n));
            lines.extend(by_second.iter().map(of));
        }
    };
    count(&ring.modes, |scope, mode| {
        format!("{scope}s in mode {mode}")
    });
    count(&ring.incidents, |kind, state| format!("{kind} {state}"));
    count(&ring.operations, |kind, state| format!("{kind} {state}"));
    count(&ring.herd, |kind, state| format!("{kind}s {state}"));
    count(&ring.queues, |queue, status| {
        format!("{queue} {}", status.to_lowercase())
    });
    for (queue, n) in &ring.workers {
        lines.push((format!("{queue} workers"), text(n)));
    }
    let mut table = bare();
    for (name, value) in lines {
        let value = Cell::new(value).set_alignment(CellAlignment::Right);
        table.add_row(vec![Cell::new(plain(&name)), value]);
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

pub(super) fn listed<T>(table: &Table, list: &List<T>, what: &str) -> String {
    if table.is_empty() {
        return format!("no {what}");
    }
    match list.next_cursor {
        Some(_) => format!("{}\n… and more: raise --limit", shown(table)),
        None => shown(table),
    }
}

/// A cell.
pub(super) fn text(value: impl Display) -> String {
    plain(&value.to_string())
}

/// A cell that may be empty.
pub(super) fn or_dash(value: Option<impl Display>) -> String {
    value.map_or("-".into(), text)
}

/// Several in one cell.
pub(super) fn joined(all: impl Iterator<Item = String>, between: &str) -> String {
    let all: Vec<String> = all.collect();
    match all[..] {
        [] => "-".into(),
        _ => all.join(between),
    }
}

/// A cell of data that has no type.
pub(super) fn json(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => plain(text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => text(value),
    }
}

fn last_seen(standing: &Standing, now: DateTime<Utc>) -> String {
    match &standing.last_observation {
        None => "never".into(),
        Some(seen) => format!(
            "{}, {}",
            ago(seen.created_at, now),
            verdict(&seen.attributes)
        ),
    }
}

fn verdict(attributes: &Attributes) -> String {
    match (attributes.service_available, attributes.cause) {
        (true, _) => "ok".into(),
        (false, Some(cause)) => text(cause),
        (false, None) => "not available".into(),
    }
}

pub(super) fn ago(then: DateTime<Utc>, now: DateTime<Utc>) -> String {
    format!("{} ago", lasting(then, now))
}

/// For how long something has been so.
pub(super) fn lasting(since: DateTime<Utc>, now: DateTime<Utc>) -> String {
    // The two clocks may differ a little; nothing was seen in the future.
    whole((now - since).num_seconds().max(0))
}

/// A time as the API writes it.
pub(super) fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

pub(super) fn at_and_ago(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    format!("{} ({})", stamp(time), ago(time, now))
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
