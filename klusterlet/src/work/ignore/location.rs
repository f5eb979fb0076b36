//! Places in an object.

use serde_json::Value;

/// One step to a place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Key(String),
    Index(usize),
}

/// A place that a manifest has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location(Vec<Part>);

/// Finds where in `root` the values are to which `found` refers. The root itself is no place.
pub(super) fn locate(root: &Value, found: &[&Value]) -> Vec<Location> {
    fn walk(value: &Value, found: &[&Value], path: &mut Vec<Part>, places: &mut Vec<Location>) {
        if !path.is_empty() && found.iter().any(|f| std::ptr::eq(*f, value)) {
            places.push(Location(path.clone()));
            return;
        }
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    path.push(Part::Key(key.clone()));
                    walk(value, found, path, places);
                    path.pop();
                }
            }
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    path.push(Part::Index(index));
                    walk(value, found, path, places);
                    path.pop();
                }
            }
            _ => {}
        }
    }
    let mut places = Vec::new();
    if !found.is_empty() {
        walk(root, found, &mut Vec::new(), &mut places);
    }
    places
}

/// Finds the place of a JSON pointer (RFC 6901); `None` if there is no such place.
pub(super) fn pointer(root: &Value, text: &str) -> Result<Option<Location>, String> {
    if !text.starts_with('/') {
        return Err(format!(
            "invalid JSON pointer {text:?}: it does not begin with '/'"
        ));
    }
    Ok(root
        .pointer(text)
        .and_then(|value| locate(root, &[value]).pop()))
}

/// Returns `value` without these places.
pub(super) fn without(value: &Value, places: &[Location]) -> Value {
    let mut sorted = places.to_vec();
    // Later items of a list first, so that the earlier ones keep their index.
    sorted.sort_unstable();
    sorted.dedup();
    let mut value = value.clone();
    for Location(parts) in sorted.iter().rev() {
        let Some((last, way)) = parts.split_last() else {
            continue;
        };
        let parent = way.iter().try_fold(&mut value, |value, part| match part {
            Part::Key(key) => value.get_mut(key),
            Part::Index(index) => value.get_mut(index),
        });
        match (parent, last) {
            (Some(Value::Object(fields)), Part::Key(key)) => _ = fields.remove(key),
            (Some(Value::Array(items)), Part::Index(index)) if *index < items.len() => {
                items.remove(*index);
            }
            _ => {}
        }
    }
    value
}

impl Location {
    /// The value at this place of `manifest` in another object; items of lists are the same by name, else by position.
    pub(super) fn get<'a>(&self, manifest: &Value, other: &'a Value) -> Option<&'a Value> {
        let (mut here, mut there) = (manifest, other);
        for part in &self.0 {
            match part {
                Part::Key(key) => (here, there) = (here.get(key)?, there.get(key)?),
                Part::Index(index) => {
                    let item = here.get(index)?;
                    let at = same_item(item, there.as_array()?)?;
                    (here, there) = (item, there.get(at)?);
                }
            }
        }
        Some(there)
    }

    /// Sets the value at this place of another object, if what surrounds it is there.
    pub(super) fn insert(&self, manifest: &Value, other: &mut Value, value: Value) {
        let Some((last, way)) = self.0.split_last() else {
            return;
        };
        let (mut here, mut there) = (manifest, other);
        for part in way {
            let next = match part {
                Part::Key(key) => here.get(key).zip(there.get_mut(key)),
                Part::Index(index) => here.get(index).and_then(|item| {
                    let at = same_item(item, there.as_array()?)?;
                    Some(item).zip(there.get_mut(at))
                }),
            };
            let Some(next) = next else { return };
            (here, there) = next;
        }
        match (last, there) {
            (Part::Key(key), Value::Object(fields)) => _ = fields.insert(key.clone(), value),
            // Where in the list it stood does not matter to the server.
            (Part::Index(_), Value::Array(items)) => items.push(value),
            _ => {}
        }
    }

    /// The live value at this place, if it belongs to the owner of these fields.
    pub(super) fn owned_value<'a>(
        &self,
        manifest: &Value,
        live: &'a Value,
        owned: &Value,
    ) -> Option<&'a Value> {
        let (mut here, mut there, mut fields) = (manifest, live, owned);
        let mut whole = false;
        for part in &self.0 {
            match part {
                Part::Key(key) => {
                    (here, there) = (here.get(key)?, there.get(key)?);
                    if !whole {
                        fields = fields.get(format!("f:{key}"))?;
                    }
                }
                Part::Index(index) => {
                    let item = here.get(index)?;
                    let at = same_item(item, there.as_array()?)?;
                    (here, there) = (item, there.get(at)?);
                    if !whole {
                        fields = item_fields(fields, there)?;
                    }
                }
            }
            // An owned leaf: all below it is owned as well.
            whole |= fields.as_object().is_some_and(serde_json::Map::is_empty);
        }
        Some(there)
    }
}

/// Keys by which the lists of built-in kinds tell their items apart; of the first that an item has.
const KEYS: [&[&str]; 12] = [
    &["name"],
    &["containerPort", "protocol"],
    &["port", "protocol"],
    &["key", "effect"],
    &["uid"],
    &["ip"],
    &["mountPath"],
    &["devicePath"],
    &["topologyKey", "whenUnsatisfiable"],
    &["type"],
    &["host"],
    &["id"],
];

/// Finds the same item in another list: by its key, or by being equal.
fn same_item(item: &Value, list: &[Value]) -> Option<usize> {
    let keys = KEYS.iter().find(|keys| item.get(keys[0]).is_some());
    list.iter().position(|other| match keys {
        Some(keys) => {
            item.get(keys[0]) == other.get(keys[0])
                && keys
                    .iter()
                    .skip(1)
                    .all(|key| same_or_absent(item.get(key), other.get(key)))
        }
        None => item == other,
    })
}

/// A part of a key that one of the two leaves out is the server's default.
fn same_or_absent(one: Option<&Value>, other: Option<&Value>) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// The fields of a list's item: entries are `k:` and the item's key fields, or `v:` and the item itself.
fn item_fields<'a>(fields: &'a Value, item: &Value) -> Option<&'a Value> {
    fields.as_object()?.iter().find_map(|(key, below)| {
        let (form, json) = key.split_once(':')?;
        let key: Value = serde_json::from_str(json).ok()?;
        let same = match form {
            "k" => {
                let key = key.as_object()?;
                key.iter()
                    .all(|(name, value)| same_or_absent(item.get(name), Some(value)))
                    && key
                        .iter()
                        .any(|(name, value)| item.get(name) == Some(value))
            }
            "v" => key == *item,
            _ => false,
        };
        same.then_some(below)
    })
}

/// Says whether `value` has all of these fields, so that applying it gives none of them up.
pub(in crate::work) fn owns_only(fields: &Value, value: &Value) -> bool {
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    fields
        .as_object()
        .into_iter()
        .flatten()
        .all(|(key, below)| {
            let Some((form, name)) = key.split_once(':') else {
                // `.` is the object or item itself.
                return true;
            };
            match form {
                "f" => value.get(name).is_some_and(|value| owns_only(below, value)),
                _ => items(value).iter().any(|item| {
                    let one = serde_json::Map::from_iter([(key.clone(), below.clone())]);
                    item_fields(&Value::Object(one), item)
                        .is_some_and(|below| owns_only(below, item))
                }),
            }
        })
}

/// The fields that `manager` owns by server-side apply.
pub(in crate::work) fn owned_fields<'a>(live: &'a Value, manager: &str) -> Option<&'a Value> {
    live.pointer("/metadata/managedFields")?
        .as_array()?
        .iter()
        .find(|entry| {
            let is = |key: &str, value: &str| entry.get(key).and_then(Value::as_str) == Some(value);
            is("manager", manager) && is("operation", "Apply") && entry.get("subresource").is_none()
        })?
        .get("fieldsV1")
}
