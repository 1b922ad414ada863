//! Incidents, playbooks and modes, as a person at a terminal meets them.

use drover::model::IncidentKind;
use serde_json::json;

use crate::command::{Shell, failed, run};
use crate::resolver::{act, escalated, open, publish};
use crate::world::{Deployment, TOKEN};

#[tokio::test]
async fn a_night_on_call_at_the_terminal() {
    let deployment = Deployment::start().await;
    let shell = Shell(&deployment);
    let mut told = String::new();
    let mut tell = async |arguments: &[&str], shown: &str| {
        let text = shell.text(arguments).await;
        told += &format!("$ drover {shown}\n{text}\n");
    };
    tell(&["incidents"], "incidents").await;
    tell(&["playbook"], "playbook").await;
    tell(&["mode"], "mode").await;
    publish(&deployment).await;
    let server = deployment.server("pg-1").await;
    let db = deployment.resource(&server, "app").await;
    let id = escalated(&deployment, &db).await.public();
    // Ids of one millisecond are in no order.
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    open(&deployment, Some(&server), IncidentKind::HostKeyChanged).await;

    tell(&["incidents"], "incidents").await;
    tell(&["incident", &id], "incident ID").await;
    tell(&["playbook"], "playbook").await;
    tell(&["playbook", "resource_down"], "playbook resource_down").await;
    tell(
        &["playbook", "host_key_changed"],
        "playbook host_key_changed",
    )
    .await;
    tell(
        &["incident", &id, "acknowledge", "--by", "ann"],
        "incident ID acknowledge --by ann",
    )
    .await;
    tell(
        &["mode", "app", "hold", "--reason", "ann is at it"],
        "mode app hold --reason 'ann is at it'",
    )
    .await;
    tell(
        &["mode", "tier:standard", "advise", "--reason", "a move"],
        "mode tier:standard advise --reason 'a move'",
    )
    .await;
    tell(&["mode"], "mode").await;
    tell(&["mode", "herd"], "mode herd").await;
    tell(&["mode", "app"], "mode app").await;
    tell(&["mode", "pg-1"], "mode pg-1").await;
    tell(&["incident", &id, "hold"], "incident ID hold").await;
    tell(&["resources"], "resources").await;
    tell(&["servers"], "servers").await;
    tell(&["show", "app"], "show app").await;
    tell(&["incident", &id, "retry"], "incident ID retry").await;
    tell(&["incident", &id, "release"], "incident ID release").await;
    tell(&["mode", "app", "act"], "mode app act").await;
    tell(&["ring"], "ring").await;
    tell(
        &[
            "incident",
            &id,
            "resolve",
            "--reason",
            "the disk was swapped",
        ],
        "incident ID resolve --reason 'the disk was swapped'",
    )
    .await;
    tell(&["incidents"], "incidents").await;
    tell(
        &["incidents", "--all", "--subject", "app"],
        "incidents --all --subject app",
    )
    .await;
    tell(&["incident", &id], "incident ID").await;
    insta::with_settings!({filters => vec![
        (r"\b(srv|db|obs|inc|msg)_[0-9A-Z]{26}", "${1}_ID"),
        (r"\d+s ago", "Ns ago"),
        (r"for \d+s\b", "for Ns"),
        (r"\+\d+\.\ds", "+N s"),
        (r"in \d+\.\ds", "in N s"),
        (r"after \d+\.\ds", "after N s"),
        // How wide a column is depends on how long this took.
        (r" {2,}", "  "),
        (r"  \d+s  ", "  Ns  "),
        (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE TIME"),
        (r"oldest observation  \d+\.\d s", "oldest observation  N s"),
    ]}, { insta::assert_snapshot!(told) });
}

#[tokio::test]
async fn the_commands_filter_and_answer_in_json() {
    let deployment = Deployment::start().await;
    let shell = Shell(&deployment);
    let server = deployment.server("pg-1").await;
    let db = deployment.resource(&server, "app").await;
    let down = open(&deployment, Some(&db), IncidentKind::ResourceDown)
        .await
        .unwrap();
    let disk = open(&deployment, Some(&server), IncidentKind::DiskCritical)
        .await
        .unwrap();
    let over = json!({"action": "resolve", "reason": "seen to"});
    assert_eq!(act(&deployment, disk, over).await.status, 200);
    let ids = async |arguments: &[&str]| {
        let list = shell.json(&[&["incidents"], arguments].concat()).await;
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|i| i["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let (down, disk) = (down.public(), disk.public());
    assert_eq!(ids(&[]).await, [down.as_str()]);
    assert_eq!(ids(&["--all"]).await.len(), 2);
    assert_eq!(
        ids(&["--all", "--kind", "disk_critical"]).await,
        [disk.as_str()]
    );
    assert_eq!(ids(&["--state", "resolved"]).await, [disk.as_str()]);
    assert_eq!(ids(&["--all", "--subject", "pg-1"]).await, [disk]);
    assert_eq!(ids(&["--subject", &db]).await, [down.as_str()]);
    let done = shell
        .json(&["incident", &down, "hold", "--reason", "wait", "--by", "ann"])
        .await;
    assert_eq!(done["events"][1]["actor"], "ann");
    assert_eq!(shell.json(&["incident", &down]).await, done);
    assert_eq!(shell.json(&["mode"]).await["items"][0]["scope"], "herd");
    let set = ["mode", "app", "hold", "--reason", "x"];
    assert_eq!(shell.json(&set).await["scope"], db.as_str());
    assert_eq!(shell.json(&["mode", "app"]).await["mode"], "hold");
    assert_eq!(shell.json(&["playbook"]).await["items"], json!([]));
}

#[tokio::test]
async fn what_cannot_be_asked_or_done_is_one_line() {
    let id = "inc_01J8ZC0T3YQ5V7N2M4K6H9D1XB";
    for (arguments, says) in [
        (vec!["incident"], "<ID>"),
        (vec!["incident", "app"], "is not an incident's id"),
        (
            vec!["incident", id, "reboot"],
            "must be one of: acknowledge",
        ),
        (vec!["incident", id, "resolve"], "resolve needs --reason"),
        (vec!["incident", id, "--reason", "x"], "<ACTION>"),
        (vec!["incidents", "--kind", "flood"], "must be one of"),
        (
            vec!["incidents", "--state", "open", "--all"],
            "must be one of",
        ),
        (vec!["incidents", "--state", "resolved", "--all"], "--all"),
        (vec!["playbook", "flood"], "must be one of: resource_down"),
        (vec!["mode", "hold"], "drover mode herd hold"),
        (vec!["mode", "tier:../x"], "tier's name"),
        (
            vec!["mode", "herd", "stop"],
            "must be one of: act, advise, hold",
        ),
        (vec!["mode", "herd", "hold"], "need --reason"),
        (vec!["mode", "herd", "--reason", "x"], "<MODE>"),
    ] {
        let output = run(&arguments, &[("DROVER_API_TOKEN", TOKEN)]).await;
        let told = failed(&output, 2);
        assert!(told.contains(says), "{arguments:?}: {told}");
    }
    let deployment = Deployment::start().await;
    let shell = Shell(&deployment);
    let server = deployment.server("pg-1").await;
    let down = open(&deployment, Some(&server), IncidentKind::ServerDown)
        .await
        .unwrap();
    let down = down.public();
    for (arguments, says) in [
        (vec!["incident", id], "there is no incident"),
        (
            vec!["incident", &down, "retry"],
            "possible now: acknowledge, hold, resolve",
        ),
        (
            vec!["incidents", "--subject", "nobody"],
            "is named `nobody`",
        ),
        (
            vec!["playbook", "server_down"],
            "no `drover-worker resolve` has started",
        ),
        (vec!["mode", "tier:gold"], "there is no tier gold"),
        (
            vec!["mode", "tier:gold", "hold", "--reason", "x"],
            "there is no tier gold",
        ),
        (vec!["mode", "nobody", "act"], "is named `nobody`"),
    ] {
        let told = failed(&shell.output(&arguments).await, 1);
        assert!(told.contains(says), "{arguments:?}: {told}");
    }
}
