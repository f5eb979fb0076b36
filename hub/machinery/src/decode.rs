//! Reading a request body: JSON (or any other serde format) to a value, noticing what plain decoding swallows.

#[cfg(test)]
mod tests;

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::{
    ApiError, Result,
    path::Path,
    short::{LONGEST, short},
};

/// Most faults of one body that are named, as in Go's strict decoder.
pub(crate) const MOST_FAULTS: usize = 100;

/// A decoded body.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    pub value: Value,
    /// Paths of keys that occurred more than once; the last one counts, as in Go. The first hundred of them.
    pub duplicates: Vec<String>,
}

/// Reads JSON.
///
/// # Errors
/// `BadRequest` when it is not one JSON document or nests too deep.
pub fn json(bytes: &[u8]) -> Result<Decoded> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let decoded = read(&mut deserializer).and_then(|decoded| {
        deserializer.end()?;
        Ok(decoded)
    });
    decoded.map_err(|error| ApiError::bad_request(error.to_string()))
}

/// Reads a value from any format whose maps have text keys.
///
/// # Errors
/// The format's own.
pub fn read<'de, D>(deserializer: D) -> Result<Decoded, D::Error>
where
    D: Deserializer<'de>,
{
    let mut duplicates = Vec::new();
    let value = Seed {
        path: Path::Root,
        duplicates: &mut duplicates,
        depth: crate::schema::MAX_DEPTH,
    }
    .deserialize(deserializer)?;
    Ok(Decoded { value, duplicates })
}

/// The error of `fieldValidation=Strict` for fields that are unknown or given twice; `None` when there are none.
#[must_use]
pub fn strict(unknown: &[String], duplicates: &[String]) -> Option<ApiError> {
    let faults = faults(unknown, duplicates);
    (!faults.is_empty())
        .then(|| ApiError::bad_request(format!("strict decoding error: {}", faults.join(", "))))
}

/// What `fieldValidation=Warn` says of the same, one text per fault.
#[must_use]
pub fn faults(unknown: &[String], duplicates: &[String]) -> Vec<String> {
    let duplicates = duplicates
        .iter()
        .map(|path| format!("duplicate field {path:?}"));
    duplicates
        .chain(unknown.iter().map(|path| format!("unknown field {path:?}")))
        .take(MOST_FAULTS)
        .collect()
}

struct Seed<'a, 'd> {
    path: Path<'a>,
    duplicates: &'d mut Vec<String>,
    depth: usize,
}

impl Seed<'_, '_> {
    fn below<E: serde::de::Error>(&self) -> Result<usize, E> {
        self.depth
            .checked_sub(1)
            .ok_or_else(|| E::custom("exceeded max depth"))
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
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

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        // YAML knows infinities, JSON does not; silently turning them to null would lose them.
        serde_json::Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number is not finite"))
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

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let depth = self.below()?;
        let mut list = Vec::new();
        loop {
            let seed = Seed {
                path: self.path.index(list.len()),
                duplicates: &mut *self.duplicates,
                depth,
            };
            match items.next_element_seed(seed)? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let depth = self.below()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let path = self.path.field(&key);
            // A path is as long as the keys above it: all of them could be a million times the body.
            if map.contains_key(&key) && self.duplicates.len() < MOST_FAULTS {
                self.duplicates.push(short(path, LONGEST));
            }
            let value = entries.next_value_seed(Seed {
                path,
                duplicates: &mut *self.duplicates,
                depth,
            })?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
