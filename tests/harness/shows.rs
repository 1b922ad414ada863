//! What a JSON answer has to show and a text to say, whatever else is in it.

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

/// Of a text, or of JSON that is one.
pub trait Says {
    /// The text.
    fn text(&self) -> &str;

    /// Fails unless all of this is in it.
    #[track_caller]
    fn says<const N: usize>(&self, words: [&str; N]) {
        let told = self.text();
        for word in words {
            assert!(told.contains(word), "`{word}` is missing: {told}");
        }
    }

    /// Fails if any of this is in it.
    #[track_caller]
    fn never_says<const N: usize>(&self, words: [&str; N]) {
        let told = self.text();
        for word in words {
            assert!(!told.contains(word), "`{word}` is in it: {told}");
        }
    }
}

impl Says for str {
    fn text(&self) -> &str {
        self
    }
}

impl Says for Value {
    fn text(&self) -> &str {
        let text = self.as_str();
        text.unwrap_or_else(|| panic!("no text: {self}"))
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
