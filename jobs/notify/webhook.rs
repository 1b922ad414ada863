//! Customers' tickets and changes of leader to a system of one's own, after the Standard
//! Webhooks: the
//! message's id is `webhook-id`, and stays the same however often it is sent.

use chrono::Utc;
use drover::config::WebhookConfig;
use drover::model::{Deed, ExposeSecret, Message};
use drover::store::letters::{Letter, Notice};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use serde_json::json;
use standardwebhooks::{
    HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook as Signer,
};

use super::{Outcome, http};

pub(super) struct Webhook {
    http: Client,
    url: Url,
    signer: Signer,
}

impl Webhook {
    pub(super) fn new(http: Client, config: &WebhookConfig) -> anyhow::Result<Self> {
        let signer = Signer::new(config.secret.expose_secret())
            .map_err(|_| anyhow::anyhow!("DROVER_WEBHOOK_SECRET is no base 64"))?;
        Ok(Self {
            http,
            url: config.url.clone(),
            signer,
        })
    }

    pub(super) async fn send(&self, letter: &Letter) -> Outcome {
        self.post(&letter.message, body(letter)).await
    }

    pub(super) async fn announce(&self, notice: &Notice) -> Outcome {
        let change = &notice.change;
        let body = json!({
            "type": "leader.changed",
            "timestamp": change.at.to_rfc3339(),
            "data": change,
        });
        self.post(&notice.message, body.to_string()).await
    }

    async fn post(&self, message: &Message, body: String) -> Outcome {
        let id = message.id.public();
        let now = Utc::now().timestamp();
        let signature = match self.signer.sign(&id, now, body.as_bytes()) {
            Ok(signature) => signature,
            Err(e) => return Outcome::Refused(format!("cannot be signed: {e}")),
        };
        let request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(HEADER_WEBHOOK_ID, &id)
            .header(HEADER_WEBHOOK_TIMESTAMP, now.to_string())
            .header(HEADER_WEBHOOK_SIGNATURE, signature)
            .body(body);
        match http::ask(request).await {
            Ok(answer) if answer.status.is_success() => Outcome::Delivered {
                reference: Some(id),
                remark: None,
            },
            // What the body says is for nobody here: anybody could have written it.
            Ok(answer) => answer.unwanted(""),
            Err(unanswered) => unanswered,
        }
    }
}

fn body(letter: &Letter) -> String {
    let message = &letter.message;
    let event = match message.action {
        Deed::Trigger => "incident.opened",
        Deed::Acknowledge => "incident.acknowledged",
        Deed::Resolve => "incident.resolved",
    };
    let subject = letter.about.as_ref().map(|about| {
        json!({"id": about.id, "kind": about.id.kind, "name": about.name, "server": about.server})
    });
    json!({
        "type": event,
        "timestamp": message.created_at.to_rfc3339(),
        "data": {
            "incident": letter.incident.public(),
            "kind": letter.kind,
            "opened_at": letter.opened_at.to_rfc3339(),
            "severity": message.severity,
            "summary": message.summary,
            "subject": subject,
            "detail": message.detail,
        },
    })
    .to_string()
}
