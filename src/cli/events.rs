//! `drover events`: who took a lead from whom, and when.

use chrono::{DateTime, Utc};
use clap::Args;
use drover::api::{Event, EventNode};
use drover::client::Client;
use drover::model::Kind;

use super::table::{ago, json as data, listed, plain, text, with_header};
use super::who::Who;
use super::{Failure, List as Page, answer, listing};

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
pub async fn list(client: &Client, list: List, json: bool) -> Result<(), Failure> {
    let mut query = String::new();
    if let Some(who) = list.resource {
        let id = who.find(client).await?;
        match id.kind {
            Kind::Resource => query += &format!("&resource={id}"),
            Kind::Server => {
                let why = format!("{id} is a server; a lead is a resource's");
                return Err(Failure::WrongUse(why));
            }
        }
    }
    if let Some(after) = list.after {
        let id = drover::model::LeaderChangeId::from_public(&after);
        let id = id.map_err(|e| Failure::WrongUse(e.to_string()))?;
        query += &format!("&after={}", id.public());
    } else if list.oldest {
        query += "&order=oldest";
    }
    let found: Page<Event> = listing::pages(client, "/v1/events", &query, list.limit).await?;
    answer(&found, json, |found| shown(found, Utc::now()))
}

fn shown(list: &Page<Event>, now: DateTime<Utc>) -> String {
    let mut table = with_header(&[
        "ID",
        "WHEN",
        "KIND",
        "NAME",
        "EPOCH",
        "NEW LEADER",
        "AT",
        "OLD LEADER",
        "AT",
        "DETAIL",
    ]);
    let place = |node: &EventNode| format!("{}:{}", plain(&node.address), node.port);
    for event in &list.items {
        let (new, old) = (&event.new_leader, &event.old_leader);
        let detail = event.detail.as_object().into_iter().flatten();
        let detail: Vec<String> = detail
            .map(|(name, value)| format!("{}={}", plain(name), data(value)))
            .collect();
        table.add_row(vec![
            text(event.id),
            ago(event.at, now),
            text(event.kind),
            text(&event.name),
            text(event.epoch),
            text(new.id),
            place(new),
            text(old.id),
            place(old),
            detail.join(" "),
        ]);
    }
    listed(&table, list, "events")
}
