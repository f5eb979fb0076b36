use std::sync::Arc;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::key::Key;

const ONE: &str = "one AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
const TWO: &str = "two AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";

const SHARE: usize = 2048;

fn sealer(keys: &str) -> Sealer {
    Sealer::new(Arc::new(FileKeys::parse(keys).unwrap()))
}

fn key(name: &str) -> Key {
    Key::new("secrets", "ns", name)
}

fn draft(resource: &str) -> Draft {
    Draft {
        key: Key::new(resource, "ns", "a"),
        uid: Uuid::nil(),
        generation: 0,
        labels: Arc::default(),
        metadata: Bytes::from_static(br#"{"annotations":{"last":"hunter2"}}"#),
        body: Bytes::from_static(br#"{"data":{"p":"hunter2"}}"#),
        status: Bytes::new(),
    }
}

#[test]
fn only_what_is_secret_is_sealed_and_nothing_of_it_shows() {
    let sealer = sealer(ONE);
    assert_eq!(
        sealer.seal_draft(&draft("configmaps"), SHARE).unwrap(),
        None
    );
    let sealed = sealer
        .seal_draft(&draft("secrets"), SHARE)
        .unwrap()
        .unwrap();
    for part in [&sealed.metadata, &sealed.body] {
        assert!(!String::from_utf8_lossy(part).contains("hunter2"));
    }
    let opened = sealer.open(&key("a"), Part::Body, sealed.body).unwrap();
    assert_eq!(opened, draft("secrets").body);
}

#[test]
fn an_envelope_opens_in_its_place_only() {
    let sealer = sealer(ONE);
    let sealed = Bytes::from(sealer.seal(&key("a"), Part::Body, b"{}").unwrap());
    let open = |key: &Key, part| sealer.open(key, part, sealed.clone());
    assert!(open(&key("a"), Part::Body).is_ok());
    assert_eq!(open(&key("b"), Part::Body), Err(SealError::Broken));
    assert_eq!(open(&key("a"), Part::Metadata), Err(SealError::Broken));
}

#[test]
fn keys_are_changed_while_old_ones_still_open() {
    let old = sealer(ONE);
    let sealed = Bytes::from(old.seal(&key("a"), Part::Body, b"{}").unwrap());
    let both = sealer(&format!("{TWO}{ONE}"));
    assert_eq!(
        both.open(&key("a"), Part::Body, sealed.clone()).unwrap(),
        &b"{}"[..]
    );
    assert!(old.is_current(&sealed) && !both.is_current(&sealed) && !both.is_current(b"{}"));
    let renewed = Bytes::from(both.seal(&key("a"), Part::Body, b"{}").unwrap());
    assert!(both.is_current(&renewed));
    let new = sealer(TWO);
    assert_eq!(
        new.open(&key("a"), Part::Body, renewed).unwrap(),
        &b"{}"[..]
    );
    assert_eq!(
        new.open(&key("a"), Part::Body, sealed.clone()),
        Err(SealError::UnknownKey("one".to_owned()))
    );
    assert_eq!(
        Sealer::default().open(&key("a"), Part::Body, sealed),
        Err(SealError::NoKeys)
    );
}

/// A key service that changes its key while the hub runs.
#[derive(Debug)]
struct Rotating(FileKeys, FileKeys, std::sync::atomic::AtomicBool);

impl Rotating {
    fn now(&self) -> &FileKeys {
        let turned = self.2.load(std::sync::atomic::Ordering::Relaxed);
        if turned { &self.1 } else { &self.0 }
    }
}

impl KeyService for Rotating {
    fn current(&self) -> String {
        self.now().current()
    }

    fn wrap(&self, key: &DataKey) -> Result<(String, Vec<u8>), SealError> {
        self.now().wrap(key)
    }

    fn unwrap(&self, id: &str, wrapped: &[u8]) -> Result<DataKey, SealError> {
        self.1.unwrap(id, wrapped)
    }
}

#[test]
fn a_key_that_changes_meanwhile_is_the_one_that_the_envelope_names() {
    let both = format!("{TWO}{ONE}");
    let keys = |text: &str| FileKeys::parse(text).unwrap();
    let service = Arc::new(Rotating(keys(ONE), keys(&both), false.into()));
    let rotating = Sealer::new(service.clone());
    let before = Bytes::from(rotating.seal(&key("a"), Part::Body, b"1").unwrap());
    service.2.store(true, std::sync::atomic::Ordering::Relaxed);
    let after = Bytes::from(rotating.seal(&key("a"), Part::Body, b"2").unwrap());
    assert!(!rotating.is_current(&before) && rotating.is_current(&after));
    // As another process opens them, with nothing remembered.
    assert_eq!(
        sealer(ONE).open(&key("a"), Part::Body, before).unwrap(),
        &b"1"[..]
    );
    assert_eq!(
        sealer(TWO).open(&key("a"), Part::Body, after).unwrap(),
        &b"2"[..]
    );
}

#[test]
fn a_cut_envelope_is_broken_and_not_taken_for_a_plain_text() {
    let sealer = sealer(ONE);
    let sealed = Bytes::from(sealer.seal(&key("a"), Part::Body, b"{}").unwrap());
    let mark = b"\0koinon-seal-1\0".len();
    for length in mark..sealed.len() {
        let cut = sealed.slice(..length);
        assert_eq!(
            sealer.open(&key("a"), Part::Body, cut.clone()),
            Err(SealError::Broken),
            "{length}"
        );
    }
    assert!(sealer.is_current(&sealed.slice(..mark)), "and it stays so");
}

#[test]
fn a_key_file_says_what_is_wrong_without_the_key() {
    let made = FileKeys::generate().unwrap();
    assert!(FileKeys::parse(&made).is_ok());
    for bad in [
        "",
        "# none\n",
        "one",
        "one c2hvcnQ=",
        "one !!!!",
        "a b c",
        &format!("{ONE}{ONE}"),
    ] {
        let why = FileKeys::parse(bad).unwrap_err();
        assert!(!why.contains("c2hvcnQ"), "{why}");
    }
    assert!(!format!("{:?}", FileKeys::parse(&made).unwrap()).contains("="));
}

proptest! {
    /// Whatever is done to an envelope, it opens to what was sealed or not at all.
    #[test]
    fn a_changed_envelope_does_not_open(
        plain in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let sealer = sealer(ONE);
        let sealed = sealer.seal(&key("a"), Part::Body, &plain).unwrap();
        let opened = sealer.open(&key("a"), Part::Body, Bytes::from(sealed.clone())).unwrap();
        prop_assert_eq!(&opened[..], &plain[..]);
        let mut changed = sealed;
        let at = at.index(changed.len());
        changed[at] ^= flip;
        let spoiled = Bytes::from(changed.clone());
        if let Ok(bytes) = sealer.open(&key("a"), Part::Body, spoiled) {
            // The mark is gone: those are other bytes, which nobody takes for an object.
            prop_assert_eq!(&bytes[..], &changed[..]);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let marked = [&b"\0koinon-seal-1\0"[..], &bytes].concat();
        let _ = sealer(ONE).open(&key("a"), Part::Body, Bytes::from(marked));
        let _ = FileKeys::parse(&String::from_utf8_lossy(&bytes));
    }
}

fn work(resource: &str, body: &str, metadata: &str) -> Draft {
    Draft {
        key: Key::new(resource, "east", "w"),
        metadata: Bytes::copy_from_slice(metadata.as_bytes()),
        body: Bytes::copy_from_slice(body.as_bytes()),
        status: Bytes::from_static(br#"{"conditions":[]}"#),
        ..draft(resource)
    }
}

#[test]
fn works_are_sealed_if_a_secret_is_among_their_manifests() {
    let sealer = sealer(ONE);
    let secret =
        r#"{"spec":{"workload":{"manifests":[{"data":{"p":"hunter2"},"kind":"Secret"}]}}}"#;
    let plain = r#"{"spec":{"workload":{"manifests":[{"data":{"p":"x"},"kind":"ConfigMap"}]}}}"#;
    let applied =
        r#"{"annotations":{"last":"{\"data\":{\"p\":\"hunter2\"},\"kind\":\"Secret\"}"}}"#;
    for (resource, body, metadata, sealed) in [
        (WORKS[0], secret, "{}", true),
        (WORKS[1], secret, "{}", true),
        (WORKS[0], plain, "{}", false),
        // What was there before is repeated.
        (WORKS[0], plain, applied, true),
        (
            "placements.cluster.open-cluster-management.io",
            secret,
            "{}",
            false,
        ),
    ] {
        let found = sealer
            .seal_draft(&work(resource, body, metadata), SHARE)
            .unwrap();
        assert_eq!(found.is_some(), sealed, "{resource} {body} {metadata}");
        let Some(found) = found else { continue };
        for part in [&found.metadata, &found.body] {
            assert!(Sealer::is_sealed(part));
            assert!(!String::from_utf8_lossy(part).contains("hunter2"));
        }
        assert!(!found.shared);
    }
    assert!(!may_hold_secret(
        br#"{"kind":"SealedSecrets","x":"Secret s"}"#
    ));
}

#[test]
fn a_shared_body_has_one_name_that_says_nothing_of_it() {
    let large = format!(r#"{{"kind":"Secret","p":"{}"}}"#, "hunter2".repeat(1000));
    let one = sealer(ONE);
    let sealed = |sealer: &Sealer, name: &str| {
        let mut draft = work(WORKS[0], &large, "{}");
        draft.key = Key::new(WORKS[0], "east", name);
        sealer.seal_draft(&draft, SHARE).unwrap().unwrap()
    };
    let (a, b) = (sealed(&one, "a"), sealed(&one, "b"));
    assert!(a.shared && b.shared);
    assert_eq!(a.name, b.name, "it is stored once");
    let plain = Digest::of(large.as_bytes());
    assert_ne!(a.name, plain, "it cannot be guessed at");
    assert_ne!(
        a.name,
        sealed(&sealer(ONE), "a").name,
        "nor by another process"
    );
    // It opens under its name and no other.
    let open = |name: &Digest| one.open(&place_of_shared(name), Part::Body, b.body.clone());
    assert_eq!(open(&a.name).unwrap(), large);
    assert_eq!(open(&plain), Err(SealError::Broken));
    // Two Secrets that are alike do not show it.
    let secret = |name: &str| {
        let mut draft = work("secrets", &large, "{}");
        draft.key = key(name);
        one.seal_draft(&draft, SHARE).unwrap().unwrap()
    };
    let (a, b) = (secret("a"), secret("b"));
    assert!(!a.shared && a.name != b.name);
}

/// Two replicas that agree on a data key for statuses.
fn replicas(keys: &str) -> [Sealer; 2] {
    let made = sealer(keys).wrapped_data_key().unwrap();
    [sealer(keys), sealer(keys)].map(|sealer| {
        sealer.share_status_key(&made.0, &made.1).unwrap();
        sealer
    })
}

fn status_key(name: &str) -> Key {
    Key::new(WORKS[0], "east", name)
}

#[test]
fn a_status_is_the_same_bytes_whoever_seals_it_and_nobody_elses() {
    let [one, two] = replicas(ONE);
    let plain = br#"{"said":"hunter2"}"#;
    let sealed = |sealer: &Sealer, name: &str, plain: &[u8]| {
        sealer
            .seal_status(&status_key(name), plain)
            .unwrap()
            .unwrap()
    };
    let a = sealed(&one, "a", plain);
    assert_eq!(
        a,
        sealed(&two, "a", plain),
        "the database sees that nothing has changed"
    );
    assert!(!String::from_utf8_lossy(&a).contains("hunter2"));
    assert!(a.starts_with(&one.beginning_of_statuses().unwrap()));
    let open =
        |sealer: &Sealer, name: &str| sealer.open(&status_key(name), Part::Status, a.clone());
    // Also who has not heard of the shared data key: the envelope brings it.
    for sealer in [&one, &two, &sealer(ONE)] {
        assert_eq!(open(sealer, "a").unwrap(), &plain[..]);
    }
    // Alike statuses of two objects do not show, and one does not open as the other's.
    let b = sealed(&one, "b", plain);
    let end = |envelope: &Bytes| envelope[envelope.len() - plain.len() - 16 - 12..].to_vec();
    assert_ne!(end(&a), end(&b));
    assert_ne!(end(&a)[..12], end(&b)[..12], "nor do their nonces");
    assert_eq!(open(&one, "b"), Err(SealError::Broken));
    assert_eq!(
        one.open(&status_key("a"), Part::Body, a.clone()),
        Err(SealError::Broken)
    );
    // Another text has another nonce under the same key.
    let other = sealed(&one, "a", br#"{"said":"hunter3"}"#);
    assert_ne!(end(&a)[..12], end(&other)[..12]);
}

#[test]
fn statuses_of_works_are_sealed_whatever_is_in_them_and_no_others() {
    let [sealer, _] = replicas(ONE);
    let seal = |resource: &str, plain: &[u8]| {
        let key = Key::new(resource, "east", "w");
        sealer.seal_status(&key, plain).unwrap().is_some()
    };
    for resource in [WORKS[0], WORKS[1], SECRETS] {
        assert!(seal(resource, b"{}"), "{resource}");
        assert!(!seal(resource, b""), "there is nothing to seal");
    }
    assert!(!seal(
        "managedclusters.cluster.open-cluster-management.io",
        b"{}"
    ));
    let off = Sealer::default();
    assert_eq!(off.seal_status(&status_key("a"), b"{}"), Ok(None));
}

/// The data key of statuses goes with the key that wraps it.
#[test]
fn statuses_follow_the_key_that_wraps_now() {
    let [old, _] = replicas(ONE);
    let before = old.seal_status(&status_key("a"), b"1").unwrap().unwrap();
    let both = sealer(&format!("{TWO}{ONE}"));
    let made = old.wrapped_data_key().unwrap();
    // A data key of the old one is of no use to whom wraps with the new one.
    both.share_status_key(&made.0, &made.1).unwrap();
    let after = both.seal_status(&status_key("a"), b"1").unwrap().unwrap();
    assert!(!both.is_current(&before) && both.is_current(&after));
    assert_eq!(
        both.open(&status_key("a"), Part::Status, before.clone())
            .unwrap(),
        &b"1"[..]
    );
    let new = sealer(TWO);
    assert_eq!(
        new.open(&status_key("a"), Part::Status, after).unwrap(),
        &b"1"[..]
    );
    assert_eq!(
        new.open(&status_key("a"), Part::Status, before),
        Err(SealError::UnknownKey("one".to_owned()))
    );
    // What the database says is the data key may be anything.
    for wrong in [&b""[..], b"short", &[0; 60]] {
        assert_eq!(new.share_status_key("two", wrong), Err(SealError::Broken));
    }
    assert!(new.seal_status(&status_key("a"), b"1").unwrap().is_some());
}

proptest! {
    #[test]
    fn a_changed_status_does_not_open(
        plain in prop::collection::vec(any::<u8>(), 1..200),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let [sealer, _] = replicas(ONE);
        let sealed = sealer.seal_status(&status_key("a"), &plain).unwrap().unwrap();
        let opened = sealer.open(&status_key("a"), Part::Status, sealed.clone()).unwrap();
        prop_assert_eq!(&opened[..], &plain[..]);
        let mut changed = sealed.to_vec();
        let at = at.index(changed.len());
        changed[at] ^= flip;
        if let Ok(bytes) = sealer.open(&status_key("a"), Part::Status, Bytes::from(changed.clone())) {
            prop_assert_eq!(&bytes[..], &changed[..], "the mark is gone");
        }
    }
}
