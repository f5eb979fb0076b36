//! `Event`, of the core group.

use k8s_openapi::api::core::v1::Event;
use koinon_machinery::{Column, EventCell, ResourceInfo, ShownAs};
use serde_json::json;

use crate::registry::{Generation, Strategy, Unconditional};

#[derive(Debug)]
pub(super) struct Events;

impl Strategy for Events {
    fn info(&self) -> ResourceInfo {
        let mut info = super::builtin::<Event>(false, &["ev"]).with_selectable_fields([
            "involvedObject.apiVersion",
            "involvedObject.fieldPath",
            "involvedObject.kind",
            "involvedObject.name",
            "involvedObject.namespace",
            "involvedObject.resourceVersion",
            "involvedObject.uid",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ])
        .with_blank(json!({
            "involvedObject": {}, "source": {}, "firstTimestamp": null, "lastTimestamp": null, "eventTime": null,
            "reportingComponent": "", "reportingInstance": "",
        }));
        let told =
            |name: &str, of: EventCell| Column::text(name, ".message").shown_as(ShownAs::Event(of));
        let mut name = Column::text("Name", ".metadata.name").wide();
        "name".clone_into(&mut name.format);
        info.columns = vec![
            told("Last Seen", EventCell::LastSeen),
            told("Type", EventCell::Text(&["type"])),
            told("Reason", EventCell::Text(&["reason"])),
            told("Object", EventCell::Object),
            told(
                "Subobject",
                EventCell::Text(&["involvedObject", "fieldPath"]),
            )
            .wide(),
            told("Source", EventCell::Source).wide(),
            told("Message", EventCell::Message),
            told("First Seen", EventCell::FirstSeen).wide(),
            told("Count", EventCell::Count).wide(),
            name,
        ];
        info
    }

    fn generation(&self) -> Generation {
        Generation::Absent
    }

    fn unconditional_update(&self) -> Unconditional {
        Unconditional::Allowed
    }

    fn creates_on_update(&self) -> bool {
        true
    }
}
