//! Real processes: killed between the call and its record, and set up wrongly.

use std::time::Duration;

use drover::model::{Deed, IncidentKind};
use drover_tests::{AlertState, Mood, PagerDuty, Says, WebhookReceiver, program, sql, until};
use tokio::process::{Child, Command};

use super::world::{SECRET_KEY, World, dedup_key, receiver};

fn notify(world: &World, log: &std::path::Path, settings: &[(&str, &str)]) -> Child {
    let mut log_file = std::fs::File::options();
    let log = log_file.create(true).append(true).open(log).unwrap();
    Command::new(program("drover-worker").unwrap())
        .arg("notify")
        .env_clear()
        .env("DATABASE_URL", &world.url)
        .env("DROVER_SECRET_KEY", SECRET_KEY)
        .env("DROVER_LOG", "trace,sqlx=debug")
        .envs(settings.iter().copied())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_call_it_is_sent_again_under_the_same_name() {
    let world = World::new().await;
    let pagerduty = PagerDuty::start(PagerDuty::KEY).await.unwrap();
    let receiver = receiver().await;
    let slow = Mood::Slow(Duration::from_secs(8));
    pagerduty.then(&[slow]);
    receiver.then(&[slow]);
    let (page_url, hook_url) = (pagerduty.url(), receiver.url());
    let settings = [
        ("DROVER_PAGERDUTY_URL", page_url.as_str()),
        ("DROVER_PAGERDUTY_KEY", PagerDuty::KEY),
        ("DROVER_WEBHOOK_URL", hook_url.as_str()),
        ("DROVER_WEBHOOK_SECRET", WebhookReceiver::SECRET),
    ];
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let incident = world.incident(IncidentKind::ResourceDown).await;
    let page = world.page(incident, Deed::Trigger).await;
    let ticket = world.ticket(incident, Deed::Trigger).await;
    let mut first = notify(&world, &log, &settings);
    let arrived = || async {
        let (pages, tickets) = (pagerduty.calls().len(), receiver.received().len());
        Ok(match (pages, tickets) {
            (1, 1) => Ok(()),
            other => Err(format!("{other:?}")),
        })
    };
    until("both calls came in", Duration::from_secs(20), arrived)
        .await
        .unwrap();
    first.kill().await.unwrap();
    // What the record knows of it: nothing. Its worker is found dead.
    assert_eq!(world.message(page).await.attempts, 0);
    let sql = "update apalis.workers set last_seen = now() - interval '1 minute'";
    sql::run(&world.pool, sql, ()).await;
    let second = notify(&world, &log, &settings);
    world.delivered(page).await;
    world.delivered(ticket).await;
    drop(second);
    let alerts = pagerduty.alerts();
    assert_eq!(alerts.len(), 1, "one alert for both calls");
    let alert = &alerts[&dedup_key(incident)];
    assert_eq!((alert.state, alert.triggers), (AlertState::Open, 2));
    let received = receiver.received();
    assert_eq!(received.len(), 2);
    assert_eq!(
        (&received[0].id, &received[1].id),
        (&ticket.public(), &ticket.public())
    );
    assert_eq!(received[0].event, received[1].event);

    let everything = [std::fs::read_to_string(&log).unwrap(), world.record().await].concat();
    assert!(
        everything.contains("worker starts"),
        "the log is where it is looked for"
    );
    for secret in [
        PagerDuty::KEY,
        WebhookReceiver::SECRET,
        &WebhookReceiver::SECRET[6..],
    ] {
        assert!(!everything.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_do_not_fit_are_wrong_use() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    for (settings, says) in [
        (
            vec![("DROVER_WEBHOOK_URL", "https://hook.example/SECRET")],
            "DROVER_WEBHOOK_SECRET",
        ),
        (
            vec![
                ("DROVER_PAGERDUTY_KEY", "k"),
                ("DROVER_PAGERDUTY_URL", "http://SECRET.example"),
            ],
            "must begin with https://",
        ),
    ] {
        let log = dir.path().join("log");
        let _ = std::fs::remove_file(&log);
        let mut worker = notify(&world, &log, &settings);
        let ended = tokio::time::timeout(Duration::from_secs(10), worker.wait()).await;
        let told = std::fs::read_to_string(&log).unwrap();
        assert_eq!(ended.expect("it ends").unwrap().code(), Some(2), "{told}");
        assert!(told.contains(says) && told.lines().count() == 1, "{told}");
        told.never_says(["SECRET.", "/SECRET"]);
    }
}
