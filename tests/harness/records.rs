//! Servers and resources as they are adopted, where it does not matter which, and the
//! workers' part in what becomes of them, played by the store's own functions.

use drover::model::{
    Evidence, IncidentId, IncidentKind, Kind, Opening, OperationId, OperationKind, OperationState,
    RequireAuth, SecretKey, SubjectId, TlsMode, secret,
};
use drover::store::operations::{self, Fact, NewOperation};
use drover::store::subjects::{self, NewResource, NewServer};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::sql;

/// The key of these tests.
pub const SECRET_KEY: &str = "dGhlIHRlc3RzIGtleSwgdGhpcnR5LXR3byBieXRlcyE=";

/// The same, to seal and open with.
pub fn key() -> SecretKey {
    SecretKey::from_base64(SECRET_KEY).expect("32 bytes")
}

/// A server at this address.
pub fn new_server(name: &str, address: &str) -> NewServer {
    NewServer {
        name: name.into(),
        tier: "standard".into(),
        address: address.into(),
        ssh_port: 22,
        ssh_user: "postgres".into(),
        ssh_key: None,
        host_key: Some("ssh-ed25519 AAAA".into()),
        instance: None,
        zone: None,
    }
}

/// The database `app` of a cluster on a server.
pub fn new_resource(server_id: SubjectId, name: &str) -> NewResource {
    NewResource {
        name: name.into(),
        tier: "standard".into(),
        server_id,
        port: 5432,
        database: "app".into(),
        role: "drover".into(),
        password: secret("not a password of anything"),
        tls_mode: TlsMode::Prefer,
        tls_root_cert: None,
        require_auth: RequireAuth::ScramSha256,
        plan: "standard".into(),
    }
}

/// What an incident of this kind is about; `None`: the herd.
pub fn subject_of(kind: IncidentKind) -> Option<Kind> {
    let of_a_server = [IncidentKind::ServerDown, IncidentKind::HostKeyChanged];
    if kind.profile().evidence == Evidence::Herd {
        None
    } else if of_a_server.contains(&kind) {
        Some(Kind::Server)
    } else {
        Some(Kind::Resource)
    }
}

/// Adopts a resource.
pub async fn adopt(pool: &PgPool, new: &NewResource) -> SubjectId {
    let mut tx = pool.begin().await.expect("a transaction");
    let id = subjects::adopt_resource(&mut tx, &key(), new).await;
    tx.commit().await.expect("committed");
    id.expect("adopted")
}

/// What think does when it finds something wrong; `None`: nothing new.
pub async fn opened(
    pool: &PgPool,
    subject: Option<SubjectId>,
    opening: &Opening,
    by: &str,
) -> Option<IncidentId> {
    let mut tx = pool.begin().await.expect("a transaction");
    let opened = drover::store::incidents::open(&mut tx, subject, opening, by).await;
    tx.commit().await.expect("committed");
    opened.expect("opened")
}

/// What a worker writes down behind an operation's last step.
pub async fn ended(pool: &PgPool, operation: OperationId) {
    let mut tx = pool.begin().await.expect("a transaction");
    let done = OperationState::Done;
    let ended = operations::end(&mut tx, operation, done, "tester", "done").await;
    ended.expect("ended");
    tx.commit().await.expect("committed");
}

/// What a worker writes down when a follower takes the lead. Gives the operation.
pub async fn handed_over(
    pool: &PgPool,
    from: SubjectId,
    to: SubjectId,
    kind: OperationKind,
    detail: Value,
) -> OperationId {
    let new = NewOperation {
        subject: Some(from),
        kind,
        params: json!({}),
        asked_by: "tester".into(),
        reason: None,
        not_before: None,
    };
    let mut tx = pool.begin().await.expect("a transaction");
    let operation = operations::open(&mut tx, &new).await.expect("asked for");
    let operation = operation.expect("a new one");
    let fact = Fact::HandOver {
        to,
        customer: b"swordfish".to_vec(),
        replication: b"swordfish".to_vec(),
        by: (operation, kind),
        timeline: None,
        detail,
    };
    // Twice, as after a worker's death: the second time nothing is left to be done.
    for _ in 0..2 {
        let applied = operations::apply(&mut tx, from, &fact, "tester").await;
        applied.expect("applied");
    }
    tx.commit().await.expect("committed");
    ended(pool, operation).await;
    operation
}

/// What the record says of all operations and incidents, as it happened.
pub async fn timeline(pool: &PgPool) -> String {
    let sql = "select to_char(e.created_at, 'HH24:MI:SS.MS') || ' ' || o.kind || ': ' || e.text
         from operation_events e join operations o on o.id = e.operation_id
         where o.kind not in ('create_server', 'create_resource', 'create_follower',
                              'reconcile')
         union all
         select to_char(e.created_at, 'HH24:MI:SS.MS') || ' ' || i.kind || ': ' || e.text
         from incident_events e join incidents i on i.id = e.incident_id
         order by 1";
    let lines: Vec<String> = sql::scalars(pool, sql, ()).await;
    lines.join("\n")
}
