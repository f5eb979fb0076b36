//! `ManifestWork`: what one cluster shall run.

use koinon_api::{
    ManifestWork,
    labels::{annotation, finalizer},
};
use koinon_machinery::{
    ApiError, Cause, Column, Object, ResourceInfo, Result,
    validation::{MAX_LABEL_BYTES, labels_fit},
};
use serde_json::Value;

use super::manifests;
use crate::registry::{Admission, Strategy};

#[derive(Debug)]
pub(super) struct Work {
    pub(super) limit: usize,
}

impl Strategy for Work {
    fn info(&self) -> ResourceInfo {
        // OCM prints a name and an age; whether a work arrived is what one looks for.
        let condition = |name: &str| {
            let path = format!(".status.conditions[?(@.type==\"{name}\")].status");
            Column::text(name, &path).wide()
        };
        super::custom::<ManifestWork>().with_columns([condition("Applied"), condition("Available")])
    }

    fn body_limit(&self) -> usize {
        self.limit
    }

    fn prepare_create(&self, object: &mut Object, admission: &mut Admission<'_>) -> Result<()> {
        object.add_finalizer(finalizer::MANIFEST_WORK);
        admit_directives(object, None)?;
        manifests::admit(object.at(&["spec", "workload", "manifests"]))?;
        manifests::admit_executor(object, None, &["spec", "executor"], admission)
    }

    /// A work that is not being deleted keeps the finalizer, whatever the client sends: only the agent can say that
    /// all it applied is gone (P3).
    fn prepare_update(
        &self,
        object: &mut Object,
        old: &Object,
        admission: &mut Admission<'_>,
    ) -> Result<()> {
        admit_directives(object, Some(old))?;
        if object.is_deleting() {
            return Ok(());
        }
        object.add_finalizer(finalizer::MANIFEST_WORK);
        manifests::admit(object.at(&["spec", "workload", "manifests"]))?;
        manifests::admit_executor(object, Some(old), &["spec", "executor"], admission)
    }

    /// The agent gets the labels with the body, in one message.
    fn validate(&self, object: &Object, old: Option<&Object>) -> Vec<Cause> {
        labels_fit(object, old, MAX_LABEL_BYTES)
    }
}

/// Refuses an annotation for the agent that would be too long to be passed on: an approval must not be lost in silence.
fn admit_directives(object: &Object, old: Option<&Object>) -> Result<()> {
    fn value<'a>(object: &'a Object, key: &str) -> Option<&'a str> {
        object
            .at(&["metadata", "annotations", key])
            .and_then(Value::as_str)
    }
    for key in annotation::DIRECTIVES {
        let new = value(object, key);
        let length = new.map_or(0, str::len);
        if length > annotation::MOST_DIRECTIVE && old.is_none_or(|old| value(old, key) != new) {
            return Err(ApiError::bad_request(format!(
                "annotation {key} has {length} bytes; at most {} are passed on to the agent",
                annotation::MOST_DIRECTIVE
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::workset::ReplicaSet, *};

    #[test]
    fn the_labels_of_a_work_are_bounded_and_those_of_a_set_so_that_its_works_are() {
        let labelled = |bytes: usize| {
            let labels: serde_json::Map<_, _> = (0..bytes / 64)
                .map(|n| (format!("{n:05}"), json!("x".repeat(59))))
                .collect();
            Object::from_value(json!({"metadata": {"name": "w", "labels": labels}})).unwrap()
        };
        let (work, set): (&dyn Strategy, &dyn Strategy) =
            (&Work { limit: 0 }, &ReplicaSet { limit: 0 });
        let (little, most, more, lots) = (
            labelled(64),
            labelled(MAX_LABEL_BYTES),
            labelled(MAX_LABEL_BYTES + 64),
            labelled(4 << 20),
        );
        let room = labelled(MAX_LABEL_BYTES - 1024);
        for (kind, object, old, good) in [
            (work, &little, None, true),
            (work, &most, None, true),
            (work, &more, None, false),
            (work, &more, Some(&little), false),
            (work, &lots, Some(&more), false),
            // What is older than the bound stays, and may have less.
            (work, &lots, Some(&lots), true),
            (work, &more, Some(&lots), true),
            (set, &room, None, true),
            (set, &most, None, false),
            (set, &lots, Some(&lots), true),
        ] {
            let causes = kind.validate(object, old);
            let said: Vec<_> = causes.iter().map(|cause| cause.field.as_str()).collect();
            let expected: &[&str] = if good { &[] } else { &["metadata.labels"] };
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn an_approval_is_passed_on_or_refused_but_never_lost() {
        let work = |text: String| {
            let annotations =
                json!({annotation::APPROVE_DELETION: text, "other": "x".repeat(9000)});
            Object::from_value(json!({"metadata": {"name": "w", "annotations": annotations}}))
                .unwrap()
        };
        let (good, long) = (
            work("x".repeat(annotation::MOST_DIRECTIVE)),
            work("x".repeat(annotation::MOST_DIRECTIVE + 1)),
        );
        assert!(admit_directives(&good, None).is_ok());
        assert!(admit_directives(&long, None).is_err());
        assert!(admit_directives(&long, Some(&good)).is_err());
        // What is stored already stops no other change.
        assert!(admit_directives(&long, Some(&long)).is_ok());
        assert!(admit_directives(&good, Some(&long)).is_ok());
    }
}
