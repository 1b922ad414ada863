//! What is open while a new version starts goes on.

use drover::model::{OperationId, OperationKind};
use drover_jobs::resolve::operations as kinds;

use super::herd::Herd;

/// The migration that names the step of each open operation.
const STEPS_BY_NAME: i64 = 11;

/// A record as the version before left it: the number of a step is its place, and its
/// name that of the step which was begun last.
async fn before_it(herd: &Herd, rows: &[(OperationKind, i16, &str)]) {
    sqlx::query("delete from _sqlx_migrations where version = $1")
        .bind(STEPS_BY_NAME)
        .execute(&herd.pool)
        .await
        .unwrap();
    for (kind, step, begun) in rows {
        sqlx::query(
            "insert into operations (id, kind, step, step_name, step_since, asked_by)
             values ($4, $1, $2, $3, now() - interval '1 hour', 'test')",
        )
        .bind(kind.as_str())
        .bind(step)
        .bind(begun)
        .bind(OperationId::generate().to_string())
        .execute(&herd.pool)
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_in_mid_step_goes_on_at_the_step_that_was_next() {
    let herd = Herd::of(0).await;
    let rows = [
        // Not begun.
        (OperationKind::Grow, 0, "queued"),
        // At work.
        (OperationKind::Restart, 1, "restart"),
        // Between two steps: the next one has not begun.
        (OperationKind::StopStart, 3, "stop"),
        (OperationKind::CreateFollower, 8, "first_look"),
        // Sent back by a step.
        (OperationKind::Resize, 3, "start"),
    ];
    before_it(&herd, &rows).await;
    drover::store::migrate(&herd.pool).await.unwrap();
    let after: Vec<(String, String, bool)> = sqlx::query_as(
        "select kind, step_name, step_since < now() - interval '1 minute' from operations
         order by kind",
    )
    .fetch_all(&herd.pool)
    .await
    .unwrap();
    let after: Vec<(&str, &str, bool)> = after
        .iter()
        .map(|(kind, step, old)| (kind.as_str(), step.as_str(), *old))
        .collect();
    assert_eq!(
        after,
        [
            ("create_follower", "names", false),
            ("grow", "queued", true),
            ("resize", "set_size", false),
            ("restart", "restart", true),
            // Only what is seen from now on says that it is started.
            ("stop_start", "start", false),
        ]
    );
    for (kind, step, _) in after {
        let steps = kinds::of(kind.parse().unwrap()).steps();
        let known = steps.iter().any(|known| known.name == step);
        assert!(
            known || step == "queued",
            "{kind} has no step {step} any more"
        );
    }
}
