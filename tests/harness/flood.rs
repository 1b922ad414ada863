//! Many incidents at once: each database of a herd is found short of connections
//! in the same lap, and mended by several resolve processes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use drover::api::{PutTier, Tier};
use drover::model::ExposeSecret;
use drover_jobs::cloud::local::{DATABASE, ROLE};
use serde_json::json;
use sqlx::Connection;

use crate::{Deployment, PATIENCE, records, sql, until, when};

/// What came of it.
#[derive(Debug)]
pub struct Flood {
    /// Incidents opened.
    pub opened: i64,
    /// From the change of the rules until the last was opened, in seconds.
    pub opened_s: f64,
    /// From there until every playbook had come to its end.
    pub worked_s: f64,
    /// From the change back until the last was resolved.
    pub resolved_s: f64,
    /// Steps that resolvers did.
    pub runs: i64,
    /// Pairs of turns at one subject that overlapped. The lease forbids them.
    pub overlaps: i64,
    /// The oldest observation there was meanwhile, in seconds.
    pub oldest_observation_s: f64,
    /// The same, before.
    pub calm_observation_s: f64,
}

/// Cadence of the herd.
pub const CADENCE: Duration = Duration::from_secs(20);
/// Sessions that do nothing.
const IDLE: usize = 80;

/// Opens an incident for each of `count` databases at once, with this many resolve
/// processes, and waits until all are over.
///
/// # Errors
/// If one is forgotten, or anything takes too long.
pub async fn run(count: usize, resolvers: usize) -> Result<Flood> {
    let cadence = format!("{}s", CADENCE.as_secs());
    let mut drover = Deployment::new(&json!({"cadence": {"available": cadence}})).await?;
    drover
        .start(&["web", "clock", "feel", "think", "notify"])
        .await?;
    for _ in 0..resolvers {
        drover.processes.start("resolve")?;
    }
    drover.adopt_own_databases(count).await?;
    // More than a tenth of all connections there are, kept for the whole time.
    let mut idle = Vec::new();
    let server = drover.cloud().server("pg-1").await?.context("no server")?;
    let cluster = server.kept.clusters.first().context("no cluster")?;
    let (address, port) = (server.settings.address, cluster.port);
    let password = cluster.password.expose_secret();
    let herd = format!("postgres://{ROLE}:{password}@{address}:{port}/{DATABASE}");
    for _ in 0..IDLE {
        idle.push(sqlx::PgConnection::connect(&herd).await?);
    }
    // One quiet lap, to compare with.
    let calm = watch(&drover, CADENCE + Duration::from_secs(5)).await?;

    let began = Instant::now();
    tier(&drover, json!({"limits": {"connections_ratio": 0.1}})).await?;
    let mut oldest = 0.0_f64;
    let all = count as i64;
    let sql = "select count(distinct incident_id) from incident_events where kind = 'opened'";
    let opened = watched(&drover, &mut oldest, "every incident opened", sql, all).await?;
    let opened_s = began.elapsed().as_secs_f64();
    let sql = "select count(*) from incidents where state = 'needs_human'";
    watched(&drover, &mut oldest, "every playbook at its end", sql, all).await?;
    let worked_s = began.elapsed().as_secs_f64() - opened_s;
    let back = Instant::now();
    tier(&drover, json!({})).await?;
    let sql = "select count(*) from incidents where state = 'resolved'";
    watched(&drover, &mut oldest, "every incident resolved", sql, all).await?;
    let resolved_s = back.elapsed().as_secs_f64();
    let sql = "select count(*) from apalis.jobs where job_type = 'resolve'";
    let left: i64 = sql::scalar(&drover.pool, sql, ()).await;
    ensure!(left == 0, "{left} tokens of incidents that are over");
    let sql = "select count(*) from incidents i
         where not exists (select from resolver_runs r where r.incident_id = i.id)";
    let untouched: i64 = sql::scalar(&drover.pool, sql, ()).await;
    ensure!(untouched == 0, "no resolver came to {untouched} incidents");
    let sql = "select count(*) from resolver_runs where phase = 'ended'";
    let runs = sql::scalar(&drover.pool, sql, ()).await;
    let ended = drover.processes.ended();
    ensure!(ended.is_empty(), "ended: {ended:?}");
    Ok(Flood {
        opened,
        opened_s,
        worked_s,
        resolved_s,
        runs,
        overlaps: overlaps(&drover).await,
        oldest_observation_s: oldest,
        calm_observation_s: calm,
    })
}

/// Turns that began at a subject while an earlier one was not over. One that never
/// ended was cut off, and may have been at work until a second behind its step's limit.
pub async fn overlaps(drover: &Deployment) -> i64 {
    let sql = "select count(*)
         from resolver_runs b
         left join resolver_runs e on e.run_id = b.run_id and e.phase = 'ended'
         join resolver_runs later
           on later.subject_id = b.subject_id and later.phase = 'begun'
          and later.fence > b.fence and later.run_id <> b.run_id
         where b.phase = 'begun'
           and later.created_at < coalesce(e.created_at, b.created_at + interval '1 s' *
               case b.step when 'look' then 13 when 'restart' then 26 else 21 end)";
    sql::scalar(&drover.pool, sql, ()).await
}

async fn tier(drover: &Deployment, rules: serde_json::Value) -> Result<()> {
    let body = PutTier { rules };
    drover.api.put::<Tier>("/v1/tiers/standard", &body).await?;
    Ok(())
}

/// Waits until so many are counted, and keeps an eye on the ring's promise.
async fn watched(
    drover: &Deployment,
    oldest: &mut f64,
    what: &str,
    count: &'static str,
    wanted: i64,
) -> Result<i64> {
    let worst = std::sync::Mutex::new(0.0_f64);
    let counted = until(what, PATIENCE, || async {
        let ring = drover.ring().await?;
        let age = ring.oldest_observation_s.unwrap_or_default();
        if let Ok(mut worst) = worst.lock() {
            *worst = worst.max(age);
        }
        let n: i64 = sql::scalar(&drover.pool, count, ()).await;
        when(n == wanted, n)
    })
    .await;
    let (n, _) = match counted {
        Ok(counted) => counted,
        // One more than there should be is told by its name.
        Err(e) => bail!("{e:#}\n{}", records::timeline(&drover.pool).await),
    };
    *oldest = oldest.max(worst.into_inner().unwrap_or_default());
    Ok(n)
}

async fn watch(drover: &Deployment, time: Duration) -> Result<f64> {
    let (began, mut worst) = (Instant::now(), 0.0_f64);
    while began.elapsed() < time {
        let ring = drover.ring().await?;
        worst = worst.max(ring.oldest_observation_s.unwrap_or_default());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(worst)
}
