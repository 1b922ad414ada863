//! `switchover`: a follower takes the lead, as planned: nothing is lost, and nobody
//! writes at two places. The old leader is shut down before the new one is promoted,
//! and comes back as its follower.

use std::time::Duration;

use drover::model::{Resource, Secret, Server, State, SubjectId};
use drover::store::operations::Fact;
use serde_json::Value;

use super::create_resource::{customer, plan, start};

use super::await_available::await_available;
use super::follow::{follow, followers, make_slot, node, replication_password};
use super::unfollow::PROMOTE;
use super::{Book, Context, Ended, Outcome, Step, Work, script, sync, unknown};

pub(super) const BOOK: Book = Book {
    steps: &[
        Step::new("choose", "choose who is to lead"),
        Step::new("names", "have its commits wait for whom the record says"),
        Step::new("checkpoint", "let the leader write down what it holds"),
        Step::new("stop", "shut the leader down"),
        Step::new("catch_up", "wait until the follower has everything"),
        Step::new("promote", "promote the follower"),
        Step::new("swap", "write down who leads"),
        Step::new("repoint", "have the other followers follow it"),
        Step::new("follow", "have the old leader follow it"),
        Step::new("start", "start the old leader as a follower"),
        Step::new("tidy", "drop the slots that it kept as a leader"),
        Step::new("await_available", "wait until it is felt to be in service"),
    ],
    creates: false,
};

/// The steps that leave the leader as it is: before any other one is begun, it may be
/// called off.
pub(super) const HARMLESS: [&str; 3] = ["choose", "names", "checkpoint"];

/// So long between two questions about what a follower has.
const SOON: Duration = Duration::from_millis(100);
/// How long it is waited for before the old leader leads on.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn perform(turn: &Context<'_>) -> Work {
    let (resource, server) = turn.resource()?;
    match turn.step {
        "choose" => choose(turn, resource).await,
        "names" => names(turn, resource).await,
        "checkpoint" => checkpoint(turn, resource, server).await,
        "stop" => stop(turn, resource, server).await,
        "catch_up" => catch_up(turn, resource, server).await,
        "promote" => promote(turn).await,
        "swap" => swap(turn, resource).await,
        "repoint" => repoint(turn, resource).await,
        "follow" => follow_it(turn, resource, server).await,
        "start" => start(turn, resource, server).await,
        "tidy" => tidy(turn, resource, server).await,
        "await_available" => await_available(turn).await,
        step => unknown(step),
    }
}

const STANDING: &str = include_str!("../../host/scripts/follower_standing.sh");

/// The follower that was named, or the first that streams and is closest.
async fn choose(turn: &Context<'_>, resource: &Resource) -> Work {
    if resource.leader.is_some() {
        return Err(Outcome::hopeless(
            "it follows by now; only a leader hands over",
        ));
    }
    let named = turn.operation.params["to"].as_str();
    let mut best: Option<(i64, SubjectId, String)> = None;
    let mut passed_over = Vec::new();
    for (follower, server) in followers(turn, resource.subject.id).await? {
        let name = follower.subject.name.clone();
        if named.is_some_and(|to| to != follower.subject.id.to_string()) {
            continue;
        }
        if follower.subject.state != State::Available {
            passed_over.push(format!("{name} is {}", follower.subject.state));
            continue;
        }
        let on = (&*follower, &*server);
        match script::as_superuser(turn, on, STANDING, &[], b"").await {
            Ok(said) => {
                let words: Vec<&str> = said.out.trim().split('|').collect();
                let lag = words.get(2).and_then(|lag| lag.parse::<i64>().ok());
                match (words.first(), words.get(1), lag) {
                    (Some(&"t"), Some(&"streaming"), Some(lag)) => {
                        if best.as_ref().is_none_or(|(least, ..)| lag < *least) {
                            best = Some((lag, follower.subject.id, name));
                        }
                    }
                    _ => passed_over.push(format!("{name} does not stream")),
                }
            }
            Err(outcome) => passed_over.push(format!("{name}: {}", outcome.note)),
        }
    }
    match best {
        Some((lag, id, name)) => Ok(Outcome::done(format!(
            "{name} is to lead ({lag} bytes behind)"
        ))
        .remember("to", id.to_string())),
        None if passed_over.is_empty() => Err(Outcome::hopeless("it has no follower")),
        None => Err(Outcome::failed(format!(
            "no follower will do: {}",
            passed_over.join("; ")
        ))),
    }
}

fn chosen(turn: &Context<'_>) -> Result<SubjectId, Outcome> {
    let id = turn.operation.memo["to"].as_str();
    let id = id.and_then(|id| id.parse().ok());
    id.ok_or_else(|| Outcome::hopeless("it is not known who is to lead"))
}

/// What the new leader's commits wait for is in force before there can be any: those
/// who will follow it, the old leader among them.
pub(super) async fn names(turn: &Context<'_>, resource: &Resource) -> Work {
    let to = chosen(turn)?;
    let all = followers(turn, resource.subject.id).await?;
    let others = all.iter().map(|(follower, _)| follower.subject.id);
    let mut will: Vec<SubjectId> = others.filter(|id| *id != to).collect();
    will.push(resource.subject.id);
    let (follower, server) = node(turn, to).await?;
    let said = sync::write(turn, (&follower, &server), resource.durability, &will).await?;
    Ok(Outcome::done(said))
}

const CHECKPOINT: &str = include_str!("../../host/scripts/checkpoint.sh");

async fn checkpoint(turn: &Context<'_>, resource: &Resource, server: &Server) -> Work {
    let said = script::as_superuser(turn, (resource, server), CHECKPOINT, &[], b"").await?;
    Ok(Outcome::done(said.last_words()))
}

const STOP: &str = include_str!("../../host/scripts/stop_leader.sh");

async fn stop(turn: &Context<'_>, resource: &Resource, server: &Server) -> Work {
    let said = script::at_cluster(turn, (resource, server), STOP, &[], b"").await?;
    let lsn = said.last_words();
    if !lsn.contains('/') {
        return Err(Outcome::failed(format!(
            "where its WAL ends is not known: {lsn}"
        )));
    }
    Ok(Outcome::done(format!("it is shut down; its WAL ends at {lsn}")).remember("lsn", lsn))
}

const CAUGHT_UP: &str = include_str!("../../host/scripts/caught_up.sh");

const LEAD_ON: &str = include_str!("../../host/scripts/lead_on.sh");

async fn catch_up(turn: &Context<'_>, resource: &Resource, server: &Server) -> Work {
    let (follower, its_server) = node(turn, chosen(turn)?).await?;
    let lsn = turn.operation.memo["lsn"].as_str().unwrap_or_default();
    let on = (&*follower, &*its_server);
    let name = &follower.subject.name;
    let why = match script::as_superuser(turn, on, CAUGHT_UP, &[lsn], b"").await {
        Ok(said) if said.out.trim() == "t" => {
            return Ok(Outcome::done(format!("{name} has everything up to {lsn}")));
        }
        Ok(_) => format!("{name} has not replayed {lsn} yet"),
        Err(outcome) => outcome.note,
    };
    let waited = (turn.now - turn.operation.step_since)
        .to_std()
        .unwrap_or_default();
    if waited < PATIENCE {
        return Err(Outcome::again(SOON, why));
    }
    let said = script::at_cluster(turn, (resource, server), LEAD_ON, &[], b"").await?;
    let text = format!("{why}; {}", said.last_words());
    Ok(Outcome::new(Ended::Then("await_available"), text))
}

async fn promote(turn: &Context<'_>) -> Work {
    let (follower, server) = node(turn, chosen(turn)?).await?;
    let on = (&*follower, &*server);
    let said = script::as_superuser(turn, on, PROMOTE, &[], b"").await?;
    Ok(Outcome::done(said.last_words()))
}

async fn swap(turn: &Context<'_>, resource: &Resource) -> Work {
    hand_over(turn, resource, chosen(turn)?, Value::Null).await
}

/// Writes down that this follower leads, in its leader's place.
pub(super) async fn hand_over(
    turn: &Context<'_>,
    resource: &Resource,
    to: SubjectId,
    detail: Value,
) -> Work {
    if resource.leader == Some(to) {
        return Ok(Outcome::done("it is written down"));
    }
    let seal = |plain: &Secret, what: &str| {
        let sealed = turn.tools.secret_key.seal(plain, &format!("{to}/{what}"));
        sealed.map_err(|e| Outcome::failed(e.to_string()))
    };
    let (follower, _) = node(turn, to).await?;
    let text = format!(
        "{} leads; it bears the name of its leader",
        follower.subject.name
    );
    Ok(Outcome::done(text).with(Fact::HandOver {
        to,
        customer: seal(&customer(resource)?.password, "customer")?,
        replication: seal(replication_password(resource)?, "replication")?,
        by: (turn.operation.id, turn.operation.kind),
        detail,
    }))
}

/// The new leader, as the record has it after the change.
async fn leader(turn: &Context<'_>) -> Result<(Box<Resource>, Box<Server>), Outcome> {
    node(turn, chosen(turn)?).await
}

/// Makes slots at the new leader, and has the other followers follow it.
pub(super) async fn repoint(turn: &Context<'_>, resource: &Resource) -> Work {
    let (leader, its_server) = leader(turn).await?;
    // Its followers may have changed since it got its list.
    sync::if_sync(turn, leader.subject.id).await?;
    let password = replication_password(&leader)?;
    let keep = plan(turn, resource).await?.slot_wal_mib;
    let to = (&*leader, &*its_server);
    let mut left = Vec::new();
    let mut count = 0;
    for (follower, server) in followers(turn, leader.subject.id).await? {
        if follower.subject.id == resource.subject.id {
            continue;
        }
        let moved = async {
            make_slot(turn, to, password, &follower, keep).await?;
            follow(turn, (&*follower, &*server), to, password).await
        };
        // One that cannot be told now holds up nobody.
        match moved.await {
            Ok(_) => count += 1,
            Err(outcome) => left.push(format!("{}: {}", follower.subject.name, outcome.note)),
        }
    }
    if left.is_empty() || turn.operation.failures >= 5 {
        let missed = match left.is_empty() {
            true => String::new(),
            false => format!("; not told: {}", left.join("; ")),
        };
        return Ok(Outcome::done(format!(
            "{count} other followers follow it{missed}"
        )));
    }
    Err(Outcome::failed(left.join("; ")))
}

async fn follow_it(turn: &Context<'_>, resource: &Resource, server: &Server) -> Work {
    let (leader, its_server) = leader(turn).await?;
    let password = replication_password(&leader)?;
    let keep = plan(turn, resource).await?.slot_wal_mib;
    let to = (&*leader, &*its_server);
    make_slot(turn, to, password, resource, keep).await?;
    let said = follow(turn, (resource, server), to, password).await?;
    Ok(Outcome::done(said))
}

const TIDY: &str = include_str!("../../host/scripts/tidy_slots.sh");

pub(super) async fn tidy(turn: &Context<'_>, resource: &Resource, server: &Server) -> Work {
    // Called off: it leads on, and keeps its slots.
    if resource.leader.is_none() {
        return Ok(Outcome::done("it leads on"));
    }
    let said = script::as_superuser(turn, (resource, server), TIDY, &[], b"").await?;
    Ok(Outcome::done(said.last_words()))
}

#[cfg(test)]
mod tests {
    use drover::store::operations::failover::PROMOTES;

    use super::*;

    #[test]
    fn what_others_know_of_its_steps_are_steps() {
        for name in HARMLESS.iter().chain(&PROMOTES) {
            assert!(BOOK.steps.iter().any(|step| step.name == *name), "{name}");
        }
    }
}
