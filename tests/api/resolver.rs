//! The workers' part in an incident, played by the store's own functions as think
//! and the resolvers call them.

use drover::model::{
    Channel, Deed, Incident, IncidentId, IncidentKind, IncidentState, Opening, OperationKind,
    OperationState, PublicId, RowId, Severity,
};
use drover::store::incidents;
use drover::store::leases::Fence;
use drover::store::operations::{self, NewOperation};
use drover::store::outbox::{self, NewMessage};
use drover::store::runs::{self, Run};
use drover_tests::{records, sql};
use serde_json::{Value, json};

use crate::world::{Answer, Deployment};

/// What think does when it finds something wrong.
pub async fn open(
    drover: &Deployment,
    subject: Option<&str>,
    kind: IncidentKind,
) -> Option<IncidentId> {
    let subject = subject.map(|id| id.parse::<PublicId>().unwrap().id);
    let reason = "port 5432: refused".into();
    let opening = Opening { kind, reason };
    records::opened(&drover.pool, subject, &opening, "think@test").await
}

/// The same of a subject that has none like it open.
pub async fn opened(drover: &Deployment, subject: &str, kind: IncidentKind) -> IncidentId {
    open(drover, Some(subject), kind).await.unwrap()
}

/// What a resolver does: reads the incident and writes it back otherwise. Tells
/// whether nobody came between.
pub async fn turn(drover: &Deployment, id: IncidentId, change: impl FnOnce(&mut Incident)) -> bool {
    let mut db = drover.pool.begin().await.unwrap();
    let mut incident = incidents::load(&mut db, id).await.unwrap().unwrap();
    change(&mut incident);
    let saved = incidents::save(&mut db, &incident).await.unwrap();
    db.commit().await.unwrap();
    saved
}

pub async fn load(drover: &Deployment, id: IncidentId) -> Incident {
    let mut db = drover.pool.acquire().await.unwrap();
    incidents::load(&mut db, id).await.unwrap().unwrap()
}

/// What an operator does.
pub async fn act(drover: &Deployment, id: IncidentId, body: Value) -> Answer {
    let path = format!("/v1/incidents/{}/actions", id.public());
    drover.post(&path, &body).await
}

/// Puts the incident's next turn far off; tells later whether it was brought here.
pub async fn put_off(drover: &Deployment, id: IncidentId) {
    let sql = "update apalis.jobs set run_at = now() + interval '1 hour' where id = $1";
    sql::run(&drover.pool, sql, [id]).await;
}

/// `None`: it has no token any more.
pub async fn is_due(drover: &Deployment, id: IncidentId) -> Option<bool> {
    let sql = "select run_at <= now() from apalis.jobs where id = $1";
    let due = sql::scalars(&drover.pool, sql, [id]).await;
    due.first().copied()
}

/// What a resolve worker does when it starts.
pub async fn publish(drover: &Deployment) {
    let book = json!({
        "kind": "host_key_changed",
        "title": "a server shows another host key than the pinned one",
        "opened_when": "the pinned host key does not match",
        "severity": "error",
        "budget": {"attempts": 0, "deadline": 60.0},
        "blast_radius": "nothing", "looks_round": false,
        "remedies": [], "undo": null, "tells": "page",
    });
    let down = json!({
        "kind": "resource_down",
        "title": "a database does not answer, though its server does",
        "opened_when": "the resource is unavailable and its server is available",
        "severity": "critical",
        "budget": {"attempts": 4, "deadline": 180.0},
        "blast_radius": "resource", "looks_round": true,
        "remedies": [{
            "name": "restart_fast", "does": "restart the cluster", "attempts": 2, "settle": 20.0,
            "steps": [{"name": "look", "limit": 8.0}, {"name": "restart", "limit": 25.0}],
        }],
        "undo": {
            "name": "put_back", "does": "take it back", "attempts": 1, "settle": 1.0,
            "steps": [{"name": "put", "limit": 8.0}],
        },
        "tells": "ticket_and_page",
    });
    let books = [
        ("host_key_changed".into(), book),
        ("resource_down".into(), down),
    ];
    let mut db = drover.pool.acquire().await.unwrap();
    let published = drover::store::resolvers::publish(&mut db, &books).await;
    published.unwrap();
}

/// A resource's incident after one attempt in vain: a human was called, and one
/// of the two messages got nowhere.
pub async fn escalated(drover: &Deployment, db: &str) -> IncidentId {
    let id = opened(drover, db, IncidentKind::ResourceDown).await;
    let mut tx = drover.pool.begin().await.unwrap();
    let subject = db.parse::<PublicId>().unwrap().id;
    let incident = incidents::load(&mut tx, id).await.unwrap().unwrap();
    let new = NewOperation {
        subject: Some(subject),
        kind: OperationKind::Restart,
        params: json!({"how": "fast"}),
        asked_by: id.public(),
        reason: None,
        not_before: None,
    };
    let remedy = operations::Remedy {
        incident: &incident,
        name: "restart_fast",
        attempt: 1,
    };
    let operation = operations::open_for(&mut tx, &new, remedy).await.unwrap();
    for (step, outcomes) in [
        ("mark", vec!["done"]),
        ("restart", vec!["again", "again", "failed"]),
    ] {
        for outcome in outcomes {
            let run = Run {
                run: RowId::generate(),
                operation,
                incident: Some(id),
                subject: Some(subject),
                worker: "resolve@test".into(),
                fence: Some(Fence(1)),
                resolver: "resource_down".into(),
                remedy: "restart_fast".into(),
                step,
                attempt: 1,
            };
            runs::begun(&mut tx, &run).await.unwrap();
            let touched = ["cluster 15/app on there".to_owned()];
            let detail = "it \u{1b}[31mwould not";
            let ended = runs::ended(&mut tx, &run, outcome, &touched, detail).await;
            ended.unwrap();
        }
    }
    let failed = OperationState::Failed;
    let ended = operations::end(&mut tx, operation, failed, "resolve@test", "in vain").await;
    ended.unwrap();
    tx.commit().await.unwrap();
    let mut tx = drover.pool.begin().await.unwrap();
    for channel in [Channel::Ticket, Channel::Page] {
        let new = NewMessage {
            incident: id,
            channel,
            action: Deed::Trigger,
            severity: Severity::Critical,
            summary: "app: resource_down".into(),
            detail: json!({}),
        };
        outbox::write(&mut tx, &new).await.unwrap();
    }
    for sql in [
        "update outbox set state = 'delivered', attempts = 1, settled_at = created_at
             + interval '1.5 s', delivered_by = 'webhook', reference = '4711'
         where channel = 'ticket'",
        "update outbox set state = 'dead', attempts = 3, settled_at = now(),
             last_error = 'PagerDuty answered 403' where channel = 'page'",
    ] {
        sql::run(&mut *tx, sql, ()).await;
    }
    tx.commit().await.unwrap();
    let human = turn(drover, id, |i| {
        i.state = IncidentState::NeedsHuman;
        i.attempts = 1;
        i.paged_at = Some(i.opened_at);
        i.ticketed_at = Some(i.opened_at);
    });
    assert!(human.await);
    id
}
