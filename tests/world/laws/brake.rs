//! The brake, counted on a real record.

use drover::model::State::{Available, Unavailable, Uncertain};
use drover::model::{IncidentId, IncidentKind, Opening, State, SubjectId, TransitionId};
use drover::store::brake::{self, Count, Counts};
use drover::store::incidents;
use drover_tests::sql;
use sqlx::PgPool;

use super::herd::{Herd, adopt, new_server};

/// Six servers, all seen available: three in zone a, two in zone b, one in none.
async fn six() -> (Herd, Vec<SubjectId>) {
    let mut herd = Herd::of(0).await;
    let mut servers = herd.ids.clone();
    for (n, zone) in ["a", "a", "a", "b", "b"].into_iter().enumerate() {
        let mut new = new_server(&format!("srv-{n}"), &format!("192.0.2.{}", 10 + n));
        new.zone = Some(zone.into());
        servers.push(adopt(&herd.pool, &new).await.unwrap());
    }
    for id in &servers {
        turn(&herd.pool, *id, Uncertain, Available, 3600).await;
    }
    herd.ids.clone_from(&servers);
    (herd, servers)
}

/// A change of state some seconds ago.
async fn turn(pool: &PgPool, id: SubjectId, from: State, to: State, ago: i32) {
    let sql = "insert into transitions
             (id, created_at, subject_id, from_state, to_state, reason, observation_id, worker)
         values ($1, now() - $5 * interval '1 s', $2, $3, $4, 'as told', $1, 'test')";
    sql::run(pool, sql, (TransitionId::generate(), id, from, to, ago)).await;
    let sql =
        "update subjects set state = $2, state_since = now() - $3 * interval '1 s' where id = $1";
    sql::run(pool, sql, (id, to, ago)).await;
}

fn told(kind: IncidentKind) -> Opening {
    let reason = "as told".into();
    Opening { kind, reason }
}

async fn count(herd: &Herd) -> Counts {
    let mut db = herd.pool.acquire().await.unwrap();
    brake::count(&mut db).await.unwrap()
}

fn of(servers: u32, turned: u32, away: u32) -> Count {
    Count {
        servers,
        turned,
        away,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_turn_bad_together_are_counted_by_zone_and_herd() {
    let (herd, servers) = six().await;
    let counts = count(&herd).await;
    assert_eq!(counts.herd, of(6, 0, 0));
    assert_eq!(counts.zones["a"], of(3, 0, 0));
    assert_eq!(counts.zones.len(), 2);

    // The one without a zone; one of zone a, which was long in doubt.
    turn(&herd.pool, servers[0], Available, Uncertain, 5).await;
    turn(&herd.pool, servers[1], Available, Uncertain, 90).await;
    turn(&herd.pool, servers[1], Uncertain, Unavailable, 10).await;
    let counts = count(&herd).await;
    assert_eq!(counts.herd, of(6, 2, 2));
    assert_eq!(counts.zones["a"], of(3, 1, 1));
    assert!(brake::trips(&counts, None).is_some(), "two of six");
    assert!(!brake::over(&counts, None));

    // Back again: it does not count, whatever it did.
    turn(&herd.pool, servers[1], Unavailable, Available, 0).await;
    let counts = count(&herd).await;
    assert_eq!(counts.herd, of(6, 1, 1));
    assert!(brake::over(&counts, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_turned_bad_long_ago_or_never_was_well_does_not_trip_it() {
    let (mut herd, servers) = six().await;
    for id in &servers[..2] {
        turn(&herd.pool, *id, Available, Unavailable, 120).await;
    }
    for n in 0..3 {
        let new = new_server(&format!("new-{n}"), &format!("192.0.2.{}", 30 + n));
        herd.ids.push(adopt(&herd.pool, &new).await.unwrap());
    }
    let counts = count(&herd).await;
    assert_eq!(counts.herd, of(9, 0, 2), "new ones are uncertain, no more");
    assert_eq!(brake::trips(&counts, None), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_bad_before_a_human_closed_the_last_one_does_not_count_again() {
    let (herd, servers) = six().await;
    for id in &servers[..3] {
        turn(&herd.pool, *id, Available, Unavailable, 20).await;
    }
    assert!(brake::trips(&count(&herd).await, None).is_some());
    let blind = open(&herd.pool, None, IncidentKind::Blind, 0).await;
    close(&herd.pool, blind).await;
    let counts = count(&herd).await;
    assert_eq!(counts.herd, of(6, 0, 0));

    // But what falls after that does.
    for id in &servers[3..5] {
        sql::run(&herd.pool, "select pg_sleep(0.01)", ()).await;
        turn(&herd.pool, *id, Available, Unavailable, 0).await;
    }
    let counts = count(&herd).await;
    assert_eq!(counts.herd, of(6, 2, 2));
    assert!(brake::trips(&counts, None).is_some());
}

/// A zone's brake is its own: what it stops, and what a human says of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_is_blind_stops_no_other_and_is_closed_alone() {
    let (herd, servers) = six().await;
    for id in &servers[1..3] {
        turn(&herd.pool, *id, Available, Unavailable, 20).await;
    }
    let counts = count(&herd).await;
    assert_eq!(counts.herd, of(6, 2, 2));
    assert_eq!(brake::trips(&counts, Some("b")), None);
    let trip = brake::trips(&counts, Some("a")).unwrap();
    assert_eq!(trip.zone.as_deref(), Some("a"));
    let mut db = herd.pool.acquire().await.unwrap();
    let opened = incidents::open_blind(&mut db, trip.clone(), "test").await;
    let blind = opened.unwrap().unwrap();
    let again = incidents::open_blind(&mut db, trip.clone(), "test").await;
    assert_eq!(again.unwrap(), None, "one for a zone");
    for (subject, stops) in [
        (None, None),
        (Some(servers[0]), None),
        (Some(servers[3]), Some(blind)),
        (Some(servers[4]), None),
    ] {
        let found = incidents::blind(&mut db, subject).await.unwrap();
        assert_eq!(found, stops, "{subject:?}");
    }
    // One of the herd's beside it.
    let whole = brake::Trip { zone: None, ..trip };
    let whole = incidents::open_blind(&mut db, whole, "test").await.unwrap();
    for subject in [None, Some(servers[0]), Some(servers[3]), Some(servers[4])] {
        let found = incidents::blind(&mut db, subject).await.unwrap();
        assert_eq!(found, whole, "{subject:?}");
    }
    drop(db);
    close(&herd.pool, blind).await;
    let counts = count(&herd).await;
    assert_eq!(counts.zones["a"], of(3, 0, 0));
    for id in &servers[4..6] {
        turn(&herd.pool, *id, Available, Unavailable, 20).await;
    }
    let counts = count(&herd).await;
    assert_eq!(counts.zones["b"], of(2, 2, 2), "nobody has seen those");
}

/// So many servers without a zone, all seen available.
async fn well(servers: usize) -> Herd {
    let mut herd = Herd::of(0).await;
    for n in 1..servers {
        let new = new_server(&format!("srv-{n}"), &format!("192.0.2.{}", 10 + n));
        herd.ids.push(adopt(&herd.pool, &new).await.unwrap());
    }
    for id in &herd.ids {
        turn(&herd.pool, *id, Uncertain, Available, 3600).await;
    }
    herd
}

/// Opens an incident of a server, or of the herd, some seconds ago.
async fn open(pool: &PgPool, of: Option<SubjectId>, kind: IncidentKind, ago: i32) -> IncidentId {
    let mut tx = pool.begin().await.unwrap();
    let opening = told(kind);
    let id = incidents::open(&mut tx, of, &opening, "test").await;
    let id = id.unwrap().expect("a new one");
    let sql = "update incidents set opened_at = now() - $2 * interval '1 s' where id = $1";
    sql::run(&mut *tx, sql, (id, ago)).await;
    tx.commit().await.unwrap();
    id
}

/// A remedy of an incident was asked for.
async fn at_work(pool: &PgPool, id: IncidentId) {
    let sql = "update incidents set state = 'resolving', attempts = 1 where id = $1";
    sql::run(pool, sql, [id]).await;
}

async fn close(pool: &PgPool, id: IncidentId) {
    let mut tx = pool.begin().await.unwrap();
    let mut incident = incidents::lock(&mut tx, id).await.unwrap().unwrap();
    incidents::close(&mut tx, &mut incident, "observation", "test", "it is over")
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_that_are_stuck_together_trip_it_though_their_servers_are_available() {
    let herd = well(10).await;
    let mut open_ones = Vec::new();
    for (id, ago) in herd.ids.iter().zip([50, 40, 20]) {
        open_ones.push(open(&herd.pool, Some(*id), IncidentKind::VolumeStuck, ago).await);
    }
    // Full disks stop nothing.
    for id in &herd.ids[3..] {
        open(&herd.pool, Some(*id), IncidentKind::DiskCritical, 0).await;
    }
    let counts = count(&herd).await;
    assert_eq!(counts.herd, of(10, 3, 3));
    assert_eq!(brake::trips(&counts, None), None);
    assert!(brake::over(&counts, None));

    open_ones.push(open(&herd.pool, Some(herd.ids[3]), IncidentKind::VolumeStuck, 0).await);
    let counts = count(&herd).await;
    assert_eq!(counts.herd, of(10, 4, 4));
    assert!(brake::trips(&counts, None).is_some(), "four of ten");
    assert!(!brake::over(&counts, None));

    close(&herd.pool, open_ones[0]).await;
    let counts = count(&herd).await;
    assert_eq!(counts.herd, of(10, 3, 3));
    assert!(brake::over(&counts, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_stuck_again_turned_bad_when_it_was_seen_again() {
    let herd = well(2).await;
    let server = Some(herd.ids[0]);
    let id = open(&herd.pool, server, IncidentKind::VolumeStuck, 300).await;
    assert_eq!(count(&herd).await.herd, of(2, 0, 1));
    close(&herd.pool, id).await;
    assert_eq!(count(&herd).await.herd, of(2, 0, 0));
    let mut tx = herd.pool.begin().await.unwrap();
    let opening = told(IncidentKind::VolumeStuck);
    let again = incidents::open(&mut tx, server, &opening, "test").await;
    assert_eq!(again.unwrap(), Some(id), "the same one");
    tx.commit().await.unwrap();
    assert_eq!(count(&herd).await.herd, of(2, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drover_stopped_has_not_turned_bad_by_that() {
    let herd = well(3).await;
    let (stuck, other) = (herd.ids[0], herd.ids[1]);
    let id = open(&herd.pool, Some(stuck), IncidentKind::VolumeStuck, 20).await;
    assert_eq!(count(&herd).await.herd, of(3, 1, 1));

    // Stopped for it: still one, and not two.
    at_work(&herd.pool, id).await;
    turn(&herd.pool, stuck, Available, Uncertain, 10).await;
    turn(&herd.pool, stuck, Uncertain, Unavailable, 5).await;
    open(&herd.pool, Some(stuck), IncidentKind::ServerDown, 5).await;
    let counts = count(&herd).await;
    assert_eq!(counts.herd, of(3, 1, 1));
    assert_eq!(brake::trips(&counts, None), None);
    assert!(brake::over(&counts, None));

    // Five minutes in, the stop is news of this minute, its cause is not.
    let sql = "update incidents set opened_at = now() - interval '5 min' where id = $1";
    sql::run(&herd.pool, sql, [id]).await;
    turn(&herd.pool, other, Available, Uncertain, 5).await;
    let counts = count(&herd).await;
    assert_eq!(counts.herd, of(3, 1, 2));
    assert_eq!(brake::trips(&counts, None), None);
    assert!(!brake::over(&counts, None));

    // Had it fallen by itself, there would be two.
    let sql = "update incidents set state = 'triggered', attempts = 0 where id = $1";
    sql::run(&herd.pool, sql, [id]).await;
    let counts = count(&herd).await;
    assert_eq!(counts.herd, of(3, 2, 2));
    assert!(brake::trips(&counts, None).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_drover_stops_after_a_human_closed_the_last_one_does_not_trip_it_again() {
    let herd = well(10).await;
    let mut stuck = Vec::new();
    for id in &herd.ids[..4] {
        stuck.push(open(&herd.pool, Some(*id), IncidentKind::VolumeStuck, 30).await);
    }
    assert!(brake::trips(&count(&herd).await, None).is_some());
    let blind = open(&herd.pool, None, IncidentKind::Blind, 0).await;
    close(&herd.pool, blind).await;
    for (server, incident) in herd.ids.iter().zip(stuck) {
        at_work(&herd.pool, incident).await;
        turn(&herd.pool, *server, Available, Unavailable, 0).await;
    }
    assert_eq!(count(&herd).await.herd, of(10, 0, 0));
}

/// Whoever has three servers of six rebooted at once wants just that.
#[tokio::test]
async fn what_was_asked_for_does_not_count_and_what_fell_before_does() {
    let (herd, servers) = six().await;
    let operation = async |server: SubjectId, begun: bool, ago: i32| {
        let sql = "insert into operations (id, subject_id, kind, asked_by, opened_at, deadline)
             values ($1, $2, 'reboot', 'test', now() - $4 * interval '1 s',
                     case when $3 then now() + interval '1 hour' end)";
        let binds = (drover::model::OperationId::generate(), server, begun, ago);
        sql::run(&herd.pool, sql, binds).await;
    };
    for server in &servers[..3] {
        operation(*server, true, 30).await;
        turn(&herd.pool, *server, Available, Uncertain, 10).await;
    }
    let counts = count(&herd).await;
    assert_eq!(counts.herd.turned, 0, "{counts:?}");
    assert_eq!(counts.herd.away, 0, "{counts:?}");

    // It had fallen before anything was asked for; or what is asked for has not begun.
    operation(servers[3], true, 5).await;
    operation(servers[4], false, 30).await;
    for server in &servers[3..5] {
        turn(&herd.pool, *server, Available, Uncertain, 10).await;
    }
    let counts = count(&herd).await;
    assert_eq!(counts.herd.turned, 2, "{counts:?}");
    assert!(brake::trips(&counts, None).is_some());
}
