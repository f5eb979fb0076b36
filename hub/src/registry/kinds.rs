//! The kinds that this hub serves, found by resource, by group or by key.

use std::{collections::BTreeMap, sync::Arc};

use koinon_machinery::{ResourceInfo, table::Printer};

use super::{Strategy, View};

/// A kind with its rules.
#[derive(Debug)]
pub struct Kind {
    /// The kind as data.
    pub info: Arc<ResourceInfo>,
    /// Its columns, ready for tables.
    pub printer: Printer,
    /// Its own rules.
    pub strategy: Box<dyn Strategy>,
    /// `<plural>.<group>`, the key of the resource in the store.
    pub key: Arc<str>,
    /// `<group>/<version>`, or the version alone for core.
    pub api_version: String,
}

impl Kind {
    /// Whether an object of this name shows something, and is not stored.
    pub fn is_view(&self, name: &str) -> bool {
        match self.strategy.view() {
            View::Nothing => false,
            View::Heartbeat(shown) => shown == name,
            View::Definitions => true,
        }
    }
}

/// All kinds, in the order of their keys.
#[derive(Clone, Debug)]
pub struct Kinds {
    by_key: Arc<BTreeMap<Arc<str>, Arc<Kind>>>,
}

impl Kinds {
    /// Registers `strategies`.
    pub fn new(strategies: Vec<Box<dyn Strategy>>) -> Self {
        let nothing = Self {
            by_key: Arc::default(),
        };
        nothing.and(strategies)
    }

    /// These kinds and more.
    #[must_use]
    pub fn and(mut self, strategies: Vec<Box<dyn Strategy>>) -> Self {
        let by_key = Arc::make_mut(&mut self.by_key);
        for strategy in strategies {
            let info = Arc::new(strategy.info());
            let printer =
                Printer::new(&info).expect("the columns of our kinds parse, which a test checks");
            let key: Arc<str> = info.key().into();
            let api_version = info.api_version();
            let kind = Kind {
                info,
                printer,
                strategy,
                key: Arc::clone(&key),
                api_version,
            };
            by_key.insert(key, Arc::new(kind));
        }
        self
    }

    /// Finds a kind by its store key.
    pub fn by_key(&self, key: &str) -> Option<&Arc<Kind>> {
        self.by_key.get(key)
    }

    /// Finds a kind by the segments of its path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        let kind = if group.is_empty() {
            self.by_key.get(plural)
        } else {
            self.by_key.get(format!("{plural}.{group}").as_str())
        };
        kind.filter(|kind| kind.info.version == version && kind.info.group == group)
    }

    /// All kinds.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.by_key.values()
    }
}
