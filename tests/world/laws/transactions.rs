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

/// What a role or a database have set is for others.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_drovers_own_settings() {
    drover_tests::init();
    let postgres = Postgres::start(&[]).unwrap();
    let (url, pool) = postgres.database("odd").await.unwrap();
    for sql in [
        "alter database odd set search_path = nowhere",
        "alter database odd set default_transaction_isolation = serializable",
        "alter database odd set statement_timeout = '1ms'",
    ] {
        sql::run(&pool, sql, ()).await;
    }
    let pool = store::connect(&url, 1).await.unwrap();
    for (sql, own) in [
        ("show search_path", "public"),
        ("show transaction_isolation", "read committed"),
        ("show statement_timeout", "0"),
    ] {
        let value: String = sql::scalar(&pool, sql, ()).await;
        assert_eq!(value, own, "{sql}");
    }
}

/// A session that began while the control database took no writes takes none for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_may_not_write_is_not_used_again() {
    drover_tests::init();
    let postgres = Postgres::start(&[]).unwrap();
    let (url, other) = postgres.database("read_only").await.unwrap();
    let sql = "alter database read_only set default_transaction_read_only = on";
    sql::run(&other, sql, ()).await;
    let pool = store::connect(&url, 1).await.unwrap();
    let read_only = "show transaction_read_only";
    let value: String = sql::scalar(&pool, read_only, ()).await;
    assert_eq!(value, "on");
    let sql = "set default_transaction_read_only = off";
    sql::run(&other, sql, ()).await;
    let sql = "alter database read_only reset default_transaction_read_only";
    sql::run(&other, sql, ()).await;
    for _ in 0..3 {
        // The one that is given back while it is on is looked at behind its use.
        let value: String = sql::scalar(&pool, read_only, ()).await;
        if value == "off" {
            return;
        }
    }
    panic!("it still may not write");
}

async fn number(pool: &PgPool) -> String {
    sql::scalar(pool, "select pg_current_xact_id()::text", ()).await
}
