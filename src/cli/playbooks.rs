//! `drover playbook`: what drover does about a kind of incident.

use drover::client::Client;
use drover::model::IncidentKind;
use serde_json::Value;

use super::table::{array, bare, items, shown, text, with_header};
use super::{Failure, answer};

/// Shows all of them in short, or one in full.
pub async fn run(client: &Client, kind: Option<IncidentKind>, json: bool) -> Result<(), Failure> {
    match kind {
        None => answer(&client.get("/v1/resolvers").await?, json, all),
        Some(kind) => {
            let book = client.get(&format!("/v1/resolvers/{kind}")).await?;
            answer(&book, json, one)
        }
    }
}

fn all(list: &Value) -> String {
    let mut table = with_header(&["KIND", "WHAT IT MEANS", "REMEDIES", "THEN"]);
    for book in items(list) {
        let remedies: Vec<String> = array(&book["remedies"]).map(|r| text(&r["name"])).collect();
        let remedies = match remedies.is_empty() {
            true => "none".into(),
            false => remedies.join(", "),
        };
        table.add_row(vec![
            text(&book["kind"]),
            text(&book["title"]),
            remedies,
            tells(book),
        ]);
    }
    if table.is_empty() {
        return "no playbook is published: no `drover-worker resolve` has started yet".into();
    }
    shown(&table)
}

fn one(book: &Value) -> String {
    let mut table = bare();
    let mut line = |name: &str, value: String| {
        table.add_row(vec![name.to_owned(), value]);
    };
    line("kind", text(&book["kind"]));
    line("means", text(&book["title"]));
    line("opened when", text(&book["opened_when"]));
    line("for tiers", text(&book["tiers"]));
    line("touches at most", touches(&book["blast_radius"]));
    let any = array(&book["remedies"]).next().is_some();
    if any {
        let attempts = text(&book["budget"]["attempts"]);
        let deadline = seconds(&book["budget"]["deadline"]);
        line(
            "gives up after",
            format!("{attempts} attempts, or {deadline}"),
        );
    }
    if book["looks_round"] == true {
        line(
            "first",
            "feel other servers, in case it is drover that is blind".into(),
        );
    }
    for (n, remedy) in array(&book["remedies"]).enumerate() {
        line(&format!("remedy {}", n + 1), does(remedy));
    }
    if !any {
        line("remedies", "none: nothing that drover may do".into());
    }
    if !book["undo"].is_null() {
        line("once all is well", does(&book["undo"]));
    }
    line("then", tells(book));
    line(
        "published",
        format!("by release {}", text(&book["release"])),
    );
    shown(&table)
}

fn does(remedy: &Value) -> String {
    let steps: Vec<String> = array(&remedy["steps"]).map(|s| text(&s["name"])).collect();
    format!(
        "{}: {} ({}; steps: {}; its effect is waited for {})",
        text(&remedy["name"]),
        text(&remedy["does"]),
        match remedy["attempts"].as_u64() {
            Some(1) => "once".into(),
            Some(_) | None => format!("up to {} times", text(&remedy["attempts"])),
        },
        steps.join(", "),
        seconds(&remedy["settle"]),
    )
}

fn touches(blast: &Value) -> String {
    match blast.as_str() {
        Some("nothing") => "nothing".into(),
        Some("sessions") => "sessions of one database".into(),
        Some("resource") => "one database".into(),
        Some("server") => "a server, with every database on it".into(),
        Some(_) | None => text(blast),
    }
}

fn tells(book: &Value) -> String {
    let severity = text(&book["severity"]);
    match book["tells"].as_str() {
        Some("page") => format!("page the one on call ({severity})"),
        Some("page_at_once") => {
            format!("page the one on call, before anything is tried ({severity})")
        }
        Some("ticket") => "a ticket to the customer".into(),
        Some("ticket_and_page") => {
            format!("a ticket to the customer, and page the one on call ({severity})")
        }
        Some(_) | None => text(&book["tells"]),
    }
}

fn seconds(value: &Value) -> String {
    value.as_f64().map_or("-".into(), |s| {
        let whole = std::time::Duration::from_secs_f64(s.max(0.0));
        humantime::format_duration(whole).to_string()
    })
}
