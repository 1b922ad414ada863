//! How long a database is gone whose postmaster was killed: from SIGKILL until it
//! takes a write again, mended by drover itself. And whether drover leaves a
//! healthy herd under load alone.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::Args;
use drover::model::ExposeSecret;
use drover_jobs::cloud::local::{Cluster, LocalServer};
use drover_tests::Deployment;
use rand::RngExt;
use serde_json::json;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection};

#[derive(Args)]
pub struct Options {
    /// How many postmasters are killed.
    #[arg(long, default_value_t = 20)]
    runs: usize,
    /// Cadence of what is available, in seconds.
    #[arg(long, default_value_t = 5)]
    cadence_s: u64,
    /// Afterwards, watch a healthy herd under load for so long and count what
    /// drover takes for broken.
    #[arg(long, default_value_t = 0)]
    healthy_minutes: u64,
}

const SERVERS: usize = 2;
const RESOURCES: usize = 2;
/// Longest wait for a write; a run that takes longer is a failure.
const GIVE_UP: Duration = Duration::from_secs(120);

pub async fn run(options: Options, as_json: bool) -> Result<()> {
    let cadence = format!("{}s", options.cadence_s);
    let rules = json!({"cadence": {"available": cadence}});
    let mut drover = Deployment::new(&rules).await?;
    drover
        .start(&["web", "clock", "feel", "think", "resolve", "notify"])
        .await?;
    let (servers, resources) = (SERVERS.to_string(), RESOURCES.to_string());
    let size = ["--servers", &servers, "--resources-per-server", &resources];
    drover.local(&[&["create"], &size[..]].concat()).await?;
    let subjects = SERVERS * (1 + RESOURCES);
    drover
        .all_available(subjects, Duration::from_secs(120))
        .await?;
    let herd = herd(&drover).await?;

    let mut seconds = Vec::new();
    for run in 0..options.runs {
        // At any moment of the lap.
        let wait = rand::rng().random_range(0..options.cadence_s * 1000);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let (server, cluster) = &herd[run % herd.len()];
        let took = kill_and_wait(server, cluster).await?;
        eprintln!(
            "run {:>3}: {} writable after {took:.2} s",
            run + 1,
            cluster.name
        );
        seconds.push(took);
        drover
            .all_available(subjects, Duration::from_secs(60))
            .await?;
        // So that its incident is not the same one, back again.
        sqlx::query(
            "update incidents set resolved_at = now() - interval '1 hour' where state = 'resolved'",
        )
        .execute(&drover.pool)
        .await?;
    }
    seconds.sort_by(f64::total_cmp);
    let human: i64 =
        sqlx::query_scalar("select count(*) from incidents where state = 'needs_human'")
            .fetch_one(&drover.pool)
            .await?;
    let mut result = json!({
        "runs": options.runs,
        "cadence_s": options.cadence_s,
        "median_s": round(seconds.get(seconds.len() / 2)),
        "worst_s": round(seconds.last()),
        "needs_human": human,
    });
    if options.healthy_minutes > 0 {
        let time = Duration::from_secs(options.healthy_minutes * 60);
        let (alarms, doubts, transactions) = healthy(&drover, &herd, time).await?;
        result["healthy_minutes"] = json!(options.healthy_minutes);
        result["false_alarms"] = json!(alarms);
        result["doubts"] = json!(doubts);
        result["load_transactions"] = json!(transactions);
    }
    crate::print(&result);
    if as_json {
        println!("{result}");
    }
    Ok(())
}

fn round(seconds: Option<&f64>) -> Option<f64> {
    seconds.map(|s| (s * 100.0).round() / 100.0)
}

async fn herd(drover: &Deployment) -> Result<Vec<(LocalServer, Cluster)>> {
    let mut herd = Vec::new();
    for server in drover.cloud().servers().await? {
        for cluster in server.clusters().await? {
            herd.push((server.clone(), cluster));
        }
    }
    ensure!(!herd.is_empty(), "no clusters in the local herd");
    Ok(herd)
}

/// Kills the postmaster alone, as the kernel's out-of-memory killer would, and
/// writes until a write is taken.
async fn kill_and_wait(server: &LocalServer, cluster: &Cluster) -> Result<f64> {
    let before = connect(server, cluster).await?;
    let pid = postmaster(server, cluster).await?;
    server.does("kill -KILL \"$1\"", &[&pid], "").await?;
    let began = Instant::now();
    drop(before);
    while began.elapsed() < GIVE_UP {
        let write = async {
            let mut db = connect(server, cluster).await?;
            // drover's role owns nothing; a table of its session's is a write too:
            // into the catalogue, and through WAL.
            sqlx::raw_sql("create temp table mend as select now() as at")
                .execute(&mut db)
                .await?;
            db.close().await?;
            anyhow::Ok(())
        };
        // A backend that has not noticed yet may still take a write.
        let written = tokio::time::timeout(Duration::from_secs(2), write).await;
        let took = began.elapsed();
        if matches!(written, Ok(Ok(())))
            && postmaster(server, cluster).await.is_ok_and(|p| p != pid)
        {
            return Ok(took.as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("{} was not writable within {GIVE_UP:?}", cluster.name)
}

async fn postmaster(server: &LocalServer, cluster: &Cluster) -> Result<String> {
    let file = "head -n 1 \"/var/lib/postgresql/$1/$2/postmaster.pid\"";
    let words = [cluster.version.as_str(), &cluster.debian()];
    server.does(file, &words, "").await
}

async fn connect(server: &LocalServer, cluster: &Cluster) -> sqlx::Result<sqlx::PgConnection> {
    options(server, cluster).connect().await
}

fn options(server: &LocalServer, cluster: &Cluster) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host(&server.settings.address.to_string())
        .port(cluster.port)
        .username(drover_jobs::cloud::local::ROLE)
        .password(cluster.password.expose_secret())
        .database(drover_jobs::cloud::local::DATABASE)
        .ssl_mode(PgSslMode::Prefer)
}

/// Load on every database; returns incidents opened, turns to uncertain, and the
/// load's transactions.
async fn healthy(
    drover: &Deployment,
    herd: &[(LocalServer, Cluster)],
    time: Duration,
) -> Result<(i64, i64, u64)> {
    let since: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("select now()")
        .fetch_one(&drover.pool)
        .await?;
    let mut loads = Vec::new();
    for (server, cluster) in herd {
        loads.push(tokio::spawn(load(options(server, cluster), time)));
    }
    let began = Instant::now();
    while began.elapsed() < time {
        tokio::time::sleep(Duration::from_secs(60).min(time - began.elapsed())).await;
        let (alarms, doubts) = count(drover, since).await?;
        eprintln!(
            "{:>4.0} min: {alarms} alarms, {doubts} doubts",
            began.elapsed().as_secs_f64() / 60.0
        );
    }
    let mut transactions = 0;
    for load in loads {
        transactions += load.await??;
    }
    let (alarms, doubts) = count(drover, since).await?;
    Ok((alarms, doubts, transactions))
}

async fn count(drover: &Deployment, since: chrono::DateTime<chrono::Utc>) -> Result<(i64, i64)> {
    let alarms = "select count(*) from incident_events
                  where kind in ('opened', 'reopened') and created_at > $1";
    let doubts = "select count(*) from transitions
                  where to_state = 'uncertain' and created_at > $1";
    Ok((
        sqlx::query_scalar(alarms)
            .bind(since)
            .fetch_one(&drover.pool)
            .await?,
        sqlx::query_scalar(doubts)
            .bind(since)
            .fetch_one(&drover.pool)
            .await?,
    ))
}

/// One session that writes as fast as it can.
async fn load(options: PgConnectOptions, time: Duration) -> Result<u64> {
    let mut db = options.disable_statement_logging().connect().await?;
    sqlx::raw_sql("create temp table load (id bigserial primary key, text text)")
        .execute(&mut db)
        .await?;
    let (began, mut done) = (Instant::now(), 0);
    while began.elapsed() < time {
        sqlx::raw_sql(
            "insert into load (text) select md5(random()::text) from generate_series(1, 100);
             delete from load where id < (select max(id) - 10000 from load);
             select count(*) from load where text like '%abc%';",
        )
        .execute(&mut db)
        .await?;
        done += 1;
    }
    Ok(done)
}
