//! How a terminal shows operations, and what can be asked for.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::table::{ago, array, bare, items, listed, plain, shown, text, with_header};

/// How far an operation is, in one line: `create_server, step 3 of 7: await_ssh`.
pub fn brief(operation: &Value) -> String {
    let stuck = match operation["stuck_since"].as_str() {
        Some(_) => ", STUCK",
        None => "",
    };
    format!("{}, {}{stuck}", text(&operation["kind"]), step(operation))
}

/// The same without what it is: `step 3 of 7: await_ssh (port 22: refused)`.
pub fn step(operation: &Value) -> String {
    let name = text(&operation["step_name"]);
    let mut told = match operation["of"].as_u64() {
        None | Some(0) => name,
        Some(of) => format!("step {} of {of}: {name}", text(&operation["step"])),
    };
    if operation["deadline"].is_null() && !operation["not_before"].is_null() {
        told += &format!(", not before {}", text(&operation["not_before"]));
    }
    if !operation["note"].is_null() {
        told += &format!(" ({})", text(&operation["note"]));
    }
    told
}

/// `drover operations`.
pub fn operations(list: &Value, what: &str, now: DateTime<Utc>) -> String {
    let mut table = with_header(&["ID", "KIND", "OF", "STATE", "OPENED", "BY", "HOW FAR"]);
    for operation in items(list) {
        table.add_row(vec![
            text(&operation["id"]),
            text(&operation["kind"]),
            text(&operation["name"]),
            state(operation),
            ago(&operation["opened_at"], now),
            text(&operation["asked_by"]),
            match operation["state"].as_str() {
                Some("open") => step(operation),
                _ => "-".into(),
            },
        ]);
    }
    listed(&table, list, what)
}

fn state(operation: &Value) -> String {
    if operation["stuck_since"].is_null() {
        text(&operation["state"])
    } else {
        "stuck".into()
    }
}

/// `drover operation ID`.
pub fn operation(operation: &Value, now: DateTime<Utc>) -> String {
    let mut table = bare();
    let mut line = |name: &str, value: String| {
        table.add_row(vec![name.to_owned(), value]);
    };
    line("operation", text(&operation["id"]));
    line("what", text(&operation["kind"]));
    line(
        "of",
        match operation["subject"].as_str() {
            Some(id) => format!("{} ({id})", text(&operation["name"])),
            None => "the deployment".into(),
        },
    );
    line("wanted", text(&operation["params"]));
    line("asked by", text(&operation["asked_by"]));
    line("reason", text(&operation["reason"]));
    line("opened", at(&operation["opened_at"], now));
    line("state", state(operation));
    if operation["state"] == "open" {
        line("how far", step(operation));
        line(
            "this step",
            format!("since {}", ago(&operation["since"], now)),
        );
        line("deadline", text(&operation["deadline"]));
        let possible: Vec<String> = array(&operation["actions"]).map(text).collect();
        line(
            "possible",
            if possible.is_empty() {
                "-".into()
            } else {
                possible.join(", ")
            },
        );
    } else {
        line("ended", at(&operation["ended_at"], now));
    }
    let mut events = bare();
    for event in array(&operation["events"]) {
        events.add_row(vec![
            text(&event["created_at"]),
            text(&event["kind"]),
            text(&event["actor"]),
            text(&event["text"]),
        ]);
    }
    format!("{}\n\n{}", shown(&table), shown(&events))
}

fn at(time: &Value, now: DateTime<Utc>) -> String {
    format!("{} ({})", text(time), ago(time, now))
}

/// What asking for something came to.
pub fn asked(operation: &Value) -> String {
    let what = format!(
        "{} of {} is asked for: {}",
        text(&operation["kind"]),
        text(&operation["name"]),
        text(&operation["id"])
    );
    match operation["not_before"].as_str() {
        Some(opens) => format!("{what}; it waits for the maintenance window, until {opens}"),
        None => format!("{what}; it is begun at once"),
    }
}

/// `drover plans`.
pub fn plans(list: &Value) -> String {
    let mut table = with_header(&[
        "PLAN",
        "SERVER",
        "SIZES",
        "VOLUME",
        "STORAGE",
        "CONNECTIONS",
        "WHAT IT IS",
    ]);
    for plan in items(list) {
        let sizes = plan["sizes"].as_object().into_iter().flatten();
        let sizes: Vec<String> = sizes
            .map(|(cloud, sizes)| {
                let names: Vec<String> = array(sizes).map(text).collect();
                format!("{cloud}: {}", names.join(" "))
            })
            .collect();
        table.add_row(vec![
            text(&plan["name"]),
            if plan["shared"] == true {
                format!("shared by {}", text(&plan["per_server"]))
            } else {
                "its own".into()
            },
            sizes.join(", "),
            gib(&plan["volume_gib"]),
            gib(&plan["storage_gib"]),
            text(&plan["connections"]),
            text(&plan["title"]),
        ]);
    }
    listed(&table, list, "plans")
}

fn gib(number: &Value) -> String {
    format!("{} GiB", text(number))
}

/// `drover regions`.
pub fn regions(list: &Value, now: DateTime<Utc>) -> String {
    let mut table = with_header(&["CLOUD", "REGION", "ZONES", "SIZES", "PUBLISHED", "PROBLEM"]);
    for region in items(list) {
        let zones: Vec<String> = array(&region["zones"]).map(text).collect();
        let sizes: Vec<String> = array(&region["sizes"])
            .map(|size| text(&size["name"]))
            .collect();
        table.add_row(vec![
            text(&region["cloud"]),
            text(&region["name"]),
            zones.join(" "),
            sizes.join(" "),
            ago(&region["published_at"], now),
            text(&region["problem"]),
        ]);
    }
    if table.is_empty() {
        return "no regions: a `drover-worker resolve` with access to a cloud publishes them"
            .into();
    }
    listed(&table, list, "regions")
}

/// A server's volume: `100 GiB gp3 vol-…`.
pub fn volume(volume: &Value) -> String {
    if volume.is_null() {
        return "-".into();
    }
    let mut known = vec![gib(&volume["gib"]), text(&volume["type"])];
    known.extend(volume["id"].as_str().map(plain));
    known.join(" ")
}

/// `drover credentials`.
pub fn credentials(shown_once: &Value) -> String {
    let mut table = bare();
    for name in ["host", "port", "database", "user", "password", "url"] {
        table.add_row(vec![name.to_owned(), text(&shown_once[name])]);
    }
    match shown_once["tls_root_cert"].as_str() {
        // As it is, line by line, to be put into a file.
        Some(pem) => format!("{}\n\n{}", shown(&table), pem.trim_end()),
        None => shown(&table),
    }
}
