//! The record is read as types, and what cannot be read is named.

use drover::store::scenes;

use super::herd::Herd;
use drover_tests::{Says, sql};

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_is_unknown_is_named_with_its_column() {
    let herd = Herd::of(1).await;
    let mut db = herd.pool.acquire().await.unwrap();
    for statement in [
        "alter table subjects drop constraint subjects_state_check",
        "update subjects set state = 'asleep'",
    ] {
        sql::run(&mut *db, statement, ()).await;
    }
    let error = scenes::load(&herd.pool, &herd.ids).await.unwrap_err();
    let error = error.to_string();
    error.says(["column \"state\"", "`asleep` is no State"]);
}
