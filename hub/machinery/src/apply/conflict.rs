//! What somebody else owns and an apply would change.

use super::{fields_v1, managers::Identity, set::FieldSet};
use crate::{
    ApiError, Cause, CauseReason, Details, Reason,
    short::{LONGEST, short},
    status::MOST_CAUSES,
};

/// The fields in the way, by who owns them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Conflicts(pub(super) Vec<(Identity, FieldSet)>);

impl Conflicts {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The conflicts that are left when some fields are none.
    pub(super) fn without(self, allowed: &FieldSet) -> Self {
        let left = self.0.into_iter().filter_map(|(identity, fields)| {
            let fields = fields.difference(allowed);
            (!fields.is_empty()).then_some((identity, fields))
        });
        Self(left.collect())
    }

    /// 409 in the API server's words, with a cause for each field, the first hundred of them.
    pub(super) fn into_error(self) -> ApiError {
        let mut causes = Vec::new();
        let mut groups = Vec::new();
        let mut count = 0;
        for (identity, fields) in &self.0 {
            let manager = identity.describe();
            let mut paths = Vec::new();
            fields.for_each(&mut |path| {
                count += 1;
                if count <= MOST_CAUSES {
                    paths.push(short(fields_v1::path_text(path), LONGEST));
                }
            });
            causes.extend(paths.iter().map(|path| Cause {
                reason: Some(CauseReason::FieldManagerConflict),
                message: format!("conflict with {manager}"),
                field: path.clone(),
            }));
            groups.push((manager, paths));
        }
        let message = match (groups.as_slice(), causes.as_slice()) {
            ([(manager, _)], [only]) => format!(
                "Apply failed with 1 conflict: conflict with {manager}: {}",
                only.field
            ),
            _ => {
                groups.sort();
                let lines: Vec<String> = groups
                    .iter()
                    .map(|(manager, paths)| {
                        let paths = paths.iter().map(|path| format!("\n- {path}"));
                        format!("conflicts with {manager}:{}", paths.collect::<String>())
                    })
                    .collect();
                format!("Apply failed with {count} conflicts: {}", lines.join("\n"))
            }
        };
        ApiError::new(Reason::Conflict, message).with_details(Details {
            causes,
            ..Details::default()
        })
    }
}
