//! `Event`, of the core group.

use k8s_openapi::api::core::v1::Event;
use koinon_machinery::{Column, ResourceInfo};
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
        info.columns = vec![
            Column::date("Last Seen", ".lastTimestamp"),
            Column::text("Type", ".type"),
            Column::text("Reason", ".reason"),
            Column::text("Kind", ".involvedObject.kind"),
            Column::text("Object", ".involvedObject.name"),
            Column::text("Message", ".message"),
            Column::text("Source", ".source.component").wide(),
            Column::date("First Seen", ".firstTimestamp").wide(),
            Column::text("Count", ".count").wide(),
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
