//! What is append-only, the database itself keeps so.

use drover::model::State;
use drover::store::queue::Queue;

use super::herd::{Herd, feels, thinks, thought};
use drover_tests::sql;

#[tokio::test(flavor = "multi_thread")]
async fn observations_and_transitions_cannot_be_changed() {
    let herd = Herd::of(0).await;
    let mut db = herd.pool.acquire().await.unwrap();
    let lock = herd.claim("a", Queue::Feel).await.unwrap();
    feels(&mut db, lock).await;
    let lock = herd.claim("t", Queue::Think).await.unwrap();
    let change = Some((State::Uncertain, State::Available));
    thinks(&mut db, thought(lock, change)).await;
    let sql = "select 'observations_' || to_char(now() at time zone 'UTC', 'YYYYMMDD')";
    let today: String = sql::scalar(&herd.pool, sql, ()).await;
    for table in ["observations", &today, "transitions"] {
        let statements = [
            format!("update {table} set worker = 'x'"),
            format!("delete from {table}"),
            format!("truncate {table}"),
        ];
        sql::cannot_be_changed(&herd.pool, &statements.each_ref().map(String::as_str)).await;
    }
    assert_eq!(
        (herd.observations().await, herd.transitions().await),
        (1, 1)
    );
}
