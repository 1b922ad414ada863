//! A stand-in for Zendesk's Ticketing API.

use std::collections::BTreeMap;

use anyhow::Result;
use axum::http::{Method, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::standin::{Asked, Mood, Role, Said, Server, object};

/// Zendesk as far as drover speaks to it: makes tickets, once per `Idempotency-Key`,
/// and changes them; wants the token of one agent.
pub struct Zendesk(Server<Tickets>);

/// A ticket.
#[derive(Clone, Debug, PartialEq)]
pub struct Ticket {
    /// Its first line.
    pub subject: String,
    /// `new` or `solved`.
    pub status: String,
    /// Its comments, in order.
    pub comments: Vec<String>,
    /// Its fields as they were sent.
    pub fields: Value,
}

struct Tickets {
    credentials: String,
    tickets: BTreeMap<u64, Ticket>,
    /// What was asked under each key, and which ticket came of it.
    keys: BTreeMap<String, (Value, u64)>,
}

impl Zendesk {
    /// Starts one that knows one agent.
    pub async fn start(email: &str, token: &str) -> Result<Self> {
        let credentials = STANDARD.encode(format!("{email}/token:{token}"));
        let tickets = Tickets {
            credentials: format!("Basic {credentials}"),
            tickets: BTreeMap::new(),
            keys: BTreeMap::new(),
        };
        Ok(Self(Server::start(tickets).await?))
    }

    /// What `DROVER_ZENDESK_URL` is to be.
    pub fn url(&self) -> String {
        self.0.url().to_owned()
    }

    /// All tickets by their number.
    pub fn tickets(&self) -> BTreeMap<u64, Ticket> {
        self.0.with(|tickets| tickets.tickets.clone())
    }

    /// The next requests are answered like this, one each.
    pub fn then(&self, moods: &[Mood]) {
        self.0.then(moods);
    }
}

fn refusal(status: StatusCode, error: &str, description: &str) -> Said {
    let body = json!({"error": error, "description": description});
    (status, body)
}

impl Role for Tickets {
    fn answer(&mut self, asked: &Asked) -> Said {
        let authorization = asked.headers.get(header::AUTHORIZATION);
        if authorization.is_none_or(|given| given.as_bytes() != self.credentials.as_bytes()) {
            let body = json!({"error": "Couldn't authenticate you"});
            return (StatusCode::UNAUTHORIZED, body);
        }
        let mut body = match object(asked) {
            Ok(body) => body,
            Err(why) => return refusal(StatusCode::UNPROCESSABLE_ENTITY, "Unprocessable", &why),
        };
        let Some(Value::Object(ticket)) = body.remove("ticket") else {
            return refusal(StatusCode::BAD_REQUEST, "InvalidFormat", "no ticket");
        };
        let id = asked.path.strip_prefix("/api/v2/tickets/");
        let id = id.and_then(|rest| rest.strip_suffix(".json")?.parse().ok());
        match (&asked.method, asked.path.as_str(), id) {
            (&Method::POST, "/api/v2/tickets.json", None) => self.open(asked, ticket),
            (&Method::PUT, _, Some(id)) => self.change(id, &ticket),
            _ => refusal(StatusCode::NOT_FOUND, "InvalidEndpoint", "Not found"),
        }
    }
}

impl Tickets {
    fn open(&mut self, asked: &Asked, ticket: Map<String, Value>) -> Said {
        let key = asked.headers.get("Idempotency-Key");
        let key = key.and_then(|k| k.to_str().ok()).unwrap_or_default();
        let fields = Value::Object(ticket);
        if let Some((first, id)) = self.keys.get(key) {
            if *first == fields {
                return (StatusCode::CREATED, json!({"ticket": {"id": id}}));
            }
            let why = "this key was used with other parameters";
            return refusal(StatusCode::BAD_REQUEST, "IdempotentRequestError", why);
        }
        let (subject, comment) = (&fields["subject"], &fields["comment"]["body"]);
        let priority = fields["priority"].as_str();
        let (Some(subject), Some(comment), Some("urgent" | "high" | "normal" | "low")) =
            (subject.as_str(), comment.as_str(), priority)
        else {
            let why = "subject, comment or priority is missing or wrong";
            return refusal(StatusCode::UNPROCESSABLE_ENTITY, "RecordInvalid", why);
        };
        let id = 35_000 + u64::try_from(self.tickets.len()).unwrap_or_default();
        let made = Ticket {
            subject: subject.into(),
            status: "new".into(),
            comments: vec![comment.into()],
            fields: fields.clone(),
        };
        self.tickets.insert(id, made);
        if !key.is_empty() {
            self.keys.insert(key.into(), (fields, id));
        }
        (
            StatusCode::CREATED,
            json!({"ticket": {"id": id, "status": "new"}}),
        )
    }

    fn change(&mut self, id: u64, change: &Map<String, Value>) -> Said {
        let Some(ticket) = self.tickets.get_mut(&id) else {
            return refusal(StatusCode::NOT_FOUND, "RecordNotFound", "Not found");
        };
        match change.get("status").map(Value::as_str) {
            None => {}
            Some(Some(status @ ("open" | "pending" | "solved"))) => ticket.status = status.into(),
            Some(_) => {
                return refusal(StatusCode::UNPROCESSABLE_ENTITY, "RecordInvalid", "status");
            }
        }
        if let Some(comment) = change.get("comment").and_then(|c| c["body"].as_str()) {
            ticket.comments.push(comment.into());
        }
        (
            StatusCode::OK,
            json!({"ticket": {"id": id, "status": ticket.status}}),
        )
    }
}
