//! Whoever is dropped while it begins a transaction leaves none behind.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use drover::store;
use drover_tests::sql;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::herd::Herd;

/// So many, each of whom goes a little later than the one before; then from the start again.
const CALLERS: u32 = 200;

/// What the next one writes would be lost with that transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_leaves_no_transaction_open() {
    let herd = Herd::of(0).await;
    let options = herd.pool.connect_options().as_ref().clone();
    let one = PgPoolOptions::new().max_connections(1);
    let pool = one.connect_with(options).await.unwrap();
    for polls in 0..CALLERS {
        {
            let mut begins = pin!(store::begin(&pool));
            let mut waker = Context::from_waker(Waker::noop());
            for _ in 0..polls % 50 {
                if begins.as_mut().poll(&mut waker).is_ready() {
                    break;
                }
                std::thread::sleep(Duration::from_micros(20));
            }
        }
        // Each statement is a transaction of its own.
        let (one, next) = (number(&pool).await, number(&pool).await);
        assert_ne!(one, next, "caller {polls} left a transaction open");
    }
}

async fn number(pool: &PgPool) -> String {
    sql::scalar(pool, "select pg_current_xact_id()::text", ()).await
}
