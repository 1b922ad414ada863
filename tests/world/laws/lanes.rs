//! Whose turn it is at a subject: the more pressing goes first, between two steps, and
//! what it has paused goes on where it was.

use std::time::Duration;

use drover::model::{OperationId, OperationKind, SubjectId};
use drover::store::leases::{self, Fence};
use drover::store::operations::{self, Claim};
use drover_jobs::resolve::operations as kinds;
use drover_tests::records::ended;
use drover_tests::sql;
use sqlx::PgPool;

use super::herd::Herd;

const LONG: Duration = Duration::from_secs(60);

/// An operation of this kind that somebody has asked for: at work at this step, or not
/// begun.
async fn put(pool: &PgPool, on: SubjectId, kind: OperationKind, step: Option<&str>) -> OperationId {
    let id = OperationId::generate();
    let sql = "insert into operations (id, subject_id, kind, asked_by, lane, not_before, step_name,
                                 deadline, at_work)
         values ($1, $2, $3, 'test', $4, now(), coalesce($5, 'queued'),
                 case when $5 is not null then now() + interval '1 hour' end, $5 is not null)";
    let lane = i16::try_from(kind.profile().lane.priority()).unwrap();
    sql::run(pool, sql, (id, on, kind, lane, step)).await;
    id
}

async fn take(pool: &PgPool, on: &[SubjectId], id: OperationId) -> Option<Vec<Fence>> {
    let mut tx = pool.begin().await.unwrap();
    let operation = operations::load(&mut tx, id).await.unwrap().unwrap();
    let holder = (id, operation.lane);
    let taken = leases::take(&mut tx, on, holder, "w", LONG).await.unwrap();
    tx.commit().await.unwrap();
    taken
}

async fn claim(pool: &PgPool, id: OperationId) -> Claim {
    let mut tx = pool.begin().await.unwrap();
    let operation = operations::load(&mut tx, id).await.unwrap().unwrap();
    let claim = operations::claim(&mut tx, &operation).await.unwrap();
    tx.commit().await.unwrap();
    claim
}

async fn end_turn(pool: &PgPool, on: SubjectId, fence: Fence, hand_on: Option<Duration>) {
    let mut db = pool.acquire().await.unwrap();
    let ended = leases::end_turn(&mut db, on, fence, hand_on).await;
    assert!(ended.unwrap());
}

async fn at_work(pool: &PgPool, id: OperationId) -> (bool, String) {
    let mut db = pool.acquire().await.unwrap();
    let operation = operations::load(&mut db, id).await.unwrap().unwrap();
    (operation.at_work, operation.step_name)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_every_kind_gives_way_to_every_kind_of_a_higher_lane() {
    let herd = Herd::of(1).await;
    let (pool, on) = (&herd.pool, herd.ids[1]);
    let mut met = 0;
    for kind in OperationKind::ALL.iter().copied() {
        let lane = kind.profile().lane;
        for step in kinds::of(kind).steps() {
            let low = put(pool, on, kind, Some(step.name)).await;
            for higher in OperationKind::ALL.iter().copied() {
                if higher.profile().lane <= lane {
                    continue;
                }
                let what = format!("{kind} at {}, and {higher}", step.name);
                let high = put(pool, on, higher, None).await;
                // Not within a step.
                let fence = take(pool, &[on], low).await.expect(&what)[0];
                assert_eq!(take(pool, &[on], high).await, None, "{what}");
                end_turn(pool, on, fence, Some(LONG)).await;
                // Between two, though the lease is kept for the next.
                let fence = take(pool, &[on], high).await.expect(&what)[0];
                assert_eq!(claim(pool, high).await, Claim::Ours, "{what}");
                let paused = at_work(pool, low).await;
                assert_eq!(paused, (false, step.name.into()), "{what}");
                assert_eq!(take(pool, &[on], low).await, None, "{what}");
                end_turn(pool, on, fence, None).await;
                // It waits, and holds nobody up.
                assert!(matches!(claim(pool, low).await, Claim::Behind(_)), "{what}");
                ended(pool, high).await;
                assert_eq!(claim(pool, low).await, Claim::Ours, "{what}");
                assert_eq!(at_work(pool, low).await, (true, step.name.into()), "{what}");
                met += 1;
            }
            ended(pool, low).await;
        }
    }
    assert!(met > 500, "{met}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_more_pressing_waits_unless_the_other_is_stuck() {
    let herd = Herd::of(1).await;
    let (pool, on) = (&herd.pool, herd.ids[1]);
    let first = put(pool, on, OperationKind::Freeze, Some("watch")).await;
    let same = put(pool, on, OperationKind::RestartArchiver, None).await;
    let lower = put(pool, on, OperationKind::Restart, None).await;
    for other in [same, lower] {
        assert!(matches!(claim(pool, other).await, Claim::Behind(_)));
    }
    let sql = "update operations set stuck_at = now() where id = $1";
    sql::run(pool, sql, [first]).await;
    assert_eq!(claim(pool, lower).await, Claim::Ours);
    let sql = "select count(*) from operation_events where operation_id = $1 and kind = 'paused'";
    let paused: i64 = sql::scalar(pool, sql, [first]).await;
    assert_eq!(paused, 1, "and its timeline says so");
}

/// Who needs two leases takes both or none, in whatever order they are named: nobody waits
/// with one in hand, and no two ever have the same.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_leases_all_are_taken_or_none() {
    let herd = Herd::of(4).await;
    let resources = herd.ids[1..].to_vec();
    let tasks = (0..16).map(|n| {
        let (pool, resources) = (herd.pool.clone(), resources.clone());
        tokio::spawn(async move {
            let (mut had, mut missed) = (0, 0);
            for round in 0..40 {
                let (one, other) = ((n + round) % 4, (n + round + 1 + n % 3) % 4);
                let on = [resources[one], resources[other]];
                let mut tx = pool.begin().await.unwrap();
                let holder = (OperationId::generate(), 0);
                let taken = leases::take(&mut tx, &on, holder, "w", LONG).await.unwrap();
                tx.commit().await.unwrap();
                let Some(fences) = taken else {
                    missed += 1;
                    continue;
                };
                had += 1;
                for (id, fence) in on.into_iter().zip(fences) {
                    // Nobody has taken it since.
                    end_turn(&pool, id, fence, None).await;
                }
            }
            (had, missed)
        })
    });
    let done = futures::future::join_all(tasks).await;
    let (had, missed) = done.into_iter().fold((0, 0), |(had, missed), one| {
        let (h, m) = one.unwrap();
        (had + h, missed + m)
    });
    assert!(had > 0 && missed > 0, "{had} had both, {missed} none");
    let sql = "select count(*) from subjects where lock_until is not null";
    let left: i64 = sql::scalar(&herd.pool, sql, ()).await;
    assert_eq!(left, 0);
}
