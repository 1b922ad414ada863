//! How long nobody can write when the server of a leader is gone: from that moment until
//! the new leader has accepted a write, under a steady stream of them. And what was
//! acknowledged and is lost, row by row by the writers' own ledger.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use drover_tests::{Deployment, Lead, Ledger, until};
use rand::RngExt;
use serde_json::{Value, json};

#[derive(Args)]
pub struct Options {
    /// How many leaders are lost.
    #[arg(long, default_value_t = 20)]
    runs: usize,
    /// What happens to the leader.
    #[arg(long, value_enum, default_value_t = How::Unplug)]
    how: How,
    /// How many followers it has.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    followers: u8,
    /// What a commit waits for: async or sync.
    #[arg(long, default_value = "async")]
    durability: String,
    /// Cadence of what is available, in seconds.
    #[arg(long, default_value_t = 5)]
    cadence_s: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum How {
    /// The plug of its server is pulled.
    Unplug,
    /// Every process of its server is frozen by SIGSTOP.
    Freeze,
    /// Nobody reaches its server any more, and drover knows no cloud of its: needs sync.
    CutOff,
    /// Nothing: the lead is handed over as planned.
    Switchover,
}

const NAME: &str = "orders";
/// Longest wait for anything; a run that takes longer is a failure.
const GIVE_UP: Duration = Duration::from_secs(180);

/// What came of one run.
struct Run {
    seconds: f64,
    settled: f64,
    rewound: bool,
    lost_bytes: u64,
}

pub async fn run(options: Options, as_json: bool) -> Result<()> {
    let cadence = format!("{}s", options.cadence_s);
    let rules = json!({"cadence": {"available": cadence}});
    let mut drover = Deployment::new(&rules).await?;
    drover
        .start(&["web", "clock", "feel", "think", "resolve", "notify"])
        .await?;
    drover.local(&["ls"]).await?;
    let id = drover
        .ask_for(&json!({"name": NAME, "plan": "premium"}))
        .await?;
    drover.all_available(4, GIVE_UP).await?;
    for n in 1..usize::from(options.followers) {
        let path = format!("/v1/resources/{id}/followers");
        let body = json!({"name": format!("{NAME}-{n}")});
        drover.post(&path, &body).await?;
        drover.all_available(4 + 2 * n, GIVE_UP).await?;
    }
    let followers = usize::from(options.followers);
    if options.durability != "async" {
        let body = json!({
            "action": "set_durability", "durability": options.durability, "reason": "measured",
        });
        drover
            .api
            .post::<Value>(&format!("/v1/resources/{id}/actions"), &body)
            .await?;
    }
    drover.settled(followers, GIVE_UP).await?;
    let account = drover.account(&id).await?;
    let ledger = Ledger::open(account).map_err(anyhow::Error::msg)?;
    let mut runs = Vec::new();
    for n in 1..=options.runs {
        let run = one(&drover, &ledger, &options).await;
        let run = run.with_context(|| format!("run {n}\n{}", drover.processes.logs()))?;
        eprintln!(
            "run {n:>3}: a write after {:.2} s, all as it should be after {:.1} s{}{}",
            run.seconds,
            run.settled,
            if run.rewound { ", rewound" } else { "" },
            match run.lost_bytes {
                0 => String::new(),
                bytes => format!(", {bytes} bytes lost"),
            },
        );
        runs.push(run);
    }
    let lost = ledger.lost().map_err(anyhow::Error::msg)?;
    let acknowledged = ledger.close().len();
    let mut seconds: Vec<f64> = runs.iter().map(|run| run.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let mut settled: Vec<f64> = runs.iter().map(|run| run.settled).collect();
    settled.sort_by(f64::total_cmp);
    let round = |seconds: Option<&f64>| seconds.map(|s| (s * 100.0).round() / 100.0);
    let result = json!({
        "how": format!("{:?}", options.how).to_lowercase(),
        "durability": options.durability,
        "followers": options.followers,
        "runs": runs.len(),
        "median_s": round(seconds.get(seconds.len() / 2)),
        "worst_s": round(seconds.last()),
        "acknowledged": acknowledged,
        "lost_acknowledged": lost.len(),
        "lost_bytes": runs.iter().map(|run| run.lost_bytes).max(),
        "rewound": runs.iter().filter(|run| run.rewound).count(),
        "settled_median_s": round(settled.get(settled.len() / 2)),
        "settled_worst_s": round(settled.last()),
    });
    crate::print(&result);
    if as_json {
        println!("{result}");
    }
    Ok(())
}

async fn one(drover: &Deployment, ledger: &Ledger, options: &Options) -> Result<Run> {
    // At any moment of the lap.
    let wait = rand::rng().random_range(0..options.cadence_s * 1000);
    tokio::time::sleep(Duration::from_millis(wait)).await;
    let old = drover.lead(NAME).await?;
    let moment = Instant::now();
    match options.how {
        How::Unplug => drover.unplug(&old.instance).await?,
        How::Freeze => drover.freeze(&old.instance).await?,
        How::CutOff => {
            drover.knows_its_machine(&old, false).await?;
            drover.cloud().partition(&old.instance).await?;
        }
        How::Switchover => hand_over(drover, &old).await?,
    }
    let written = until("a write at the new leader", GIVE_UP, || async {
        let first = ledger.first_after(moment, &old.address);
        Ok(first.ok_or_else(|| "nobody else accepts one".to_owned()))
    });
    // One machine that dies again and again is a human's matter to drover; here it has to
    // go on.
    let written = drover.with_help(written, &[]).await;
    if options.how == How::CutOff {
        drover.cloud().heal(&old.instance).await?;
        drover.knows_its_machine(&old, true).await?;
    }
    let (took, _): (Duration, f64) = written?;
    let followers = usize::from(options.followers);
    drover
        .with_help(drover.settled(followers, GIVE_UP), &[])
        .await?;
    let settled = moment.elapsed().as_secs_f64();
    let seconds = match options.how {
        How::Unplug | How::Freeze | How::CutOff => took.as_secs_f64(),
        How::Switchover => ledger.longest_pause(moment).as_secs_f64(),
    };
    let memo = rebuilt(drover, &old).await?;
    Ok(Run {
        seconds,
        settled,
        rewound: memo["rewound"] == true && memo["copied"] != true,
        lost_bytes: memo["lost_bytes"].as_u64().unwrap_or_default(),
    })
}

async fn hand_over(drover: &Deployment, old: &Lead) -> Result<()> {
    let body = json!({"action": "switchover", "now": true, "reason": "measured"});
    let path = format!("/v1/resources/{}/actions", old.id);
    drover.api.post::<Value>(&path, &body).await?;
    Ok(())
}

/// What is known of how the old leader was made to follow.
async fn rebuilt(drover: &Deployment, old: &Lead) -> Result<Value> {
    let Some(id) = old.id.strip_prefix("db_") else {
        bail!("{} is no id of a database", old.id);
    };
    let memo: Option<Value> = sqlx::query_scalar(
        "select memo from operations where subject_id = $1 and kind = 'rebuild'
         order by opened_at desc limit 1",
    )
    .bind(id)
    .fetch_optional(&drover.pool)
    .await?;
    Ok(memo.unwrap_or(Value::Null))
}
