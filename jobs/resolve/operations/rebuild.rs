//! `rebuild`: a node that the record knows as a follower is made to follow: an old leader
//! that comes back, or a follower that cannot any more. It is rewound to where it parted
//! from its leader; where that cannot be done it is copied anew.

mod scripts;

use drover::model::slot_of;
use std::time::Duration;

use drover::model::{Resource, Server, SubjectId};
use serde_json::Value;

use super::await_available::await_available;
use super::create_resource::{plan, start};
use super::fence::{FENCE, OPEN};
use super::follow::{Node, follow, make_slot, node, replication_password};
use super::{Book, Context, Ended, Outcome, Step, Work, script, switchover, unknown};
use scripts::{COPY, PARTED, REWIND};

pub(super) const BOOK: Book = Book {
    steps: &[
        Step::new("stop", "wait for its server, and stop it before it writes"),
        Step::new("follow", "tell it whom it follows"),
        Step::new("rewind", "rewind it to where it parted from its leader"),
        Step::new("copy", "copy its leader anew"),
        Step::new("start", "start it"),
        Step::new("tidy", "drop the slots that it kept as a leader"),
        Step::new("stream", "wait until it streams"),
        Step::new("await_available", "wait until it is felt to be in service"),
    ],
    creates: false,
};

/// Between two tries to reach a server that is down.
const SOON: Duration = Duration::from_secs(1);
/// How long one that was rewound may take to stream before it is copied.
const STREAMS: Duration = Duration::from_secs(45);
/// Starts that fail before it is copied.
const TRIES: u32 = 2;

pub(super) async fn perform(turn: &Context<'_>) -> Work {
    let (resource, server) = turn.resource()?;
    let Some(leader) = resource.leader else {
        return Ok(Outcome::then("await_available", "it leads by now"));
    };
    if turn.step != "await_available" && has_another_leader(turn, leader) {
        let text = "its leader is another one by now";
        return Ok(Outcome::then("stop", text).remember("leader", Value::Null));
    }
    match turn.step {
        "stop" => stop(turn, resource, server).await,
        "follow" => follow_it(turn, resource, server, leader).await,
        "rewind" => rewind(turn, resource, server, leader).await,
        "copy" => copy(turn, resource, server, leader).await,
        "start" => start_it(turn, resource, server).await,
        "tidy" => switchover::tidy(turn, resource, server).await,
        "stream" => stream(turn, resource, server).await,
        "await_available" => await_available(turn).await,
        step => unknown(step),
    }
}

fn has_another_leader(turn: &Context<'_>, leader: SubjectId) -> bool {
    let told = turn.operation.memo["leader"].as_str();
    told.is_some_and(|told| told != leader.to_string())
}

/// Stops it at once: it may be an old leader that is just coming back.
async fn stop(turn: &Context<'_>, resource: &Resource, server: &Server) -> Work {
    let said = script::at_cluster(turn, (resource, server), FENCE, &[], b"").await;
    match said {
        Ok(said) => Ok(Outcome::done(said.last_words())),
        // However long its server takes: it is another's to mend.
        Err(outcome) if outcome.ended == Ended::Failed => Err(Outcome::again(SOON, outcome.note)),
        Err(outcome) => Err(outcome),
    }
}

async fn follow_it(
    turn: &Context<'_>,
    resource: &Resource,
    server: &Server,
    leader: SubjectId,
) -> Work {
    let (leader, its_server) = node(turn, leader).await?;
    let password = replication_password(&leader)?;
    let keep = plan(turn, resource).await?.slot_wal_mib;
    let to = (&*leader, &*its_server);
    make_slot(turn, to, password, resource, keep).await?;
    let said = follow(turn, (resource, server), to, password).await?;
    let done = Outcome::done(said).remember("leader", leader.subject.id.to_string());
    let how = turn.operation.memo["how"].as_str();
    Ok(
        match how.or_else(|| turn.operation.params["how"].as_str()) {
            Some("copy") => Outcome {
                ended: Ended::Then("copy"),
                ..done
            },
            Some(_) | None => done,
        },
    )
}

/// What a script needs to know to reach the leader.
fn arguments((leader, server): &Node, resource: &Resource) -> [String; 3] {
    [
        server.address.clone(),
        leader.port.to_string(),
        slot_of(resource.subject.id),
    ]
}

async fn rewind(
    turn: &Context<'_>,
    resource: &Resource,
    server: &Server,
    leader: SubjectId,
) -> Work {
    let leader = node(turn, leader).await?;
    let [host, port, slot] = arguments(&leader, resource);
    let job = format!("rewind-{}", turn.operation.id);
    let text = format!("{}{REWIND}{PARTED}", script::BACKGROUND);
    let on = (resource, server);
    let said = script::at_cluster(turn, on, &text, &[&host, &port, &slot, &job], b"").await;
    match said {
        Ok(said) => {
            let lost = scripts::lost(&said.out);
            let mut words = said.last_words();
            if let Some(bytes) = lost {
                words += &format!("; {bytes} bytes of its WAL were never replicated and are lost");
            }
            let done = Outcome::then("start", words).remember("rewound", true);
            Ok(match lost {
                Some(bytes) => done.remember("lost_bytes", bytes),
                None => done,
            })
        }
        Err(outcome) if outcome.ended == Ended::Failed && turn.operation.failures > 0 => {
            let text = format!("it cannot be rewound, and is copied: {}", outcome.note);
            Ok(Outcome::then("copy", text))
        }
        Err(outcome) => Err(outcome),
    }
}

async fn copy(turn: &Context<'_>, resource: &Resource, server: &Server, leader: SubjectId) -> Work {
    let leader = node(turn, leader).await?;
    let [host, port, slot] = arguments(&leader, resource);
    let rate = plan(turn, resource).await?.backup_rate_mib.to_string();
    let job = format!("copy-{}", turn.operation.id);
    let text = format!("{}{COPY}", script::BACKGROUND);
    let arguments = [host.as_str(), &port, &slot, &job, &rate];
    match script::at_cluster(turn, (resource, server), &text, &arguments, b"").await {
        Ok(said) => Ok(Outcome::done(said.last_words()).remember("copied", true)),
        // Somebody has started it meanwhile, or its leader keeps no slot for it any more.
        Err(outcome) if outcome.ended == Ended::Failed && turn.operation.failures >= TRIES => {
            let text = format!("it cannot be copied yet: {}", outcome.note);
            Ok(Outcome::then("stop", text).remember("how", "copy"))
        }
        Err(outcome) => Err(outcome),
    }
}

/// Whether it was copied: then there is nothing more that could be done.
fn was_copied(turn: &Context<'_>) -> bool {
    turn.operation.memo["copied"] == Value::Bool(true)
}

async fn start_it(turn: &Context<'_>, resource: &Resource, server: &Server) -> Work {
    script::at_cluster(turn, (resource, server), OPEN, &[], b"").await?;
    match start(turn, resource, server).await {
        Err(outcome)
            if outcome.ended == Ended::Failed
                && turn.operation.failures >= TRIES
                && !was_copied(turn) =>
        {
            let text = format!("it does not start, and is copied: {}", outcome.note);
            Ok(Outcome::then("copy", text))
        }
        done => done,
    }
}

const STREAMS_FROM: &str = include_str!("../../host/scripts/streams_from.sh");

async fn stream(turn: &Context<'_>, resource: &Resource, server: &Server) -> Work {
    let on = (resource, server);
    let said = script::as_superuser(turn, on, STREAMS_FROM, &[], b"").await?;
    let words = said.last_words();
    if words.starts_with("streaming") {
        return Ok(Outcome::done(words));
    }
    let waited = turn.now - turn.operation.step_since;
    if waited.to_std().unwrap_or_default() > STREAMS && !was_copied(turn) {
        let text = format!("it does not stream ({words}), and is copied");
        return Ok(Outcome::then("stop", text).remember("how", "copy"));
    }
    Err(Outcome::again(SOON / 2, words))
}
