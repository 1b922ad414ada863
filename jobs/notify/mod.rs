//! Telling people: each provider is a file, and `Notifier` knows who is to be used
//! for whom.
//!
//! Architecture Invariant: a secret leaves this process in a request to its own
//! provider and nowhere else. Nothing that a provider answered becomes part of the
//! record or the log before [`Notifier::clean`] has been over it, since an answer may
//! repeat what it was asked with.

mod http;
mod log;
mod pagerduty;
mod webhook;
mod words;
mod zendesk;

use std::time::Duration;

use drover::config::{NotifyConfig, PageVia, TicketVia};
use drover::model::{Channel, ExposeSecret, Provider, Secret};
use drover::store::letters::Written;

pub(crate) use words::{backoff, delivered, given_up, not_yet, refused, too_long};

/// What became of one try.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The other side has it.
    Delivered {
        /// What the other side calls it.
        reference: Option<String>,
        /// What a reader of the timeline should know besides.
        remark: Option<String>,
    },
    /// The other side will never take it.
    Refused(String),
    /// It may, later.
    Failed {
        /// What was met with.
        why: String,
        /// How long the other side wants to be left alone.
        after: Option<Duration>,
    },
}

/// One provider, ready to be used.
enum Adapter {
    Log,
    PagerDuty(pagerduty::PagerDuty),
    Webhook(webhook::Webhook),
    Zendesk(zendesk::Zendesk),
}

/// Sends messages to whom the settings name.
pub(crate) struct Notifier {
    page: Adapter,
    ticket: Adapter,
    /// What must be in no error.
    secrets: Vec<Secret>,
}

impl Notifier {
    /// Gets ready.
    ///
    /// # Errors
    /// If TLS cannot be set up, or a webhook's secret is none.
    pub(crate) fn new(config: &NotifyConfig) -> anyhow::Result<Self> {
        let mut secrets = Vec::new();
        let page = match &config.page {
            PageVia::Log => Adapter::Log,
            PageVia::PagerDuty(c) => {
                secrets.push(c.key.clone());
                Adapter::PagerDuty(pagerduty::PagerDuty::new(http::client(&c.url)?, c.clone()))
            }
        };
        let ticket = match &config.ticket {
            TicketVia::Log => Adapter::Log,
            TicketVia::Webhook(c) => {
                secrets.push(c.secret.clone());
                Adapter::Webhook(webhook::Webhook::new(http::client(&c.url)?, c)?)
            }
            TicketVia::Zendesk(c) => {
                secrets.push(c.token.clone());
                Adapter::Zendesk(zendesk::Zendesk::new(http::client(&c.url)?, c.clone()))
            }
        };
        Ok(Self {
            page,
            ticket,
            secrets,
        })
    }

    fn adapter(&self, channel: Channel) -> &Adapter {
        match channel {
            Channel::Page => &self.page,
            Channel::Ticket => &self.ticket,
            // Zendesk is for what people have to answer.
            Channel::Event => match &self.ticket {
                Adapter::Webhook(_) => &self.ticket,
                Adapter::Log | Adapter::PagerDuty(_) | Adapter::Zendesk(_) => &Adapter::Log,
            },
        }
    }

    /// Who delivers what is for these people.
    pub(crate) fn provider(&self, channel: Channel) -> Provider {
        match self.adapter(channel) {
            Adapter::Log => Provider::Log,
            Adapter::PagerDuty(_) => Provider::PagerDuty,
            Adapter::Webhook(_) => Provider::Webhook,
            Adapter::Zendesk(_) => Provider::Zendesk,
        }
    }

    /// How many calls a minute that one takes, of all processes together.
    pub(crate) fn per_minute(&self, channel: Channel) -> Option<u32> {
        match self.adapter(channel) {
            Adapter::PagerDuty(to) => Some(to.per_minute()),
            Adapter::Log | Adapter::Webhook(_) | Adapter::Zendesk(_) => None,
        }
    }

    /// Tries once; ends within [`http::LIMIT`].
    pub(crate) async fn send(&self, written: &Written) -> Outcome {
        let outcome = match (written, self.adapter(written.message().channel)) {
            (Written::Incident(letter), Adapter::Log) => log::send(letter),
            (Written::Incident(letter), Adapter::PagerDuty(to)) => to.send(letter).await,
            (Written::Incident(letter), Adapter::Webhook(to)) => to.send(letter).await,
            (Written::Incident(letter), Adapter::Zendesk(to)) => to.send(letter).await,
            (Written::LeaderChange(notice), Adapter::Webhook(to)) => to.announce(notice).await,
            (
                Written::LeaderChange(notice),
                Adapter::Log | Adapter::PagerDuty(_) | Adapter::Zendesk(_),
            ) => log::announce(notice),
        };
        match outcome {
            Outcome::Delivered { reference, remark } => Outcome::Delivered {
                reference: reference.map(|r| self.clean(&r)),
                remark: remark.map(|r| self.clean(&r)),
            },
            Outcome::Refused(why) => Outcome::Refused(self.clean(&why)),
            Outcome::Failed { why, after } => Outcome::Failed {
                why: self.clean(&why),
                after,
            },
        }
    }

    /// One short line without any of our secrets.
    fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret.expose_secret(), "…");
        }
        words::line(&text, 300)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover::model::secret;

    #[test]
    fn what_was_answered_is_one_short_line_without_secrets() {
        let notifier = Notifier {
            page: Adapter::Log,
            ticket: Adapter::Log,
            secrets: vec![secret("hunter2")],
        };
        let answered = format!("no key hunter2\0\n\x1b[31m{}", "é".repeat(1000));
        let told = notifier.clean(&answered);
        assert!(told.starts_with("no key …   [31mé"), "{told}");
        assert_eq!(told.chars().count(), 300);
    }
}
