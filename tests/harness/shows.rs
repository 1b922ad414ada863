//! What a JSON answer has to show, whatever else is in it.

use serde_json::Value;

/// Of an answer.
pub trait Shows {
    /// Fails unless these fields are as given: null where one has to be null or missing,
    /// objects field by field.
    fn shows(&self, fields: Value);
}

impl Shows for Value {
    #[track_caller]
    fn shows(&self, fields: Value) {
        let (seen, wanted) = (picked(self, &fields), fields);
        assert_eq!(seen, wanted, "{self}");
    }
}

/// As much of an answer as is asked for.
fn picked(seen: &Value, fields: &Value) -> Value {
    match fields {
        Value::Object(fields) if !fields.is_empty() => {
            let fields = fields.iter();
            let fields = fields.map(|(name, wanted)| (name.clone(), picked(&seen[name], wanted)));
            Value::Object(fields.collect())
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => seen.clone(),
    }
}
