//! Incidents, playbooks and modes, as a person at a terminal meets them.

use drover::model::IncidentKind;
use serde_json::json;

use crate::command::{Shell, Terminal, all_fail, filters};
use crate::resolver::{act, escalated, open, opened, publish};
use crate::world::{Deployment, TOKEN};

#[tokio::test]
async fn a_night_on_call_at_the_terminal() {
    let deployment = Deployment::start().await;
    let mut at = Terminal::of(&deployment);
    at.tell("incidents").await;
    at.tell("playbook").await;
    at.tell("mode").await;
    publish(&deployment).await;
    let server = deployment.server("pg-1").await;
    let db = deployment.resource(&server, "app").await;
    at.id = escalated(&deployment, &db).await.public();
    // Ids of one millisecond are in no order.
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    open(&deployment, Some(&server), IncidentKind::HostKeyChanged).await;

    at.tell("incidents").await;
    at.tell("incident ID").await;
    at.tell("playbook").await;
    at.tell("playbook resource_down").await;
    at.tell("playbook host_key_changed").await;
    at.tell("incident ID acknowledge --by ann").await;
    at.tell("mode app hold --reason 'ann is at it'").await;
    at.tell("mode tier:standard advise --reason 'a move'").await;
    at.tell("mode").await;
    at.tell("mode herd").await;
    at.tell("mode app").await;
    at.tell("mode pg-1").await;
    at.tell("incident ID hold").await;
    at.tell("resources").await;
    at.tell("servers").await;
    at.tell("show app").await;
    at.tell("incident ID retry").await;
    at.tell("incident ID release").await;
    at.tell("mode app act").await;
    at.tell("ring").await;
    at.tell("incident ID resolve --reason 'the disk was swapped'")
        .await;
    at.tell("incidents").await;
    at.tell("incidents --all --subject app").await;
    at.tell("incident ID").await;
    insta::with_settings!({filters => filters(&[
        (r"for \d+s\b", "for Ns"),
        (r"\+\d+\.\ds", "+N s"),
        (r"in \d+\.\ds", "in N s"),
        (r"after \d+\.\ds", "after N s"),
        (r"  \d+s  ", "  Ns  "),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE TIME"),
    ])}, { insta::assert_snapshot!(at.told) });
}

#[tokio::test]
async fn the_commands_filter_and_answer_in_json() {
    let deployment = Deployment::start().await;
    let shell = Shell(&deployment);
    let server = deployment.server("pg-1").await;
    let db = deployment.resource(&server, "app").await;
    let down = opened(&deployment, &db, IncidentKind::ResourceDown).await;
    let disk = opened(&deployment, &server, IncidentKind::DiskCritical).await;
    let over = json!({"action": "resolve", "reason": "seen to"});
    act(&deployment, disk, over).await.is(200);
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
    let of_disks = ["--all", "--kind", "disk_critical"];
    assert_eq!(ids(&of_disks).await, [disk.as_str()]);
    assert_eq!(ids(&["--state", "resolved"]).await, [disk.as_str()]);
    assert_eq!(ids(&["--all", "--subject", "pg-1"]).await, [disk]);
    assert_eq!(ids(&["--subject", &db]).await, [down.as_str()]);
    let hold = ["incident", &down, "hold", "--reason", "wait", "--by", "ann"];
    let done = shell.json(&hold).await;
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
    let table = "
incident                                           | 2 | <ID>
incident app                                       | 2 | is not an incident's id
incident inc_01J8ZC0T3YQ5V7N2M4K6H9D1XB reboot     | 2 | must be one of: acknowledge
incident inc_01J8ZC0T3YQ5V7N2M4K6H9D1XB resolve    | 2 | resolve needs --reason
incident inc_01J8ZC0T3YQ5V7N2M4K6H9D1XB --reason x | 2 | <ACTION>
incidents --kind flood                             | 2 | must be one of
incidents --state open --all                       | 2 | must be one of
incidents --state resolved --all                   | 2 | --all
playbook flood                                     | 2 | must be one of: resource_down
mode hold                                          | 2 | drover mode herd hold
mode tier:../x                                     | 2 | tier's name
mode herd stop                                     | 2 | must be one of: act, advise, hold
mode herd hold                                     | 2 | need --reason
mode herd --reason x                               | 2 | <MODE>
";
    all_fail(&[("DROVER_API_TOKEN", TOKEN)], table).await;
    let deployment = Deployment::start().await;
    let server = deployment.server("pg-1").await;
    let down = opened(&deployment, &server, IncidentKind::ServerDown).await;
    let down = down.public();
    let table = "
incident inc_01J8ZC0T3YQ5V7N2M4K6H9D1XB | 1 | there is no incident
incident DOWN retry                     | 1 | possible now: acknowledge, hold, resolve
incidents --subject nobody              | 1 | is named `nobody`
playbook server_down                    | 1 | no `drover-worker resolve` has started
mode tier:gold                          | 1 | there is no tier gold
mode tier:gold hold --reason x          | 1 | there is no tier gold
mode nobody act                         | 1 | is named `nobody`
";
    let settings = [
        ("DROVER_URL", deployment.url.as_str()),
        ("DROVER_API_TOKEN", TOKEN),
    ];
    all_fail(&settings, &table.replace("DOWN", &down)).await;
}
