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
        info.columns = vec![
            told("Last Seen", EventCell::LastSeen),
            Column::text("Type", ".type"),
            Column::text("Reason", ".reason"),
            told("Object", EventCell::Object),
            Column::text("Subobject", ".involvedObject.fieldPath").wide(),
            told("Source", EventCell::Source).wide(),
            told("Message", EventCell::Message),
            told("First Seen", EventCell::FirstSeen).wide(),
            told("Count", EventCell::Count).wide(),
            Column::text("Name", ".metadata.name").wide(),
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
