//! Which objects a list, a watch or a deletion of many is about.

use std::sync::Arc;

use koinon_machinery::{
    Result,
    selector::{FieldSelector, LabelSelector},
};
use koinon_store::{Snapshot, Stored};

use super::options::ListOptions;
use crate::registry::{Kind, object_of};

/// Namespace and selectors of a request.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    kind: Arc<Kind>,
    namespace: String,
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    pub(super) fn new(kind: &Arc<Kind>, namespace: &str, options: &ListOptions) -> Result<Self> {
        Ok(Self {
            kind: Arc::clone(kind),
            namespace: namespace.to_owned(),
            labels: LabelSelector::parse(&options.label_selector)?,
            fields: FieldSelector::parse(&options.field_selector, &kind.info)?,
        })
    }

    /// Whether everything in the namespace is selected.
    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// Whether the objects of a namespace can be selected at all.
    pub(super) fn covers(&self, namespace: &str) -> bool {
        self.namespace.is_empty() || self.namespace == namespace
    }

    /// Whether `stored` is selected. Reads the object only if a field outside of its key decides.
    pub(super) fn selects(&self, stored: &Stored) -> bool {
        (self.namespace.is_empty() || *stored.key.namespace == *self.namespace)
            && self.labels.matches(&stored.labels)
            && self
                .fields
                .matches_key(&stored.key.namespace, &stored.key.name)
            && (self.fields.is_on_key() || self.fields.matches(&object_of(&self.kind, stored)))
    }

    /// What is selected in a snapshot and of what is shown beside it, in key order, after the object at `start`.
    pub(super) fn objects<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        shown: &'a [Arc<Stored>],
        start: Option<(&'a str, &'a str)>,
    ) -> Box<dyn Iterator<Item = &'a Arc<Stored>> + 'a> {
        let stored = self.stored(snapshot, start);
        if shown.is_empty() {
            return stored;
        }
        let shown = shown
            .iter()
            .filter(move |one| start.is_none_or(|start| place(one) > start))
            .filter(|one| self.selects(one));
        Box::new(merge(stored, shown))
    }

    fn stored<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        start: Option<(&str, &str)>,
    ) -> Box<dyn Iterator<Item = &'a Arc<Stored>> + 'a> {
        let selected = |stored: &&'a Arc<Stored>| self.selects(stored);
        if let (None, Some(name)) = (start, self.fields.name())
            && (!self.namespace.is_empty() || !self.kind.info.namespaced)
        {
            let one = snapshot.get(&self.namespace, name);
            return Box::new(one.into_iter().filter(selected));
        }
        match start {
            Some((namespace, name)) => {
                let within = |stored: &&'a Arc<Stored>| {
                    self.namespace.is_empty() || *stored.key.namespace == *self.namespace
                };
                Box::new(
                    snapshot
                        .after(namespace, name)
                        .take_while(within)
                        .filter(selected),
                )
            }
            None if self.namespace.is_empty() => Box::new(snapshot.iter().filter(selected)),
            None => Box::new(snapshot.namespace(&self.namespace).filter(selected)),
        }
    }
}

/// Where an object stands in a list.
fn place(stored: &Stored) -> (&str, &str) {
    (&stored.key.namespace, &stored.key.name)
}

/// Two parts of a list, each in key order, as one.
fn merge<'a>(
    left: impl Iterator<Item = &'a Arc<Stored>>,
    right: impl Iterator<Item = &'a Arc<Stored>>,
) -> impl Iterator<Item = &'a Arc<Stored>> {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    std::iter::from_fn(move || match (left.peek(), right.peek()) {
        (Some(one), Some(other)) if place(other) < place(one) => right.next(),
        (None, Some(_)) => right.next(),
        _ => left.next(),
    })
}
