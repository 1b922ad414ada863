//! Playbooks of servers, and of clusters that are down.

use drover::model::IncidentKind;
use serde_json::json;

use super::driver::{Cut, World, session, superuser};

#[tokio::test]
async fn a_killed_cluster_is_started_once_however_often_a_worker_dies() {
    let world = World::new("down", &json!({})).await;
    let (server, cluster, _, resource) = world.pair(None).await;
    for cut in [Cut::Never, Cut::AfterEffect] {
        server.kill(&cluster).await.unwrap();
        let mut case = world
            .incident(resource, IncidentKind::ResourceDown)
            .cut(cut);
        assert_eq!(case.until_done().await, "restart_fast", "{}", case.story());
        session(&server, &cluster).await.unwrap();
        let last = &case.done.last().unwrap().note;
        let again = last.contains("was started already");
        assert_eq!(again, cut == Cut::AfterEffect, "{last}");
    }
    assert_eq!(superuser(&server, &cluster, "select 1").await, "1");
}
