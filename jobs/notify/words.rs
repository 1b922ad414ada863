//! What the timeline says of a message, and when it is tried again. Pure.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use drover::model::{Channel, Deed, Message, Provider};

/// For how long a message is tried in vain.
const PATIENCE: TimeDelta = TimeDelta::hours(24);
const LONGEST: Duration = Duration::from_secs(300);

/// How long until the next try, after this many: 1 s, 2 s, 4 s … 5 min.
pub(crate) fn backoff(attempts: u32) -> Duration {
    let exponent = attempts.saturating_sub(1).min(9);
    Duration::from_secs(1 << exponent).min(LONGEST)
}

/// Whether a message was tried for long enough.
pub(crate) fn too_long(message: &Message, now: DateTime<Utc>) -> bool {
    let since = message.trying_since;
    since.is_some_and(|since| now - since >= PATIENCE)
}

fn what(message: &Message) -> &'static str {
    match (message.channel, message.action) {
        (Channel::Page, Deed::Trigger) => "page",
        (Channel::Page, Deed::Acknowledge) => "page's acknowledgement",
        (Channel::Page, Deed::Resolve) => "page's end",
        (Channel::Event, Deed::Trigger | Deed::Acknowledge | Deed::Resolve) => "event",
        (Channel::Ticket, Deed::Trigger) => "ticket",
        (Channel::Ticket, Deed::Acknowledge) => "ticket's acknowledgement",
        (Channel::Ticket, Deed::Resolve) => "ticket's end",
    }
}

/// It is delivered.
pub(crate) fn delivered(message: &Message, by: Provider, remark: Option<&str>) -> String {
    let what = what(message);
    let mut text = match by {
        Provider::Log => format!("{what} written to the log"),
        Provider::PagerDuty | Provider::Webhook | Provider::Zendesk => {
            format!("{what} delivered by {}", by.label())
        }
    };
    if message.attempts > 0 {
        text += &format!(" at attempt {}", message.attempts + 1);
    }
    match remark {
        Some(remark) => format!("{text}: {remark}"),
        None => text,
    }
}

/// It is refused for good.
pub(crate) fn refused(message: &Message, by: Provider, why: &str) -> String {
    let text = format!("{} refused by {}: {why}", what(message), by.label());
    format!("{text}; {}", remedy(message, by))
}

/// It is given up.
pub(crate) fn given_up(message: &Message, by: Provider, why: &str) -> String {
    let text = format!(
        "{} given up after 24 h: {} {why}",
        what(message),
        by.label()
    );
    format!("{text}; {}", remedy(message, by))
}

/// It is tried again.
pub(crate) fn not_yet(message: &Message, by: Provider, why: &str) -> String {
    let label = by.label();
    format!(
        "{} not delivered yet: {label} {why}; it is tried again for 24 h",
        what(message)
    )
}

fn remedy(message: &Message, by: Provider) -> String {
    let settings = match by {
        Provider::PagerDuty => "set DROVER_PAGERDUTY_KEY",
        Provider::Webhook => "see to DROVER_WEBHOOK_URL and its receiver",
        Provider::Zendesk => "see to DROVER_ZENDESK_URL, _EMAIL and _TOKEN",
        Provider::Log => "see to the log",
    };
    format!(
        "{settings}, then: drover message retry {}",
        message.id.public()
    )
}

/// One line of at most this many characters, that does nothing to a terminal.
pub(super) fn line(text: &str, most: usize) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    shortened(&plain.collect::<String>(), most)
}

/// A text of at most this many characters.
pub(super) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_tried_less_and_less_often() {
        let waits: Vec<u64> = (1..12).map(|n| backoff(n).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff(u32::MAX), LONGEST);
    }

    #[test]
    fn shortening_counts_characters() {
        assert_eq!(shortened("äöü", 3), "äöü");
        assert_eq!(shortened("äöüß", 3), "äö…");
    }
}
