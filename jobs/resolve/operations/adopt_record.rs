//! `adopt_record`: a record that is older than what the servers know is brought up to them: who
//! leads is taken from the nodes, and what servers compare goes above what they have obeyed.
//!
//! Architecture Invariant: nothing is changed in the world, and nothing is destroyed. What was
//! made since is an orphan.

use std::time::Duration;

use drover::model::{Kind, OperationKind, PublicId, SubjectId};
use drover::store::old_record::{self, Group, Leads};
use drover::store::operations::Fact;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::create_resource::customer;
use super::follow::{node, replication_password};
use super::kind::{Finding, NoMemo, Operation, Outcome, Step, Turn, Work, step};
use super::lead::seal;

/// The record is brought up to the servers.
pub(super) struct AdoptRecord;

/// What a person has said.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Params {
    /// Who leads where the nodes do not say it.
    #[serde(default)]
    leaders: Vec<SubjectId>,
    /// Whether it is another's copy, and is to be a deployment of its own.
    #[serde(default)]
    copy: bool,
}

impl Operation for AdoptRecord {
    type Params = Params;
    type Memo = NoMemo;
    const KIND: OperationKind = OperationKind::AdoptRecord;
    const STEPS: &'static [Step<Self>] = &[
        step!("adopt", "take who leads from the nodes" => adopt).within(Duration::from_secs(25)),
    ];
}

async fn adopt(turn: &mut Turn<'_, AdoptRecord>) -> Work {
    if turn.params.copy {
        let mut done = Outcome::done("it is a deployment of its own");
        done.findings.push(Finding::Copy);
        return Ok(done);
    }
    let groups = {
        let mut db = turn.tools.pool.acquire().await?;
        old_record::compare(&mut db, &turn.params.leaders).await?
    };
    let mut done = Outcome::done("");
    let mut words = Vec::new();
    for group in &groups {
        match &group.leads {
            Leads::AsRecorded => {}
            Leads::Another(to) => {
                words.push(format!("{} leads {}", name_of(group, *to), group.name));
                done.findings.push(hand_over(turn, group, *to).await?);
            }
            Leads::NotKnown(why) => {
                return Err(Outcome::gave_up(format!(
                    "who leads {} is not known: {why}; say it: drover adopt-record --leader ID",
                    group.name
                )));
            }
        }
    }
    done.findings.push(Finding::Raised(turn.operation.id));
    done.note = match words.is_empty() {
        true => "who leads is as the record has it".into(),
        false => words.join("; "),
    };
    Ok(done)
}

fn name_of(group: &Group, id: SubjectId) -> String {
    let node = group.nodes.iter().find(|node| node.id == id);
    let name = node.map_or("?", |node| &node.name);
    format!("{name} ({})", PublicId::new(Kind::Resource, id))
}

/// The secrets of who led by the record are the new leader's, as after any change.
async fn hand_over(
    turn: &Turn<'_, AdoptRecord>,
    group: &Group,
    to: SubjectId,
) -> Result<Finding, Outcome> {
    let (was, _) = node(turn, group.leader).await?;
    let led = group.nodes.iter().find(|node| node.id == to);
    let fact = Fact::HandOver {
        to,
        customer: seal(turn, to, "customer", &customer(&was)?.password)?,
        replication: seal(turn, to, "replication", replication_password(&was)?)?,
        by: (turn.operation.id, turn.operation.kind),
        timeline: led.and_then(|node| node.timeline),
        detail: json!({ "adopted": true }),
    };
    Ok(Finding::Leads(group.leader, Box::new(fact)))
}
