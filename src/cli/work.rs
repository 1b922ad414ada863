//! How a terminal shows operations, and what can be asked for.

use chrono::{DateTime, Utc};
use drover::api::{Credentials, Operation, OperationTimeline, Plan, Region, RunningOperation};
use drover::model::{DataVolume, OperationKind, OperationState};

use super::List;
use super::table::{
    Columns, ago, at_and_ago, bare, joined, json, lasting, or_dash, plain, shown, stamp, text,
};

/// How far an operation is, in one line: `create_server, step 3 of 7: await_ssh`.
pub fn brief(operation: &RunningOperation) -> String {
    let stuck = match operation.stuck_since {
        Some(_) => ", STUCK",
        None => "",
    };
    format!("{}, {}{stuck}", operation.kind, step(operation))
}

/// The same without what it is: `step 3 of 7: await_ssh (port 22: refused)`.
pub fn step(operation: &RunningOperation) -> String {
    let name = plain(&operation.step_name);
    let mut told = match operation.of {
        0 => name,
        of => format!("step {} of {of}: {name}", operation.step),
    };
    if let (None, Some(not_before)) = (operation.deadline, operation.not_before) {
        told += &format!(", waiting until {}", stamp(not_before));
    }
    if let Some(note) = &operation.note {
        told += &format!(" ({})", plain(note));
    }
    told
}

/// `drover operations`.
pub fn operations(list: &List<Operation>, what: &str, now: DateTime<Utc>) -> String {
    let progress = |operation: &Operation| match operation.running.state {
        OperationState::Open => step(&operation.running),
        OperationState::Done
        | OperationState::Cancelled
        | OperationState::Failed
        | OperationState::Skipped => "-".into(),
    };
    Columns::of(list)
        .column("ID", |operation| text(operation.running.id))
        .column("KIND", |operation| text(operation.running.kind))
        .column("SUBJECT", |operation| or_dash(operation.name.as_ref()))
        .column("STATE", |operation| state(&operation.running))
        .column("OPENED", |operation| ago(operation.opened_at, now))
        .column("BY", |operation| text(&operation.asked_by))
        .column("PROGRESS", progress)
        .listed(what)
}

fn state(operation: &RunningOperation) -> String {
    match operation.stuck_since {
        Some(_) => "stuck".into(),
        None => text(operation.state),
    }
}

/// `drover operation ID`.
pub fn operation(timeline: &OperationTimeline, now: DateTime<Utc>) -> String {
    let operation = &timeline.operation;
    let running = &operation.running;
    let mut table = bare();
    let mut line = |name: &str, value: String| {
        table.add_row(vec![name.to_owned(), value]);
    };
    line("operation", text(running.id));
    line("kind", text(running.kind));
    line(
        "subject",
        match operation.subject {
            Some(id) => format!("{} ({id})", or_dash(operation.name.as_ref())),
            None => "the deployment".into(),
        },
    );
    line("parameters", json(&operation.params));
    line("asked by", text(&operation.asked_by));
    line("reason", or_dash(operation.reason.as_ref()));
    line("opened", at_and_ago(operation.opened_at, now));
    line("state", state(running));
    match running.state {
        OperationState::Open => {
            line("progress", step(running));
            line("this step", format!("for {}", lasting(running.since, now)));
            line("deadline", or_dash(running.deadline.map(stamp)));
            line("actions", joined(operation.actions.iter().map(text), ", "));
        }
        OperationState::Done
        | OperationState::Cancelled
        | OperationState::Failed
        | OperationState::Skipped => {
            let ended = operation.ended_at.map(|at| at_and_ago(at, now));
            line("ended", or_dash(ended));
        }
    }
    let mut events = bare();
    for event in &timeline.events {
        events.add_row(vec![
            stamp(event.created_at),
            text(&event.kind),
            text(&event.actor),
            text(&event.text),
        ]);
    }
    format!("{}\n\n{}", shown(&table), shown(&events))
}

/// What asking for something came to.
pub fn asked(operation: &Operation) -> String {
    let running = &operation.running;
    let name = operation
        .name
        .as_deref()
        .map_or("the deployment".into(), plain);
    let what = format!("{} ({})", doing(running.kind, &name), running.id);
    match running.not_before.map(stamp) {
        Some(opens) => format!("{what}, starting in the maintenance window at {opens}"),
        None => format!("{what}, starting now"),
    }
}

/// What an operation does to a subject of this name. Nobody asks for what incidents ask for.
fn doing(kind: OperationKind, name: &str) -> String {
    let profile = kind.profile();
    match profile.doing {
        "" => format!("{name} {}", profile.words),
        doing => doing.replace("{}", name),
    }
}

/// `drover plans`.
pub fn plans(list: &List<Plan>) -> String {
    let server = |plan: &Plan| match plan.shared {
        true => format!("shared by {}", plan.per_server),
        false => "its own".into(),
    };
    let sizes = |plan: &Plan| {
        let sizes = plan.sizes.iter();
        let sizes = sizes.map(|(cloud, sizes)| format!("{cloud}: {}", sizes.join(" ")));
        plain(&sizes.collect::<Vec<_>>().join(", "))
    };
    Columns::of(list)
        .column("PLAN", |plan| text(&plan.name))
        .column("SERVER", server)
        .column("SIZES", sizes)
        .column("VOLUME", |plan| format!("{} GiB", plan.volume_gib))
        .column("STORAGE", |plan| format!("{} GiB", plan.storage_gib))
        .column("CONNECTIONS", |plan| text(plan.connections))
        .column("DESCRIPTION", |plan| text(&plan.title))
        .listed("plans")
}

/// `drover regions`.
pub fn regions(list: &List<Region>, now: DateTime<Utc>) -> String {
    if list.items.is_empty() {
        return "no regions: a `drover-worker resolve` with access to a cloud publishes them"
            .into();
    }
    let sizes = |region: &Region| {
        let sizes: Vec<&str> = region.sizes.iter().map(|size| size.name.as_str()).collect();
        plain(&sizes.join(" "))
    };
    Columns::of(list)
        .column("CLOUD", |region| text(region.cloud))
        .column("REGION", |region| text(&region.name))
        .column("ZONES", |region| plain(&region.zones.join(" ")))
        .column("SIZES", sizes)
        .column("PUBLISHED", |region| ago(region.published_at, now))
        .column("PROBLEM", |region| or_dash(region.problem.as_ref()))
        .listed("regions")
}

/// A server's volume: `100 GiB gp3 vol-…`.
pub fn volume(volume: &DataVolume) -> String {
    let id = volume.id.as_ref().map(|id| format!(" {id}"));
    let id = id.unwrap_or_default();
    plain(&format!("{} GiB {}{id}", volume.gib, volume.kind))
}

/// `drover credentials`.
pub fn credentials(shown_once: &Credentials) -> String {
    let mut table = bare();
    for (name, value) in [
        ("host", text(&shown_once.host)),
        ("port", text(shown_once.port)),
        ("database", text(&shown_once.database)),
        ("user", text(&shown_once.user)),
        ("password", text(&shown_once.password)),
        ("url", text(&shown_once.url)),
    ] {
        table.add_row(vec![name.to_owned(), value]);
    }
    match &shown_once.tls_root_cert {
        // As it is, line by line, to be put into a file.
        Some(pem) => format!("{}\n\n{}", shown(&table), pem.trim_end()),
        None => shown(&table),
    }
}
