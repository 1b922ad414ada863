//! Changes of leader: written with the change, listed, never changed again.

use drover::model::{Kind, OperationId, OperationKind, PublicId, SubjectId};
use drover_tests::{Says, Shows, records, sql};
use serde_json::{Value, json};

use crate::command::Shell;
use crate::made::{id, path};
use crate::refusals::refused;
use crate::world::Deployment;

impl Deployment {
    /// What a worker writes down when a follower takes the lead. Gives the operation.
    pub async fn handed_over(&self, from: &Value, to: &Value, kind: OperationKind) -> OperationId {
        let detail = json!({"lost_bytes": 0, "fenced_by": "ssh"});
        records::handed_over(&self.pool, id(from).id, id(to).id, kind, detail).await
    }

    async fn events(&self, query: &str) -> Vec<Value> {
        let answer = self.get(&format!("/v1/events{query}")).await.is(200);
        answer.json()["items"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn a_change_of_leader_is_written_once_and_for_ever() {
    let (drover, shop) = Deployment::with_a_resource("production").await;
    assert_eq!(drover.events("").await, [] as [Value; 0]);
    assert_eq!(Shell(&drover).text(&["events"]).await.trim(), "no events");
    let reader = drover.follower_of(&shop, "10.0.0.10").await;
    let (shop_id, reader_id) = (&shop["id"], &reader["id"]);
    let shown = drover.get(&path(&shop)).await.json();
    assert_eq!(shown["leader_change"], Value::Null);
    let (over, back) = (OperationKind::Failover, OperationKind::Switchover);
    let failover = drover.handed_over(&shop, &reader, over).await;
    let switchover = drover.handed_over(&reader, &shop, back).await;

    let all = drover.events("").await;
    assert_eq!(all.len(), 2, "{all:?}");
    let [back, first] = [&all[0], &all[1]];
    first.shows(json!({"type": "leader.changed", "kind": "failover", "name": "shop", "epoch": 2}));
    assert_eq!(first["operation"], failover.public());
    let detail = json!({"lost_bytes": 0, "fenced_by": "ssh"});
    assert_eq!(first["detail"], detail);
    let new = json!({"id": reader_id, "address": "10.0.0.10", "port": reader["port"]});
    assert_eq!(first["new_leader"], new);
    assert_eq!(first["old_leader"]["id"], *shop_id);
    back.shows(json!({"kind": "switchover", "epoch": 3, "new_leader": {"id": shop_id}}));
    assert_eq!(back["operation"], switchover.public());
    let one = format!("/v1/events/{}", first["id"].as_str().unwrap());
    assert_eq!(drover.get(&one).await.json(), *first);
    let shown = drover.get(&path(&shop)).await.json();
    shown.shows(json!({"leader_change": {"id": back["id"]}, "epoch": 3}));

    // From either end, behind one that is known, and page by page.
    assert_eq!(drover.events("?order=oldest").await[0], *first);
    let after = format!("?after={}", first["id"].as_str().unwrap());
    assert_eq!(drover.events(&after).await, std::slice::from_ref(back));
    let after = format!("?after={}", back["id"].as_str().unwrap());
    assert_eq!(drover.events(&after).await, [] as [Value; 0]);
    let page = drover.get("/v1/events?limit=1").await.json();
    assert_eq!(page["items"], json!([back]));
    let next = format!("?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(drover.events(&next).await, std::slice::from_ref(first));
    let resource = format!("?resource={}", reader_id.as_str().unwrap());
    assert_eq!(drover.events(&resource).await.len(), 2);
    let other = PublicId::new(Kind::Resource, SubjectId::generate());
    assert_eq!(drover.events(&format!("?resource={other}")).await.len(), 0);

    let told = Shell(&drover).text(&["events", "--resource=shop"]).await;
    told.says(["failover", "lost_bytes=0"]);
    let told = Shell(&drover).json(&["events", "--oldest"]).await;
    assert_eq!(told["items"][0], *first);
    assert!(!drover.record().await.contains("\"customer\""));
    let statements = [
        "update leader_changes set epoch = 1",
        "delete from leader_changes",
        "truncate leader_changes cascade",
    ];
    sql::cannot_be_changed(&drover.pool, &statements).await;
}

#[tokio::test]
async fn questions_for_events_that_cannot_be_answered_are_refused() {
    let (drover, shop) = Deployment::with_a_resource("production").await;
    let server = shop["server"].as_str().unwrap();
    for (query, code, field) in [
        ("order=latest".to_owned(), "invalid_parameter", "order"),
        (
            format!("resource={server}"),
            "invalid_parameter",
            "resource",
        ),
        ("resource=shop".into(), "malformed_id", "resource"),
        ("after=evt_x".into(), "malformed_id", "after"),
        (
            "after=evt_01J8ZC0T3YQ5V7N2M4K6H9D1XB".into(),
            "invalid_parameter",
            "after",
        ),
        ("cursor=msg_x".into(), "invalid_cursor", "cursor"),
        ("kind=failover".into(), "unknown_parameter", "kind"),
    ] {
        let answer = drover.get(&format!("/v1/events?{query}")).await;
        refused(&query, &answer, 400, code, Some(field));
    }
    let nobody = "/v1/events/evt_01J8ZC0T3YQ5V7N2M4K6H9D1XB";
    let answer = drover.get(nobody).await;
    refused("unknown", &answer, 404, "not_found", Some("id"));
}
