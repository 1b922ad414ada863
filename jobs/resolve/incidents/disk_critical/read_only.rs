//! Databases that may not grow any more, until there is room again.
//!
//! What is set is written down before it is set, with what stood there, so that
//! exactly that is taken back: never a setting of the customer's.

use std::collections::BTreeMap;

use drover::model::{Durability, Resource, Secret, Server, TlsMode};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::room::{self, Volume};
use crate::resolve::incidents::{Ended, Outcome, Turn, superuser};

/// What stood in a cluster's `postgresql.auto.conf`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Before {
    /// Name of one of its resources.
    of: String,
    /// `None`: nothing.
    setting: Option<String>,
}

const LOOK: &str = include_str!("../../../host/scripts/look_read_only.sh");

const SET: &str = include_str!("../../../host/scripts/set_read_only.sh");

const RESET: &str = include_str!("../../../host/scripts/reset_read_only.sh");

type Memo = BTreeMap<u16, Before>;

fn memo(turn: &Turn<'_>) -> Memo {
    serde_json::from_value(turn.incident.memo["read_only"].clone()).unwrap_or_default()
}

/// A cluster by its port, which is all that SQL over the local socket needs: a
/// resource may have left the herd since.
pub(super) fn cluster(server: &Server, port: u16) -> Resource {
    Resource {
        subject: server.subject.clone(),
        server_id: server.subject.id,
        port,
        database: "postgres".into(),
        role: "postgres".into(),
        password: Secret::default(),
        tls_mode: TlsMode::Disable,
        tls_root_cert: None,
        plan: String::new(),
        customer: None,
        window: None,
        leader: None,
        epoch: 1,
        durability: Durability::Async,
        max_lag_bytes: 0,
        replication_password: None,
    }
}

pub(super) async fn look(turn: &Turn<'_>, server: &Server) -> Result<Outcome, Outcome> {
    let least = turn.rules.limits.disk_read_only_free_ratio;
    let mut volumes = room::volumes(turn, server).await?;
    let all: Vec<String> = volumes.iter().map(Volume::fill).collect();
    volumes.retain(|volume| volume.free_ratio() < least);
    if volumes.is_empty() {
        return Err(Outcome::passed_over(format!(
            "not below {:.1} % free: {}",
            least * 100.0,
            all.join("; ")
        )));
    }
    let (ours, mut words) = room::ours(turn, server, &volumes).await?;
    let asked = ours.iter().map(|ours| {
        let resource = &ours.resource;
        let told = async move { superuser::ask(turn, (resource, server), LOOK, &[]).await };
        told.map(move |told| (resource, told)).boxed()
    });
    let mut memo = memo(turn);
    let mut more = 0;
    for (resource, told) in room::few_at_a_time(asked.collect()).await {
        let of = resource.subject.name.clone();
        match told {
            Err(outcome) => words.push(format!("{of}: {}", outcome.note)),
            Ok(told) if told["standby"] == true => words.push(format!("{of} follows another")),
            Ok(told) if told["file"] == true => words.push(format!("{of} is read-only already")),
            Ok(told) => {
                let setting = told["auto"].as_str().map(str::to_owned);
                words.push(format!("{of} can be written to"));
                memo.entry(resource.port).or_insert(Before { of, setting });
                more += 1;
            }
        }
    }
    let words = format!("{}: {}", all.join("; "), words.join("; "));
    if more == 0 {
        return Err(Outcome::passed_over(words));
    }
    Ok(Outcome::done(words)
        .remember("read_only", json!(memo))
        .remember("undo", true))
}

pub(super) async fn set(turn: &Turn<'_>, server: &Server) -> Result<Outcome, Outcome> {
    let memo = memo(turn);
    let asked = memo.iter().map(|(port, before)| {
        let resource = cluster(server, *port);
        async move {
            let told = superuser::run(turn, (&resource, server), SET, &[], b"").await;
            (before, told)
        }
        .boxed()
    });
    let mut outcome = Outcome::done("");
    let (mut well, mut wrong) = (Vec::new(), Vec::new());
    for (before, told) in room::few_at_a_time(asked.collect()).await {
        match told {
            Ok(_) => {
                well.push(before.of.as_str());
                let name = &server.subject.name;
                let setting = "default_transaction_read_only";
                outcome = outcome.touching(format!("{setting} of {} on {name}", before.of));
            }
            Err(failed) => wrong.push(format!("{}: {}", before.of, failed.note)),
        }
    }
    outcome.note = format!("read-only until there is room: {}", well.join(", "));
    if !wrong.is_empty() {
        outcome.note = format!("{}; not: {}", outcome.note, wrong.join("; "));
        outcome.ended = Ended::Failed(outcome.note.clone());
    }
    Ok(outcome)
}

pub(super) async fn reset(turn: &Turn<'_>, server: &Server) -> Result<Outcome, Outcome> {
    let mut memo = memo(turn);
    let asked = memo.iter().map(|(port, before)| {
        let (port, before) = (*port, before.clone());
        let resource = cluster(server, port);
        async move {
            let setting = before.setting.clone().unwrap_or_default();
            let told = superuser::run(turn, (&resource, server), RESET, &[&setting], b"").await;
            (port, before.of, told)
        }
        .boxed()
    });
    let mut outcome = Outcome::done("");
    let (mut words, mut wrong) = (Vec::new(), Vec::new());
    for (port, of, told) in room::few_at_a_time(asked.collect()).await {
        match told {
            Ok(said) => {
                words.push(format!("{of} {}", said.last_words()));
                let name = &server.subject.name;
                outcome =
                    outcome.touching(format!("default_transaction_read_only of {of} on {name}"));
            }
            Err(Outcome {
                ended: Ended::PassedOver(why),
                ..
            }) => words.push(format!("{of}: {why}")),
            Err(failed) => {
                wrong.push(format!("{of}: {}", failed.note));
                continue;
            }
        }
        memo.remove(&port);
    }
    words.extend(wrong.iter().cloned());
    outcome.note = words.join("; ");
    if wrong.is_empty() {
        return Ok(outcome
            .remember("read_only", Value::Null)
            .remember("undo", Value::Null));
    }
    // What is left is tried again.
    outcome.ended = Ended::Failed(outcome.note.clone());
    Ok(outcome.remember("read_only", json!(memo)))
}
