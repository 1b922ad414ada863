//! An observation as the record takes it, whatever a server has said: of a limited size, and
//! without what jsonb cannot hold.

use serde_json::{Map, Value, json};

use crate::model::Attributes;

/// The most that one observation may hold, in bytes of JSON. Thousands are written a second, and
/// each thought reads up to thirty.
pub const LARGEST: usize = 16 * 1024;

/// What is kept of a text for people where an observation is too large, in characters.
const SHORT: usize = 200;

/// Texts that only people read: a part of one is better than none.
const FOR_PEOPLE: [&str; 4] = ["message", "witness", "notes", "details_missing"];

/// What says how a subject is. It stays whatever goes; its texts are short by then.
const STAYS: [&str; 5] = [
    "service_available",
    "cause",
    "message",
    "latency_ms",
    "witness",
];

/// The attributes as they are stored.
pub(super) fn storable(attributes: &Attributes) -> Value {
    let mut stored = json!(attributes);
    if let Some(fields) = stored.as_object_mut() {
        fit(fields);
    }
    without_nul(stored)
}

/// jsonb cannot hold the NUL character, neither in a text nor in a key; a server that sends one is
/// odd, and must not keep its observation from being written.
fn without_nul(value: Value) -> Value {
    let clean = |text: String| match text.contains('\0') {
        true => text.replace('\0', "\u{fffd}"),
        false => text,
    };
    match value {
        Value::String(text) => Value::String(clean(text)),
        Value::Array(values) => values.into_iter().map(without_nul).collect(),
        Value::Object(entries) => entries
            .into_iter()
            .map(|(key, value)| (clean(key), without_nul(value)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// Cuts texts for people short, then leaves figures out, the largest first, until it is no larger
/// than [`LARGEST`]. A figure goes as a whole: half a list would say that the rest is not there.
fn fit(fields: &mut Map<String, Value>) {
    let mut cut = Vec::new();
    while size(fields) > LARGEST {
        let texts = FOR_PEOPLE
            .iter()
            .filter_map(|name| fields.get_key_value(*name));
        let long = texts.filter(|(_, value)| is_long(value));
        let figures = fields
            .iter()
            .filter(|(name, _)| !STAYS.contains(&name.as_str()) && name.as_str() != CUT);
        let by_size = |(_, value): &(&String, &Value)| value.to_string().len();
        let long = long.max_by_key(by_size).map(|(name, _)| name.clone());
        let figure = figures.max_by_key(by_size).map(|(name, _)| name.clone());
        if let Some(name) = long {
            let shortened = fields.remove(&name).map(shorten).unwrap_or_default();
            fields.insert(name.clone(), shortened);
            cut.push(name);
        } else if let Some(name) = figure {
            fields.remove(&name);
            if !cut.contains(&name) {
                cut.push(name);
            }
        } else {
            break;
        }
        fields.insert(CUT.to_owned(), json!(cut));
    }
}

/// The field that says what was cut.
const CUT: &str = "cut";

fn size(fields: &Map<String, Value>) -> usize {
    serde_json::to_string(fields).map_or(0, |text| text.len())
}

fn is_long(value: &Value) -> bool {
    match value {
        Value::String(text) => text.chars().nth(SHORT).is_some(),
        Value::Array(values) => values.iter().any(is_long),
        Value::Object(entries) => entries.values().any(is_long),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn shorten(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.chars().take(SHORT).collect()),
        Value::Array(values) => values.into_iter().map(shorten).collect(),
        Value::Object(entries) => entries
            .into_iter()
            .map(|(key, value)| (key, shorten(value)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, Each, Slot, Witness};

    fn slots(count: usize) -> Option<Each<Slot>> {
        let slot = |n| Slot {
            name: Some(format!("slot_of_a_stranger_{n}")),
            ..Slot::default()
        };
        Some(Each((0..count).map(slot).collect()))
    }

    #[test]
    fn what_is_no_larger_than_it_may_be_is_stored_as_it_is() {
        let mut seen = Attributes::failed(Cause::Error, "x".repeat(10_000));
        seen.resource.replication_slots = slots(50);
        assert_eq!(storable(&seen), json!(seen));
    }

    #[test]
    fn long_texts_are_cut_before_any_figure_is_left_out() {
        let mut seen = Attributes::failed(Cause::Error, "\u{1}".repeat(40_000));
        seen.resource.xid_age = Some(7);
        seen.resource.replication_slots = slots(50);
        let stored = storable(&seen);
        assert_eq!(stored["message"], "\u{1}".repeat(SHORT));
        assert_eq!(stored["cut"], json!(["message"]));
        assert_eq!(stored["replication_slots"], json!(slots(50)));
        assert_eq!(stored["xid_age"], 7);
    }

    #[test]
    fn figures_are_left_out_whole_and_what_says_how_it_is_stays() {
        let mut seen = Attributes::failed(Cause::Timeout, "\u{1}".repeat(40_000));
        seen.witness = Some(Witness::Down {
            detail: "\u{1}".repeat(40_000),
        });
        seen.latency_ms = Some(5.0);
        seen.server.notes = Some(vec!["\u{1}".repeat(300); 1000]);
        seen.resource.replication_slots = slots(5000);
        seen.resource.synchronous_standby_names = Some("f".repeat(20_000));
        seen.resource.xid_age = Some(7);
        let stored = storable(&seen);
        assert!(stored.to_string().len() <= LARGEST, "{stored}");
        assert_eq!(
            (&stored["cause"], &stored["xid_age"]),
            (&json!("timeout"), &json!(7))
        );
        assert_eq!(stored["witness"]["says"], "down");
        // Half a name or half a list would say something else.
        for gone in ["replication_slots", "synchronous_standby_names", "notes"] {
            assert_eq!(stored.get(gone), None, "{gone}");
        }
        let read: Attributes = serde_json::from_value(stored).unwrap();
        let mut cut = read.cut.unwrap();
        cut.sort();
        let all = [
            "message",
            "notes",
            "replication_slots",
            "synchronous_standby_names",
            "witness",
        ];
        assert_eq!(cut, all);
    }

    #[test]
    fn no_nul_is_left_in_a_text_or_a_key() {
        let odd = json!({"a\0": [{"\0": "b\0"}], "c": "d"});
        let clean = json!({"a\u{fffd}": [{"\u{fffd}": "b\u{fffd}"}], "c": "d"});
        assert_eq!(without_nul(odd), clean);
    }
}
