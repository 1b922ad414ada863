//! A real feel process: how much memory it takes, and how quickly it feels.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use drover_tests::Deployment;
use drover_tests::processes::resident;
use serde_json::json;

#[derive(Args)]
pub struct Options {
    /// Databases in the herd.
    #[arg(long, default_value_t = 400)]
    resources: usize,
    /// `DROVER_CONCURRENCY` of the feel process.
    #[arg(long, default_value_t = 200)]
    concurrency: u32,
    /// How long to measure, in seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

pub async fn run(options: Options, as_json: bool) -> Result<()> {
    // Due again at once: as many feels at work as the process takes.
    let cadence = json!({"available": "100ms", "uncertain": "100ms", "unavailable": "100ms"});
    let mut drover = Deployment::new(&json!({"cadence": cadence})).await?;
    drover.start(&["web", "clock", "think"]).await?;
    let concurrency = options.concurrency.to_string();
    let pid = drover
        .processes
        .start_with("feel", &[("DROVER_CONCURRENCY", &concurrency)])?;
    eprintln!("{} databases into the herd …", options.resources);
    let subjects = drover.adopt_own_databases(options.resources).await?;
    eprintln!("felt for {} s …", options.seconds);
    let laps = "select count(*) from observations";
    let before: i64 = sqlx::query_scalar(laps).fetch_one(&drover.pool).await?;
    let (began, mut rss, mut at_work) = (Instant::now(), 0, 0);
    while began.elapsed() < Duration::from_secs(options.seconds) {
        tokio::time::sleep(Duration::from_millis(250)).await;
        rss = rss.max(resident(pid));
        let queues = drover.ring().await?.numbers.queues;
        let held = queues.get("feel").and_then(|q| q.get("Queued")).copied();
        at_work = at_work.max(held.unwrap_or_default());
    }
    let seconds = began.elapsed().as_secs_f64();
    let after: i64 = sqlx::query_scalar(laps).fetch_one(&drover.pool).await?;
    let (p50, failed): (Option<f64>, i64) = sqlx::query_as(
        "select percentile_cont(0.5) within group (
                    order by (attributes ->> 'latency_ms')::float8),
                count(*) filter (where not (attributes ->> 'service_available')::bool)
         from observations where created_at > now() - interval '20 s'",
    )
    .fetch_one(&drover.pool)
    .await?;
    let ring = drover.ring().await?;
    let result = json!({
        "feels_per_s": ((after - before) as f64 / seconds).round(),
        "feel_p50_ms": p50,
        "failed": failed,
        "worker_rss_bytes": rss,
        "concurrency": options.concurrency,
        "most_held": at_work,
        "subjects": ring.live_subjects,
        "tokens": ring.tokens,
    });
    crate::print(&result);
    ensure!(
        ring.tokens == subjects as i64 && ring.astray == 0,
        "tokens and subjects differ: {ring:?}"
    );
    if as_json {
        println!("{result}");
    }
    Ok(())
}
