//! The clock finds what is missing, gone or stuck, and keeps the days.

use std::time::Duration;

use drover::config::ClockConfig;
use drover::store::partitions;
use drover::store::queue::{self, Mended, Queue};
use drover_tests::sql;
use tokio_util::sync::CancellationToken;

use super::herd::Herd;

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_ring_is_left_alone() {
    let herd = Herd::of(5).await;
    herd.claim("a", Queue::Feel).await.unwrap();
    let mut db = herd.pool.acquire().await.unwrap();
    assert_eq!(queue::keep(&mut db).await.unwrap(), Mended::default());
    herd.assert_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_ring_is_mended_by_a_running_clock() {
    let herd = Herd::of(5).await;
    let missing = herd.ids[1].to_string();
    let sql = "delete from apalis.jobs where id = $1";
    sql::run(&herd.pool, sql, [&missing]).await;
    let sql = "insert into apalis.jobs (id, job_type, job, status)
         values ('01ARZ3NDEKTSV4RRFFQ69G5FAV', 'feel', '{}', 'Pending')";
    sql::run(&herd.pool, sql, ()).await;
    let stuck = herd.claim("alive-but-stuck", Queue::Feel).await.unwrap();
    let sql = "update apalis.jobs set lock_at = now() - interval '3 minutes' where id = $1";
    sql::run(&herd.pool, sql, [stuck.token]).await;
    let stop = CancellationToken::new();
    let config = ClockConfig { retention_days: 14 };
    let clocks: Vec<_> = (0..2)
        .map(|_| {
            tokio::spawn(drover::clock::run(
                herd.pool.clone(),
                config.clone(),
                stop.clone(),
            ))
        })
        .collect();
    let held = || async {
        let held: i64 =
            sqlx::query_scalar("select count(*) from apalis.jobs where status = 'Queued'")
                .fetch_one(&herd.pool)
                .await?;
        Ok(if held == 0 {
            Ok(())
        } else {
            Err(format!("{held} still held"))
        })
    };
    drover_tests::until("the stuck token freed", Duration::from_secs(10), held)
        .await
        .unwrap();
    herd.assert_whole().await;
    let mut db = herd.pool.acquire().await.unwrap();
    assert_eq!(queue::keep(&mut db).await.unwrap(), Mended::default());
    stop.cancel();
    for clock in clocks {
        clock.await.unwrap().unwrap();
    }
    assert_nobody_leads(&herd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_stopped_as_it_takes_the_lead_does_not_keep_it() {
    let herd = Herd::of(0).await;
    for n in 0..100 {
        let stop = CancellationToken::new();
        let clock = tokio::spawn(drover::clock::run(
            herd.pool.clone(),
            ClockConfig { retention_days: 14 },
            stop.clone(),
        ));
        tokio::time::sleep(Duration::from_micros(50 * n)).await;
        stop.cancel();
        clock.await.unwrap().unwrap();
        assert_nobody_leads(&herd).await;
    }
}

/// In this herd's database: other tests' are in the same cluster. PostgreSQL
/// lets go a moment after the connection was closed.
async fn assert_nobody_leads(herd: &Herd) {
    let given_up = || async {
        let locks: i64 = sqlx::query_scalar(
            "select count(*) from pg_locks where locktype = 'advisory'
               and database = (select oid from pg_database where datname = current_database())",
        )
        .fetch_one(&herd.pool)
        .await?;
        Ok(if locks == 0 {
            Ok(())
        } else {
            Err(format!("{locks} still held"))
        })
    };
    drover_tests::until("the lead given up", Duration::from_secs(10), given_up)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn days_are_made_ahead_and_dropped_when_old() {
    let herd = Herd::of(0).await;
    let mut db = herd.pool.acquire().await.unwrap();
    assert_eq!(
        partitions::create_ahead(&mut db).await.unwrap(),
        0,
        "migrate made them"
    );
    let sql = "select create_observations_day((now() at time zone 'UTC')::date - n) from generate_series(13, 16) n";
    sql::run(&herd.pool, sql, ()).await;
    let dropped = partitions::drop_old(&mut db, 14).await.unwrap();
    assert_eq!(dropped.len(), 2, "days 15 and 16 went: {dropped:?}");
    assert!(partitions::drop_old(&mut db, 14).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_while_no_day_stood_ready_moves_to_its_day() {
    let herd = Herd::of(0).await;
    let mut db = herd.pool.acquire().await.unwrap();
    let in_ten_days = "now() + interval '10 days'";
    for n in 0..3 {
        sql::run(
            &mut *db,
            sqlx::AssertSqlSafe(format!(
                "insert into observations (id, created_at, subject_id, worker, feelers, attributes)
             values ('{n}', {in_ten_days}, 'x', 'w', 1, '{{\"service_available\": true}}')"
            )),
            (),
        )
        .await;
    }
    let strays = "select count(*) from observations_default";
    let count: i64 = sql::scalar(&mut *db, strays, ()).await;
    assert_eq!(count, 3);
    let sql = "select create_observations_day((now() at time zone 'UTC')::date + n) from generate_series(8, 11) n";
    sql::run(&mut *db, sql, ()).await;
    let count: i64 = sql::scalar(&mut *db, strays, ()).await;
    assert_eq!(count, 0);
    assert_eq!(herd.observations().await, 3, "none was lost");
    for table in ["observations", "observations_default"] {
        let truncate = sqlx::AssertSqlSafe(format!("truncate {table}"));
        let refused = sqlx::query(truncate).execute(&mut *db).await.unwrap_err();
        assert!(
            refused.to_string().contains("append-only"),
            "{table}: {refused}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_analysed_as_it_fills_and_an_empty_one_never() {
    let herd = Herd::of(0).await;
    sqlx::raw_sql("alter system set autovacuum = off")
        .execute(&herd.pool)
        .await
        .unwrap();
    sqlx::raw_sql("select pg_reload_conf()")
        .execute(&herd.pool)
        .await
        .unwrap();
    let stop = CancellationToken::new();
    let config = ClockConfig { retention_days: 14 };
    let clock = tokio::spawn(drover::clock::run(herd.pool.clone(), config, stop.clone()));
    for rows in [5_000, 20_000] {
        let sql = "insert into observations (id, subject_id, worker, feelers, attributes)
             select 'o-' || $1 || n, 's-' || n, 'w', 1, '{}' from generate_series(1, $1) n";
        sql::run(&herd.pool, sql, [rows]).await;
        let known = || async {
            let known: Vec<(String, f32)> = sqlx::query_as(
                "select relname::text, reltuples from pg_class
                 where relname ~ '^observations_.*[0-9t]$' and relkind = 'r' order by 1",
            )
            .fetch_all(&herd.pool)
            .await?;
            let unknown = known.iter().filter(|(_, n)| *n < 0.0).count();
            Ok(if known.iter().any(|(_, n)| *n >= rows as f32) {
                Ok((unknown, known.len()))
            } else {
                Err(format!("{known:?}"))
            })
        };
        let ((unknown, all), _) =
            drover_tests::until("the rows known", Duration::from_secs(30), known)
                .await
                .unwrap();
        assert_eq!(unknown, all - 1, "the others are empty");
    }
    stop.cancel();
    clock.await.unwrap().unwrap();
}
