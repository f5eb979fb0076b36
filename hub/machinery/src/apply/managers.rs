//! `metadata.managedFields`: who owns which fields, and since when.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{fields_v1, set::FieldSet};

/// How many managers that do not apply an object may have; the oldest are then merged into one.
const MOST_UPDATERS: usize = 10;
/// What those are merged into.
const ANCIENT: &str = "ancient-changes";

/// How a manager came to own its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// It said that it wants them: they stay as it applied them, and go when it leaves them out.
    Apply,
    /// It wrote them, by whatever other means.
    Update,
}

impl Operation {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// Who a manager is. One that applies is the same at every API version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) subresource: String,
    /// Empty for managers that apply.
    version: String,
}

/// What a manager owns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Owned {
    pub(super) api_version: String,
    /// RFC 3339, in whole seconds.
    pub(super) time: Option<String>,
    pub(super) fields: FieldSet,
}

/// All managers of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Managers(pub(super) BTreeMap<Identity, Owned>);

impl Identity {
    pub(super) fn new(
        manager: &str,
        operation: Operation,
        subresource: &str,
        api_version: &str,
    ) -> Self {
        let version = match operation {
            Operation::Apply => String::new(),
            Operation::Update => api_version.to_owned(),
        };
        Self {
            manager: manager.to_owned(),
            operation,
            subresource: subresource.to_owned(),
            version,
        }
    }

    /// How messages name it.
    pub(super) fn describe(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.version));
        }
        text
    }
}

impl Managers {
    /// Reads the entries; `None` when one of them is malformed.
    pub(super) fn read(entries: Option<&Value>) -> Option<Self> {
        let mut managers = BTreeMap::new();
        let list = match entries {
            None | Some(Value::Null) => return Some(Self::default()),
            Some(Value::Array(list)) => list,
            Some(_) => return None,
        };
        for entry in list {
            let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
            let operation = match text("operation") {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return None,
            };
            let api_version = text("apiVersion");
            if api_version.is_empty() || text("fieldsType") != "FieldsV1" {
                return None;
            }
            let identity =
                Identity::new(text("manager"), operation, text("subresource"), api_version);
            let fields = match entry.get("fieldsV1") {
                None | Some(Value::Null) => FieldSet::default(),
                Some(fields) => fields_v1::read(fields).ok()?,
            };
            let owned = Owned {
                api_version: api_version.to_owned(),
                time: Some(text("time").to_owned()).filter(|time| !time.is_empty()),
                fields,
            };
            managers.insert(identity, owned);
        }
        Some(Self(managers))
    }

    /// The managers that a write starts from: those that it brings, so that they can be edited; those of the object
    /// if it brings none or nonsense, so that a client that knows nothing of them loses nothing; none after `[{}]`.
    pub(super) fn of_write(live: Option<&Value>, sent: Option<&Value>) -> Self {
        if let Some(Value::Array(sent)) = sent
            && let [Value::Object(only)] = sent.as_slice()
            && only.is_empty()
        {
            return Self::default();
        }
        match Self::read(sent) {
            Some(sent) if !sent.is_empty() => sent,
            _ => Self::read(live).unwrap_or_default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Drops managers that own nothing.
    pub(super) fn tidy(&mut self) {
        self.0.retain(|_, owned| !owned.fields.is_empty());
    }

    /// The entries in Kubernetes' order: those that apply first, then by time, then by name.
    pub(super) fn write(self) -> Option<Value> {
        if self.0.is_empty() {
            return None;
        }
        let mut all: Vec<(Identity, Owned)> = self.0.into_iter().collect();
        all.sort_by(|(one, mine), (other, theirs)| {
            let key = |identity: &Identity, owned: &Owned| {
                (
                    identity.operation,
                    owned.time.clone(),
                    identity.manager.clone(),
                    owned.api_version.clone(),
                    identity.subresource.clone(),
                )
            };
            key(one, mine).cmp(&key(other, theirs))
        });
        let entries = all.into_iter().map(|(identity, owned)| {
            let mut entry = Map::new();
            let mut put = |name: &str, text: String| {
                if !text.is_empty() {
                    entry.insert(name.to_owned(), Value::from(text));
                }
            };
            put("manager", identity.manager);
            put("operation", identity.operation.as_str().to_owned());
            put("subresource", identity.subresource);
            put("apiVersion", owned.api_version);
            put("time", owned.time.unwrap_or_default());
            put("fieldsType", "FieldsV1".to_owned());
            entry.insert("fieldsV1".to_owned(), fields_v1::write(&owned.fields));
            Value::Object(entry)
        });
        Some(entries.collect())
    }

    /// Merges the oldest updaters until there are no more than [`MOST_UPDATERS`].
    pub(super) fn cap(&mut self) {
        let mut updaters: Vec<(Option<String>, Identity)> = self
            .0
            .iter()
            .filter(|(identity, _)| identity.operation == Operation::Update)
            .map(|(identity, owned)| (owned.time.clone(), identity.clone()))
            .collect();
        updaters.sort();
        let mut count = updaters.len();
        let mut first: BTreeMap<String, Identity> = BTreeMap::new();
        for (time, identity) in updaters {
            if count <= MOST_UPDATERS {
                return;
            }
            let version = identity.version.clone();
            let Some(oldest) = first.get(&version) else {
                first.insert(version, identity);
                continue;
            };
            let bucket = Identity::new(ANCIENT, Operation::Update, "", &version);
            if !self.0.contains_key(&bucket)
                && let Some(owned) = self.0.remove(oldest)
            {
                self.0.insert(bucket.clone(), owned);
            }
            if identity != bucket
                && let Some(owned) = self.0.remove(&identity)
                && let Some(ancient) = self.0.get_mut(&bucket)
            {
                ancient.fields = std::mem::take(&mut ancient.fields).union(owned.fields);
                ancient.time = time;
                count -= 1;
            }
        }
    }
}

/// What nobody owns: the server says it, or it names the object.
pub(super) fn nobodys() -> &'static FieldSet {
    static SET: std::sync::LazyLock<FieldSet> = std::sync::LazyLock::new(|| {
        fields_v1::read(&json!({
            "f:apiVersion": {}, "f:kind": {},
            "f:metadata": { ".": {}, "f:name": {}, "f:namespace": {}, "f:creationTimestamp": {}, "f:selfLink": {}, "f:uid": {},
                "f:clusterName": {}, "f:generation": {}, "f:managedFields": {}, "f:resourceVersion": {} },
        }))
        .expect("it is FieldsV1, as written here")
    });
    &SET
}
