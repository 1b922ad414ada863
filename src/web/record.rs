//! How the record stands beside what the servers know, and how it is brought up to them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Web;
use super::act::{asker, who_and_why};
use super::body::Body;
use super::error::{ApiError, Result};
use super::operations::operation_view;
use super::params::{Params, public_id, unknown};
use crate::api::{AdoptRecord, Operation, Record, RecordDifference, RecordNode};
use crate::model::{Kind, OperationKind, PublicId, SubjectId};
use crate::store;
use crate::store::old_record::{self, Group, Leads, NodeSeen};
use crate::store::operations::{self, NewOperation};
use crate::store::subjects;

/// More leaders than this are not named at once.
const MOST: usize = 1000;

/// Everything below `/v1/record`.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/", get(show))
        .route("/adopt", post(adopt))
}

async fn show(State(web): State<Web>, params: Params) -> Result<Json<Record>> {
    params.only(&[])?;
    // One snapshot: the parts have to fit each other.
    let mut db = store::snapshot(&web.pool).await?;
    let record = Record {
        deployment: old_record::deployment(&mut db).await?.to_string(),
        hosted_by: {
            let found = old_record::hosted_by(&mut db).await?;
            found.map(|id| PublicId::new(Kind::Resource, id))
        },
        doubt: old_record::doubt(&mut db).await?,
        differences: {
            let groups = old_record::compare(&mut db, &[]).await?;
            groups.into_iter().map(difference).collect()
        },
    };
    db.rollback().await?;
    Ok(Json(record))
}

fn difference(group: Group) -> RecordDifference {
    let id = |id: SubjectId| PublicId::new(Kind::Resource, id);
    let (leads, why) = match group.leads {
        Leads::AsRecorded => (Some(id(group.leader)), None),
        Leads::Another(other) => (Some(id(other)), None),
        Leads::NotKnown(why) => (None, Some(why)),
    };
    let node = |node: NodeSeen| RecordNode {
        id: id(node.id),
        name: node.name,
        takes_writes: node.takes_writes,
        epoch: node.epoch,
        recorded_epoch: node.recorded,
    };
    RecordDifference {
        leader: id(group.leader),
        name: group.name,
        leads,
        why,
        nodes: group.nodes.into_iter().map(node).collect(),
    }
}

async fn adopt(State(web): State<Web>, body: Body) -> Result<(StatusCode, Json<Operation>)> {
    let asked = read(&body)?;
    let leaders: Vec<SubjectId> = asked.leaders.iter().map(|leader| leader.id).collect();
    let new = NewOperation {
        params: json!({ "leaders": leaders, "copy": asked.copy }),
        reason: asked.reason,
        ..NewOperation::new(None, OperationKind::AdoptRecord, asker(asked.by))
    };
    let mut db = web.pool.begin().await?;
    for leader in &asked.leaders {
        let found = subjects::find(&mut db, leader.kind, leader.id).await?;
        found.ok_or_else(|| unknown(*leader))?;
    }
    let id = operations::open(&mut db, &new).await?;
    let id = id.ok_or_else(|| {
        let message = "the record is being adopted already: drover operations shows it";
        ApiError::conflict("busy", message)
    })?;
    let shown = operation_view(&mut db, id).await?;
    db.commit().await?;
    tracing::warn!(operation = %id.public(), by = %new.asked_by, "the record is to be adopted");
    Ok((StatusCode::ACCEPTED, Json(shown)))
}

/// Reads what a person says of the record.
///
/// # Errors
/// If a leader is no resource, or a copy is said to have leaders.
pub fn read(body: &Body) -> Result<AdoptRecord> {
    body.only(&["leaders", "copy", "reason", "by"])?;
    let wrong = |why: &str| ApiError::invalid("leaders", format!("leaders {why}"));
    let leaders = match body.value("leaders") {
        None | Some(Value::Null) => vec![],
        Some(Value::Array(all)) if all.len() > MOST => return Err(wrong("are too many")),
        Some(Value::Array(all)) => {
            let each = all.iter().map(|one| match one.as_str() {
                Some(text) => public_id("leaders", text),
                None => Err(wrong("must be ids: db_…")),
            });
            each.collect::<Result<Vec<PublicId>>>()?
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            return Err(wrong("must be a list of ids"));
        }
    };
    if leaders.iter().any(|leader| leader.kind != Kind::Resource) {
        return Err(wrong("must be databases: db_…"));
    }
    let copy = body.flag("copy")?;
    if copy && !leaders.is_empty() {
        return Err(wrong("are the other deployment's, of which this is a copy"));
    }
    let (by, reason) = who_and_why(body)?;
    Ok(AdoptRecord {
        leaders,
        copy,
        reason,
        by,
    })
}
