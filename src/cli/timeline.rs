//! How a terminal shows incidents: as a person reads them who was just woken.

use chrono::{DateTime, Utc};
use drover::api::{Incident, IncidentMessage, IncidentTimeline, Run, TimelineEvent};
use drover::model::{Action, IncidentState, MessageState};

use super::List;
use super::table::{
    Columns, ago, bare, joined, lasting, mode, plain, shown, text, whole, with_header,
};

/// `drover incidents`.
pub fn incidents(list: &List<Incident>, what: &str, now: DateTime<Utc>) -> String {
    Columns::of(list)
        .column("ID", |incident| text(incident.id))
        .column("KIND", |incident| text(incident.kind))
        .column("SUBJECT", whose)
        .column("STATE", |incident| text(incident.state))
        .column("FOR", |incident| lasting(incident.state_since, now))
        .column("OPENED", |incident| ago(incident.opened_at, now))
        .column("REASON", |incident| text(&incident.reason))
        .column("NOTE", |incident| remarks(incident).join(", "))
        .listed(what)
}

/// `drover incident ID`.
pub fn incident(timeline: &IncidentTimeline, now: DateTime<Utc>) -> String {
    let incident = &timeline.incident;
    let mut table = bare();
    let mut line = |name: &str, value: String| {
        table.add_row(vec![name.to_owned(), value]);
    };
    line("incident", text(incident.id));
    line("kind", text(incident.kind));
    line(
        "subject",
        match incident.subject {
            Some(id) => format!("{} ({id})", whose(incident)),
            None => whose(incident),
        },
    );
    line("reason", text(&incident.reason));
    line(
        "state",
        [vec![state(incident, now)], remarks(incident)]
            .concat()
            .join(", "),
    );
    line("opened", at_and_ago(incident.opened_at, now));
    match incident.resolved_at {
        Some(at) if incident.state == IncidentState::Resolved => {
            line("resolved", at_and_ago(at, now));
        }
        Some(_) | None => {
            let tried = incident.attempts;
            line(
                "attempts",
                match incident.deadline {
                    Some(deadline) => format!("{tried}; drover gives up at {}", clock(deadline)),
                    None => text(tried),
                },
            );
            line("mode", mode(&timeline.mode));
            line("actions", joined(incident.actions.iter().map(text), ", "));
        }
    }
    format!("{}\n\n{}", shown(&table), history(timeline))
}

/// What an action came to.
pub fn done(action: Action, incident: &Incident) -> String {
    let id = incident.id;
    match action {
        Action::Acknowledge => format!("{id} is acknowledged"),
        Action::Retry if incident.held_at.is_some() => {
            format!("{id} is held: its playbook starts over once you release it")
        }
        Action::Retry => format!("The playbook of {id} starts over"),
        Action::Hold => format!("{id} is held: no resolver touches it until you release it"),
        Action::Release => format!("{id} is released: resolvers may continue"),
        Action::Resolve => format!("{id} is resolved"),
    }
}

/// Where it stands, and for how long.
fn state(incident: &Incident, now: DateTime<Utc>) -> String {
    let lasting = lasting(incident.state_since, now);
    match incident.state {
        IncidentState::Triggered => format!("triggered, nothing tried for {lasting}"),
        IncidentState::Resolving => format!("a remedy has been at work for {lasting}"),
        IncidentState::Waiting => format!("waiting for {lasting} to see whether the remedy helped"),
        IncidentState::NeedsHuman => format!("needs a human for {lasting}"),
        IncidentState::Resolved => format!("resolved {lasting} ago"),
    }
}

/// Name of what it is about.
fn whose(incident: &Incident) -> String {
    match (&incident.name, &incident.zone) {
        (Some(name), _) => plain(name),
        (None, Some(zone)) => format!("zone {}", plain(zone)),
        (None, None) => "the herd".into(),
    }
}

/// What stands beside the state.
fn remarks(incident: &Incident) -> Vec<String> {
    let mut all = Vec::new();
    if incident.held_at.is_some() {
        all.push("held".into());
    }
    if let Some(by) = &incident.acknowledged_by {
        all.push(format!("acknowledged by {}", plain(by)));
    }
    match incident.reopened {
        0 => {}
        1 => all.push("reopened once".into()),
        2 => all.push("reopened twice".into()),
        times => all.push(format!("reopened {times} times")),
    }
    if let Some(remedy) = &incident.remedy {
        all.push(format!("remedy {}", plain(remedy)));
    }
    if let Some(why) = &incident.resting {
        all.push(plain(why));
    }
    if let Some(by) = &incident.resolved_by {
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

fn history(timeline: &IncidentTimeline) -> String {
    let mut entries: Vec<Entry> = timeline
        .events
        .iter()
        // The run says so too, and how long it took.
        .filter(|event| {
            let of_a_step = ["step", "failed", "skipped", "passed_over"];
            timeline.runs.is_empty() || !of_a_step.contains(&event.kind.as_str())
        })
        .map(event)
        .collect();
    entries.extend(steps(&timeline.runs));
    entries.extend(timeline.messages.iter().map(message));
    entries.sort_by_key(|entry| entry.at);
    let start = timeline.incident.opened_at;
    let mut table = with_header(&["WHEN (UTC)", "AFTER", "WHAT", "", "BY"]);
    for entry in entries {
        let after = (entry.at - start).num_milliseconds();
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

fn event(event: &TimelineEvent) -> Entry {
    Entry {
        at: event.created_at,
        what: words(&event.kind),
        text: text(&event.text),
        who: text(&event.actor),
    }
}

/// A step that is asked after again and again is one line.
fn steps(runs: &[Run]) -> Vec<Entry> {
    fn which(run: &Run) -> (&str, &str, i16) {
        (&run.remedy, &run.step, run.attempt)
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut begun: Option<(&Run, usize)> = None;
    for (n, run) in runs.iter().enumerate() {
        let (first, turns) = begun.take().unwrap_or((run, 0));
        let again = run.outcome.as_deref() == Some("again");
        let next = runs.get(n + 1);
        if again && next.is_some_and(|next| which(next) == which(run)) {
            begun = Some((first, turns + 1));
        } else {
            entries.push(step(first, run, turns + 1, next.is_none()));
        }
    }
    entries
}

fn step(first: &Run, last: &Run, turns: usize, newest: bool) -> Entry {
    let at = first.begun_at;
    let outcome = match &last.outcome {
        Some(outcome) => words(outcome),
        None if newest => "at work".into(),
        None => "cut off".into(),
    };
    let mut told = format!("{}, {}: {outcome}", last.remedy, last.step);
    if let Some(end) = last.ended_at {
        told += &format!(" in {}", brief((end - at).num_milliseconds()));
    }
    if turns > 1 {
        told += &format!(" and {turns} turns");
    }
    if let Some(detail) = last.detail.as_ref().filter(|d| !d.is_empty()) {
        told += &format!(": {detail}");
    }
    if !last.touched.is_empty() {
        told += &format!(" (touched {})", last.touched.join(", "));
    }
    Entry {
        at,
        what: format!("try {}", last.attempt),
        text: plain(&told),
        who: text(&last.worker),
    }
}

fn message(message: &IncidentMessage) -> Entry {
    let at = message.created_at;
    let delivered = message.state == MessageState::Delivered;
    let mut told = format!("{}: {}", message.action, message.state);
    if let Some(by) = &message.delivered_by {
        told += &format!(" by {by}");
    }
    if let (Some(end), true) = (message.settled_at, delivered) {
        told += &format!(" after {}", brief((end - at).num_milliseconds()));
    }
    if let (Some(error), false) = (&message.last_error, delivered) {
        told += &format!(" after {} attempts, {error}", message.attempts);
    }
    told += &format!(": {}", message.summary);
    Entry {
        at,
        what: text(message.channel),
        text: plain(&told),
        who: text(&message.id),
    }
}

/// A name of the API's, as people say it.
fn words(name: &str) -> String {
    match name {
        // What earlier releases wrote.
        "passed_over" => "skipped".into(),
        other => plain(other).replace('_', " "),
    }
}

fn clock(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn at_and_ago(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    format!("{} ({})", clock(time), ago(time, now))
}

/// A while as precisely as anybody wants to know it.
fn brief(millis: i64) -> String {
    match millis {
        ..60_000 => format!("{}.{}s", millis / 1000, millis.unsigned_abs() % 1000 / 100),
        60_000..3_600_000 => format!("{}m{:02}s", millis / 60_000, millis / 1000 % 60),
        3_600_000.. => whole(millis / 1000),
    }
}
