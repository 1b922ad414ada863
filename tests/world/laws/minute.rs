//! The ring's promise: every live subject is observed at least once a minute, whichever
//! worker is stopped, killed or started, and also as a new day begins.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use drover::model::{SubjectId, TlsMode};
use drover::store::queue::token_census;
use drover::store::subjects::NewResource;
use drover_tests::{Postgres, Processes, records, sql};
use sqlx::PgPool;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::herd::{SECRET_KEY, adopt, new_resource, new_server};

/// How many there are; one process can feel a tenth of them at once.
const RESOURCES: usize = 200;
/// How long each of them takes to answer: so there is always somebody at work.
const ANSWER: Duration = Duration::from_millis(500);
/// When a new day begins, while all are felt for the second time.
const MIDNIGHT: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_unseen_for_a_minute() {
    drover_tests::init();
    let postgres = Postgres::start(&[]).unwrap();
    let (url, pool) = postgres.database("minute").await.unwrap();
    herd(&pool, &postgres, RESOURCES, ANSWER).await;
    day_begins_in(&pool, MIDNIGHT).await;

    let logs = tempfile::tempdir().unwrap();
    let mut processes = processes(&url, logs.path());
    let began = Instant::now();
    for kind in ["clock", "feel", "feel", "think", "think"] {
        processes.start(kind).unwrap();
    }
    let watch = tokio::spawn(watch(pool.clone()));
    let at = |second| sleep_until(began + Duration::from_secs(second));

    // The second lap, which reaches from 34 s to 45 s.
    at(37).await;
    processes.kill_pid(processes.pids("feel")[0]).unwrap();
    processes.start("feel").unwrap();
    at(38).await;
    assert_eq!(processes.kill("think").unwrap(), 2);
    at(41).await;
    assert_eq!(processes.kill("feel").unwrap(), 2);
    processes.start("feel").unwrap();
    processes.start("feel").unwrap();
    at(44).await;
    processes.start("think").unwrap();
    // The third.
    at(72).await;
    processes.terminate("feel").unwrap();
    processes.start("feel").unwrap();
    processes.terminate("think").unwrap();
    processes.start("think").unwrap();
    at(84).await;
    assert_eq!(processes.ended(), Vec::<String>::new());

    held(watch, &processes).await;
    let (laps, days, gap) = laps(&pool).await;
    eprintln!("{laps} laps at least, {gap:.1} s without an observation at most");
    assert!(laps >= 2, "{laps} laps");
    assert_eq!(days, 2, "partitions written to");
    assert!(gap < 60.0, "{gap} s without an observation");
}

/// One third of the herd is known to be silent: so many that, beside each other in one
/// process's slots, they would keep the others waiting for longer than a minute.
const SILENT: u8 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_third_that_is_silent_keeps_nobody_waiting() {
    drover_tests::init();
    let postgres = Postgres::start(&[]).unwrap();
    let (url, pool) = postgres.database("minute").await.unwrap();
    herd(&pool, &postgres, usize::from(SILENT) * 2, Duration::ZERO).await;
    // Connections are taken, and nobody ever says a word on them.
    let silence = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    for n in 0..SILENT {
        let mut new = new_server(&format!("silent-{n}"), &format!("127.77.254.{n}"));
        new.ssh_port = silence.local_addr().unwrap().port();
        adopt(&pool, &new).await.unwrap();
    }
    let known = "update subjects set state = 'unavailable' where name like 'silent-%';
         update apalis.jobs set job_type = 'silent'
         where id in (select id from subjects where state = 'unavailable')";
    sql::batch(&pool, known).await;

    let logs = tempfile::tempdir().unwrap();
    let mut processes = processes(&url, logs.path());
    let watch = tokio::spawn(watch(pool.clone()));
    for kind in ["clock", "feel", "think"] {
        processes.start(kind).unwrap();
    }
    sleep(Duration::from_secs(100)).await;
    held(watch, &processes).await;
    let (laps, _, gap) = laps(&pool).await;
    let sql = "select count(*) from subjects s
         where not exists (select from observations o where o.subject_id = s.id)";
    let unseen: i64 = sql::scalar(&pool, sql, ()).await;
    eprintln!("{laps} laps at least, {gap:.1} s without an observation at most");
    assert!(laps >= 2 && unseen == 0, "{laps} laps, {unseen} unseen");
    assert!(gap < 60.0, "{gap} s without an observation");
}

/// Workers with few slots.
fn processes(url: &str, logs: &Path) -> Processes {
    std::fs::set_permissions(logs, PermissionsExt::from_mode(0o755)).unwrap();
    let keys = logs.join("keys");
    drover_tests::postgres::owned_dir(&keys).unwrap();
    let key = keys.join("key");
    drover_tests::postgres::ssh_key(&key).unwrap();
    let environment = [
        ("DROVER_SSH_KEY_FILE", key.to_str().unwrap()),
        ("DATABASE_URL", url),
        ("DROVER_SECRET_KEY", SECRET_KEY),
        ("DROVER_CONCURRENCY", "20"),
        ("DROVER_RULES", r#"{"cadence":{"available":"38s"}}"#),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Processes::new(BTreeMap::from(environment), logs.to_owned())
}

/// Looks twice a second; ends when the promise is broken.
async fn watch(pool: PgPool) -> String {
    loop {
        let mut db = pool.acquire().await.unwrap();
        let census = token_census(&mut db).await.unwrap();
        if census.oldest_observation_s.is_none_or(|age| age >= 60.0) || census.astray > 0 {
            return format!("{census:?}");
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// The promise was not broken up to now.
async fn held(watch: JoinHandle<String>, processes: &Processes) {
    watch.abort();
    match watch.await {
        Ok(seen) => panic!("{seen}\n{}", processes.logs()),
        Err(stopped) => assert!(stopped.is_cancelled(), "{stopped}"),
    }
}

/// The fewest observations of a subject, the partitions they are in, and the longest
/// that any subject was without one.
async fn laps(pool: &PgPool) -> (i64, i64, f64) {
    let sql = "select (select min(n) from (select count(*) as n from observations o
                                     join resources r on r.id = o.subject_id
                                     group by subject_id) x),
                (select count(distinct tableoid) from observations),
                (select extract(epoch from max(next - created_at))::float8 from (
                     select created_at, lead(created_at, 1, now())
                         over (partition by subject_id order by created_at) as next
                     from observations) x)";
    sql::row(pool, sql, ()).await
}

/// A server, and on it, as it seems, many clusters: all of them this very PostgreSQL.
async fn herd(pool: &PgPool, postgres: &Postgres, resources: usize, answer: Duration) {
    let server = adopt(pool, &new_server("srv", "127.0.0.1")).await.unwrap();
    for n in 0..resources {
        let port = slow_door(([127, 0, 0, 1], postgres.port).into(), answer).await;
        resource(pool, server, n, port).await;
    }
}

async fn resource(pool: &PgPool, server: SubjectId, n: usize, port: u16) {
    let new = NewResource {
        port,
        database: "minute".into(),
        tls_mode: TlsMode::Disable,
        ..new_resource(server, &format!("db-{n}"))
    };
    records::adopt(pool, &new).await;
}

/// A port that leads there, for those who have patience.
async fn slow_door(to: SocketAddr, answer: Duration) -> u16 {
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = door.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut guest, _)) = door.accept().await {
            tokio::spawn(async move {
                sleep(answer).await;
                let mut host = TcpStream::connect(to).await?;
                tokio::io::copy_bidirectional(&mut guest, &mut host).await
            });
        }
    });
    port
}

/// Divides today's partition, as if midnight were soon: real partitions, of which the
/// second is new and empty when the ring comes to it. Nothing to do where midnight is.
async fn day_begins_in(pool: &PgPool, wait: Duration) {
    let divide = format!(
        "do $$
         declare
             today date := (now() at time zone 'UTC')::date;
             turn timestamptz := now() + interval '{} s';
             part text := 'observations_' || to_char(today, 'YYYYMMDD');
         begin
             if (turn at time zone 'UTC')::date > today then return; end if;
             execute format('drop table %I', part);
             execute format(
                 'create table observations_before partition of observations
                  for values from (%L) to (%L)', today::timestamp at time zone 'UTC', turn);
             execute format(
                 'create table %I partition of observations for values from (%L) to (%L)',
                 part, turn, (today + 1)::timestamp at time zone 'UTC');
         end $$",
        wait.as_secs()
    );
    sql::batch(pool, sqlx::AssertSqlSafe(divide)).await;
}
