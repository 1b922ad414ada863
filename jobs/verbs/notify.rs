//! Notify: send one message, at least once, and write down what became of it.
//!
//! A try takes two transactions, each under the step's lock, and the call between
//! them. What dies after the call has sent a message that the record does not know
//! of; its successor sends it again under the same name, by which the other side
//! knows it.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use drover::config::NotifyConfig;
use drover::model::{Message, MessageId, MessageState, Note};
use drover::store::letters::{self, Written};
use drover::store::queue::{self, Lock, Queue, Token};
use drover::store::{outbox, provider_calls};
use serde_json::json;
use sqlx::PgPool;

use crate::notify::{self, Notifier, Outcome};
use crate::ring::{Work, WorkError, report_lost};

/// How soon a message looks again whether the one before it is settled.
const IN_LINE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) struct Notify {
    pool: PgPool,
    notifier: Arc<Notifier>,
}

impl Notify {
    pub(super) fn new(pool: PgPool, config: &NotifyConfig) -> anyhow::Result<Self> {
        Ok(Self {
            pool,
            notifier: Arc::new(Notifier::new(config)?),
        })
    }

    /// The message, if it is its turn now and its provider has room for it; if not,
    /// its job waits.
    async fn take(&self, lock: &Lock, id: MessageId) -> sqlx::Result<Option<Written>> {
        let mut tx = self.pool.begin().await?;
        if !queue::hold(&mut tx, lock, Queue::Notify).await? {
            report_lost(1);
            return Ok(None);
        }
        let unsettled = |m: &Message| m.state == MessageState::Pending;
        let found = outbox::load(&mut tx, id).await?.filter(unsettled);
        let letter = match found {
            None => {
                queue::finish(&mut tx, id, true).await?;
                None
            }
            Some(message) => match self.wait(&mut tx, &message).await? {
                Some(wait) => {
                    queue::turn(&mut tx, lock.token, wait).await?;
                    None
                }
                None => Some(letters::write_out(&mut tx, message).await?),
            },
        };
        tx.commit().await?;
        Ok(letter)
    }

    /// How long a message has to wait for the one before it, or for its provider.
    async fn wait(
        &self,
        db: &mut sqlx::PgConnection,
        message: &Message,
    ) -> sqlx::Result<Option<Duration>> {
        if outbox::waits_for_another(db, message).await? {
            return Ok(Some(IN_LINE));
        }
        let Some(per_minute) = self.notifier.per_minute(message.channel) else {
            return Ok(None);
        };
        let provider = self.notifier.provider(message.channel);
        let claimed = provider_calls::claim(db, provider, per_minute).await?;
        // Those that wait for the same place do not all come at once.
        Ok(claimed
            .err()
            .map(|wait| wait + Duration::from_millis(rand::random_range(0..1000))))
    }

    /// Writes down what became of a try, and settles the job or lets it wait.
    async fn settle(&self, lock: &Lock, letter: &Written, outcome: Outcome) -> sqlx::Result<()> {
        let message = letter.message();
        let (id, by) = (message.id, self.notifier.provider(message.channel));
        let mut tx = self.pool.begin().await?;
        if !queue::hold(&mut tx, lock, Queue::Notify).await? {
            report_lost(1);
            return Ok(());
        }
        let mut news = None;
        let given_up = |why: &str| {
            tracing::error!(message = %id.public(), about = %message.matter.public(),
                provider = by.as_str(), why, "a message is dead");
        };
        match outcome {
            Outcome::Delivered { reference, remark } => {
                outbox::delivered(&mut tx, id, by, reference.as_deref()).await?;
                queue::finish(&mut tx, id, true).await?;
                news = Some(notify::delivered(message, by, remark.as_deref()));
            }
            Outcome::Refused(why) => {
                given_up(&why);
                outbox::failed(&mut tx, id, &why, true).await?;
                queue::finish(&mut tx, id, false).await?;
                news = Some(notify::refused(message, by, &why));
            }
            Outcome::Failed { why, .. } if notify::too_long(message, Utc::now()) => {
                given_up(&why);
                outbox::failed(&mut tx, id, &why, true).await?;
                queue::finish(&mut tx, id, false).await?;
                news = Some(notify::given_up(message, by, &why));
            }
            Outcome::Failed { why, after } => {
                outbox::failed(&mut tx, id, &why, false).await?;
                let least = after.unwrap_or_default();
                let wait = notify::backoff(message.attempts + 1).max(least);
                let wait = wait.mul_f64(rand::random_range(1.0..1.2));
                queue::turn(&mut tx, lock.token, wait).await?;
                // A provider that is away for an hour is one line, not a hundred.
                let known = message.last_error.as_ref() == Some(&why);
                if message.trying_since.is_none() || !known {
                    tracing::warn!(message = %id.public(), about = %message.matter.public(),
                        provider = by.as_str(), why, ?wait, "a message waits for another try");
                    news = Some(notify::not_yet(message, by, &why));
                }
            }
        }
        if let Some(text) = news {
            let note = Note {
                kind: "message".into(),
                text,
                detail: json!({"message": id.public(), "provider": by}),
            };
            outbox::note(&mut tx, message.matter, &lock.worker, &note).await?;
        }
        tx.commit().await
    }
}

impl Work for Notify {
    async fn step(&self, lock: Lock) -> Result<(), WorkError> {
        let id = message_of(&lock)?;
        let Some(letter) = self.take(&lock, id).await? else {
            return Ok(());
        };
        let outcome = self.notifier.send(&letter).await;
        Ok(self.settle(&lock, &letter, outcome).await?)
    }
}

/// The message whose job this is.
fn message_of(lock: &Lock) -> Result<MessageId, WorkError> {
    match lock.token {
        Token::Message(id) => Ok(id),
        Token::Subject(_) | Token::Incident(_) | Token::Operation(_) => {
            Err(WorkError::Stray(lock.token))
        }
    }
}
