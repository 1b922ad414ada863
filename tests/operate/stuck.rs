//! What is not made in time, or refused, is said to a human, and goes on when what was
//! in its way is gone.

use drover_tests::aws::Answer;
use drover_tests::{PATIENCE, Says, when};
use serde_json::{Value, json};

use crate::ec2::{Ec2, Setting};

#[tokio::test(flavor = "multi_thread")]
async fn without_credentials_ec2_waits_for_a_human_and_the_local_cloud_goes_on() {
    let mut ec2 = Ec2::start_with(&[Setting::NoCredentials]).await;
    let id = ec2.create("orders", "production").await;
    let local = json!({"name": "beside", "plan": "starter", "cloud": "local"});
    let local = ec2.drover.post("/v1/resources", &local).await.unwrap();
    let server = ec2.server_of(&id).await;
    let incident = ec2.incident(&server, "creation_stuck", "needs_human").await;
    incident["reason"].says(["credentials"]);
    ec2.available(local["id"].as_str().unwrap()).await;
    assert_eq!(ec2.moto.asked("RunInstances"), 0);

    // Somebody gives it credentials, and says so.
    ec2.give_credentials();
    ec2.drover.processes.kill("resolve").unwrap();
    ec2.drover.processes.start("resolve").unwrap();
    ec2.act_on(&incident, "retry").await;
    ec2.available(&id).await;
    ec2.incident(&server, "creation_stuck", "resolved").await;

    // What was never asked for can be given up without asking the cloud.
    ec2.destroy(&id, "orders").await;
    ec2.destroy(local["id"].as_str().unwrap(), "beside").await;
    ec2.until_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_in_time_is_said_to_a_human_and_goes_on_by_itself() {
    let mut ec2 = Ec2::start_with(&[Setting::NoMachines, Setting::Patience("50s")]).await;
    let id = ec2.create("orders", "production").await;
    let server = ec2.server_of(&id).await;
    let incident = ec2.incident(&server, "creation_stuck", "needs_human").await;
    let reason = incident["reason"].as_str().unwrap();
    reason.says(["step 5 of 9", "50s"]);
    let operation = ec2.get(&format!("/v1/servers/{server}")).await["operation"].clone();
    assert_eq!(operation["step_name"], "await_ssh", "{operation}");
    assert_ne!(operation["stuck_since"], Value::Null, "{operation}");

    ec2.attend();
    ec2.act_on(&incident, "retry").await;
    ec2.incident(&server, "creation_stuck", "resolved").await;
    assert_eq!(ec2.moto.asked("RunInstances"), 1, "it was only waited for");
    ec2.destroy(&id, "orders").await;
    ec2.until_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_capacity_the_next_zone_is_asked_then_the_next_size() {
    let ec2 = Ec2::start_with(&[]).await;
    for _ in 0..2 {
        let full = Answer::error(500, "InsufficientInstanceCapacity", "none of these left");
        ec2.moto.once("RunInstances", full);
    }
    let id = ec2.create("orders", "production").await;
    ec2.available(&id).await;
    let server = ec2.server_of(&id).await;
    let seen = ec2.get(&format!("/v1/servers/{server}")).await;
    // Two zones had no m6i.large; the plan's next size was had in the first of them.
    assert_eq!(seen["size"], "m6a.large", "{seen}");
    assert_eq!(ec2.moto.asked("RunInstances"), 3);
    ec2.destroy(&id, "orders").await;
    ec2.until_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_aws_refuses_goes_to_a_human_in_its_own_words() {
    let ec2 = Ec2::start_with(&[]).await;
    let words = "You have requested more vCPU capacity";
    let limit = Answer::error(400, "VcpuLimitExceeded", words);
    ec2.moto.once("RunInstances", limit);
    let id = ec2.create("orders", "production").await;
    let server = ec2.server_of(&id).await;
    let incident = ec2.incident(&server, "creation_stuck", "needs_human").await;
    let reason = incident["reason"].as_str().unwrap();
    assert!(reason.contains("requested more vCPU capacity"), "{reason}");
    // Given up by who asked for it: nothing is left, and nobody is rung any more.
    ec2.destroy(&id, "orders").await;
    ec2.until_nothing_is_left().await;
    ec2.incident(&server, "creation_stuck", "resolved").await;
}

impl Ec2 {
    async fn server_of(&self, id: &str) -> String {
        let seen = self.get(&format!("/v1/resources/{id}")).await;
        seen["server"].as_str().unwrap().to_owned()
    }

    async fn incident(&self, subject: &str, kind: &str, state: &str) -> Value {
        let path = format!("/v1/incidents?subject={subject}&kind={kind}&limit=1");
        let what = format!("{kind} {state}");
        let found = drover_tests::until(&what, PATIENCE, || async {
            let page = self.drover.get(&path).await?;
            let newest = page["items"][0].clone();
            when(newest["state"] == state, newest)
        });
        match found.await {
            Ok((incident, _)) => incident,
            Err(e) => panic!("{e:#}\n{}", self.drover.processes.logs()),
        }
    }

    async fn act_on(&self, incident: &Value, action: &str) {
        let id = incident["id"].as_str().unwrap();
        let body = json!({"action": action, "by": "a test"});
        self.drover.act(id, &body).await.unwrap();
    }
}
