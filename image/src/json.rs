//! Strict reading of the JSON documents that images are made of.
//!
//! Invariant: a document means one thing to every reader: no key twice at any depth, nothing behind the end, bounded size.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The largest manifest, index or configuration that is read (containers/image has the same limit).
pub const DOCUMENT_MAX: usize = 4 << 20;

/// Why a document is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// More than [`DOCUMENT_MAX`] bytes.
    #[error("read {what}: it has {len} bytes, more than the limit of {DOCUMENT_MAX}")]
    TooLarge {
        /// The kind of document.
        what: &'static str,
        /// Its size.
        len: u64,
    },
    /// Not JSON, a repeated key, or not the right shape.
    #[error("parse {what}")]
    Malformed {
        /// The kind of document.
        what: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// Well-formed JSON that does not mean what it has to.
    #[error("accept {what}: {reason}")]
    Invalid {
        /// The kind of document.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// Reads a document; `known` are its own top-level keys, of which no other spelling may occur.
pub(crate) fn parse<T: DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
    known: &[&str],
) -> Result<T, DocumentError> {
    if bytes.len() > DOCUMENT_MAX {
        return Err(DocumentError::TooLarge {
            what,
            len: bytes.len() as u64,
        });
    }
    let malformed = |source| DocumentError::Malformed { what, source };
    let Unambiguous(value) = serde_json::from_slice(bytes).map_err(malformed)?;
    // Derived readers take `[a, b]` for `{"x": a, "y": b}`.
    if !known.is_empty() && !value.is_object() {
        return Err(DocumentError::Invalid {
            what,
            reason: "it is no JSON object".to_owned(),
        });
    }
    // Go's encoding/json matches keys without regard to case: `Layers` would be layers to it and nothing to us.
    let keys = value
        .as_object()
        .into_iter()
        .flat_map(|object| object.keys());
    for key in keys {
        if let Some(name) = known
            .iter()
            .find(|name| name.eq_ignore_ascii_case(key) && *name != key)
        {
            return Err(DocumentError::Invalid {
                what,
                reason: format!("key {key:?} is a spelling of {name:?}"),
            });
        }
    }
    serde_json::from_value(value).map_err(malformed)
}

/// Writes a document so that equal values give equal bytes: struct order, sorted maps, no white space.
pub(crate) fn write<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("documents have string keys and no failing serializers")
}

/// `null` means the same as an absent field, as in Go.
pub(crate) fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A JSON value in which no object has a key twice.
struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Seed.deserialize(deserializer).map(Self)
    }
}

struct Seed;

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(Seed)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut seen = BTreeSet::new();
        let mut object = serde_json::Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(serde::de::Error::custom(format_args!(
                    "key {key:?} occurs twice"
                )));
            }
            object.insert(key, access.next_value_seed(Seed)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value, DocumentError> {
        parse("test", text.as_bytes(), &["layers"])
    }

    #[test]
    fn s51_a_repeated_key_is_refused_at_any_depth() {
        assert!(read(r#"{"a":1,"a":2}"#).is_err());
        assert!(read(r#"{"x":[{"a":1,"b":{"c":1,"c":1}}]}"#).is_err());
        assert!(read(r#"{"a":{"a":1},"A":2}"#).is_ok());
    }

    #[test]
    fn s51_another_spelling_of_a_known_key_is_refused() {
        assert!(read(r#"{"Layers":[]}"#).is_err());
        assert!(read(r#"{"layers":[],"x":{"Layers":1}}"#).is_ok());
    }

    #[test]
    fn a_tail_a_huge_document_and_deep_nesting_are_refused() {
        assert!(read("{} {}").is_err());
        assert!(matches!(
            read(&" ".repeat(DOCUMENT_MAX + 1)),
            Err(DocumentError::TooLarge { .. })
        ));
        assert!(read(&"[".repeat(1 << 20)).is_err());
    }

    #[test]
    fn maps_are_written_sorted_whatever_the_input_order() {
        let value = read(r#"{"b":1,"a":{"d":1,"c":2}}"#).unwrap();
        assert_eq!(write(&value), br#"{"a":{"c":2,"d":1},"b":1}"#);
    }
}
