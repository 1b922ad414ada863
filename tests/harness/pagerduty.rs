//! A stand-in for PagerDuty's Events API v2.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use axum::http::{Method, StatusCode};
use chrono::DateTime;
use serde_json::{Map, Value, json};

use crate::standin::{Asked, Mood, Role, Said, Server, object};

/// PagerDuty as far as drover speaks to it: a real HTTP server on this machine that
/// takes events at `/v2/enqueue`, checks them as the real one does (method, path,
/// content type, required fields, types, enums, lengths, the routing key) and keeps
/// its alerts by `dedup_key`. What it refuses it answers with 400 and the reasons.
///
/// ```no_run
/// # async fn scene() -> anyhow::Result<()> {
/// use drover_tests::PagerDuty;
///
/// let pagerduty = PagerDuty::start(PagerDuty::KEY).await?;
/// // DROVER_PAGERDUTY_URL = pagerduty.url(), DROVER_PAGERDUTY_KEY = PagerDuty::KEY
/// let alerts = pagerduty.alerts();
/// assert!(alerts.values().all(|alert| alert.triggers == 1));
/// # Ok(())
/// # }
/// ```
pub struct PagerDuty(Server<Events>);

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertState {
    /// Triggered: it rings.
    Open,
    /// A human said that it was seen.
    Acknowledged,
    /// Over.
    Resolved,
}

/// An alert, as its events left it.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Where it stands.
    pub state: AlertState,
    /// How many trigger events came for it.
    pub triggers: usize,
    /// The payload of the first of them.
    pub payload: Value,
}

/// A request that reached the API (and was not answered by a [`Mood`]).
#[derive(Clone, Debug)]
pub struct Call {
    /// The status it was answered with.
    pub status: u16,
    /// `event_action`, as it was sent.
    pub action: String,
    /// `dedup_key`, as it was sent.
    pub dedup_key: String,
    /// The whole event, without the routing key.
    pub event: Value,
    /// Why it was refused.
    pub errors: Vec<String>,
}

struct Events {
    key: String,
    alerts: BTreeMap<String, Alert>,
    calls: Vec<Call>,
}

impl PagerDuty {
    /// A routing key of the right form.
    pub const KEY: &'static str = "0123456789abcdef0123456789abcdef";

    /// Starts one that knows one integration, with this routing key.
    ///
    /// # Errors
    /// If the key is not 32 characters long, or no port is free.
    pub async fn start(key: &str) -> Result<Self> {
        ensure!(key.len() == 32, "a routing key has 32 characters");
        let events = Events {
            key: key.into(),
            alerts: BTreeMap::new(),
            calls: Vec::new(),
        };
        Ok(Self(Server::start(events).await?))
    }

    /// What `DROVER_PAGERDUTY_URL` is to be.
    pub fn url(&self) -> String {
        self.0.url().to_owned()
    }

    /// All alerts by their `dedup_key`.
    pub fn alerts(&self) -> BTreeMap<String, Alert> {
        self.0.with(|events| events.alerts.clone())
    }

    /// All calls in their order, refused ones too.
    pub fn calls(&self) -> Vec<Call> {
        self.0.with(|events| events.calls.clone())
    }

    /// From now on another routing key is the right one.
    pub fn change_key(&self, key: &str) {
        self.0.with(|events| events.key = key.into());
    }

    /// The next requests are answered like this, one each.
    pub fn then(&self, moods: &[Mood]) {
        self.0.then(moods);
    }

    /// All requests after those are answered like this.
    pub fn henceforth(&self, mood: Mood) {
        self.0.henceforth(mood);
    }
}

impl Role for Events {
    fn answer(&mut self, asked: &Asked) -> Said {
        if asked.path != "/v2/enqueue" {
            return (StatusCode::NOT_FOUND, json!({"error": "Not Found"}));
        }
        if asked.method != Method::POST {
            return (StatusCode::METHOD_NOT_ALLOWED, Value::Null);
        }
        let (mut event, errors) = match object(asked) {
            Ok(event) => {
                let errors = self.check(&event);
                (event, errors)
            }
            Err(problem) => (Map::new(), vec![problem]),
        };
        event.remove("routing_key");
        let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
        let (action, given) = (text("event_action").to_owned(), text("dedup_key"));
        let dedup_key = match given {
            "" => format!("made-up-{}", self.calls.len()),
            given => given.to_owned(),
        };
        let status = if errors.is_empty() {
            self.apply(&action, &dedup_key, event.get("payload"));
            StatusCode::ACCEPTED
        } else {
            StatusCode::BAD_REQUEST
        };
        self.calls.push(Call {
            status: status.as_u16(),
            action,
            dedup_key: dedup_key.clone(),
            event: Value::Object(event),
            errors: errors.clone(),
        });
        let said = if errors.is_empty() {
            json!({"status": "success", "message": "Event processed", "dedup_key": dedup_key})
        } else {
            json!({"status": "invalid event", "message": "Event object is invalid",
                   "errors": errors})
        };
        (status, said)
    }
}

impl Events {
    fn apply(&mut self, action: &str, key: &str, payload: Option<&Value>) {
        let known = self.alerts.get_mut(key);
        match (action, known) {
            ("trigger", Some(alert)) => {
                alert.triggers += 1;
                // A trigger for an alert that is over opens it again.
                if alert.state == AlertState::Resolved {
                    alert.state = AlertState::Open;
                }
            }
            ("trigger", None) => {
                let alert = Alert {
                    state: AlertState::Open,
                    triggers: 1,
                    payload: payload.cloned().unwrap_or_default(),
                };
                self.alerts.insert(key.into(), alert);
            }
            ("acknowledge", Some(alert)) if alert.state == AlertState::Open => {
                alert.state = AlertState::Acknowledged;
            }
            ("resolve", Some(alert)) => alert.state = AlertState::Resolved,
            // The real one takes these too, and does nothing.
            _ => {}
        }
    }

    fn check(&self, event: &Map<String, Value>) -> Vec<String> {
        let mut wrong = Vec::new();
        const KNOWN: [&str; 8] = [
            "routing_key",
            "event_action",
            "dedup_key",
            "payload",
            "client",
            "client_url",
            "links",
            "images",
        ];
        for name in event.keys().filter(|n| !KNOWN.contains(&n.as_str())) {
            wrong.push(format!("'{name}' is no field of an event"));
        }
        match event.get("routing_key").and_then(Value::as_str) {
            None => wrong.push("'routing_key' is missing or blank".into()),
            Some(key) if key.len() != 32 => {
                wrong.push("Length of 'routing_key' is incorrect (should be 32 characters)".into())
            }
            Some(key) if key != self.key => wrong.push("Invalid routing key".into()),
            Some(_) => {}
        }
        let dedup_key = event.get("dedup_key");
        text(&mut wrong, event, "dedup_key", 255, false);
        text(&mut wrong, event, "client", 1024, false);
        match event.get("event_action").and_then(Value::as_str) {
            Some("trigger") => match event.get("payload") {
                Some(Value::Object(payload)) => check_payload(&mut wrong, payload),
                _ => wrong.push("'payload' is missing or blank".into()),
            },
            Some("acknowledge" | "resolve") if dedup_key.is_none() => {
                wrong.push("'dedup_key' is missing or blank".into());
            }
            Some("acknowledge" | "resolve") => {}
            _ => wrong.push("'event_action' must be trigger, acknowledge or resolve".into()),
        }
        wrong
    }
}

fn check_payload(wrong: &mut Vec<String>, payload: &Map<String, Value>) {
    text(wrong, payload, "summary", 1024, true);
    text(wrong, payload, "source", 1024, true);
    for name in ["component", "group", "class"] {
        text(wrong, payload, name, 1024, false);
    }
    let severity = payload.get("severity").and_then(Value::as_str);
    if !matches!(severity, Some("critical" | "error" | "warning" | "info")) {
        wrong.push("'payload.severity' must be critical, error, warning or info".into());
    }
    let timestamp = payload.get("timestamp");
    let readable = |v: &Value| {
        v.as_str()
            .is_some_and(|t| DateTime::parse_from_rfc3339(t).is_ok())
    };
    if !timestamp.is_none_or(readable) {
        wrong.push("'payload.timestamp' is no ISO 8601 time".into());
    }
    if !payload.get("custom_details").is_none_or(Value::is_object) {
        wrong.push("'payload.custom_details' is no object".into());
    }
}

fn text(wrong: &mut Vec<String>, of: &Map<String, Value>, name: &str, most: usize, must: bool) {
    match of.get(name) {
        None if must => wrong.push(format!("'{name}' is missing or blank")),
        None => {}
        Some(Value::String(text)) if text.is_empty() && must => {
            wrong.push(format!("'{name}' is missing or blank"));
        }
        Some(Value::String(text)) if text.chars().count() <= most => {}
        Some(_) => wrong.push(format!("'{name}' is no text of at most {most} characters")),
    }
}
