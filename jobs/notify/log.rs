//! The log, where nobody is named to be told.

use drover::model::{Channel, PublicId};
use drover::store::letters::{Letter, Notice};

use super::{Outcome, words};

/// Writes a change of leader to this process's log.
pub(super) fn announce(notice: &Notice) -> Outcome {
    let (message, change) = (&notice.message, &notice.change);
    tracing::info!(event = %change.id.public(), kind = %change.kind,
        new_leader = %change.new_leader.id, old_leader = %change.old_leader.id,
        summary = %words::line(&message.summary, 1024), "another leads");
    Outcome::Delivered {
        reference: None,
        remark: Some("DROVER_WEBHOOK_URL is not set".into()),
    }
}

/// Writes the message to this process's log.
pub(super) fn send(letter: &Letter) -> Outcome {
    let message = &letter.message;
    tracing::warn!(
        incident = %letter.incident.public(),
        subject = letter.about.as_ref().map(|a| tracing::field::display::<PublicId>(a.id)),
        channel = %message.channel,
        action = %message.action,
        severity = %message.severity,
        summary = %words::line(&message.summary, 1024),
        "nobody is named to be told; this is for a human"
    );
    let unset = match message.channel {
        Channel::Page => "DROVER_PAGERDUTY_KEY is not set",
        Channel::Event => "DROVER_WEBHOOK_URL is not set",
        Channel::Ticket => "neither DROVER_WEBHOOK_URL nor DROVER_ZENDESK_URL is set",
    };
    Outcome::Delivered {
        reference: None,
        remark: Some(unset.into()),
    }
}
