//! What a work is about to apply, written into its record first. Pure.
//!
//! An object may exist only if its record names it, or a crash between the two would leave something behind that nobody
//! knows. UIDs come with the objects and are recorded afterwards; what is only planned is told by its owner reference.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    ops::Bound,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use koinon_api::applied::AppliedManifestResourceMeta as Applied;

use crate::cluster::Served;

/// Texts longer than this are compressed.
const PLAIN: usize = 4 * 1024;

/// Largest text: an object has 256 KiB for all its annotations.
const MOST: usize = 192 * 1024;

/// What an entry ends with whose kind has a definition.
const DEFINED: &str = "d";
const MARK: &str = "/d";

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
///
/// Each is one text, `group/resource/namespace/name/version`, with `/d` if its kind has a definition: an agent has as many as it
/// has objects, and seldom reads them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Planned(BTreeSet<Box<str>>);

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
            let mut parts = object.split('/');
            let mut part = || parts.next();
            let (group, version) = (part()?, part()?);
            let (resource, namespace, name) = (part()?, part()?, part()?);
            let entry = [group, resource, namespace, name, version].join("/");
            Some(match part() {
                Some(DEFINED) => (entry + MARK).into(),
                _ => entry.into(),
            })
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
            .map(|entry| {
                let [group, resource, namespace, name, version] = parts(entry);
                let mark = if entry.ends_with(MARK) { MARK } else { "" };
                format!("{group}/{version}/{resource}/{namespace}/{name}{mark}")
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
        self.at(&prefix(place)).is_some()
    }

    /// Why the kind of an object was served when it was planned: what is known of a kind that is not served any more.
    pub(super) fn served(&self, place: &Place) -> Served {
        match self.at(&prefix(place)) {
            Some(entry) if entry.ends_with(MARK) => Served::ByDefinition,
            _ => Served::Otherwise,
        }
    }

    pub(super) fn insert(&mut self, object: &Applied, served: Served) {
        let prefix = prefix(&place(object));
        if let Some(before) = self.at(&prefix).map(str::to_owned) {
            self.0.remove(before.as_str());
        }
        let mark = match served {
            Served::ByDefinition => MARK,
            Served::Otherwise => "",
        };
        self.0.insert((prefix + &object.version + mark).into());
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Place) -> bool) {
        self.0.retain(|entry| {
            let [group, resource, namespace, name, _] = parts(entry).map(str::to_owned);
            keep(&(group, resource, namespace, name))
        });
    }

    /// Where the objects are.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.0.iter().map(|entry| {
            let [group, resource, namespace, name, _] = parts(entry).map(str::to_owned);
            (group, resource, namespace, name)
        })
    }

    /// The objects, as they would be recorded if their uid were known.
    pub(super) fn iter(&self) -> impl Iterator<Item = Applied> {
        self.0.iter().map(|entry| {
            let [group, resource, namespace, name, version] = parts(entry).map(str::to_owned);
            Applied {
                group,
                version,
                resource,
                namespace,
                name,
                uid: String::new(),
            }
        })
    }

    /// The entry that begins with `prefix`.
    fn at(&self, prefix: &str) -> Option<&str> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let next = self.0.range::<str, _>(from).next();
        next.map(Box::as_ref)
            .filter(|entry| entry.starts_with(prefix))
    }
}

/// How the entry of an object begins, whatever its version.
fn prefix((group, resource, namespace, name): &Place) -> String {
    format!("{group}/{resource}/{namespace}/{name}/")
}

fn parts(entry: &str) -> [&str; 5] {
    let mut parts = entry.split('/');
    std::array::from_fn(|_| parts.next().unwrap_or_default())
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
                let served = [Served::Otherwise, Served::ByDefinition][n % 3 % 2];
                planned.insert(&object(["", "apps"][n % 2], ["", "shop"][n / 2 % 2], name), served);
            }
            let text = planned.render().unwrap();
            prop_assert_eq!(&Planned::parse(&text), &planned);
            prop_assert!(planned.iter().all(|o| planned.covers(&place(&o))));
        }
    }

    #[test]
    fn an_object_is_planned_once_whatever_its_version() {
        let mut planned = Planned::default();
        let by = Served::Otherwise;
        planned.insert(&object("apps", "shop", "web"), by);
        planned.insert(&object("apps", "shop", "web-2"), by);
        let newer = Applied {
            version: "v2".into(),
            ..object("apps", "shop", "web")
        };
        let at = place(&newer);
        assert_eq!(planned.served(&at), by);
        planned.insert(&newer, Served::ByDefinition);
        assert_eq!(planned.served(&at), Served::ByDefinition);
        let all: Vec<_> = planned.iter().map(|o| (o.name, o.version)).collect();
        let expected = [("web-2", "v1"), ("web", "v2")].map(|(n, v)| (n.into(), v.into()));
        assert_eq!(all, expected);
        planned.retain(|place| place.3 != "web");
        assert!(!planned.covers(&place(&object("apps", "shop", "web"))));
        assert!(planned.covers(&place(&object("apps", "shop", "web-2"))));
    }

    #[test]
    fn ten_thousand_ordinary_names_fit_and_nonsense_is_nothing() {
        let mut planned = Planned::default();
        for n in 0..10_000 {
            let object = object("", "team-a", &format!("settings-of-tenant-{n:05}"));
            planned.insert(&object, Served::Otherwise);
        }
        let text = planned.render().unwrap();
        assert!(text.len() < MOST / 2, "{}", text.len());
        assert_eq!(Planned::parse(&text), planned);
        for nonsense in ["", "gz:", "gz:!", "a/b", "gz:AAAA"] {
            assert!(Planned::parse(nonsense).is_empty(), "{nonsense}");
        }
    }
}
