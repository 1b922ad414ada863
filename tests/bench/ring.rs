//! The ring without a network: how many laps a second the queue, the
//! observations, thinking and the committer make; how old the oldest observation gets at
//! the longest cadence; and how soon a herd is seen again for which nobody worked.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use clap::Args;
use drover::model::{Attributes, Cadence, SecretKey};
use drover::store::queue::Queue;
use drover::store::subjects::Known;
use drover_jobs::feel::Feeler;
use drover_jobs::verbs::Config;
use drover_tests::Postgres;
use drover_tests::processes::resident;
use serde_json::json;
use sqlx::{PgPool, Row};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// Long enough for every subject to come due twice.
const CADENCE_PHASE: Duration = Duration::from_secs(100);

/// For how long nobody works, before the last phase.
const STOP: Duration = Duration::from_secs(60);

#[derive(Args)]
pub struct Options {
    /// Subjects in the herd.
    #[arg(long, default_value_t = 20_000)]
    subjects: u32,
    /// How long to measure each phase, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Worker processes; each works at both queues.
    #[arg(long, default_value_t = 1)]
    processes: u32,
    /// Jobs at work at once, per queue and process.
    #[arg(long, default_value_t = 400)]
    concurrency: u32,
    /// Leave out what follows the first phase, at the longest cadence.
    #[arg(long)]
    no_cadence: bool,
}

#[derive(Args)]
pub struct WorkerOptions {
    #[arg(long)]
    url: String,
    #[arg(long)]
    concurrency: u32,
    #[arg(long)]
    cadence_ms: u64,
}

/// Sees every subject in service at once, with as many attributes as a real feel.
struct Instantly;

impl Feeler for Instantly {
    async fn feel(&self, _known: &Known) -> Attributes {
        let details = json!({
            "in_recovery": false, "server_version": "15.18", "started_at": "2025-01-01T00:00:00Z",
            "lsn": "0/1949858", "connections": {"used": 7, "allowed": 100},
            "oldest_transaction_s": 0.3, "xid_age": 18_231, "database_bytes": 7_631_151,
            "archiver": {"mode": "off", "failed": 0}, "replication_slots": [],
        });
        let figures = serde_json::from_value(details).unwrap_or_default();
        Attributes {
            resource: Box::new(figures),
            ..Attributes::available(1.25)
        }
    }
}

fn key() -> Result<SecretKey> {
    Ok(SecretKey::from_base64(
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    )?)
}

pub async fn worker(options: WorkerOptions) -> Result<()> {
    let stop = CancellationToken::new();
    let pool = drover::store::connect_migrated(&options.url, 8).await?;
    let config = Config {
        concurrency: options.concurrency,
        secret_key: key()?,
        rules: json!({}),
        drain: Duration::from_secs(5),
        poll: Duration::from_millis(100),
        notify: Default::default(),
        cadence: Some(Duration::from_millis(options.cadence_ms)),
        tools: None,
    };
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let stopper = stop.clone();
    tokio::spawn(async move {
        term.recv().await;
        stopper.cancel();
    });
    drover_jobs::verbs::run(pool, config, Instantly, &[Queue::Feel, Queue::Think], stop).await
}

pub async fn run(options: Options, as_json: bool) -> Result<()> {
    ensure!(
        options.subjects > 0 && options.seconds > 0 && options.processes > 0,
        "nothing to do"
    );
    let postgres = Postgres::start(&["shared_buffers = 512MB", "max_wal_size = 8GB"])?;
    let (url, pool) = postgres.database("bench").await?;
    eprintln!("{} subjects into the ring …", options.subjects);
    fill(&pool, options.subjects).await?;
    let stop_clock = CancellationToken::new();
    let clock = tokio::spawn(drover::clock::run(
        pool.clone(),
        drover::config::ClockConfig { retention_days: 14 },
        stop_clock.clone(),
    ));

    eprintln!(
        "unthrottled for {} s, {} process(es) …",
        options.seconds, options.processes
    );
    let mut fast = start(&url, &options, 0)?;
    settle(&pool).await?;
    let begin = Mark::take(&pool).await?;
    let mut ticks = Vec::new();
    let mut rss = 0;
    let mut before = begin.laps;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(options.seconds) {
        let tick = Instant::now();
        tokio::time::sleep(
            Duration::from_secs(10)
                .min(Duration::from_secs(options.seconds).saturating_sub(started.elapsed())),
        )
        .await;
        let laps = laps(&pool).await?;
        ticks.push((laps - before) as f64 / tick.elapsed().as_secs_f64());
        eprintln!(
            "  {:>7.0} laps/s",
            ticks.last().copied().unwrap_or_default()
        );
        before = laps;
        rss = rss.max(
            fast.iter()
                .filter_map(Child::id)
                .map(resident)
                .max()
                .unwrap_or(0),
        );
    }
    let end = Mark::take(&pool).await?;
    let lap = lap_times(&pool).await?;
    stop(&mut fast).await?;

    let (oldest, catch_up) = if options.no_cadence {
        (None, None)
    } else {
        let oldest = oldest_observation(&url, &pool, &options).await?;
        (Some(oldest), Some(catch_up(&url, &pool, &options).await?))
    };

    stop_clock.cancel();
    clock.await??;
    let mut db = pool.acquire().await?;
    let census = drover::store::queue::token_census(&mut db).await?;
    let jobs_bytes = drover::store::queue::table_bytes(&mut db).await?;
    let seconds = end.at.duration_since(begin.at).as_secs_f64();
    let laps = end.laps - begin.laps;
    let result = json!({
        "laps_per_s": (laps as f64 / seconds).round(),
        "first_10s_laps_per_s": ticks.first().map(|t| t.round()),
        "last_10s_laps_per_s": ticks.last().map(|t| t.round()),
        "lap_p50_ms": lap.0, "lap_p95_ms": lap.1, "lap_p99_ms": lap.2,
        "oldest_observation_s": oldest,
        "catch_up_s": catch_up,
        "wal_bytes_per_lap": ((end.wal - begin.wal) as f64 / laps.max(1) as f64).round(),
        "jobs_table_bytes": jobs_bytes,
        "tokens": census.tokens,
        "subjects": census.subjects,
        "astray": census.astray,
        "worker_rss_bytes": rss,
        "processes": options.processes,
        "concurrency": options.concurrency,
        "seconds": seconds.round(),
    });
    crate::print(&result);
    ensure!(
        census.tokens == i64::from(options.subjects) && census.astray == 0,
        "tokens and subjects differ: {census:?}"
    );
    if as_json {
        println!("{result}");
    }
    Ok(())
}

async fn fill(pool: &PgPool, subjects: u32) -> Result<()> {
    // Straight into the tables: adopting 20,000 through the API is not what is
    // measured here. One server to a resource's seven.
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "create temp table n as
         select i, lpad(upper(to_hex(i)), 26, '0') as id, (i % 8 = 0) as server
         from generate_series(8, 7 + {subjects}) as i;
         insert into subjects (id, kind, name, state, origin)
         select id, case when server then 'server' else 'resource' end, 'bench-' || i,
                'available', 'adopted' from n;
         insert into servers (id, address, ssh_port, ssh_user, host_key)
         select id, '127.77.0.1', 22, 'bench', 'ssh-ed25519 AAAA' from n where server;"
    )))
    .execute(&mut *pool.acquire().await?)
    .await?;
    let sealed = |id: &str| {
        key().and_then(|k| Ok(k.seal(&drover::model::secret("bench"), &format!("{id}/password"))?))
    };
    let rows: Vec<(String, String)> = sqlx::query_as(
        "select r.id, s.id from subjects r
         join subjects s on s.kind = 'server'
              and s.name = 'bench-' || (substr(r.name, 7)::int / 8 * 8)
         where r.kind = 'resource'",
    )
    .fetch_all(pool)
    .await?;
    let passwords = rows
        .iter()
        .map(|(id, _)| sealed(id))
        .collect::<Result<Vec<_>>>()?;
    let (ids, servers): (Vec<String>, Vec<String>) = rows.into_iter().unzip();
    sqlx::query(
        "insert into resources (id, server_id, port, database, role, password, tls_mode, plan)
         select r.id, r.server_id, 5432, 'app', 'drover', r.password, 'prefer', 'standard'
         from unnest($1::text[], $2::text[], $3::bytea[]) as r (id, server_id, password)",
    )
    .bind(&ids)
    .bind(&servers)
    .bind(&passwords)
    .execute(pool)
    .await?;
    let mut db = pool.acquire().await?;
    let mended = drover::store::queue::keep(&mut db).await?;
    ensure!(mended.missing == u64::from(subjects), "{mended:?}");
    sqlx::raw_sql("vacuum analyze").execute(pool).await?;
    Ok(())
}

fn start(url: &str, options: &Options, cadence_ms: u128) -> Result<Vec<Child>> {
    let program = std::env::current_exe()?;
    (0..options.processes)
        .map(|_| {
            Command::new(&program)
                .args(["ring-worker", "--url", url])
                .args(["--concurrency", &options.concurrency.to_string()])
                .args(["--cadence-ms", &cadence_ms.to_string()])
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .context("starting a worker process")
        })
        .collect()
}

/// At the longest cadence: the age in seconds of the oldest observation, at its worst.
async fn oldest_observation(url: &str, pool: &PgPool, options: &Options) -> Result<f64> {
    let (cadence, phase) = (Cadence::LONGEST, CADENCE_PHASE.as_secs());
    eprintln!("at a cadence of {} s for {phase} s …", cadence.as_secs());
    let mut slow = start(url, options, cadence.as_millis())?;
    let mut worst: f64 = 0.0;
    let began = Instant::now();
    while began.elapsed() < CADENCE_PHASE {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut db = pool.acquire().await?;
        let census = drover::store::queue::token_census(&mut db).await?;
        worst = worst.max(census.oldest_observation_s.unwrap_or_default());
    }
    stop(&mut slow).await?;
    Ok(worst)
}

/// From the start of the workers, after a stop in which every subject came due, until
/// each was felt and thought about, in seconds.
async fn catch_up(url: &str, pool: &PgPool, options: &Options) -> Result<f64> {
    eprintln!("nobody works for {} s …", STOP.as_secs());
    tokio::time::sleep(STOP).await;
    let (now, due): (DateTime<Utc>, i64) = sqlx::query_as(
        "select now(), count(*) from apalis.jobs
         where job_type in ('feel', 'think') and status = 'Pending' and run_at < now()",
    )
    .fetch_one(pool)
    .await?;
    ensure!(due == i64::from(options.subjects), "only {due} came due");
    let began = Instant::now();
    let mut workers = start(url, options, Cadence::LONGEST.as_millis())?;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        // It stops at the first that it finds: to count them all ten times a second would cost
        // a tenth of the machine.
        let behind: bool = sqlx::query_scalar(
            "select exists (
                 select from apalis.jobs
                 where job_type = 'think'
                    or job_type = 'feel' and (done_at is null or done_at <= $1))",
        )
        .bind(now)
        .fetch_one(pool)
        .await?;
        if !behind {
            break;
        }
        ensure!(began.elapsed() < STOP, "some are still behind");
    }
    let took = began.elapsed().as_secs_f64();
    stop(&mut workers).await?;
    Ok(took)
}

/// Waits until every subject has been round once, so that the start is not measured.
async fn settle(pool: &PgPool) -> Result<()> {
    for _ in 0..240 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let unseen: i64 = sqlx::query_scalar(
            "select count(*) from subjects s
             where not exists (select from observations o where o.subject_id = s.id)",
        )
        .fetch_one(pool)
        .await?;
        if unseen == 0 {
            return Ok(());
        }
    }
    anyhow::bail!("not every subject was seen within two minutes")
}

async fn stop(workers: &mut Vec<Child>) -> Result<()> {
    for worker in workers.iter() {
        if let Some(pid) = worker.id() {
            nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(i32::try_from(pid)?),
                nix::sys::signal::Signal::SIGTERM,
            )?;
        }
    }
    for mut worker in workers.drain(..) {
        let status = tokio::time::timeout(Duration::from_secs(25), worker.wait()).await??;
        ensure!(status.success(), "a worker ended with {status}");
    }
    Ok(())
}

struct Mark {
    at: Instant,
    laps: i64,
    wal: i64,
}

impl Mark {
    async fn take(pool: &PgPool) -> Result<Self> {
        let row = sqlx::query(
            "select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint,
                    (select count(*) from observations)",
        )
        .fetch_one(pool)
        .await?;
        Ok(Self {
            at: Instant::now(),
            wal: row.try_get(0)?,
            laps: row.try_get(1)?,
        })
    }
}

async fn laps(pool: &PgPool) -> Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from observations")
        .fetch_one(pool)
        .await?)
}

/// p50, p95 and p99, in milliseconds, of the time from one observation of a
/// subject to its next, over the last twenty seconds.
async fn lap_times(pool: &PgPool) -> Result<(f64, f64, f64)> {
    let p: Vec<f64> = sqlx::query_scalar(
        "select percentile_cont(array[0.5, 0.95, 0.99]) within group (order by ms) from (
             select extract(epoch from created_at - lag(created_at)
                 over (partition by subject_id order by created_at))::float8 * 1000 as ms
             from observations where created_at > now() - interval '20 s') x",
    )
    .fetch_one(pool)
    .await?;
    Ok((p[0].round(), p[1].round(), p[2].round()))
}
