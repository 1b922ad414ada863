//! `drover events`: who took a lead from whom, and when.

use chrono::{DateTime, Utc};
use clap::Args;
use drover::api::{Event, EventNode};

use super::follow::resource;
use super::table::{Columns, ago, json as data, plain, text};
use super::who::Who;
use super::{Failure, List as Page, Session};

/// `drover events`.
#[derive(Args)]
pub struct List {
    /// Only those in which this resource took a lead or gave it away: db_… or a name.
    #[arg(long)]
    resource: Option<Who>,
    /// Only those behind this one, the oldest first: evt_…
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// The oldest first.
    #[arg(long)]
    oldest: bool,
    /// At most this many.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

/// Lists them.
pub async fn list(to: &Session<'_>, list: List) -> Result<(), Failure> {
    let mut query = String::new();
    if let Some(who) = list.resource {
        let id = who.find(&to.client).await?;
        resource(id, "a lead is a resource's")?;
        query += &format!("&resource={id}");
    }
    if let Some(after) = list.after {
        let id = drover::model::LeaderChangeId::from_public(&after);
        let id = id.map_err(|e| Failure::WrongUse(e.to_string()))?;
        query += &format!("&after={}", id.public());
    } else if list.oldest {
        query += "&order=oldest";
    }
    let show = |found: &Page<_>| shown(found, Utc::now());
    to.pages("/v1/events", &query, list.limit, show).await
}

fn shown(list: &Page<Event>, now: DateTime<Utc>) -> String {
    let place = |node: &EventNode| format!("{}:{}", plain(&node.address), node.port);
    let detail = |event: &Event| {
        let detail = event.detail.as_object().into_iter().flatten();
        let detail = detail.map(|(name, value)| format!("{}={}", plain(name), data(value)));
        detail.collect::<Vec<_>>().join(" ")
    };
    Columns::of(list)
        .column("ID", |event| text(event.id))
        .column("WHEN", |event| ago(event.at, now))
        .column("KIND", |event| text(event.kind))
        .column("NAME", |event| text(&event.name))
        .column("EPOCH", |event| text(event.epoch))
        .column("NEW LEADER", |event| text(event.new_leader.id))
        .column("AT", |event| place(&event.new_leader))
        .column("OLD LEADER", |event| text(event.old_leader.id))
        .column("AT", |event| place(&event.old_leader))
        .column("DETAIL", detail)
        .listed("events")
}
