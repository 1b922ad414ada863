//! What is open while a new version starts goes on.

use drover::model::{IncidentId, OperationId, OperationKind};
use drover_jobs::resolve::{incidents, operations as kinds};
use drover_tests::postgres::shared_empty_database;
use drover_tests::{Says, sql};
use sqlx::PgPool;

/// The migration before the one that names the step of each open operation.
const STEPS_BY_PLACE: i64 = 10;
/// The migration before the one that makes operations of remedies.
const REMEDIES_WITH_STEPS: i64 = 11;

/// A record as this migration left it.
async fn as_of(version: i64) -> PgPool {
    drover_tests::init();
    let (_, pool) = shared_empty_database().await.unwrap();
    drover::store::migrate_to(&pool, version).await.unwrap();
    pool
}

/// Has a few statements done.
async fn run(pool: &PgPool, sql: String) {
    sql::batch(pool, sqlx::AssertSqlSafe(sql)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_in_mid_step_goes_on_at_the_step_that_was_next() {
    let pool = as_of(STEPS_BY_PLACE).await;
    // The number of a step is its place, and its name that of the step begun last.
    for (kind, step, begun) in [
        // Not begun.
        ("grow", 0, "queued"),
        // At work.
        ("restart", 1, "restart"),
        // Between two steps: the next one has not begun.
        ("stop_start", 3, "stop"),
        ("create_follower", 8, "first_look"),
        // Sent back by a step.
        ("resize", 3, "start"),
    ] {
        let id = OperationId::generate();
        let sql = format!(
            "insert into operations (id, kind, step, step_name, step_since, asked_by)
             values ('{id}', '{kind}', {step}, '{begun}', now() - interval '1 hour', 'test')"
        );
        run(&pool, sql).await;
    }
    drover::store::migrate(&pool).await.unwrap();
    let sql = "select kind, step_name, step_since < now() - interval '1 minute' from operations
         order by kind";
    let after: Vec<(OperationKind, String, bool)> = sql::rows(&pool, sql, ()).await;
    let said: Vec<(&str, &str, bool)> = after
        .iter()
        .map(|(kind, step, old)| (kind.as_str(), step.as_str(), *old))
        .collect();
    assert_eq!(
        said,
        [
            ("create_follower", "names", false),
            ("grow", "queued", true),
            ("resize", "set_size", false),
            ("restart", "restart", true),
            // Only what is seen from now on says that it is started.
            ("stop_start", "start", false),
        ]
    );
    for (kind, step, _) in &after {
        knows(*kind, step);
    }
}

fn knows(kind: OperationKind, step: &str) {
    let steps = kinds::of(kind).steps();
    let known = step == "queued" || steps.iter().any(|known| known.name == step);
    assert!(known, "{kind} has no step {step} any more");
}

/// An incident of a server of its own, in the midst of a remedy: by place, as it was.
async fn incident(pool: &PgPool, kind: &str, (remedy, step): (i16, i16), memo: &str) -> IncidentId {
    let id = IncidentId::generate();
    let sql = format!(
        "insert into subjects (id, kind, name, state, origin, tier)
         values ('{id}', 'server', '{}', 'unavailable', 'adopted', 'standard');
         insert into incidents (id, subject_id, kind, state, reason, remedy, step, attempt,
                                attempts, deadline, memo)
         values ('{id}', '{id}', '{kind}', 'resolving', 'a test', {remedy}, {step}, 1, 1,
                 now() + interval '1 hour', '{memo}')",
        id.to_string().to_lowercase()
    );
    run(pool, sql).await;
    id
}

async fn asked_for(pool: &PgPool, id: IncidentId, kind: &str, step: &str) {
    let operation = OperationId::generate();
    let sql = format!(
        "insert into operations (id, subject_id, kind, step_name, step, asked_by, deadline)
         values ('{operation}', '{id}', '{kind}', '{step}', 1, 'inc_{id}',
                 now() + interval '1 hour')"
    );
    run(pool, sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_in_mid_step_goes_on_by_what_it_asks_for() {
    let pool = as_of(REMEDIES_WITH_STEPS).await;
    // A look, and nothing done yet: it is begun anew.
    let looking = incident(&pool, "resource_down", (1, 0), r#"{"clock": 1}"#).await;
    // Its server is stopped: whatever comes, it is started.
    let half = incident(&pool, "server_down", (2, 2), r#"{"half_done": true}"#).await;
    let volumes = r#"{"half_done": true, "volumes": ["vol-1"]}"#;
    let moving = incident(&pool, "volume_stuck", (1, 3), volumes).await;
    // Databases are read-only, and the disk is being cleared.
    let owed =
        r#"{"undo": true, "read_only": {"5432": {"of": "db", "setting": null}}, "slots": []}"#;
    let owing = incident(&pool, "disk_critical", (2, 1), owed).await;
    // It watches what it has asked for.
    let watching = incident(&pool, "resource_down", (2, 1), r#"{"failovers": ["x"]}"#).await;
    asked_for(&pool, watching, "failover", "promote").await;
    // It was to be moved, and will be.
    let planned = incident(&pool, "maintenance_scheduled", (0, 1), r#"{"undo": true}"#).await;
    asked_for(&pool, planned, "stop_start", "mark").await;

    drover::store::migrate(&pool).await.unwrap();
    type Row = (
        IncidentId,
        String,
        Option<String>,
        i16,
        serde_json::Value,
        Option<(OperationKind, String)>,
    );
    let mut after: Vec<Row> = Vec::new();
    for id in [looking, half, moving, owing, watching, planned] {
        let sql = "select state, remedy, attempt, memo from incidents where id = $1";
        let (state, remedy, attempt, memo): (String, Option<String>, i16, serde_json::Value) =
            sql::row(&pool, sql, [id]).await;
        let sql = "select kind, step_name from operations o
             where incident_id = $1 and remedy = $2 and attempt = $3 and state = 'open'
               and at_work and exists (select from apalis.jobs where id = o.id or o.asked_by = 'inc_' || $1)";
        let operation: Option<(OperationKind, String)> =
            sql::first(&pool, sql, (id, &remedy, attempt)).await;
        after.push((id, state, remedy, attempt, memo, operation));
    }
    type Said<'a> = (&'a str, &'a str, i16, Option<(&'a str, &'a str)>);
    let said: Vec<Said<'_>> = after
        .iter()
        .map(|(_, state, remedy, attempt, _, operation)| {
            let operation = operation.as_ref();
            (
                state.as_str(),
                remedy.as_deref().unwrap_or_default(),
                *attempt,
                operation.map(|(kind, step)| (kind.as_str(), step.as_str())),
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            ("waiting", "restart_immediate", 0, None),
            ("resolving", "stop_start", 1, Some(("stop_start", "start"))),
            ("resolving", "reattach", 1, Some(("reattach", "attach"))),
            ("waiting", "drop_slots", 0, None),
            ("resolving", "fail_over", 1, Some(("failover", "promote"))),
            ("resolving", "stop_start", 1, Some(("stop_start", "mark"))),
        ]
    );
    let memos: Vec<String> = after.iter().map(|row| row.4.to_string()).collect();
    assert_eq!(memos[0], "{}");
    memos[3].says(["read_only", "undo"]);
    assert!(!memos[3].contains("slots"), "{}", memos[3]);
    for (.., operation) in &after {
        if let Some((kind, step)) = operation {
            knows(*kind, step);
        }
    }
    for (_, _, remedy, ..) in &after {
        let name = remedy.as_deref().unwrap_or_default();
        let mut all = drover::model::IncidentKind::ALL.iter();
        let known = all.any(|kind| incidents::playbook(*kind).remedy(name).is_some());
        assert!(known, "no playbook has {name} any more");
    }
}
