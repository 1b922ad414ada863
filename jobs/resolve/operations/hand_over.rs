//! Before a server is taken down on purpose, who leads on it hands its lead over to a
//! follower elsewhere: by a `switchover` of its own, which this step asks for and waits
//! for. Where that cannot be done in time, the timeline says so, and the server goes
//! down with its leader, as one without followers does.
//!
//! What it has asked for is in the record under the name of its own operation, so a
//! turn that is done again asks for nothing twice.

use std::time::Duration;

use drover::model::{Kind, Operation as Asked, OperationKind, OperationState, PublicId};
use drover::store::creation::{self, Led, Ready};
use drover::store::operations::{self, NewOperation};
use drover::store::{changes, queue};
use serde_json::json;

use super::kind::{Context, Operation, Outcome, Step, Work, step};
use super::switchover;

/// The step, for what takes servers down.
pub(super) const fn step<O: Operation>() -> Step<O> {
    step!("hand_over", "have who leads on it hand over first" => perform)
        .may_end()
        .watching()
}

/// So long between two looks.
const SOON: Duration = Duration::from_secs(1);
/// How long a switchover is waited for that has not shut its leader down yet.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long for one that has.
const LONGEST: Duration = Duration::from_secs(180);

/// How it stands with one leader.
enum Stands {
    /// It hands its lead over, or will: why it is waited for.
    Waits(String),
    /// It leads on, and goes down with its server: why.
    Stays(String),
    /// It has handed its lead over.
    Follows,
}

/// Does the step.
async fn perform(turn: &Context<'_>) -> Work {
    if turn.operation.incident.is_some() && turn.operation.not_before.is_none() {
        return Ok(Outcome::done("it is down: nobody on it could hand over"));
    }
    let server = turn.server()?.subject.id;
    let (asked, leaders) = {
        let mut db = turn.tools.pool.acquire().await?;
        let since = turn.operation.step_since;
        let by = turn.operation.id.public();
        let asked = operations::asked_by(&mut db, &by, OperationKind::Switchover, since);
        let asked = asked.await?;
        let leaders = creation::leaders_on(&mut db, server).await;
        (asked, leaders?)
    };
    let (mut waits, mut stays, mut follow) = (Vec::new(), Vec::new(), 0);
    let mut stand = |stands| match stands {
        Stands::Waits(why) => waits.push(why),
        Stands::Stays(why) => stays.push(why),
        Stands::Follows => follow += 1,
    };
    for led in &leaders {
        let own = asked.iter().find(|own| own.subject == Some(led.leader));
        stand(leads(turn, led, own).await?);
    }
    for own in &asked {
        if leaders.iter().all(|led| own.subject != Some(led.leader)) {
            stand(follows(turn, own));
        }
    }
    if !waits.is_empty() {
        return Err(Outcome::again(SOON, waits.join("; ")));
    }
    let mut words = Vec::new();
    match follow {
        0 if stays.is_empty() => words.push("nobody on it leads a follower".to_owned()),
        0 => {}
        1 => words.push("who led on it follows now".to_owned()),
        many => words.push(format!("{many} that led on it follow now")),
    }
    words.extend(stays);
    Ok(Outcome::done(words.join("; ")))
}

/// One that leads still.
async fn leads(turn: &Context<'_>, led: &Led, own: Option<&Asked>) -> Result<Stands, Outcome> {
    let name = &led.name;
    let goes_down = |why: &str| Stands::Stays(format!("{name} goes down with its server: {why}"));
    let late = turn.waited() >= PATIENCE;
    if let Some(own) = own {
        let id = own.id.public();
        let why = own.note.as_deref().unwrap_or("it has just begun");
        let waits = Stands::Waits(format!("{name} hands its lead over first ({id}: {why})"));
        let hopeless = own.stuck_at.is_some() || led.ready == Ready::No;
        return Ok(match own.state {
            OperationState::Done => goes_down(&format!("{id} left it the lead")),
            OperationState::Cancelled | OperationState::Failed | OperationState::Skipped => {
                goes_down(&format!("{id} was given up"))
            }
            OperationState::Open if !late && !hopeless => waits,
            OperationState::Open if call_off(turn, own).await? => {
                goes_down(&format!("no follower takes its lead ({why})"))
            }
            OperationState::Open if turn.waited() < LONGEST => waits,
            OperationState::Open => goes_down(&format!("{id} does not come to its end ({why})")),
        });
    }
    let mut tx = turn.tools.pool.begin().await?;
    changes::hold(&mut tx, led.leader).await?;
    let open = operations::in_the_way(&mut tx, led.leader, OperationKind::Switchover).await;
    if let Some(open) = open? {
        let busy = format!("it {} ({})", open.kind.profile().words, open.id.public());
        return Ok(match late {
            true => goes_down(&busy),
            false => Stands::Waits(format!("{name} is waited for: {busy}")),
        });
    }
    match led.ready {
        Ready::Yes if !late => {}
        Ready::Yes => return Ok(goes_down("there was no time to hand its lead over")),
        Ready::Perhaps if !late => {
            let waits = format!("{name} or its follower is uncertain just now");
            return Ok(Stands::Waits(waits));
        }
        Ready::Perhaps | Ready::No => {
            let why = "it is not in service, or none of its followers is";
            return Ok(goes_down(why));
        }
    }
    let asker = PublicId::new(Kind::Server, turn.server()?.subject.id);
    let kind = turn.operation.kind;
    let new = NewOperation {
        subject: Some(led.leader),
        kind: OperationKind::Switchover,
        params: json!({}),
        asked_by: turn.operation.id.public(),
        reason: Some(format!("its server {asker} {}", kind.profile().words)),
        not_before: None,
    };
    operations::open(&mut tx, &new).await?;
    tx.commit().await?;
    Ok(Stands::Waits(format!("{name} hands its lead over first")))
}

/// One that leads no more, or has left: its switchover brings it back as a follower.
fn follows(turn: &Context<'_>, own: &Asked) -> Stands {
    let id = own.id.public();
    match own.state {
        OperationState::Done
        | OperationState::Cancelled
        | OperationState::Failed
        | OperationState::Skipped => Stands::Follows,
        OperationState::Open if own.stuck_at.is_some() || turn.waited() >= LONGEST => {
            Stands::Stays(format!("{id} goes on meanwhile"))
        }
        OperationState::Open => {
            let why = own.note.as_deref().unwrap_or("it is at work");
            Stands::Waits(format!("it is to follow first ({id}: {why})"))
        }
    }
}

/// Gives a switchover up that has not shut its leader down yet, so that it does not
/// come when nobody wants it any more. Tells whether it had not.
async fn call_off(turn: &Context<'_>, own: &Asked) -> Result<bool, Outcome> {
    let by = turn.operation.id.public();
    let mut tx = turn.tools.pool.begin().await?;
    let held = queue::hold_token(&mut tx, queue::Token::Operation(own.id)).await;
    held?;
    let why = "its server does not wait any longer";
    let off = operations::call_off_before(&mut tx, own.id, &switchover::HARMLESS, &by, why);
    let off = off.await?;
    tx.commit().await?;
    Ok(off)
}
