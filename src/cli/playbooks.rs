//! `drover playbook`: what drover does about a kind of incident.

use drover::api::{Playbook, Published, Remedy};
use drover::model::IncidentKind;

use super::table::{Columns, bare, plain, shown, text};
use super::{Failure, List, Session};

/// Shows all of them in short, or one in full.
pub async fn run(to: &Session<'_>, kind: Option<IncidentKind>) -> Result<(), Failure> {
    match kind {
        None => to.list("/v1/resolvers", all).await,
        Some(kind) => to.show(&format!("/v1/resolvers/{kind}"), one).await,
    }
}

fn all(list: &List<Published>) -> String {
    if list.items.is_empty() {
        return "no playbook is published: no `drover-worker resolve` has started yet".into();
    }
    let remedies = |book: &Playbook| {
        let names: Vec<&str> = book.remedies.iter().map(|r| r.name.as_str()).collect();
        match names[..] {
            [] => "none".into(),
            _ => plain(&names.join(", ")),
        }
    };
    Columns::of(list)
        .column("KIND", |published| text(&published.kind))
        .column("WHAT IT MEANS", |published| text(&published.playbook.title))
        .column("REMEDIES", |published| remedies(&published.playbook))
        .column("THEN", |published| tells(&published.playbook))
        .listed("playbooks")
}

fn one(published: &Published) -> String {
    let book = &published.playbook;
    let mut table = bare();
    let mut line = |name: &str, value: String| {
        table.add_row(vec![name.to_owned(), value]);
    };
    line("kind", text(&published.kind));
    line("means", text(&book.title));
    line("opened when", text(&book.opened_when));
    line("touches at most", touches(&book.blast_radius));
    if !book.remedies.is_empty() {
        let (attempts, deadline) = (book.budget.attempts, seconds(book.budget.deadline));
        line(
            "gives up after",
            format!("{attempts} attempts, or {deadline}"),
        );
    }
    if book.looks_round {
        line(
            "first",
            "feel other servers, in case it is drover that is blind".into(),
        );
    }
    for (n, remedy) in book.remedies.iter().enumerate() {
        line(&format!("remedy {}", n + 1), does(remedy));
    }
    if book.remedies.is_empty() {
        line("remedies", "none: nothing that drover may do".into());
    }
    if let Some(guard) = &book.guard {
        line("before a human", does(guard));
    }
    if let Some(undo) = &book.undo {
        line("once all is well", does(undo));
    }
    line("then", tells(book));
    line(
        "published",
        format!("by release {}", plain(&published.release)),
    );
    shown(&table)
}

fn does(remedy: &Remedy) -> String {
    let steps: Vec<&str> = remedy.steps.iter().map(|s| s.name.as_str()).collect();
    let tries = match remedy.attempts {
        1 => "once".into(),
        more => format!("up to {more} times"),
    };
    plain(&format!(
        "{}: {} ({tries}; steps: {}; then up to {} for its effect)",
        remedy.name,
        remedy.does,
        steps.join(", "),
        seconds(remedy.settle),
    ))
}

fn touches(blast: &str) -> String {
    match blast {
        "sessions" => "sessions of one database".into(),
        "resource" => "one database".into(),
        "server" => "a server, with every database on it".into(),
        other => plain(other),
    }
}

fn tells(book: &Playbook) -> String {
    let severity = plain(&book.severity);
    match book.tells.as_str() {
        "page" => format!("page the one on call ({severity})"),
        "page_at_once" => {
            format!("page the one on call, before anything is tried ({severity})")
        }
        "ticket" => "a ticket to the customer".into(),
        "ticket_and_page" => {
            format!("a ticket to the customer, and page the one on call ({severity})")
        }
        other => plain(other),
    }
}

fn seconds(s: f64) -> String {
    let whole = std::time::Duration::from_secs_f64(s.max(0.0));
    humantime::format_duration(whole).to_string()
}
