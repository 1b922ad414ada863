//! Whoever is dropped while it begins a transaction leaves none behind.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use drover::store;
use drover_tests::{Postgres, sql};
use sqlx::PgPool;

/// So many, each of whom goes a little later than the one before; then from the start again.
const CALLERS: u32 = 200;

/// What the next one writes would be lost with that transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_leaves_no_transaction_open() {
    drover_tests::init();
    let postgres = Postgres::start(&[]).unwrap();
    let (url, _) = postgres.database("begun").await.unwrap();
    let pool = store::connect(&url, 1).await.unwrap();
    for polls in 0..CALLERS {
        {
            let mut begins = pin!(pool.begin());
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
