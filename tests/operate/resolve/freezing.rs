//! The playbook for transaction ids that run out.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use drover::model::IncidentKind::XidWraparound;
use drover::model::{
    Attributes, Incident, IncidentState, Mode, Observation, ObservationId, OperationKind, Rules,
};
use drover_jobs::cloud::local::{Cluster, LocalServer};
use drover_jobs::resolve::incidents as resolve;
use drover_jobs::resolve::operations;
use drover_tests::{Says, sql};
use serde_json::{Value, json};

use super::driver::{Cut, World, holds, session, superuser};

/// Limits that a test can reach: tables of 6,000 transactions are old.
fn rules() -> Value {
    json!({"limits": {"xid_age": 12_000, "xid_page_age": 1_000_000, "vacuum": "60s"}})
}

/// Uses up transaction ids, and multixact ids: what handles an exception is a transaction within
/// the other, and both lock the row.
async fn burn(server: &LocalServer, cluster: &Cluster) {
    for sql in [
        "create table if not exists public.old as select 1 as one",
        "do $$ begin
             for i in 1..13000 loop
                 set local synchronous_commit = off;
                 perform from public.old for key share;
                 begin
                     perform from public.old for no key update;
                 exception when lock_not_available then null;
                 end;
                 commit;
             end loop;
         end $$",
    ] {
        superuser(server, cluster, sql).await;
    }
}

/// Ages of the oldest database that can be frozen, and of the test's own table, by its
/// transaction ids and its multixact ids.
async fn ages(server: &LocalServer, cluster: &Cluster) -> [u64; 4] {
    let sql = "select max(age(datfrozenxid)), max(mxid_age(datminmxid)),
             (select age(relfrozenxid) from pg_class where relname = 'old'),
             (select mxid_age(relminmxid) from pg_class where relname = 'old')
         from pg_database where datallowconn";
    let ages = superuser(server, cluster, sql).await;
    let ages: Vec<u64> = ages.split('|').map(|age| age.parse().unwrap()).collect();
    ages.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_tables_are_frozen_in_every_database() {
    let world = World::new("freeze", &rules()).await;
    let (server, cluster, _, resource) = world.pair(None).await;
    for name in ["we;ird \" = name", "-d postgres"] {
        let create = format!("create database \"{}\"", name.replace('"', "\"\""));
        superuser(&server, &cluster, &create).await;
    }
    for cut in [Cut::AfterEffect, Cut::Midway(Duration::from_millis(400))] {
        burn(&server, &cluster).await;
        let old = ages(&server, &cluster).await;
        assert!(old.iter().all(|age| *age >= 13_000), "{old:?}");

        let mut case = world.incident(resource, XidWraparound).await.cut(cut);
        case.until_done().await;

        let frozen = ages(&server, &cluster).await;
        let story = case.story();
        assert!(frozen.iter().all(|age| *age < 6_000), "{frozen:?}: {story}");
        assert!(story.contains("template0 takes no connections"), "{story}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn freezing_that_is_under_way_is_not_begun_again() {
    let world = World::new("twice", &rules()).await;
    let (server, cluster, _, resource) = world.pair(None).await;
    burn(&server, &cluster).await;
    // A table that cannot be vacuumed for now.
    let hold = format!(
        "setsid sh -c \"(echo 'begin; lock table public.old;'; sleep 20) | \
         sudo -n -u postgres psql --cluster {}/{} -Xq postgres\" </dev/null >/dev/null 2>&1 &",
        cluster.version,
        cluster.debian()
    );
    super::sessions::shell(&server, &hold).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let locked = "select count(*) from pg_locks where mode = 'AccessExclusiveLock' \
                  and relation = 'public.old'::regclass";
    assert_eq!(superuser(&server, &cluster, locked).await, "1");

    let case = world.incident(resource, XidWraparound).await;
    let mut case = case.cut(Cut::AfterEffect);
    for _ in 0..2 {
        case.turn(&holds()).await;
    }
    assert_eq!(case.operation().step_name, "watch", "{}", case.story());
    let last = &case.done.last().unwrap().note;
    assert!(last.contains("under way already"), "{}", case.story());
    let runners = "select count(distinct pid) from pg_stat_activity \
                   where application_name = 'drover_freeze' and query like 'vacuum%'";
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(superuser(&server, &cluster, runners).await, "1");
    case.waits().await;
    case.until_done().await;

    let frozen = ages(&server, &cluster).await;
    let story = case.story();
    assert!(frozen.iter().all(|age| *age < 6_000), "{frozen:?}: {story}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_the_ids_back_is_named() {
    let world = World::new("held", &rules()).await;
    let (server, cluster, _, resource) = world.pair(None).await;
    // As old as the cluster itself, as good as.
    let mut session = session(&server, &cluster).await.unwrap();
    sql::batch(&mut session, "begin; select txid_current()").await;
    burn(&server, &cluster).await;
    burn(&server, &cluster).await;

    let mut case = world.incident(resource, XidWraparound).await;
    let story = case.calls_a_human().await;
    story.says([
        "held back by client backend",
        "of drover, in a transaction since",
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn near_the_end_people_are_called_once_freezing_has_begun() {
    let seen = |age: u64| {
        let mut attributes = Attributes::available(1.0);
        attributes.resource.xid_age = Some(age);
        Observation {
            id: ObservationId::generate(),
            created_at: Utc::now(),
            worker: "feel".into(),
            feelers: 1,
            attributes,
        }
    };
    let rules = Rules::default();
    let world = World::new("urgent", &json!({})).await;
    let subject = world.adopt(&world.server(None).await).await;
    let case = world.incident(subject, XidWraparound).await;
    let mut incident = case.incident.clone();
    let urgent = |incident: &Incident, age: u64, at_work: Option<&str>| {
        resolve::urgent(incident, Some(&seen(age)), &rules, Mode::Act, at_work)
    };
    let (near, nearer) = (1_500_000_000, 1_650_000_000);

    assert_eq!(urgent(&incident, nearer, None), None);
    incident.state = IncidentState::Resolving;
    for before in [None, Some("look"), Some("start")] {
        assert_eq!(urgent(&incident, nearer, before), None, "{before:?}");
    }
    let steps = operations::of(OperationKind::Freeze).steps();
    let watch = steps.last().map(|step| step.name);
    let reason = urgent(&incident, nearer, watch).unwrap();
    assert!(reason.contains("1650000000"), "{reason}");
    assert_eq!(urgent(&incident, near, watch), None);
    // Nothing was begun for a minute: drover may not, or cannot.
    incident.state = IncidentState::Triggered;
    incident.state_since = Utc::now() - TimeDelta::seconds(61);
    assert!(urgent(&incident, nearer, None).is_some());
    let unseen = resolve::urgent(&incident, None, &rules, Mode::Act, None);
    assert_eq!(unseen, None);
}
