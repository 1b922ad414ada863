//! Who was elected is told to lead, and another where that one does not.

use drover::model::{Resource, Server, SubjectId};
use drover::store::operations::Fact;

use super::super::fence::{FencedBy, PATIENT, fence};
use super::super::follow::node;
use super::super::kind::{Outcome, Turn, Work};
use super::super::lead;
use super::elect::prove_again;
use super::standing::Standing;
use super::{Failover, PATIENCE, TRIES, revoke, waited};

pub(super) async fn promote(turn: &mut Turn<'_, Failover>) -> Work {
    if turn.operation.failures == 0 {
        prove_again(turn)?;
    }
    let to = lead::chosen(turn.memo.to)?;
    let (follower, server) = node(turn, to).await?;
    if turn.operation.failures > TRIES && others_may_lead(turn, to).await? {
        return give_up_on(turn, &follower, &server).await;
    }
    if matches!(turn.memo.fenced_by, Some(FencedBy::Followers)) {
        revoke::has_most(turn, to).await?;
    }
    let number = turn.memo.timeline.unwrap_or_default();
    let on = (&*follower, &*server);
    let (begun, words) = lead::take_over(turn, turn.resource()?.0, on, number).await?;
    turn.memo.timeline = Some(begun);
    Ok(Outcome::done(words).with(Fact::Timeline(begun)))
}

/// Whether anybody but this one could be promoted instead. Where nobody can, it is told again.
async fn others_may_lead(turn: &Turn<'_, Failover>, but: SubjectId) -> Result<bool, Outcome> {
    let stand = Standing::read(turn, turn.resource()?).await?;
    Ok(stand.votes.able.iter().any(|one| one.id != but))
}

/// Another may do better. But one that was told to lead, and did not say that it does,
/// may be leading by now: it is fenced like the leader before it.
async fn give_up_on(turn: &mut Turn<'_, Failover>, follower: &Resource, server: &Server) -> Work {
    let name = &follower.subject.name;
    match fence(turn, (follower, server), PATIENT).await {
        Ok(proof) => {
            turn.memo.given_up.push(follower.subject.id);
            let words = proof.words;
            let text = format!("{name} cannot be promoted ({words}); another is looked for");
            Ok(Outcome::then("elect", text))
        }
        Err(why) if waited(turn) < PATIENCE => Err(Outcome::failed(format!(
            "{name} does not say whether it leads: {why}"
        ))),
        Err(why) => Err(Outcome::hopeless(format!(
            "{name} was told to lead and does not say whether it does; nothing proves that it \
             accepts no writes: {why}"
        ))),
    }
}
