//! How a terminal shows the API's answers.

use std::fmt::Display;

use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::{Cell, CellAlignment, Table, presets};
use drover::api::{
    Counts, Message, ModeSet, Observation, OpenIncident, Resource, Ring, Server, Standing, Tier,
    Transition,
};
use drover::model::{Attributes, Mode, PublicId, Witness};
use serde_json::Value;

use super::List;

/// `drover servers`.
pub fn servers(list: &List<Server>, now: DateTime<Utc>) -> String {
    let columns = Columns::of(list)
        .column("ID", |server| text(server.core.id))
        .column("NAME", |server| text(&server.core.name))
        .column("STATE", |server| text(server.core.state))
        .column("CHANGED", |server| ago(server.core.state_since, now))
        .column("ADDRESS", address)
        .column("TIER", |server| text(&server.core.tier));
    beside(columns, |server| (&server.standing, None), now).listed("servers")
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
    let columns = Columns::of(list)
        .column("ID", |resource| text(resource.core.id))
        .column("NAME", |resource| text(&resource.core.name))
        .column("STATE", |resource| text(resource.core.state))
        .column("CHANGED", |resource| ago(resource.core.state_since, now))
        .column("SERVER", |resource| text(resource.server))
        .column("PORT", |resource| text(resource.port))
        .column("DATABASE", |resource| text(&resource.database))
        .column("TIER", |resource| text(&resource.core.tier));
    beside(
        columns,
        |resource| (&resource.standing, resource.leader),
        now,
    )
    .listed("resources")
}

/// Adds what stands beside a subject: whom it follows, its mode and its incidents, where
/// anything would stand in that column; and when it was last seen.
fn beside<'l, T>(
    columns: Columns<'l, T>,
    of: impl for<'t> Fn(&'t T) -> (&'t Standing, Option<PublicId>),
    now: DateTime<Utc>,
) -> Columns<'l, T> {
    let open = |i: &OpenIncident| format!("{} {}", i.kind, i.state);
    columns
        .column_if(
            "FOLLOWS",
            |one| of(one).1.is_some(),
            |one| or_dash(of(one).1),
        )
        .column_if(
            "MODE",
            |one| of(one).0.mode.mode != Mode::Act,
            |one| text(of(one).0.mode.mode),
        )
        .column_if(
            "INCIDENTS",
            |one| !of(one).0.incidents.is_empty(),
            |one| joined(of(one).0.incidents.iter().map(open), ", "),
        )
        .column("LAST SEEN", |one| last_seen(of(one).0, now))
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

/// `drover observations`.
pub fn observations(list: &List<Observation>, now: DateTime<Utc>) -> String {
    let witness = |witness: &Witness| match witness {
        Witness::Down { .. } => "down",
        Witness::Up { .. } => "up",
        Witness::Silent { .. } => "silent",
    };
    Columns::of(list)
        .column("ID", |seen| text(&seen.id))
        .column("WHEN", |seen| ago(seen.created_at, now))
        .column("SEEN", |seen| verdict(&seen.attributes))
        .column("LATENCY", |seen| {
            or_dash(seen.attributes.latency_ms.map(|ms| format!("{ms:.1} ms")))
        })
        .column("WITNESS", |seen| {
            or_dash(seen.attributes.witness.as_ref().map(witness))
        })
        .column("WORKER", |seen| text(&seen.worker))
        .column("MESSAGE", |seen| or_dash(seen.attributes.message.as_ref()))
        .listed("observations")
}

/// `drover transitions`.
pub fn transitions(list: &List<Transition>, now: DateTime<Utc>) -> String {
    Columns::of(list)
        .column("ID", |change| text(&change.id))
        .column("WHEN", |change| ago(change.created_at, now))
        .column("FROM", |change| text(change.from))
        .column("TO", |change| text(change.to))
        .column("OPENS", |change| or_dash(change.opens))
        .column("REASON", |change| text(&change.reason))
        .listed("transitions")
}

/// `drover messages`.
pub fn messages(list: &List<Message>, now: DateTime<Utc>) -> String {
    let about = |message: &Message| {
        let event = || or_dash(message.event);
        message.incident.map_or_else(event, text)
    };
    Columns::of(list)
        .column("ID", |message| text(message.id))
        .column("WHEN", |message| ago(message.created_at, now))
        .column("ABOUT", about)
        .column("CHANNEL", |message| text(message.channel))
        .column("ACTION", |message| text(message.action))
        .column("STATE", |message| text(message.state))
        .column("PROVIDER", |message| or_dash(message.delivered_by))
        .column("ATTEMPTS", |message| text(message.attempts))
        .column("SUMMARY", |message| text(&message.summary))
        .column("LAST ERROR", |message| or_dash(message.last_error.as_ref()))
        .listed("messages")
}

/// `drover tiers`.
pub fn tiers(list: &List<Tier>) -> String {
    Columns::of(list)
        .column("TIER", |tier| text(&tier.name))
        .column("RULES", |tier| json(&tier.rules))
        .listed("tiers")
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
        ("a clock leads".into(), text(ring.clock_leads)),
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

/// A table with a line for each thing of a list, made column by column.
pub(super) struct Columns<'l, T> {
    list: &'l List<T>,
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl<'l, T> Columns<'l, T> {
    pub(super) fn of(list: &'l List<T>) -> Self {
        Self {
            list,
            header: Vec::new(),
            rows: vec![Vec::new(); list.items.len()],
        }
    }

    /// One more column: its name, and what stands in it.
    pub(super) fn column(mut self, name: &'static str, cell: impl Fn(&T) -> String) -> Self {
        self.header.push(name);
        for (row, item) in self.rows.iter_mut().zip(&self.list.items) {
            row.push(cell(item));
        }
        self
    }

    /// The same, if anything would stand there of any of them.
    fn column_if(
        self,
        name: &'static str,
        is: impl Fn(&T) -> bool,
        cell: impl Fn(&T) -> String,
    ) -> Self {
        match self.list.items.iter().any(|item| is(item)) {
            true => self.column(name, cell),
            false => self,
        }
    }

    /// All of it, and whether there is more; `what` there is none of, if so.
    pub(super) fn listed(self, what: &str) -> String {
        if self.rows.is_empty() {
            return format!("no {what}");
        }
        let mut table = with_header(&self.header);
        table.add_rows(self.rows);
        match self.list.next_cursor {
            Some(_) => format!("{}\n… and more: raise --limit", shown(&table)),
            None => shown(&table),
        }
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

pub(super) fn last_seen(standing: &Standing, now: DateTime<Utc>) -> String {
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
