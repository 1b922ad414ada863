//! `drover orphans`: what the clouds have that is nobody's.

use chrono::{DateTime, Utc};
use drover::client::Client;
use serde_json::Value;

use super::table::{ago, items, listed, text, with_header};
use super::{Failure, answer};

/// Lists them.
pub async fn list(client: &Client, json: bool) -> Result<(), Failure> {
    let list = client.get("/v1/orphans").await?;
    answer(&list, json, |list| shown(list, Utc::now()))
}

fn shown(list: &Value, now: DateTime<Utc>) -> String {
    let header = [
        "ORPHAN",
        "SORT",
        "CLOUD",
        "REGION",
        "SEEN FIRST",
        "LAST",
        "HOW",
        "WHY",
    ];
    let mut table = with_header(&header);
    for orphan in items(list) {
        table.add_row(vec![
            text(&orphan["id"]),
            text(&orphan["sort"]),
            text(&orphan["cloud"]),
            text(&orphan["region"]),
            ago(&orphan["first_seen_at"], now),
            ago(&orphan["last_seen_at"], now),
            text(&orphan["detail"]["how"]),
            text(&orphan["detail"]["why"]),
        ]);
    }
    listed(&table, list, "orphans")
}
