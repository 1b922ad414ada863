//! `drover orphans`: what the clouds have that is nobody's.

use chrono::{DateTime, Utc};
use drover::api::Orphan;
use drover::client::Client;

use super::table::{ago, json as data, listed, text, with_header};
use super::{Failure, List, answer};

/// Lists them.
pub async fn list(client: &Client, json: bool) -> Result<(), Failure> {
    let list: List<Orphan> = client.get("/v1/orphans").await?;
    answer(&list, json, |list| shown(list, Utc::now()))
}

fn shown(list: &List<Orphan>, now: DateTime<Utc>) -> String {
    let header = [
        "ORPHAN",
        "SORT",
        "CLOUD",
        "REGION",
        "FIRST SEEN",
        "LAST SEEN",
        "STATE",
        "WHY",
    ];
    let mut table = with_header(&header);
    for orphan in &list.items {
        let detail = |name| orphan.detail.get(name).map_or("-".into(), data);
        table.add_row(vec![
            text(&orphan.id),
            text(&orphan.sort),
            text(orphan.cloud),
            text(&orphan.region),
            ago(orphan.first_seen_at, now),
            ago(orphan.last_seen_at, now),
            detail("how"),
            detail("why"),
        ]);
    }
    listed(&table, list, "orphans")
}
