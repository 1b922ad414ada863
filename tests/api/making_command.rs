//! Making, changing and destroying at a terminal.

use std::time::Duration;

use drover_tests::{Says, sql};
use serde_json::json;

use crate::command::{Shell, Terminal, all_fail, failed, filters, words};
use crate::made::path;
use crate::world::{Deployment, TOKEN};

#[tokio::test]
async fn a_day_of_making_at_the_terminal() {
    let drover = Deployment::with_a_cloud().await;
    let shell = Shell(&drover);
    let mut at = Terminal::of(&drover);
    at.tell("regions").await;
    at.tell("plans").await;
    at.tell("create resource --name=shop --plan=production")
        .await;
    let shop = shell.json(&["show", "shop"]).await;
    let server = drover.server_of(&shop).await;
    let rename = json!({"action": "rename", "name": "production-1"});
    drover.ask(&server, rename).await.is(200);
    drover.stands(&server, 2, "port 22: refused", false).await;
    at.tell("operations --subject=production-1").await;
    at.tell("servers").await;
    at.tell("show production-1").await;
    drover.is_made(&server, "10.0.0.9").await;
    drover.is_made(&shop, "").await;
    let pem = "update resources set tls_root_cert = E'-----BEGIN\\nMIIB\\n-----END\\n',
               customer_role = 'u_1', customer_database = 'd_1'";
    sql::run(&drover.pool, pem, ()).await;
    at.tell("credentials shop").await;
    at.tell("act shop resize --size=large --now --reason='it is slow' --by=ann")
        .await;
    at.tell("act shop rename store").await;
    at.tell("act store set-window 'mon 04:00 Europe/Berlin'")
        .await;
    let server = drover.server_of(&shop).await;
    drover
        .stands(&server, 0, "no such size there today", true)
        .await;
    at.tell("operations --stuck").await;
    at.id = server["operation"]["id"].as_str().unwrap().to_owned();
    at.tell("operation ID").await;
    at.tell("operation ID retry --by=ann").await;
    at.tell("destroy store --confirm=store").await;
    at.tell("operations --all --subject=store").await;
    insta::with_settings!({filters => filters(&[
        (r"for \d+s\b", "for Ns"),
        (r"  \d+s  ", "  Ns  "),
        (r"(u_1:|password +)[0-9A-Za-z]{32}", "${1}PASSWORD"),
    ])}, { insta::assert_snapshot!(at.told) });
}

#[tokio::test]
async fn waiting_shows_how_far_it_is_until_it_is_there() {
    let drover = Deployment::with_a_cloud().await;
    let shell = Shell(&drover);
    let create = words("create resource --name=shop --plan=starter --wait");
    let worker = async {
        let shop = loop {
            let list = drover.get("/v1/resources?name=shop").await.json();
            if list["items"][0].is_object() {
                break list["items"][0].clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let server = drover.server_of(&shop).await;
        let rename = json!({"action": "rename", "name": "starter-1"});
        drover.ask(&server, rename).await.is(200);
        drover.stands(&server, 2, "port 22: refused", false).await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        drover.is_made(&server, "10.0.0.9").await;
        drover.stands(&shop, 4, "it starts", false).await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        drover.is_made(&shop, "").await;
    };
    let (told, ()) = tokio::join!(shell.text(&create), worker);
    for line in [
        "Creating shop: db_",
        "starter-1: step 3 of 7: await_ssh (port 22: refused)",
        "shop: step 5 of 7: await_ssh (it starts)",
        "shop is available, after ",
    ] {
        assert_eq!(told.matches(line).count(), 1, "{line}: {told}");
    }
}

/// What can be done with it at once, and who follows it from birth, is waited for too.
#[tokio::test]
async fn waiting_ends_when_nothing_is_left_to_do_for_it_and_its_followers() {
    let drover = Deployment::with_a_cloud().await;
    let shell = Shell(&drover);
    let create = words("create resource --name=shop --plan=premium --wait");
    let worker = async {
        let both = loop {
            let list = drover.get("/v1/resources").await.json();
            let items = list["items"].as_array().unwrap().clone();
            if items.len() == 2 {
                break items;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        // It answers before all is done for it.
        let sql = "update subjects set state = 'available' where name = 'shop'";
        sql::run(&drover.pool, sql, ()).await;
        drover.stands(&both[0], 4, "nearly", false).await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        drover.is_made(&both[0], "").await;
        drover.stands(&both[1], 2, "it is copied", false).await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        drover.is_made(&both[1], "").await;
    };
    let (told, ()) = tokio::join!(shell.text(&create), worker);
    let places: Vec<usize> = [
        "(nearly)",
        "shop is available",
        "(it is copied)",
        "shop-follower-1 is available",
    ]
    .iter()
    .map(|line| told.find(line).unwrap_or_else(|| panic!("{line}: {told}")))
    .collect();
    assert!(places.is_sorted(), "{told}");
}

#[tokio::test]
async fn waiting_ends_when_it_is_stuck_or_takes_too_long() {
    let drover = Deployment::with_a_cloud().await;
    let shell = Shell(&drover);
    let create = ["create", "server", "--name=a", "--wait", "--limit=2s"];
    let told = failed(&shell.output(&create).await, 1);
    assert!(told.contains("not available in time"), "{told}");
    let create = ["create", "server", "--name=b", "--wait"];
    let worker = async {
        let id = drover.adopted("b").await;
        let b = drover.get(&format!("/v1/servers/{id}")).await.json();
        drover.stands(&b, 1, "no room in that zone", true).await;
        path(&b)
    };
    let (output, at) = tokio::join!(shell.output(&create), worker);
    let told = failed(&output, 1);
    told.says(["no room in that zone", "a human"]);
    // It goes on being made.
    assert_eq!(drover.get(&at).await.json()["state"], "creating");
}

#[tokio::test]
async fn wrong_use_is_told_before_anything_is_asked() {
    let drover = Deployment::with_a_cloud().await;
    let settings = [
        ("DROVER_URL", drover.url.as_str()),
        ("DROVER_API_TOKEN", TOKEN),
    ];
    let server = drover.server("there").await;
    let db = drover.resource(&server, "app").await;
    let before = drover.record().await;
    let table = "
create resource --name=x                   | 2 | --plan
create server --name=x --limit=5s          | 2 | --wait
create server --name=x --wait --limit=soon | 2 | --limit
create server --name=x --size=huge         | 1 | medium, large
destroy app                                | 2 | --confirm
destroy app --confirm=app                  | 1 | drover forget
act app restart --now                      | 2 | --reason
act app resize --size=large                | 1 | was adopted
credentials there                          | 2 | is a server
follow there                               | 2 | is a server
follow app                                 | 1 | was adopted
url there                                  | 2 | is a server
url app --role=writer                      | 2 | --role
credentials DB                             | 1 | was adopted
operation op_x                             | 2 | op_
operations --state=going                   | 2 | must be one of
";
    all_fail(&settings, &table.replace("DB", &db)).await;
    assert_eq!(drover.record().await, before);
}
