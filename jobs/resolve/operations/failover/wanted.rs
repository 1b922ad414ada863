//! Whether a failover is wanted, before the leader is fenced.

use chrono::{DateTime, Utc};
use drover::model::{Observation, Resource, State, Witness};
use drover::store::observations;

use super::super::kind::{Context, Outcome, Turn};
use super::Failover;

/// What ends it before the leader is fenced, if something does.
pub(super) async fn unwanted(
    turn: &mut Turn<'_, Failover>,
    resource: &Resource,
) -> Result<(), Outcome> {
    if resource.leader.is_some() {
        return Err(Outcome::then("conclude", "it follows by now"));
    }
    if !came_back(turn, resource).await? {
        return Ok(());
    }
    // Whom a person has asked for was to lead whatever became of the leader. But they have been
    // told that it could not be done, and may have left it at that.
    if !by_a_playbook(turn) {
        let why = turn.operation.note.clone().unwrap_or_default();
        return Err(Outcome::hopeless(why));
    }
    turn.memo.called_off = true;
    let text = "it is in service again: nobody takes its lead over";
    Err(Outcome::then("conclude", text))
}

/// Whether nobody but a playbook has asked for it.
pub(super) fn by_a_playbook(turn: &Context<'_>) -> bool {
    turn.operation.asked_by.starts_with("inc_")
}

/// Whether the leader was seen in service since a playbook has asked for this. Where a person
/// has, whether it is in service, and they were told that this is stuck.
async fn came_back(turn: &Context<'_>, resource: &Resource) -> Result<bool, Outcome> {
    if resource.subject.state != State::Available {
        return Ok(false);
    }
    if !by_a_playbook(turn) {
        return Ok(turn.operation.stuck_at.is_some());
    }
    let mut db = turn.tools.pool.acquire().await?;
    let newest = observations::list(&mut db, resource.subject.id, None, 2).await?;
    Ok(is_back(&newest, turn.operation.opened_at))
}

/// Whether the newest of these two observations is a good one, begun since then: it was
/// begun after the one before it was written down. One that was only written down since
/// may have been made before the leader died.
pub(super) fn is_back(newest: &[Observation], since: DateTime<Utc>) -> bool {
    match newest {
        [newest, before] => newest.attributes.service_available && before.created_at > since,
        _ => false,
    }
}

/// When a second witness said of it, or of its server, that it is down, if it says so
/// still.
pub(super) async fn seen_dead(
    turn: &Context<'_>,
    resource: &Resource,
) -> Result<Option<DateTime<Utc>>, Outcome> {
    let mut db = turn.tools.pool.acquire().await?;
    let both = [resource.subject.id, resource.server_id];
    let newest = observations::newest(&mut db, &both).await?;
    let dead = newest
        .iter()
        .filter(|(_, seen)| matches!(seen.attributes.witness, Some(Witness::Down { .. })));
    Ok(dead.map(|(_, seen)| seen.created_at).max())
}
