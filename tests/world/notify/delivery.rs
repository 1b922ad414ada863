//! Pages: once, in order, in spite of everything.

use std::time::Duration;

use drover::config::NotifyConfig;
use drover::model::{Deed, IncidentKind, MessageId, MessageState, Provider};
use drover::store::queue;
use drover_tests::postgres::free_port;
use drover_tests::{AlertState, Mood, PagerDuty, Says, Shows, sql};
use serde_json::json;

use super::world::{World, dedup_key, pages, pages_to};

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_opened_acknowledged_and_resolved_once_each() {
    let world = World::new().await;
    let pagerduty = PagerDuty::start(PagerDuty::KEY).await.unwrap();
    let workers = world.work(pages(&pagerduty));
    let incident = world.incident(IncidentKind::ResourceDown).await;
    for (action, state) in [
        (Deed::Trigger, AlertState::Open),
        (Deed::Acknowledge, AlertState::Acknowledged),
        (Deed::Resolve, AlertState::Resolved),
    ] {
        let id = world.page(incident, action).await;
        let message = world.delivered(id).await;
        assert_eq!(message.delivered_by, Some(Provider::PagerDuty));
        assert_eq!((message.attempts, &message.last_error), (1, &None));
        assert_eq!(world.job(id).await, "Done");
        let alert = &pagerduty.alerts()[&dedup_key(incident)];
        assert_eq!((alert.state, alert.triggers), (state, 1));
    }
    workers.end().await;
    assert_eq!(pagerduty.calls().len(), 3);
    let payload = &pagerduty.alerts()[&dedup_key(incident)].payload;
    payload.shows(json!({"source": "pg-1", "component": "app", "class": "resource_down"}));
    payload.shows(json!({"severity": "critical", "custom_details": {"tried": ["restart"]}}));
    assert_eq!(
        world.told(incident).await,
        [
            "page delivered by PagerDuty",
            "page's acknowledgement delivered by PagerDuty",
            "page's end delivered by PagerDuty"
        ]
    );
}

/// Nobody can answer two thousand calls. The first of a kind ring by themselves, the others
/// together, until the last of them is over; another kind rings as ever.
#[tokio::test(flavor = "multi_thread")]
async fn many_incidents_of_a_kind_are_one_alert() {
    let world = World::new().await;
    let pagerduty = PagerDuty::start(PagerDuty::KEY).await.unwrap();
    let workers = world.work(pages(&pagerduty));
    let mut all = Vec::new();
    for n in 0..24 {
        let incident = world.another_is_down(n).await;
        let id = world.page(incident, Deed::Trigger).await;
        world.delivered(id).await;
        all.push(incident);
    }
    let other = world.incident(IncidentKind::SplitBrain).await;
    world
        .delivered(world.page(other, Deed::Trigger).await)
        .await;
    let alerts = pagerduty.alerts();
    assert_eq!(alerts.len(), 20 + 1 + 1, "{:?}", alerts.keys());
    assert!(alerts.contains_key(&dedup_key(other)));
    let many = "drover/many/server_down";
    assert_eq!(alerts[many].triggers, 1, "not once more within a minute");
    let summary = alerts[many].payload["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("21 incidents of server_down"),
        "{summary}"
    );
    let told = world.told(all[23]).await;
    assert_eq!(
        told,
        ["page delivered by PagerDuty: many of this kind are one alert"]
    );

    let over = async |incident| {
        let sql = "update incidents
             set state = 'resolved', resolved_at = now(), resolved_by = 'observation'
             where id = $1";
        sql::run(&world.pool, sql, [incident]).await;
        world
            .delivered(world.page(incident, Deed::Resolve).await)
            .await;
    };
    for incident in &all[..23] {
        world
            .delivered(world.page(*incident, Deed::Acknowledge).await)
            .await;
        over(*incident).await;
    }
    let alerts = pagerduty.alerts();
    assert_eq!(alerts[many].state, AlertState::Open, "one of them is left");
    assert_eq!(alerts[&dedup_key(all[0])].state, AlertState::Resolved);
    over(all[23]).await;
    workers.end().await;
    assert_eq!(pagerduty.alerts()[many].state, AlertState::Resolved);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_said_of_whatever_pagerduty_takes_it() {
    let world = World::new().await;
    let pagerduty = PagerDuty::start(PagerDuty::KEY).await.unwrap();
    let mut ids = Vec::new();
    for kind in IncidentKind::ALL {
        let incident = world.incident(*kind).await;
        ids.push(world.page(incident, Deed::Trigger).await);
    }
    let odd = format!("{}\n\u{1b}[31m \"{{ü", "long ".repeat(400));
    let sql = "update outbox set summary = $1, detail = to_jsonb($1)";
    sql::run(&world.pool, sql, [odd]).await;
    let workers = world.work(pages(&pagerduty));
    for id in ids {
        world.delivered(id).await;
    }
    workers.end().await;
    assert!(pagerduty.alerts().len() == IncidentKind::ALL.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_hears_of_the_end_before_the_beginning() {
    let world = World::new().await;
    let pagerduty = PagerDuty::start(PagerDuty::KEY).await.unwrap();
    pagerduty.then(&[Mood::Status(503), Mood::Slow(Duration::from_secs(2))]);
    let incident = world.incident(IncidentKind::ResourceDown).await;
    let trigger = world.page(incident, Deed::Trigger).await;
    let resolve = world.page(incident, Deed::Resolve).await;
    // The beginning is not due yet; the end is.
    let sql = "update apalis.jobs set run_at = now() + interval '1 s' where id = $1";
    sql::run(&world.pool, sql, [trigger]).await;
    // Of another incident's messages none waits for these.
    let other = world.incident(IncidentKind::ServerDown).await;
    let unrelated = world.page(other, Deed::Resolve).await;
    let workers = world.work(pages(&pagerduty));
    world.delivered(resolve).await;
    world.delivered(unrelated).await;
    workers.end().await;
    let told: Vec<String> = pagerduty
        .calls()
        .into_iter()
        .filter(|call| call.dedup_key == dedup_key(incident))
        .map(|call| call.action)
        .collect();
    assert_eq!(told, ["trigger", "resolve"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_differ_do_not_change_the_order() {
    let world = World::new().await;
    let pagerduty = PagerDuty::start(PagerDuty::KEY).await.unwrap();
    pagerduty.then(&[Mood::Status(503)]);
    let incident = world.incident(IncidentKind::ResourceDown).await;
    let trigger = world.page(incident, Deed::Trigger).await;
    // The machine that wrote it is far ahead.
    let ahead: MessageId = "7ZZZZZZZZZZZZZZZZZZZZZZZZZ".parse().unwrap();
    let sql = "update outbox set id = $2 where id = $1";
    sql::run(&world.pool, sql, (trigger, ahead)).await;
    let mut db = world.pool.acquire().await.unwrap();
    queue::insert_message_job(&mut db, ahead).await.unwrap();
    let resolve = world.page(incident, Deed::Resolve).await;
    let workers = world.work(pages(&pagerduty));
    world.delivered(resolve).await;
    workers.end().await;
    let alert = &pagerduty.alerts()[&dedup_key(incident)];
    assert_eq!((alert.state, alert.triggers), (AlertState::Resolved, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_tried_again_and_said_once() {
    let world = World::new().await;
    let pagerduty = PagerDuty::start(PagerDuty::KEY).await.unwrap();
    pagerduty.then(&[
        Mood::Status(500),
        Mood::Status(500),
        Mood::Redirect("http://127.0.0.1:1/"),
    ]);
    let incident = world.incident(IncidentKind::ResourceDown).await;
    let id = world.page(incident, Deed::Trigger).await;
    let workers = world.work(pages(&pagerduty));
    let message = world.delivered(id).await;
    workers.end().await;
    assert_eq!(message.attempts, 4);
    assert_eq!(pagerduty.alerts()[&dedup_key(incident)].triggers, 1);
    assert_eq!(
        world.told(incident).await,
        [
            "page not delivered yet: PagerDuty answered 500; it is tried again for 24 h",
            "page not delivered yet: PagerDuty answered 307; it is tried again for 24 h",
            "page delivered by PagerDuty at attempt 4",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_is_waited_for_and_after_a_day_no_more() {
    let world = World::new().await;
    let nobody = format!("http://127.0.0.1:{}", free_port().unwrap());
    let incident = world.incident(IncidentKind::ResourceDown).await;
    let id = world.page(incident, Deed::Trigger).await;
    let workers = world.work(pages_to(&nobody, PagerDuty::KEY));
    let (sql, time) = ("select attempts from outbox", Duration::from_secs(20));
    sql::until(&world.pool, "two attempts", time, sql, |n: &i32| *n >= 2).await;
    let message = world.message(id).await;
    assert_eq!(message.state, MessageState::Pending);
    let error = message.last_error.unwrap();
    error.says(["cannot be reached", "refused"]);
    let sql = "update outbox set trying_since = now() - interval '24 hours'";
    sql::run(&world.pool, sql, ()).await;
    world.becomes(id, MessageState::Dead).await;
    workers.end().await;
    assert_eq!(world.job(id).await, "Killed");
    let told = world.told(incident).await;
    assert!(told[0].starts_with("page not delivered yet: PagerDuty cannot be reached"));
    assert!(told[1].starts_with("page given up after 24 h: PagerDuty cannot be reached"));
    assert_eq!(told.len(), 2, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_is_named_it_is_in_the_log_and_the_timeline_says_so() {
    let world = World::new().await;
    let incident = world.incident(IncidentKind::Blind).await;
    let page = world.page(incident, Deed::Trigger).await;
    let ticket = world.ticket(incident, Deed::Trigger).await;
    let workers = world.work(NotifyConfig::default());
    for id in [page, ticket] {
        assert_eq!(world.delivered(id).await.delivered_by, Some(Provider::Log));
    }
    workers.end().await;
    let mut told = world.told(incident).await;
    told.sort();
    assert_eq!(
        told,
        [
            "page written to the log: DROVER_PAGERDUTY_KEY is not set",
            "ticket written to the log: neither DROVER_WEBHOOK_URL nor DROVER_ZENDESK_URL is set",
        ]
    );
}
