//! The brake, counted on a real record.

use drover::model::{IncidentKind, Opening, State, SubjectId, TransitionId};
use drover::store::brake::{self, Count, Counts};
use drover::store::incidents;
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
        turn(&herd.pool, *id, State::Uncertain, State::Available, 3600).await;
    }
    herd.ids.clone_from(&servers);
    (herd, servers)
}

/// A change of state some seconds ago.
async fn turn(pool: &PgPool, id: SubjectId, from: State, to: State, ago: i32) {
    sqlx::query(
        "insert into transitions
             (id, created_at, subject_id, from_state, to_state, reason, observation_id, worker)
         values ($1, now() - $5 * interval '1 s', $2, $3, $4, 'as told', $1, 'test')",
    )
    .bind(TransitionId::generate().to_string())
    .bind(id.to_string())
    .bind(from.as_str())
    .bind(to.as_str())
    .bind(ago)
    .execute(pool)
    .await
    .unwrap();
    sqlx::query(
        "update subjects set state = $2, state_since = now() - $3 * interval '1 s' where id = $1",
    )
    .bind(id.to_string())
    .bind(to.as_str())
    .bind(ago)
    .execute(pool)
    .await
    .unwrap();
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
    turn(
        &herd.pool,
        servers[0],
        State::Available,
        State::Uncertain,
        5,
    )
    .await;
    turn(
        &herd.pool,
        servers[1],
        State::Available,
        State::Uncertain,
        90,
    )
    .await;
    turn(
        &herd.pool,
        servers[1],
        State::Uncertain,
        State::Unavailable,
        10,
    )
    .await;
    let counts = count(&herd).await;
    assert_eq!(counts.herd, of(6, 2, 2));
    assert_eq!(counts.zones["a"], of(3, 1, 1));
    assert!(brake::trips(&counts).is_some(), "two of six");
    assert!(!brake::over(&counts));

    // Back again: it does not count, whatever it did.
    turn(
        &herd.pool,
        servers[1],
        State::Unavailable,
        State::Available,
        0,
    )
    .await;
    let counts = count(&herd).await;
    assert_eq!(counts.herd, of(6, 1, 1));
    assert!(brake::over(&counts));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_turned_bad_long_ago_or_never_was_well_does_not_trip_it() {
    let (mut herd, servers) = six().await;
    for id in &servers[..2] {
        turn(&herd.pool, *id, State::Available, State::Unavailable, 120).await;
    }
    for n in 0..3 {
        let new = new_server(&format!("new-{n}"), &format!("192.0.2.{}", 30 + n));
        herd.ids.push(adopt(&herd.pool, &new).await.unwrap());
    }
    let counts = count(&herd).await;
    assert_eq!(counts.herd, of(9, 0, 2), "new ones are uncertain, no more");
    assert_eq!(brake::trips(&counts), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_bad_before_a_human_closed_the_last_one_does_not_count_again() {
    let (herd, servers) = six().await;
    for id in &servers[..3] {
        turn(&herd.pool, *id, State::Available, State::Unavailable, 20).await;
    }
    assert!(brake::trips(&count(&herd).await).is_some());
    let mut tx = herd.pool.begin().await.unwrap();
    let blind = Opening {
        kind: IncidentKind::Blind,
        reason: "three at once".into(),
    };
    let id = incidents::open(&mut tx, None, &blind, "test")
        .await
        .unwrap();
    let mut blind = incidents::lock(&mut tx, id.unwrap())
        .await
        .unwrap()
        .unwrap();
    incidents::close(&mut tx, &mut blind, "operator", "test", "it is fine")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let counts = count(&herd).await;
    assert_eq!(counts.herd, of(6, 0, 0));

    // But what falls after that does.
    for id in &servers[3..5] {
        sqlx::query("select pg_sleep(0.01)")
            .execute(&herd.pool)
            .await
            .unwrap();
        turn(&herd.pool, *id, State::Available, State::Unavailable, 0).await;
    }
    let counts = count(&herd).await;
    assert_eq!(counts.herd, of(6, 2, 2));
    assert!(brake::trips(&counts).is_some());
}
