//! What a playbook has beside its remedies: what guards others, and what takes back.

use drover::model::{Incident, IncidentState, Mode};
use serde_json::Value;

use super::{Asked, NextAction, Playbook, View, rest, waits_for_a_human};
use crate::think::Assessment;

/// What keeps worse from others, if that may be done now and was not done last.
pub(super) fn guard(incident: &Incident, book: &Playbook, view: &View) -> Option<NextAction> {
    let remedy = book.guard?.name;
    let at_work = matches!(view.asked, Some(Asked::AtWork(_)));
    let may = matches!(view.seen, Assessment::Holds(_))
        && view.mode == Mode::Act
        && view.blocker.is_none()
        && !at_work;
    let done = book.guards(incident.remedy.as_deref())
        && (incident.state != IncidentState::NeedsHuman || !view.worsens);
    (may && !done).then_some(NextAction::Ask { remedy, attempt: 1 })
}

/// Whether something is to be taken back.
pub(super) fn owes_undo(incident: &Incident, book: &Playbook) -> bool {
    book.undo.is_some() && incident.memo.get("undo") == Some(&Value::Bool(true))
}

/// Takes it back.
pub(super) fn undo(incident: &Incident, book: &Playbook) -> NextAction {
    let Some(undo) = book.undo else {
        return NextAction::Escalate("there is no way to take it back".into());
    };
    let attempt = match incident.remedy.as_deref() == Some(undo.name) {
        true => incident.attempt,
        false => 0,
    };
    if attempt < undo.attempts {
        return NextAction::Ask {
            remedy: undo.name,
            attempt: attempt + 1,
        };
    }
    match incident.state {
        IncidentState::NeedsHuman => rest(waits_for_a_human(incident, book)),
        IncidentState::Triggered
        | IncidentState::Resolving
        | IncidentState::Waiting
        | IncidentState::Resolved => {
            NextAction::Escalate("what was done for the time being cannot be taken back".into())
        }
    }
}
