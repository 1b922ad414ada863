//! PagerDuty's Events API v2: `POST /v2/enqueue`.
//!
//! 202 is success, 400 is final, 429 and 5xx are to be tried again; summaries have at
//! most 1024 characters, an event at most 512 KB. The `dedup_key` makes a repetition
//! harmless and ties the acknowledgement and the end to the beginning.

use drover::config::PagerDutyConfig;
use drover::model::{Deed, ExposeSecret};
use drover::store::letters::{Letter, of_many};
use reqwest::{Client, StatusCode};
use serde_json::{Map, Value, json};

use super::{Outcome, http, words};

const SUMMARY: usize = 1024;
/// Leaves room for the rest below PagerDuty's 512 KB.
const DETAILS_BYTES: usize = 256 * 1024;

pub(super) struct PagerDuty {
    http: Client,
    config: PagerDutyConfig,
    enqueue: String,
}

impl PagerDuty {
    pub(super) fn new(http: Client, config: PagerDutyConfig) -> Self {
        let enqueue = format!("{}/v2/enqueue", config.url.as_str().trim_end_matches('/'));
        Self {
            http,
            config,
            enqueue,
        }
    }

    pub(super) fn per_minute(&self) -> u32 {
        self.config.per_minute
    }

    pub(super) async fn send(&self, letter: &Letter) -> Outcome {
        let key = key(letter);
        let many = key == of_many(letter.kind);
        if many && told_already(letter) {
            return Outcome::Delivered {
                reference: Some(key),
                remark: Some("many of this kind are one alert".into()),
            };
        }
        let mut event = event(letter, &key);
        event["routing_key"] = self.config.key.expose_secret().into();
        let answer = match http::ask(self.http.post(&self.enqueue).json(&event)).await {
            Ok(answer) => answer,
            Err(unanswered) => return unanswered,
        };
        let told = answer.json();
        if answer.status == StatusCode::ACCEPTED && told["status"] == "success" {
            return Outcome::Delivered {
                remark: many.then(|| format!("it is told with many others, as {key}")),
                reference: Some(key),
            };
        }
        if answer.status.is_success() {
            return answer.unwanted("and not as PagerDuty does; is DROVER_PAGERDUTY_URL right?");
        }
        let mut says = vec![told["message"].as_str().unwrap_or_default()];
        let errors = told["errors"].as_array().into_iter().flatten();
        says.extend(errors.filter_map(Value::as_str));
        says.retain(|text| !text.is_empty());
        answer.unwanted(&says.join(": "))
    }
}

/// So many incidents of a kind ring by themselves; what comes within ten minutes of these is one
/// alert more.
const MANY: i64 = 20;

/// One alert per incident, for as long as it is open; or one for many of its kind. What has begun
/// under a name ends under it.
fn key(letter: &Letter) -> String {
    let begins = letter.message.action == Deed::Trigger;
    match &letter.opened {
        Some(opened) => opened.clone(),
        None if begins && letter.calls.own >= MANY => of_many(letter.kind),
        None => format!("drover/{}", letter.incident.public()),
    }
}

/// Whether there is nothing to be said of one of many: that it began, where that was just said of
/// another one; that somebody is at it; that it is over, where others are not.
fn told_already(letter: &Letter) -> bool {
    match letter.message.action {
        Deed::Trigger => letter.calls.lately,
        Deed::Acknowledge => true,
        Deed::Resolve => letter.calls.together > 0,
    }
}

/// What is said of many in the place of one.
fn summary(letter: &Letter, many: bool) -> String {
    let one = &letter.message.summary;
    match many {
        false => one.clone(),
        true => format!(
            "{} incidents of {} or more need a human (drover incidents shows them all): {one}",
            letter.calls.own + letter.calls.together + 1,
            letter.kind
        ),
    }
}

/// The event, but for the routing key.
fn event(letter: &Letter, dedup_key: &str) -> Value {
    let message = &letter.message;
    let action = message.action.as_str();
    let summary = summary(letter, dedup_key == of_many(letter.kind));
    match message.action {
        Deed::Acknowledge | Deed::Resolve => {
            json!({"event_action": action, "dedup_key": dedup_key})
        }
        Deed::Trigger => json!({
            "event_action": action,
            "dedup_key": dedup_key,
            "client": "drover",
            "payload": {
                "summary": words::shortened(&summary, SUMMARY),
                "source": letter.about.as_ref().map_or("drover", |a| &a.server),
                "severity": message.severity.as_str(),
                "timestamp": message.created_at.to_rfc3339(),
                "component": letter.about.as_ref().map_or("herd", |a| &a.name),
                "group": letter.about.as_ref().map_or("herd", |a| &a.tier),
                "class": letter.kind.as_str(),
                "custom_details": details(letter),
            },
        }),
    }
}

fn details(letter: &Letter) -> Value {
    let message = &letter.message;
    let mut details: Map<String, Value> = match &message.detail {
        Value::Object(fields) if message.detail.to_string().len() <= DETAILS_BYTES => {
            fields.clone()
        }
        Value::Object(_) => [("detail".to_owned(), "too much to be shown here".into())]
            .into_iter()
            .collect(),
        Value::Null => Map::new(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            [("detail".to_owned(), other.clone())].into_iter().collect()
        }
    };
    details.insert("incident".into(), letter.incident.public().into());
    details.insert("opened_at".into(), letter.opened_at.to_rfc3339().into());
    if let Some(about) = &letter.about {
        details.insert("subject".into(), about.id.to_string().into());
        details.insert("name".into(), about.name.clone().into());
    }
    Value::Object(details)
}
