//! Reads JSON in which nothing is said twice: of two values under one key, whoever checked the
//! first and whoever used the last would have read different requests.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why a text is not read.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// It is no JSON.
    Syntax(serde_json::Error),
    /// An object of it has this key more than once.
    Twice(String),
}

/// Reads a value.
///
/// # Errors
/// See [`Unreadable`].
pub(super) fn read(bytes: &[u8]) -> Result<Value, Unreadable> {
    let twice = RefCell::new(None);
    let mut text = serde_json::Deserializer::from_slice(bytes);
    let value = Once(&twice).deserialize(&mut text);
    let value = value.and_then(|value| text.end().map(|()| value));
    value.map_err(|error| match twice.take() {
        Some(key) => Unreadable::Twice(key),
        None => Unreadable::Syntax(error),
    })
}

/// A value; a key that is there twice is left in the cell.
#[derive(Clone, Copy)]
struct Once<'a>(&'a RefCell<Option<String>>);

impl<'de> DeserializeSeed<'de> for Once<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Once<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, is: bool) -> Result<Value, E> {
        Ok(is.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = all.next_element_seed(self)? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Value, A::Error> {
        let mut entries = Map::new();
        while let Some(key) = all.next_key::<String>()? {
            if entries.contains_key(&key) {
                self.0.replace(Some(key));
                return Err(A::Error::custom("a key is there twice"));
            }
            let value = all.next_value_seed(self)?;
            entries.insert(key, value);
        }
        Ok(entries.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_once_is_read_as_serde_json_reads_it() {
        for text in [
            "null",
            "[1, -1, 1.5, 1e3, 18446744073709551615, true, null, \"a\\u0000b\", {}]",
            r#"{"a": {"b": 1, "c": [{"b": 2}, {"b": 3}]}, "b": "a", "": null}"#,
        ] {
            let known: Value = serde_json::from_str(text).unwrap();
            assert_eq!(read(text.as_bytes()).unwrap(), known, "{text}");
        }
        for text in ["", "{", "{} {}", "nul", "\u{feff}{}"] {
            let unreadable = read(text.as_bytes()).unwrap_err();
            assert!(matches!(unreadable, Unreadable::Syntax(_)), "{text}");
        }
    }

    #[test]
    fn a_key_that_is_there_twice_is_named_however_it_is_written() {
        for text in [
            r#"{"name": 1, "name": 1}"#,
            r#"{"name": null, "other": 2, "n\u0061me": 1}"#,
            r#"{"rules": [{"deep": {"name": {}, "name": []}}]}"#,
        ] {
            match read(text.as_bytes()).unwrap_err() {
                Unreadable::Twice(key) => assert_eq!(key, "name"),
                Unreadable::Syntax(error) => panic!("{text}: {error}"),
            }
        }
    }
}
