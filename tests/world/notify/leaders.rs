//! Changes of leader: told to the webhook, signed, at least once, in their order.

use std::time::Duration;

use drover::model::{
    Channel, MessageId, MessageState, OperationId, OperationKind, Provider, PublicId, SubjectId,
};
use drover::store::operations::{self, Fact};
use drover::store::subjects::NewResource;
use drover_tests::{Mood, records, sql};
use serde_json::{Value, json};

use super::world::{World, new_resource, receiver, webhook, zendesk};

impl World {
    /// A follower of the database, at another port of its server.
    async fn follower(&self) -> SubjectId {
        let new = NewResource {
            port: 5433,
            ..new_resource(self.server, "copy")
        };
        let id = records::adopt(&self.pool, &new).await;
        let sql = "update resources set leader_id = $2 where id = $1";
        sql::run(&self.pool, sql, (id, self.resource)).await;
        id
    }

    /// What a worker writes down; its message with it.
    async fn hand_over(&self, from: SubjectId, to: SubjectId, kind: OperationKind) -> MessageId {
        let detail = json!({"lost_bytes": 0});
        records::handed_over(&self.pool, from, to, kind, detail).await;
        let sql = "select id from outbox where channel = $1 order by seq desc";
        let ids: Vec<String> = sql::scalars(&self.pool, sql, [Channel::Event]).await;
        ids[0].parse().unwrap()
    }

    async fn operation_told(&self) -> Vec<String> {
        let sql = "select text from operation_events where kind = 'message' order by id";
        sql::scalars(&self.pool, sql, ()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_leader_is_sent_signed_once_each_and_in_order() {
    let world = World::new().await;
    let receiver = receiver().await;
    // Down at first; and the answer to the second event's first try is lost.
    let lost = Mood::Slow(Duration::from_secs(15));
    receiver.then(&[Mood::Status(502), Mood::Well, lost]);
    let follower = world.follower().await;
    let (leader, over, back) = (
        world.resource,
        OperationKind::Failover,
        OperationKind::Switchover,
    );
    let first = world.hand_over(leader, follower, over).await;
    let second = world.hand_over(follower, leader, back).await;
    let workers = world.work(webhook(&receiver));
    let message = world.delivered(first).await;
    assert_eq!(message.delivered_by, Some(Provider::Webhook));
    assert_eq!(message.attempts, 2);
    world.delivered(second).await;
    workers.end().await;
    assert_eq!(receiver.refused(), 0, "each was signed");
    let received = receiver.received();
    let ids: Vec<&str> = received.iter().map(|r| r.id.as_str()).collect();
    let (first, second) = (first.public(), second.public());
    assert_eq!(ids, [&first, &second, &second].map(String::as_str));
    assert_eq!(received[1].event, received[2].event, "word for word");
    assert_eq!(received[0].event["data"]["kind"], "failover");
    let event = &received[1].event;
    assert_eq!(event["type"], "leader.changed");
    let id = |id| PublicId::new(drover::model::Kind::Resource, id);
    let node = |of, port| json!({"id": id(of), "address": "192.0.2.1", "port": port});
    let mut data = event["data"].clone();
    assert_eq!(data["at"].as_str().map(str::is_empty), Some(false));
    for unknown in ["at", "id", "operation"] {
        assert!(data[unknown].take().is_string(), "{unknown}");
    }
    let expected = json!({
        "id": null, "at": null, "operation": null, "kind": "switchover", "name": "app", "epoch": 3,
        "new_leader": node(world.resource, 5432), "old_leader": node(follower, 5433),
        "detail": {"lost_bytes": 0},
    });
    assert_eq!(data, expected);
    let told = world.operation_told().await;
    assert!(told[0].starts_with("event not delivered yet: the webhook"));
    let second = "event delivered by the webhook at attempt 2";
    assert!(told.iter().any(|text| text == second), "{told:?}");
    assert!(!world.record().await.contains("swordfish"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_webhook_a_change_of_leader_goes_to_the_log() {
    for config in [Default::default(), zendesk("http://127.0.0.1:1", "token")] {
        let world = World::new().await;
        let follower = world.follower().await;
        let kind = OperationKind::Switchover;
        let id = world.hand_over(world.resource, follower, kind).await;
        let workers = world.work(config);
        let message = world.becomes(id, MessageState::Delivered).await;
        workers.end().await;
        assert_eq!(message.delivered_by, Some(Provider::Log));
        let told = world.operation_told().await;
        assert_eq!(
            told,
            ["event written to the log: DROVER_WEBHOOK_URL is not set"]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_taken_back_is_told_to_nobody() {
    let world = World::new().await;
    let follower = world.follower().await;
    let fact = Fact::HandOver {
        to: follower,
        customer: vec![],
        replication: vec![],
        // There is no such operation: the transaction fails.
        by: (OperationId::generate(), OperationKind::Failover),
        timeline: None,
        detail: Value::Null,
    };
    let mut tx = world.pool.begin().await.unwrap();
    let applied = operations::apply(&mut tx, world.resource, &fact, "test").await;
    assert!(applied.is_err());
    drop(tx);
    let sql = "select (select count(*) from outbox), (select count(*) from leader_changes)";
    let left: (i64, i64) = sql::row(&world.pool, sql, ()).await;
    assert_eq!(left, (0, 0));
}
