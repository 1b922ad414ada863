//! Operators: what was planned that they ask for, and what a person does whom drover calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::customers::Customer;
use crate::plan::{Ask, Node, Which};
use crate::report::Report;
use crate::world::World;

/// Asks for what was planned. Gives what came of it, in a word.
///
/// # Errors
/// What drover answers where it refuses, or does not answer.
pub async fn ask(world: &World, ask: Ask) -> Result<String> {
    let reason = "asked by chaos";
    match ask {
        Ask::Switchover(which) => {
            let leader = world.node(Node::Leader(which))?;
            let body = json!({"action": "switchover", "now": true, "reason": reason});
            act(world, &leader.id, &body).await
        }
        Ask::Reboot(node) => {
            let body = json!({"action": "reboot", "now": true, "reason": reason});
            act(world, &world.node(node)?.server, &body).await
        }
        Ask::Restart(node) => {
            let body = json!({"action": "restart", "now": true, "reason": reason});
            act(world, &world.node(node)?.id, &body).await
        }
        Ask::Resize(which) => {
            let server = world.node(Node::Follower(which, 0))?.server;
            let now = world.drover.shown(&server).await?;
            let size = match now["size"].as_str() {
                Some("medium") => "large",
                Some(_) | None => "medium",
            };
            let body = json!({"action": "resize", "size": size, "now": true, "reason": reason});
            act(world, &server, &body).await
        }
        Ask::AddFollower(which) => {
            let leader = world.node(Node::Leader(which))?;
            let path = format!("/v1/resources/{}/followers", leader.id);
            let made = world.drover.post(&path, &json!({})).await?;
            Ok(made["name"].as_str().unwrap_or_default().to_owned())
        }
        Ask::DestroyFollower(which) => destroy(world, which).await,
    }
}

async fn act(world: &World, id: &str, body: &Value) -> Result<String> {
    let asked = world.drover.act(id, body).await?;
    Ok(asked["id"].as_str().unwrap_or_default().to_owned())
}

async fn destroy(world: &World, which: Which) -> Result<String> {
    let nodes = world.nodes(which);
    let newest = nodes.get(1..).and_then(<[_]>::last);
    let id = &newest.context("it has no follower")?.id;
    let name = world.drover.shown(id).await?["name"].clone();
    let name = name.as_str().context("it has no name")?;
    let path = format!("/v1/resources/{id}?confirm={name}");
    world.drover.delete(&path).await?;
    Ok(name.to_owned())
}

/// How long a person takes to look at what needs one.
const REACTION: Duration = Duration::from_secs(20);
/// How long they try to get a leader back before they agree to lose what it alone has.
const PERSISTENCE: Duration = Duration::from_secs(150);

/// A person who does what the playbooks' pages say, for ever.
pub struct Person {
    /// Whom they ask where nobody else knows who leads.
    customers: Vec<Arc<Customer>>,
    /// When each incident and operation was answered last.
    answered: BTreeMap<String, tokio::time::Instant>,
}

impl Person {
    pub fn new(customers: Vec<Arc<Customer>>) -> Self {
        Self {
            customers,
            answered: BTreeMap::new(),
        }
    }

    /// Whether it is time to answer: it needs one for a while, and was not answered just now.
    fn is_due(&mut self, id: &str) -> bool {
        let now = tokio::time::Instant::now();
        let seen = self.answered.entry(id.to_owned()).or_insert(now);
        let due = now - *seen >= REACTION;
        if due {
            *seen = now;
        }
        due
    }

    /// Who leads where the nodes do not say it: whoever accepted the customer's last write.
    async fn unknown_leaders(&self, world: &World) -> Result<Vec<String>> {
        let record = world.drover.get("/v1/record").await?;
        let mut leaders = Vec::new();
        for group in record["differences"].as_array().into_iter().flatten() {
            if !group["leads"].is_null() {
                continue;
            }
            let mut customers = self.customers.iter();
            let customer = customers.find(|one| one.which.name() == text(group, "name"));
            let Some((customer, last)) = customer.and_then(|one| Some((one, one.last(world)?)))
            else {
                continue;
            };
            let nodes = world.nodes(customer.which);
            leaders.extend(
                nodes
                    .into_iter()
                    .find(|n| n.address == last.by)
                    .map(|n| n.id),
            );
        }
        Ok(leaders)
    }

    /// Looks once, and answers what is due. Only once nothing is broken any more may they give
    /// up what a dead leader has.
    ///
    /// # Errors
    /// If drover does not answer.
    pub async fn look(&mut self, world: &World, report: &Report, all_healed: bool) -> Result<()> {
        let found = world.drover.get("/v1/incidents?state=needs_human").await?;
        for incident in found["items"].as_array().into_iter().flatten() {
            let (id, kind) = (text(incident, "id"), text(incident, "kind"));
            if !self.is_due(id) {
                continue;
            }
            if kind == "record_is_old" {
                let leaders = self.unknown_leaders(world).await?;
                let body = json!({"leaders": leaders, "reason": "it was restored", "by": "ann"});
                let done = world.drover.post("/v1/record/adopt", &body).await;
                let said = leaders.join(", ");
                report.person(&format!("adopts the record ({said}) {}", outcome(&done)));
                continue;
            }
            // A brake is lifted by the word that it was none; else it lasts.
            let action = if kind == "blind" { "resolve" } else { "retry" };
            let body = json!({"action": action, "reason": "looked at, and mended", "by": "ann"});
            let done = world.drover.act(id, &body).await;
            report.person(&format!("{action} of {kind} {id} {}", outcome(&done)));
        }
        let found = world.drover.get("/v1/operations?limit=100").await?;
        for operation in found["items"].as_array().into_iter().flatten() {
            let (id, kind) = (text(operation, "id"), text(operation, "kind"));
            if operation["stuck_since"].is_null() || !self.is_due(id) {
                continue;
            }
            let may = |action: &str| {
                let mut all = operation["actions"].as_array().into_iter().flatten();
                all.any(|one| one == action)
            };
            let since = text(operation, "stuck_since").parse::<chrono::DateTime<chrono::Utc>>();
            let for_long = since.is_ok_and(|since| {
                (chrono::Utc::now() - since)
                    .to_std()
                    .is_ok_and(|d| d > PERSISTENCE)
            });
            // Of one whose commits wait for a follower, nobody gives up what was acknowledged.
            let sync = text(operation, "name").starts_with(Which::Accounts.name());
            let action = match all_healed && for_long && !sync && may("override") {
                true => "override",
                false if may("retry") => "retry",
                false => continue,
            };
            let body = json!({"action": action, "reason": "looked at, and mended", "by": "ann"});
            let done = world.drover.act(id, &body).await;
            let note = text(operation, "note");
            report.person(&format!(
                "{action} of {kind} {id} ({note}) {}",
                outcome(&done)
            ));
        }
        Ok(())
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

fn outcome(done: &Result<Value>) -> String {
    match done {
        Ok(_) => String::new(),
        Err(e) => format!("refused: {e:#}"),
    }
}
