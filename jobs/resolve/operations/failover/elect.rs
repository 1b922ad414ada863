//! Behind the fence: who leads, or that the leader leads on, since nobody else can.

use std::time::Duration;

use drover::model::SubjectId;
use drover::store::operations::Fact;

use super::super::create_resource::start;
use super::super::fence::FencedBy;
use super::super::follow::node;
use super::super::kind::{Outcome, Turn, Work};
use super::super::lead;
use super::candidates::Candidate;
use super::refusal::Refusal;
use super::standing::{Standing, left_behind};
use super::{Failover, PATIENCE, SOON};

/// How long a proof holds: while this is at work nobody starts the leader, but it may have been
/// stuck, or nobody may have worked at it.
const PROVED: Duration = Duration::from_secs(60);

/// How long somebody is looked for while the leader may live, and its writers wait.
const WRITERS_WAIT: Duration = Duration::from_secs(5);

/// Behind the fence: what the followers have by now is all that they will have.
pub(super) async fn elect(turn: &mut Turn<'_, Failover>) -> Work {
    let on @ (resource, _) = turn.resource()?;
    prove_again(turn)?;
    let stand = Standing::read(turn, on).await?;
    let votes = &stand.votes;
    // A worker that died may have promoted it.
    let told = |id: &SubjectId| votes.lead.iter().any(|(leads, _)| leads == id);
    if let Some(leads) = turn.memo.told.iter().copied().find(told) {
        turn.memo.to = Some(leads);
        return Ok(Outcome::done("one that was told to lead does"));
    }
    let Some(best) = votes.best() else {
        let why = votes.passed_over("no follower can take the lead");
        take_back(turn).await;
        return Err(nobody_leads(turn, None, why));
    };
    let real = left_behind(turn, on, best).await;
    let behind = stand.behind(best).max(real.unwrap_or_default());
    if let Some((refusal, why)) = stand.forbids(resource, best, behind) {
        let Some(word) = refusal.answered(&turn.params.answers) else {
            return Err(nobody_leads(turn, Some(refusal), why));
        };
        turn.memo.overridden = Some(word);
    }
    turn.memo.nobody_since = None;
    let (words, fact) = elected(turn, &stand, best, (behind, real))?;
    Ok(Outcome::done(words).with(fact))
}

/// Writes down who is to lead, and how many bytes they lack: as far as is known, and as was
/// read at the leader.
pub(super) fn elected(
    turn: &mut Turn<'_, Failover>,
    stand: &Standing,
    best: &Candidate,
    (behind, real): (u64, Option<u64>),
) -> Result<(String, Fact), Outcome> {
    let mut text = format!("{} is to lead: it has all up to {}", best.name, best.lsn);
    match (behind, real) {
        (0, _) => {}
        (_, Some(_)) => text += &format!(", {behind} bytes less than the leader has"),
        (_, None) => text += &format!(", {behind} bytes less than the leader was seen to have"),
    }
    let votes = &stand.votes;
    if !votes.silent.is_empty() {
        text += &format!("; {}", votes.passed_over("passed over"));
    }
    let number = lead::next_timeline(best.timeline, stand.newest_timeline())?;
    let memo = &mut turn.memo;
    memo.refused = None;
    memo.to = Some(best.id);
    memo.lsn = Some(best.lsn.to_string());
    memo.behind_bytes = Some(behind);
    memo.timeline = Some(number);
    // Before it is: whoever goes on from here has to reckon with it.
    if !memo.told.contains(&best.id) {
        memo.told.push(best.id);
    }
    Ok((text, Fact::Timeline(number)))
}

/// A proof of long ago is none.
pub(super) fn prove_again(turn: &Turn<'_, Failover>) -> Result<(), Outcome> {
    let age = turn.memo.fenced_at.map(|at| turn.now - at);
    let age = age.and_then(|age| age.to_std().ok());
    if age.is_some_and(|age| age < PROVED) {
        return Ok(());
    }
    let text = "it was proved long ago that the leader accepts no writes";
    Err(Outcome::then("fence", text))
}

/// Nobody did better: those who were given up start again, as followers that nobody may use.
async fn take_back(turn: &mut Turn<'_, Failover>) {
    for id in std::mem::take(&mut turn.memo.given_up) {
        let started = async {
            let (follower, server) = node(turn, id).await?;
            start(turn, &follower, &server).await
        };
        if started.await.is_err() {
            turn.memo.given_up.push(id);
        }
    }
}

/// Somebody may be able to lead in a while. If not, the leader leads on, if nobody else can
/// have begun to; it is only where it cannot that a human has to say who does.
fn nobody_leads(turn: &mut Turn<'_, Failover>, refused: Option<Refusal>, why: String) -> Outcome {
    let since = *turn.memo.nobody_since.get_or_insert(turn.context.now);
    let waited = (turn.now - since).to_std().unwrap_or_default();
    use FencedBy::{Cloud, Followers, Ssh};
    let patience = match turn.memo.fenced_by {
        Some(Followers) => WRITERS_WAIT,
        _ => PATIENCE,
    };
    if waited < patience {
        return Outcome::again(SOON, why);
    }
    let fenced = matches!(turn.memo.fenced_by, Some(Ssh | Cloud | Followers));
    if fenced && turn.memo.told.is_empty() && !turn.memo.stays_fenced {
        return Outcome::then("lead_on", format!("{why}; it leads on"));
    }
    // Nobody keeps it from being started while this is stuck, as what it is by the record; and
    // whether it is to be fenced once more is another question.
    turn.memo.fenced_at = None;
    if turn.memo.told.is_empty() {
        turn.memo.fenced_by = None;
    }
    turn.memo.refused = refused;
    match turn.memo.refused {
        Some(_) => Outcome::hopeless(format!("{why}; `override` goes on all the same")),
        None => Outcome::hopeless(why),
    }
}
