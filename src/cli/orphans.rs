//! `drover orphans`: what the clouds have that is nobody's.

use chrono::{DateTime, Utc};
use drover::api::Orphan;

use super::table::{Columns, ago, json as data, text};
use super::{Failure, List, Session};

/// Lists them.
pub async fn list(to: &Session<'_>) -> Result<(), Failure> {
    to.list("/v1/orphans", |list| shown(list, Utc::now())).await
}

fn shown(list: &List<Orphan>, now: DateTime<Utc>) -> String {
    let detail = |orphan: &Orphan, name| orphan.detail.get(name).map_or("-".into(), data);
    Columns::of(list)
        .column("ORPHAN", |orphan| text(&orphan.id))
        .column("SORT", |orphan| text(&orphan.sort))
        .column("CLOUD", |orphan| text(orphan.cloud))
        .column("REGION", |orphan| text(&orphan.region))
        .column("FIRST SEEN", |orphan| ago(orphan.first_seen_at, now))
        .column("LAST SEEN", |orphan| ago(orphan.last_seen_at, now))
        .column("STATE", |orphan| detail(orphan, "how"))
        .column("WHY", |orphan| detail(orphan, "why"))
        .listed("orphans")
}
