//! The log, where nobody is named to be told.

use drover::model::{Channel, PublicId};
use drover::store::letters::Letter;

use super::{Outcome, words};

/// Writes the message to this process's log.
pub(super) fn send(letter: &Letter) -> Outcome {
    let message = &letter.message;
    tracing::warn!(
        incident = %message.incident.public(),
        subject = letter.about.as_ref().map(|a| tracing::field::display::<PublicId>(a.id)),
        channel = %message.channel,
        action = %message.action,
        severity = %message.severity,
        summary = %words::line(&message.summary, 1024),
        "nobody is named to be told; this is for a human"
    );
    let unset = match message.channel {
        Channel::Page => "DROVER_PAGERDUTY_KEY is not set",
        Channel::Ticket => "neither DROVER_WEBHOOK_URL nor DROVER_ZENDESK_URL is set",
    };
    Outcome::Delivered {
        reference: None,
        remark: Some(unset.into()),
    }
}
