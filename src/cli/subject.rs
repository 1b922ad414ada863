//! How a terminal shows one server or resource.

use chrono::{DateTime, Utc};
use drover::api::{Resource, Server, Standing, Subject, SubjectCore};
use serde_json::Value;

use super::table::{
    ago, at_and_ago, bare, joined, json, last_seen, mode, or_dash, plain, shown, text,
};
use super::work;

/// `drover show`: all of the subject, then what was last seen.
pub fn shown_whole(subject: &Subject, now: DateTime<Utc>) -> String {
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
        ("require_auth", text(resource.require_auth)),
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
