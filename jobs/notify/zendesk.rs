//! Customers' tickets in Zendesk: `POST /api/v2/tickets.json`, and `PUT` of the same
//! ticket when it is over.
//!
//! Zendesk remembers an `Idempotency-Key` for two hours and gives the same ticket
//! again; it refuses the key with another body, so a repetition says the same.

use drover::config::ZendeskConfig;
use drover::model::{Deed, ExposeSecret, Severity};
use drover::store::letters::Letter;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use super::{Outcome, http, words};

/// Zendesk's limits of a subject and of a comment are wider.
const SUBJECT: usize = 150;
const COMMENT: usize = 10_000;

pub(super) struct Zendesk {
    http: Client,
    config: ZendeskConfig,
}

impl Zendesk {
    pub(super) fn new(http: Client, config: ZendeskConfig) -> Self {
        Self { http, config }
    }

    pub(super) async fn send(&self, letter: &Letter) -> Outcome {
        let message = &letter.message;
        let comment = words::shortened(&message.summary, COMMENT);
        let change = match message.action {
            Deed::Trigger => return self.open(letter).await,
            Deed::Acknowledge => json!({"comment": {"body": comment, "public": false}}),
            Deed::Resolve => json!({"comment": {"body": comment}, "status": "solved"}),
        };
        // The reference may be of another provider's, from before the settings changed.
        match letter.opened.as_deref().and_then(|r| r.parse::<u64>().ok()) {
            Some(ticket) => self.change(ticket, change).await,
            None => Outcome::Delivered {
                reference: None,
                remark: Some("no ticket was made, so there is none to change".into()),
            },
        }
    }

    async fn open(&self, letter: &Letter) -> Outcome {
        let message = &letter.message;
        let ticket = json!({
            "subject": words::shortened(&message.summary, SUBJECT),
            "comment": {"body": comment(letter)},
            "external_id": letter.incident.public(),
            "priority": priority(message.severity),
            "tags": ["drover", letter.kind.as_str()],
        });
        let request = self
            .http
            .post(self.at("tickets.json"))
            .header("Idempotency-Key", message.id.public());
        let answer = match self.ask(request, ticket).await {
            Ok(answer) => answer,
            Err(outcome) => return outcome,
        };
        match answer.json()["ticket"]["id"].as_u64() {
            Some(id) => Outcome::Delivered {
                reference: Some(id.to_string()),
                remark: Some(format!("ticket {id}")),
            },
            None => answer.unwanted("and no ticket's id; is DROVER_ZENDESK_URL right?"),
        }
    }

    async fn change(&self, id: u64, change: Value) -> Outcome {
        let request = self.http.put(self.at(&format!("tickets/{id}.json")));
        match self.ask(request, change).await {
            Ok(_) => Outcome::Delivered {
                reference: Some(id.to_string()),
                remark: Some(format!("ticket {id}")),
            },
            Err(outcome) => outcome,
        }
    }

    async fn ask(&self, request: RequestBuilder, ticket: Value) -> Result<http::Answer, Outcome> {
        let user = format!("{}/token", self.config.email);
        let request = request
            .basic_auth(user, Some(self.config.token.expose_secret()))
            .json(&json!({"ticket": ticket}));
        let answer = http::ask(request).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let told = answer.json();
        // `error` is a word, or an object with a title.
        let says: Vec<&str> = [
            &told["error"],
            &told["error"]["title"],
            &told["description"],
        ]
        .into_iter()
        .filter_map(Value::as_str)
        .collect();
        Err(answer.unwanted(&says.join(": ")))
    }

    fn at(&self, path: &str) -> String {
        let base = self.config.url.as_str().trim_end_matches('/');
        format!("{base}/api/v2/{path}")
    }
}

fn priority(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "urgent",
        Severity::Error => "high",
        Severity::Warning => "normal",
        Severity::Info => "low",
    }
}

fn comment(letter: &Letter) -> String {
    let message = &letter.message;
    let mut lines = vec![message.summary.clone(), String::new()];
    if let Some(about) = &letter.about {
        lines.push(format!("{}: {} ({})", about.id.kind, about.name, about.id));
    }
    lines.push(format!(
        "incident: {} ({})",
        letter.incident.public(),
        letter.kind
    ));
    lines.push(format!("since: {}", letter.opened_at.to_rfc3339()));
    words::shortened(&lines.join("\n"), COMMENT)
}
