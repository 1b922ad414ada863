//! A stand-in for a customer's webhook receiver.

use anyhow::{Result, ensure};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use standardwebhooks::{HEADER_WEBHOOK_ID, Webhook};

use crate::standin::{Asked, Mood, Role, Said, Server, object};

/// A receiver after the Standard Webhooks: takes `POST /hook`, verifies signature and
/// age with the reference crate, and wants `type`, `timestamp` and `data`.
pub struct WebhookReceiver(Server<Receiver>);

/// An event that was taken.
#[derive(Clone, Debug)]
pub struct Received {
    /// The header `webhook-id`.
    pub id: String,
    /// The body.
    pub event: Value,
}

struct Receiver {
    verifier: Webhook,
    received: Vec<Received>,
    refused: usize,
}

impl WebhookReceiver {
    /// A secret of the right form.
    pub const SECRET: &'static str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    /// Starts one that shares this secret with the sender.
    ///
    /// # Errors
    /// If the secret is none, or no port is free.
    pub async fn start(secret: &str) -> Result<Self> {
        let verifier = Webhook::new(secret);
        ensure!(verifier.is_ok(), "a webhook's secret is base 64");
        let receiver = Receiver {
            verifier: verifier?,
            received: Vec::new(),
            refused: 0,
        };
        Ok(Self(Server::start(receiver).await?))
    }

    /// What `DROVER_WEBHOOK_URL` is to be.
    pub fn url(&self) -> String {
        format!("{}/hook", self.0.url())
    }

    /// What was taken, in its order; repetitions too.
    pub fn received(&self) -> Vec<Received> {
        self.0.with(|receiver| receiver.received.clone())
    }

    /// How many requests were refused.
    pub fn refused(&self) -> usize {
        self.0.with(|receiver| receiver.refused)
    }

    /// The next requests are answered like this, one each.
    pub fn then(&self, moods: &[Mood]) {
        self.0.then(moods);
    }
}

impl Role for Receiver {
    fn answer(&mut self, asked: &Asked) -> Said {
        match self.check(asked) {
            Ok(received) => {
                self.received.push(received);
                (StatusCode::NO_CONTENT, Value::Null)
            }
            Err(why) => {
                self.refused += 1;
                (StatusCode::BAD_REQUEST, json!({"error": why}))
            }
        }
    }
}

impl Receiver {
    fn check(&self, asked: &Asked) -> Result<Received, String> {
        if (&asked.method, asked.path.as_str()) != (&Method::POST, "/hook") {
            return Err("not POST /hook".into());
        }
        let verified = self.verifier.verify(&asked.body, &asked.headers);
        verified.map_err(|e| e.to_string())?;
        let event = object(asked)?;
        let mut fields: Vec<&str> = event.keys().map(String::as_str).collect();
        fields.sort_unstable();
        if fields != ["data", "timestamp", "type"] {
            return Err(format!("these fields: {fields:?}"));
        }
        let id = &asked.headers[HEADER_WEBHOOK_ID];
        Ok(Received {
            id: id.to_str().map_err(|e| e.to_string())?.to_owned(),
            event: Value::Object(event),
        })
    }
}
