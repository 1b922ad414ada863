//! `bin/chaos`: a machine that knows no mercy looks for what nobody thought of. It breaks
//! machines, networks, disks, clocks, workers and the control database at random, while
//! customers write and operators act, and checks the laws and the ledgers all the time.

mod cloud;
mod customers;
mod evidence;
mod faults;
mod finish;
mod laws;
mod operators;
mod plan;
mod record;
mod report;
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use customers::Customer;
use laws::Broken;
use operators::Person;
use plan::Plan;
use report::Report;
use world::World;

#[derive(Parser)]
#[command(
    name = "chaos",
    about = "Breaks machines, networks, disks, clocks, workers and the control database at \
             random while customers write and operators act, and checks drover's laws and the \
             customers' ledgers all the time",
    after_help = "Ends with 1 at the first law that is broken, and names the folder with all that \
                  is known of it. The seed repeats the plan, not in which order things happen \
                  within it."
)]
struct Arguments {
    /// How long things break; then all has to be well within ten minutes.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// What the plan is made from; chosen at random if nobody says.
    #[arg(long)]
    seed: Option<u64>,
    /// The control database is restored from dumps, and fails over to a standby that lacks what
    /// was committed last; a person has the record adopted. Nobody asks for what is made or
    /// destroyed then.
    #[arg(long)]
    restores: bool,
    /// Print the plan, and run nothing.
    #[arg(long)]
    plan: bool,
    /// Print one JSON object as the last line.
    #[arg(long)]
    json: bool,
}

fn main() -> Result<ExitCode> {
    drover_tests::init();
    let arguments = Arguments::parse();
    let seed = arguments
        .seed
        .unwrap_or_else(|| rand::random_range(1..1_000_000));
    let plan = Plan::new(seed, arguments.minutes, arguments.restores);
    if arguments.plan {
        show(&plan);
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            done = run(plan, arguments.json) => done,
            _ = tokio::signal::ctrl_c() => Ok(interrupted(seed)),
            _ = terminated.recv() => Ok(interrupted(seed)),
        }
    })
}

fn interrupted(seed: u64) -> ExitCode {
    println!("chaos: interrupted; seed {seed}");
    ExitCode::FAILURE
}

fn show(plan: &Plan) {
    println!("seed {}, {} min", plan.seed, plan.minutes);
    let faults = plan.faults.iter().map(|fault| {
        let lasts = fault.lasts.as_secs_f64();
        (fault.at, format!("! {}, for {lasts:.0} s", fault.what))
    });
    let asks = plan
        .asks
        .iter()
        .map(|ask| (ask.at, format!("? {}", ask.what)));
    let mut lines: Vec<(Duration, String)> = faults.chain(asks).collect();
    lines.sort();
    for (at, line) in lines {
        println!("{:7.1} s  {line}", at.as_secs_f64());
    }
}

async fn run(plan: Plan, as_json: bool) -> Result<ExitCode> {
    let report = Arc::new(Report::new());
    let seed = plan.seed;
    report.say(&format!("seed {seed}: a herd of three resources is made"));
    let mut world = World::new().await?;
    let customers = customers::come(&world).await?;
    world.zero = std::time::Instant::now();
    let world = Arc::new(world);
    let customers: Vec<Arc<Customer>> = customers.into_iter().map(Arc::new).collect();
    report.say("all is well, and customers write; from here on things break");
    let done = go_through(&plan, &world, &customers, &report).await;
    let mut summary = report.summary(&plan);
    match done {
        Ok(more) => {
            merge(&mut summary, more);
            report::print(&summary);
            println!(
                "chaos ok: seed {seed}, {} faults, {} failovers, {} switchovers, {} writes, \
                 nothing lost but what was said ({})",
                summary["faults"],
                summary["failovers"],
                summary["switchovers"],
                summary["writes_accepted"],
                summary["lost"],
            );
            if as_json {
                println!("{summary}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(Broken { law, evidence }) => {
            report::print(&summary);
            let folder = evidence::keep(&world, &customers, seed).await?;
            println!("chaos: broken: {law}; seed {seed}\n{evidence}");
            println!("all that is known of it: {}", folder.display());
            if as_json {
                merge(&mut summary, json!({"broken": law, "evidence": evidence}));
                println!("{summary}");
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

fn merge(summary: &mut Value, more: Value) {
    if let (Value::Object(all), Value::Object(more)) = (summary, more) {
        all.extend(more);
    }
}

/// The plan, and what has to hold behind it.
async fn go_through(
    plan: &Plan,
    world: &Arc<World>,
    customers: &[Arc<Customer>],
    report: &Arc<Report>,
) -> Result<Value, Broken> {
    let healed = Arc::new(AtomicBool::new(false));
    // They end with this.
    let mut beside = JoinSet::new();
    beside.spawn(tell(world.clone(), customers.to_vec()));
    let person = Person::new(customers.to_vec());
    beside.spawn(help(person, world.clone(), report.clone(), healed.clone()));
    let breaks = async {
        break_all(plan, world, report).await?;
        healed.store(true, Ordering::Relaxed);
        report.say("nothing is broken any more; all has to be well within ten minutes");
        let seconds = finish::all_well(world).await?;
        report.say(&format!(
            "all is well, {seconds:.1} s after the last fault was over"
        ));
        let outcome = finish::judge(world, customers).await?;
        let mut more = outcome.summary;
        let well = json!({"well_after_s": seconds.round(), "lost": outcome.lost});
        merge(&mut more, well);
        Ok(more)
    };
    tokio::select! {
        done = breaks => done,
        broken = watch(world, customers) => Err(broken),
    }
}

async fn tell(world: Arc<World>, customers: Vec<Arc<Customer>>) {
    customers::tell(&world, &customers).await;
}

async fn help(mut person: Person, world: Arc<World>, report: Arc<Report>, healed: Arc<AtomicBool>) {
    loop {
        tokio::time::sleep(Duration::from_secs(3)).await;
        // drover may not answer just now.
        let looked = person.look(&world, &report, healed.load(Ordering::Relaxed));
        let _ = tokio::time::timeout(Duration::from_secs(20), looked).await;
    }
}

/// Has everything happen that is planned, each at its time, until the last fault is over.
async fn break_all(plan: &Plan, world: &Arc<World>, report: &Arc<Report>) -> Result<(), Broken> {
    let mut all = JoinSet::new();
    for fault in plan.faults.clone() {
        let (world, report) = (world.clone(), report.clone());
        all.spawn(async move {
            until_planned(&world, fault.at).await;
            let begun = match faults::begin(&world, fault.what).await {
                Ok(begun) => begun,
                Err(e) => {
                    report.not_begun(&fault, &e);
                    return Ok(());
                }
            };
            report.begun(&fault, &begun.at);
            until_planned(&world, fault.ends()).await;
            let ended = faults::end(&world, begun.cure).await;
            if fault.lasts > Duration::ZERO {
                report.healed(&fault);
            }
            ended.with_context(|| format!("{} cannot be healed", fault.what))
        });
    }
    for ask in plan.asks.clone() {
        let (world, report) = (world.clone(), report.clone());
        all.spawn(async move {
            until_planned(&world, ask.at).await;
            let limit = Duration::from_secs(15);
            let asked = tokio::time::timeout(limit, operators::ask(&world, ask.what)).await;
            let asked = asked.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer")));
            report.asked(&ask.what.to_string(), &asked);
            Ok(())
        });
    }
    while let Some(done) = all.join_next().await {
        let done = done.unwrap_or_else(|e| Err(e.into()));
        done.map_err(|e| Broken::new("faults can be healed", format!("{e:#}")))?;
    }
    Ok(())
}

async fn until_planned(world: &World, at: Duration) {
    tokio::time::sleep(at.saturating_sub(world.now())).await;
}

/// Looks at the laws all the time; comes back with the first that is broken.
async fn watch(world: &World, customers: &[Arc<Customer>]) -> Broken {
    let mut record = record::Watch::default();
    let looked = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            record.look(world).await?;
            // Where the control database does not answer, it tells of nothing new.
            let _ = world.remember().await;
            finish::called(world).await?;
            for customer in customers {
                customer.law_abiding(&customer.writes(world))?;
            }
        }
    };
    let looked: Result<(), Broken> = looked.await;
    looked.expect_err("it goes on until a law is broken")
}
