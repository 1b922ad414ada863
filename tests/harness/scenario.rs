//! The main job as a story, on a herd of three servers with four databases each:
//! what `bin/demo --check` shows, and an end-to-end test.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use drover::api::{Page, Resource, Subject, Transition};
use drover::model::{Kind, PublicId};
use serde_json::json;

use crate::{Deployment, PATIENCE, PagerDuty, WebhookReceiver, until, when};

mod asking;
mod making;
mod mending;

const SERVERS: usize = 3;
const RESOURCES: usize = 4;
const SUBJECTS: usize = SERVERS * (1 + RESOURCES);

/// Tells the story; every line goes to `say` as it happens. Returns the closing
/// line.
///
/// # Errors
/// Says what was expected and what was seen.
pub async fn run(mut say: impl FnMut(String)) -> Result<String> {
    let began = Instant::now();
    let mut tell =
        move |line: &str| say(format!("{:7.1} s  {line}", began.elapsed().as_secs_f64()));
    tell("control database starts, drover migrate");
    let mut drover = Deployment::new(&json!({"cadence": {"available": "5s"}})).await?;
    let people = People::start().await?;
    let processes = &mut drover.processes;
    processes.set("DROVER_PAGERDUTY_KEY", PagerDuty::KEY);
    processes.set("DROVER_PAGERDUTY_URL", people.pager.url());
    processes.set("DROVER_WEBHOOK_URL", people.customer.url());
    processes.set("DROVER_WEBHOOK_SECRET", WebhookReceiver::SECRET);
    let told = story(&mut drover, &people, &mut tell).await;
    match told {
        Ok(line) => Ok(line),
        Err(e) => {
            tell("not as expected; what the processes logged:");
            for line in drover
                .processes
                .logs()
                .lines()
                .rev()
                .take(60)
                .collect::<Vec<_>>()
                .iter()
                .rev()
            {
                tell(line);
            }
            Err(e)
        }
    }
}

/// Who is told when drover needs somebody: stand-ins that take nothing which the
/// real ones would refuse.
struct People {
    pager: PagerDuty,
    customer: WebhookReceiver,
}

impl People {
    async fn start() -> Result<Self> {
        Ok(Self {
            pager: PagerDuty::start(PagerDuty::KEY).await?,
            customer: WebhookReceiver::start(WebhookReceiver::SECRET).await?,
        })
    }
}

async fn story(
    drover: &mut Deployment,
    people: &People,
    tell: &mut impl FnMut(&str),
) -> Result<String> {
    drover
        .start(&["web", "clock", "feel", "think", "resolve", "notify"])
        .await?;
    tell("web, clock, feel, think, resolve and notify run");

    let (servers, resources) = (SERVERS.to_string(), RESOURCES.to_string());
    drover
        .local(&[
            "create",
            "--servers",
            &servers,
            "--resources-per-server",
            &resources,
        ])
        .await?;
    tell(&format!(
        "{SERVERS} servers with {RESOURCES} databases each made and adopted"
    ));
    let all = drover.all_available(SUBJECTS, PATIENCE).await?;
    tell(&format!("all {SUBJECTS} subjects available ({all:.1} s)"));

    let mended = mending::restart(drover, tell).await?;
    let rebooted = mending::reboot(drover, tell).await?;
    let rescued = kill_feel(drover, tell).await?;
    let restarted = restart_database(drover, tell).await?;
    mending::advise(drover, people, tell).await?;
    let called = mending::call_a_human(drover, people, tell).await?;
    mending::blind(drover, people, tell).await?;
    let made = making::make(drover, tell).await?;

    let ended = drover.processes.ended();
    ensure!(
        ended.is_empty(),
        "expected every process still running; ended: {ended:?}"
    );
    Ok(format!(
        "demo ok: {SUBJECTS} subjects, killed database available again in {mended:.1} s, \
         unplugged server rebooted and all back in {rebooted:.1} s, feel killed and all felt \
         again in {rescued:.1} s, control database restarted and all felt again in \
         {restarted:.1} s, human called after {called:.1} s, blind braked, a \
         database asked for and in service after {made:.1} s"
    ))
}

async fn kill_feel(drover: &mut Deployment, tell: &mut impl FnMut(&str)) -> Result<f64> {
    in_mid_flight(drover).await?;
    ensure!(
        drover.processes.kill("feel")? == 1,
        "expected one feel process"
    );
    let ring = drover.ring().await?;
    ensure!(
        ring.tokens == SUBJECTS as i64 && ring.astray == 0,
        "tokens after the kill: {ring:?}"
    );
    tell("the only feel process killed in mid-flight, with tokens in its hands");
    drover.processes.start("feel")?;
    let seconds = all_felt_again(drover).await?;
    tell(&format!(
        "a new one felt all {SUBJECTS} again ({seconds:.1} s); none lost, none doubled"
    ));
    Ok(seconds)
}

/// Waits until the feel process holds a token.
async fn in_mid_flight(drover: &Deployment) -> Result<()> {
    let held = || async {
        let held = drover
            .ring()
            .await?
            .queues
            .get("feel")
            .and_then(|q| q.get("Queued").copied());
        Ok(held
            .filter(|n| *n > 0)
            .ok_or_else(|| "no token held".to_owned()))
    };
    until(
        "a token in the hands of feel",
        Duration::from_secs(30),
        held,
    )
    .await?;
    Ok(())
}

async fn restart_database(drover: &mut Deployment, tell: &mut impl FnMut(&str)) -> Result<f64> {
    drover.postgres.restart_immediate()?;
    tell("control database restarted, as after a crash");
    let seconds = all_felt_again(drover).await?;
    let ended = drover.processes.ended();
    ensure!(
        ended.is_empty(),
        "expected every process to come through; ended: {ended:?}"
    );
    tell(&format!(
        "every process came through it, and all were felt again ({seconds:.1} s)"
    ));
    drover.all_available(SUBJECTS, PATIENCE).await?;
    Ok(seconds)
}

/// Waits until every subject has an observation that is younger than now, and
/// checks that tokens and subjects are equal and nobody missed its minute.
async fn all_felt_again(drover: &Deployment) -> Result<f64> {
    let began = Instant::now();
    let (ring, seconds) = until("every subject felt again", PATIENCE, || async {
        let ring = drover.ring().await?;
        let since = began.elapsed().as_secs_f64();
        let oldest = ring.oldest_observation_s.unwrap_or(f64::MAX);
        when(oldest < since, ring)
    })
    .await?;
    ensure!(
        ring.tokens == SUBJECTS as i64 && ring.live_subjects == SUBJECTS as i64 && ring.astray == 0,
        "expected {SUBJECTS} tokens for {SUBJECTS} subjects; seen: {ring:?}"
    );
    Ok(seconds)
}

async fn pick(drover: &Deployment, kind: Kind) -> Result<Subject> {
    let subjects = drover.subjects().await?;
    let found = subjects.into_iter().find(|s| s.core().kind == kind);
    found.with_context(|| format!("no {kind}"))
}

async fn guests(drover: &Deployment, server: &str) -> Result<Vec<String>> {
    let path = format!("/v1/resources?server={server}");
    let page: Page<Resource> = drover.api.get(&path).await?;
    Ok(page.items.iter().map(|r| r.core.id.to_string()).collect())
}

async fn transitions(drover: &Deployment, id: &str) -> Result<Vec<Transition>> {
    let id: PublicId = id.parse()?;
    let path = format!("/v1/{}s/{id}/transitions?limit=500", id.kind);
    let mut page: Page<Transition> = drover.api.get(&path).await?;
    page.items.reverse();
    Ok(page.items)
}

/// A subject's id and name.
fn who(subject: &Subject) -> (String, String) {
    let core = subject.core();
    (core.id.to_string(), core.name.clone())
}
