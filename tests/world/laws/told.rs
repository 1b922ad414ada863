//! Who was told to take a lead may be leading: nobody is in their way, nor started beside them.

use drover::model::{IncidentId, OperationId, SubjectId};
use drover::store::operations::failover::{at_work_on, told_to_lead};
use drover::store::operations::{Disturbed, disturbing};
use drover_tests::sql;

use super::herd::Herd;

/// A leader and its follower, on servers of their own, and an operation at the leader that is
/// stuck.
struct Pair {
    herd: Herd,
    operation: OperationId,
}

impl Pair {
    async fn with_stuck(kind: &str) -> Self {
        let herd = Herd::of(2).await;
        let (leader, follower) = (herd.ids[1], herd.ids[2]);
        let sql = "update resources set leader_id = $1 where id = $2";
        sql::run(&herd.pool, sql, (leader, follower)).await;
        let operation = OperationId::generate();
        let sql = "insert into operations (id, subject_id, kind, asked_by, step, stuck_at)
             values ($1, $2, $3, 'test', 5, now())";
        sql::run(&herd.pool, sql, (operation, leader, kind)).await;
        Self { herd, operation }
    }

    async fn is(&self, step: &str, memo: &str) {
        let sql = "update operations set step_name = $1, memo = $2::jsonb";
        sql::run(&self.herd.pool, sql, (step, memo)).await;
    }

    /// Whether it keeps playbooks off the leader, its follower and its server, and the leader
    /// from being started.
    async fn keeps_off(&self) -> [bool; 4] {
        let [server, leader, follower] = self.herd.ids[..] else {
            unreachable!()
        };
        let mut db = self.herd.pool.acquire().await.unwrap();
        let own = IncidentId::generate();
        let mut kept = [false; 4];
        for (n, id) in [leader, follower].into_iter().enumerate() {
            let found: Option<Disturbed> = disturbing(&mut db, id, own).await.unwrap();
            kept[n] = found.is_some();
        }
        kept[2] = at_work_on(&mut db, server).await.unwrap();
        kept[3] = self.told(leader, OperationId::generate()).await;
        assert!(
            !self.told(leader, self.operation).await,
            "it is not in its own way"
        );
        kept
    }

    async fn told(&self, leader: SubjectId, but: OperationId) -> bool {
        let mut db = self.herd.pool.acquire().await.unwrap();
        let told = told_to_lead(&mut db, leader, but).await.unwrap();
        told.is_some()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switchover_that_has_told_somebody_to_lead_keeps_all_off_though_it_is_stuck() {
    let pair = Pair::with_stuck("switchover").await;
    for (step, memo, keeps) in [
        ("promote", "{}", false),
        ("promote", r#"{"told": false}"#, false),
        ("promote", r#"{"told": true}"#, true),
        ("swap", r#"{"told": true}"#, true),
    ] {
        pair.is(step, memo).await;
        assert_eq!(pair.keeps_off().await, [keeps; 4], "{step} {memo}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_has_told_somebody_to_lead_keeps_all_off_until_it_is_written_down() {
    let pair = Pair::with_stuck("failover").await;
    for (memo, keeps) in [("{}", false), (r#"{"told": []}"#, false)] {
        pair.is("elect", memo).await;
        assert_eq!(pair.keeps_off().await, [keeps; 4], "{memo}");
    }
    let told = r#"{"told": ["one"]}"#;
    pair.is("promote", told).await;
    assert_eq!(pair.keeps_off().await, [true; 4]);
    // The record says who leads.
    let sql = "update resources set leader_id = case when id = $1 then $2 end";
    let ids = (pair.herd.ids[1], pair.herd.ids[2]);
    sql::run(&pair.herd.pool, sql, ids).await;
    assert_eq!(pair.keeps_off().await, [false; 4]);
}
