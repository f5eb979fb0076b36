//! What a work is about to apply, written into its record first. Pure.
//!
//! An object may exist only if its record names it, or a crash between the two would leave something behind that nobody
//! knows. UIDs come with the objects and are recorded afterwards; what is only planned is told by its owner reference.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use koinon_api::applied::AppliedManifestResourceMeta as Applied;

/// Texts longer than this are compressed.
const PLAIN: usize = 4 * 1024;

/// Largest text: an object has 256 KiB for all its annotations.
const MOST: usize = 192 * 1024;

/// Largest list that is read back.
const MOST_PLAIN: u64 = 32 * 1024 * 1024;

/// Names an object whatever its version and uid.
pub(super) type Place = (String, String, String, String);

/// Returns where a recorded object is.
pub(super) fn place(object: &Applied) -> Place {
    (
        object.group.clone(),
        object.resource.clone(),
        object.namespace.clone(),
        object.name.clone(),
    )
}

/// Objects by place, with the version that they are applied with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Planned(BTreeMap<Place, String>);

/// The names are too many, or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the names of the work's objects are too long to be recorded together")]
pub(super) struct TooLong;

impl Planned {
    /// Reads what [`Planned::render`] wrote; what makes no sense is left out.
    pub(super) fn parse(text: &str) -> Self {
        let plain = match text.strip_prefix("gz:") {
            Some(coded) => decompress(coded).unwrap_or_default(),
            None => text.to_owned(),
        };
        let read = |object: &str| {
            let mut parts = object.split('/').map(str::to_owned);
            let mut part = || parts.next();
            let (group, version) = (part()?, part()?);
            Some(((group, part()?, part()?, part()?), version))
        };
        Self(plain.split_whitespace().filter_map(read).collect())
    }

    /// The plan as a text.
    ///
    /// # Errors
    /// When it would be too long for a record.
    pub(super) fn render(&self) -> Result<String, TooLong> {
        let text = self
            .0
            .iter()
            .map(|((group, resource, namespace, name), version)| {
                format!("{group}/{version}/{resource}/{namespace}/{name}")
            })
            .collect::<Vec<_>>()
            .join(" ");
        let text = if text.len() > PLAIN {
            format!("gz:{}", compress(&text))
        } else {
            text
        };
        if text.len() > MOST {
            return Err(TooLong);
        }
        Ok(text)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn covers(&self, place: &Place) -> bool {
        self.0.contains_key(place)
    }

    pub(super) fn insert(&mut self, object: &Applied) {
        self.0.insert(place(object), object.version.clone());
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Place) -> bool) {
        self.0.retain(|place, _| keep(place));
    }

    /// The objects, as they would be recorded if their uid were known.
    pub(super) fn iter(&self) -> impl Iterator<Item = Applied> {
        self.0
            .iter()
            .map(|((group, resource, namespace, name), version)| Applied {
                group: group.clone(),
                version: version.clone(),
                resource: resource.clone(),
                namespace: namespace.clone(),
                name: name.clone(),
                uid: String::new(),
            })
    }
}

fn compress(text: &str) -> String {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(text.as_bytes());
    STANDARD.encode(encoder.finish().unwrap_or_default())
}

fn decompress(coded: &str) -> Option<String> {
    let bytes = STANDARD.decode(coded).ok()?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes.as_slice())
        .take(MOST_PLAIN)
        .read_to_string(&mut text)
        .ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(group: &str, namespace: &str, name: &str) -> Applied {
        Applied {
            group: group.into(),
            version: "v1".into(),
            resource: "things".into(),
            namespace: namespace.into(),
            name: name.into(),
            uid: String::new(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn plans_are_read_as_they_were_written(names in prop::collection::vec("[a-z][a-z0-9.:-]{0,40}", 0..400)) {
            let mut planned = Planned::default();
            for (n, name) in names.iter().enumerate() {
                planned.insert(&object(["", "apps"][n % 2], ["", "shop"][n / 2 % 2], name));
            }
            let text = planned.render().unwrap();
            prop_assert_eq!(&Planned::parse(&text), &planned);
            prop_assert!(planned.iter().all(|o| planned.covers(&place(&o))));
        }
    }

    #[test]
    fn ten_thousand_ordinary_names_fit_and_nonsense_is_nothing() {
        let mut planned = Planned::default();
        for n in 0..10_000 {
            planned.insert(&object("", "team-a", &format!("settings-of-tenant-{n:05}")));
        }
        let text = planned.render().unwrap();
        assert!(text.len() < MOST / 2, "{}", text.len());
        assert_eq!(Planned::parse(&text), planned);
        for nonsense in ["", "gz:", "gz:!", "a/b", "gz:AAAA"] {
            assert!(Planned::parse(nonsense).is_empty(), "{nonsense}");
        }
    }
}
