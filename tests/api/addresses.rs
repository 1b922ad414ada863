//! Where clients connect: the address with all nodes of a resource.

use drover_tests::Says;
use serde_json::{Value, json};

use crate::made::path;
use crate::refusals::refused;
use crate::world::Deployment;

#[tokio::test]
async fn clients_find_all_nodes_that_are_there_in_one_address() {
    let drover = Deployment::with_a_cloud().await;
    let shop = json!({"name": "shop", "plan": "production", "zone": "a"});
    let shop = drover.created("resource", shop).await;
    let at = format!("{}/url", path(&shop));
    refused("early", &drover.get(&at).await, 409, "not_ready", None);
    for (query, code, field) in [
        ("?role=writer", "invalid_parameter", "role"),
        ("?user=x", "unknown_parameter", "user"),
        ("?role=leader&role=follower", "invalid_parameter", "role"),
    ] {
        let answer = drover.get(&format!("{at}{query}")).await;
        refused(query, &answer, 400, code, Some(field));
    }
    drover.is_in_service(&shop, "10.0.0.9").await;
    let [user, database] = ["user", "database"].map(|of| shop[of].as_str().unwrap());
    // Of one node there is nothing to choose, but for a reader, which may come to have
    // a follower.
    let alone = drover.url(&shop, "").await;
    let address = format!("postgresql://{user}@10.0.0.9:5432/{database}?sslmode=require");
    assert_eq!(alone["url"], address);
    assert!(alone["tls_root_certs"].is_null());
    let reads = format!("{address}&target_session_attrs=prefer-standby");
    assert_eq!(drover.url(&shop, "?role=follower").await["url"], reads);

    // A follower that is being made is no node, and has none but its leader's.
    let reader = drover.follow(&shop, json!({"name": "reader"})).await.json();
    let its = drover.server_of(&reader).await;
    drover.is_made(&its, "fd00::10").await;
    assert_eq!(drover.url(&shop, "").await["url"], address);
    assert_eq!(drover.url(&reader, "").await["url"], address);
    drover.is_made(&reader, "").await;
    let pinned = "update resources set tls_root_cert = E'certificate of '
             || coalesce(leader_id, 'nobody') || E'\\n'";
    drover.run(pinned).await;
    for resource in [&shop, &reader] {
        let both = drover.url(resource, "?role=leader").await;
        let hosts = format!("postgresql://{user}@10.0.0.9:5432,[fd00::10]:5432/{database}");
        let writes = format!("{hosts}?sslmode=verify-full&target_session_attrs=primary");
        assert_eq!(both["url"], writes);
        let reads = drover.url(resource, "?role=follower").await;
        let reads = reads["url"].as_str().unwrap();
        assert!(reads.starts_with(&hosts), "{reads}");
        let prefers = "&target_session_attrs=prefer-standby";
        assert!(reads.ends_with(prefers), "{reads}");
        let nodes = both["nodes"].as_array().unwrap().iter();
        let roles: Vec<&Value> = nodes.map(|node| &node["role"]).collect();
        assert_eq!(roles, ["leader", "follower"]);
        assert_eq!(both["nodes"][1]["zone"], "b");
        let certificates = both["tls_root_certs"].as_str().unwrap();
        assert_eq!(certificates.lines().count(), 2, "{certificates}");
    }
    // A node that nobody can check keeps the others from being checked.
    let unpin = "update resources set tls_root_cert = null where leader_id is null";
    drover.run(unpin).await;
    let unpinned = drover.url(&shop, "").await;
    unpinned["url"].says(["sslmode=require"]);

    // One that is to be destroyed is left out at once.
    let deleted = format!("{}?confirm=reader", path(&reader));
    drover.delete(&deleted).await.is(202);
    assert_eq!(drover.url(&shop, "").await["url"], address);
}
