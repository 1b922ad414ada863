//! Plans that do not allow every remedy.

use drover::model::IncidentKind::{ResourceDown, ServerDown};

use super::driver::{ALL, World, session, world};
use drover_tests::{Says, sql};

async fn limit(world: &World, remedies: &[&str]) {
    let sql = "update plans set remedies = $1 where name = 'starter'";
    sql::run(&world.pool, sql, [remedies]).await;
}

async fn remedies_begun(world: &World) -> Vec<String> {
    let sql = "select distinct remedy from resolver_runs where cardinality(touched) > 0 order by 1";
    sql::scalars(&world.pool, sql, ()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remedy_that_the_plan_does_not_allow_is_passed_over_for_the_next() {
    let world = world("plan").await;
    let (server, cluster, id, resource) = world.pair(None).await;
    let sql = "update resources set plan = 'starter' where id = $1";
    sql::run(&world.pool, sql, [resource]).await;
    limit(&world, &["resource_down/restart_immediate"]).await;
    let _ring = world.ring(ALL);
    world.in_service(&[id, resource]).await;
    server.kill(&cluster).await.unwrap();
    let timeline = world.incident_is(resource, ResourceDown, "resolved").await;
    timeline.says(["skipped: restart_fast: plan starter does not allow it"]);
    assert_eq!(remedies_begun(&world).await, ["restart_immediate"]);
    session(&server, &cluster).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_allows_nothing_leaves_its_servers_to_a_human() {
    let world = world("plan-none").await;
    let (server, _, id, resource) = world.made().await;
    let sql = "update servers set for_plan = 'starter' where id = $1";
    sql::run(&world.pool, sql, [id]).await;
    limit(&world, &[]).await;
    let _ring = world.ring(ALL);
    world.in_service(&[id, resource]).await;
    server.unplug().await.unwrap();
    let timeline = world.incident_is(id, ServerDown, "needs_human").await;
    for remedy in ["reboot", "stop_start"] {
        let said = format!("skipped: {remedy}: plan starter does not allow it");
        assert!(timeline.contains(&said), "{timeline}");
    }
    assert_eq!(remedies_begun(&world).await, [""; 0]);
}
