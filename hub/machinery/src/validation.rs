//! Names, labels and the rest of the metadata, judged in the words of apimachinery's validation.

mod field_path;
mod meta;
mod meta_update;
mod name;
mod syntax;

#[cfg(test)]
mod tests;

pub use field_path::FieldPath;
pub(crate) use meta::metadata_embedded;
pub use meta::{labels_fit, metadata_create};
pub use meta_update::metadata_update;
pub use name::{NameRule, generate_name};
pub(crate) use syntax::kind_name;
pub use syntax::{dns_label, dns_subdomain, label_value, path_segment, qualified_name};

use crate::{Cause, are_enough};

/// The most bytes that all annotations of an object may take, keys included.
pub const MAX_ANNOTATION_BYTES: usize = 256 * 1024;

/// The same for labels, of kinds whose labels are sent to clusters; see [`labels_fit`].
pub const MAX_LABEL_BYTES: usize = MAX_ANNOTATION_BYTES;

/// Judges a map of labels, as in metadata, selectors and templates.
#[must_use]
pub fn labels<'a>(
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    path: &FieldPath,
) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (key, value) in labels {
        if are_enough(&causes) {
            break;
        }
        causes.extend(
            qualified_name(key)
                .iter()
                .map(|fault| Cause::invalid(path, key, fault)),
        );
        causes.extend(
            label_value(value)
                .iter()
                .map(|fault| Cause::invalid(path.key(key), value, fault)),
        );
    }
    causes
}
