//! What is append-only, the database itself keeps so.

use drover::model::State;
use drover::store::queue::{self, Queue};

use super::herd::{Herd, seen_well, thought};
use drover_tests::sql;

#[tokio::test(flavor = "multi_thread")]
async fn observations_and_transitions_cannot_be_changed() {
    let herd = Herd::of(0).await;
    let mut db = herd.pool.acquire().await.unwrap();
    let lock = herd.claim("a", Queue::Feel).await.unwrap();
    queue::commit_feels(&mut db, &[seen_well(lock)])
        .await
        .unwrap();
    let lock = herd.claim("t", Queue::Think).await.unwrap();
    let change = Some((State::Uncertain, State::Available));
    queue::commit_thinks(&mut db, &[thought(lock, change)])
        .await
        .unwrap();
    let sql = "select 'observations_' || to_char(now() at time zone 'UTC', 'YYYYMMDD')";
    let today: String = sql::scalar(&herd.pool, sql, ()).await;
    for table in ["observations", &today, "transitions"] {
        for statement in [
            format!("update {table} set worker = 'x'"),
            format!("delete from {table}"),
            format!("truncate {table}"),
        ] {
            let refused = sqlx::query(sqlx::AssertSqlSafe(statement.clone()))
                .execute(&herd.pool)
                .await
                .expect_err(&statement);
            assert!(
                refused.to_string().contains("append-only"),
                "{statement}: {refused}"
            );
        }
    }
    assert_eq!(
        (herd.observations().await, herd.transitions().await),
        (1, 1)
    );
}
