//! Secrets at rest: what is secret in the registry is sealed before it leaves the hub and opened when it comes back.
//!
//! ```text
//!   plain ─► AES-256-GCM by a data key ─► envelope: key id, wrapped data key, nonce, ciphertext ─► Postgres
//!                         ▲
//!              wrapped by the key service (a file's key, a KMS)
//! ```
//!
//! An envelope names the key that opens it, so keys can be changed while the hub runs on. It is bound to the place that it
//! was made for (resource, namespace, name, part): moved to another row it does not open. Whatever does not begin as an
//! envelope is plain; it was written before sealing was on, or is not secret. Sealed are Secrets, works that have a Secret among their
//! manifests, the statuses of all works, and the hub's private keys. The cache and every answer are plain: this is about the
//! database, its backups and its replicas.

mod envelope;
mod file;
mod status;

use std::{collections::HashMap, fmt, sync::Arc};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use zeroize::Zeroizing;

pub use self::file::FileKeys;
use self::{
    envelope::{Envelope, Form},
    status::Derived,
};
use crate::{
    key::{Digest, Key},
    stored::Draft,
};

/// The resource whose objects are sealed, all of them.
const SECRETS: &str = "secrets";
/// The resources whose objects are sealed if a Secret is among their manifests, and whose statuses are in any case.
pub(crate) const WORKS: [&str; 2] = [
    "manifestworks.work.open-cluster-management.io",
    "manifestworkreplicasets.work.open-cluster-management.io",
];
/// How a Secret looks in the JSON text of a body, and in an annotation that repeats one.
pub(crate) const SIGNS: [&[u8]; 2] = [b"Secret\"", b"Secret\\"];
/// Uses of one data key: far below what random nonces of 96 bits allow (2³²).
const MOST_USES: u64 = 1 << 24;
/// Opened data keys that are remembered.
const MOST_OPENED: usize = 4096;

/// A data key.
pub type DataKey = Zeroizing<[u8; 32]>;

/// Why something cannot be sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The envelope names a key that is not at hand.
    #[error(
        "it is sealed with the key {0:?}, which is not in this hub's key file; put it back there, nothing is lost"
    )]
    UnknownKey(String),
    /// Sealed, and the hub has no keys at all.
    #[error(
        "it is sealed, and this hub has no key; give it the key file that sealed it (--secrets-key-file), nothing is lost"
    )]
    NoKeys,
    /// Altered, cut, or put into another place.
    #[error("its seal is broken")]
    Broken,
    /// The key service does not do its work.
    #[error("the key service failed: {0}")]
    Service(String),
}

/// Holds the keys that wrap data keys: a file, or a KMS.
///
/// Called once for each data key, not for each object; answers are remembered. Must not take long: the start of the hub
/// waits for it.
pub trait KeyService: fmt::Debug + Send + Sync + 'static {
    /// The key that wraps now.
    fn current(&self) -> String;

    /// Wraps a data key with the current key; says which that was, for it may change at any time.
    ///
    /// # Errors
    /// When it cannot.
    fn wrap(&self, key: &DataKey) -> Result<(String, Vec<u8>), SealError>;

    /// Opens what was wrapped with the key `id`.
    ///
    /// # Errors
    /// When there is no such key, or it was not wrapped by it.
    fn unwrap(&self, id: &str, wrapped: &[u8]) -> Result<DataKey, SealError>;
}

/// Which part of an object, or which other secret, an envelope is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Metadata,
    Body,
    Status,
    PrivateKey,
}

/// Seals and opens. Cheap to clone; without a key service it lets everything pass as it is.
#[derive(Clone, Debug, Default)]
pub struct Sealer(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    service: Arc<dyn KeyService>,
    data_key: Mutex<Option<Current>>,
    /// The data key that seals statuses, once it is known.
    status_key: RwLock<Option<Arc<Sealing>>>,
    opened: Mutex<HashMap<Vec<u8>, Arc<Opened>>>,
}

#[derive(Debug)]
struct Current {
    sealing: Arc<Sealing>,
    uses: u64,
}

/// A data key, the key that it is wrapped with, and how.
struct Sealing {
    key_id: String,
    wrapped: Vec<u8>,
    opened: Opened,
}

/// A data key, and what is derived from it.
struct Opened {
    key: DataKey,
    derived: Derived,
}

impl Opened {
    fn new(key: DataKey) -> Self {
        let derived = Derived::of(&key);
        Self { key, derived }
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealing")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// The parts of a draft as they are stored, the status apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sealed {
    pub(crate) metadata: Bytes,
    pub(crate) body: Bytes,
    /// What the body is called in the database. It says nothing of the body.
    pub(crate) name: Digest,
    /// Whether the body is stored apart, once for all objects that have it.
    pub(crate) shared: bool,
}

/// Says whether a part of a work may hold a Secret. It may be wrong in saying so, which seals what need not be.
pub(crate) fn may_hold_secret(part: &[u8]) -> bool {
    SIGNS
        .iter()
        .any(|sign| part.windows(sign.len()).any(|found| found == *sign))
}

/// Where a shared body lies.
pub(crate) fn place_of_shared(name: &Digest) -> Key {
    Key::new("bodies", "", name.to_string())
}

impl Sealer {
    /// Seals Secrets, and the hub's private keys, with keys of `service`.
    #[must_use]
    pub fn new(service: Arc<dyn KeyService>) -> Self {
        Self(Some(Arc::new(Inner {
            service,
            data_key: Mutex::default(),
            status_key: RwLock::default(),
            opened: Mutex::default(),
        })))
    }

    /// Whether anything is sealed.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether stored bytes are an envelope.
    pub(crate) fn is_sealed(stored: &[u8]) -> bool {
        Envelope::parse(stored).is_some()
    }

    /// Whether stored bytes are as this sealer would store them now; if not they are to be sealed anew.
    pub(crate) fn is_current(&self, stored: &[u8]) -> bool {
        match (&self.0, Envelope::parse(stored)) {
            (None, _) => true,
            (Some(_), None) => stored.is_empty(),
            // What is damaged stays as it is: it may be mended from a backup.
            (Some(_), Some(Err(_))) => true,
            (Some(inner), Some(Ok(envelope))) => envelope.key_id == inner.service.current(),
        }
    }

    /// The parts of a draft but its status as they are to be stored; `None` when they are stored as they are. Bodies above `share_above` are shared.
    pub(crate) fn seal_draft(
        &self,
        draft: &Draft,
        share_above: usize,
    ) -> Result<Option<Sealed>, SealError> {
        let Some(inner) = &self.0 else {
            return Ok(None);
        };
        let resource = &*draft.key.resource;
        let is_secret = resource == SECRETS;
        let is_work = WORKS.contains(&resource)
            && (may_hold_secret(&draft.body) || may_hold_secret(&draft.metadata));
        if !is_secret && !is_work {
            return Ok(None);
        }
        let seal = |part, plain: &[u8]| inner.seal(&place(&draft.key, part), plain);
        let (name, body, shared) = self.seal_body(&draft.key, &draft.body, share_above)?;
        Ok(Some(Sealed {
            // Annotations repeat what was applied.
            metadata: seal(Part::Metadata, &draft.metadata)?.into(),
            body: body.into(),
            name,
            shared,
        }))
    }

    /// Seals the body of an object: its name in the database, the envelope, and whether it is shared. Secrets share nothing: nobody is to
    /// see that two are alike.
    pub(crate) fn seal_body(
        &self,
        key: &Key,
        plain: &[u8],
        share_above: usize,
    ) -> Result<(Digest, Vec<u8>, bool), SealError> {
        match &self.0 {
            None => Ok((Digest::of(plain), plain.to_vec(), plain.len() > share_above)),
            Some(inner) if &*key.resource == SECRETS || plain.len() <= share_above => {
                let body = inner.seal(&place(key, Part::Body), plain)?;
                Ok((Digest::of(&body), body, false))
            }
            Some(inner) => {
                let (name, body) = inner.seal_shared(plain)?;
                Ok((name, body, true))
            }
        }
    }

    /// Seals a part anew.
    pub(crate) fn seal(&self, key: &Key, part: Part, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        match &self.0 {
            Some(inner) => inner.seal(&place(key, part), plain),
            None => Ok(plain.to_vec()),
        }
    }

    /// Opens a part that may be sealed.
    pub(crate) fn open(&self, key: &Key, part: Part, stored: Bytes) -> Result<Bytes, SealError> {
        let Some(envelope) = Envelope::parse(&stored) else {
            return Ok(stored);
        };
        let inner = self.0.as_ref().ok_or(SealError::NoKeys)?;
        inner.open(&place(key, part), &envelope?).map(Bytes::from)
    }
}

impl Inner {
    fn seal(&self, place: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let sealing = self.data_key()?;
        seal_with(&sealing, place, plain)
    }

    /// Seals a body that many objects have. Who seals it again with the same data key gives it the same name, so it is stored once; to
    /// whoever has no key the name says nothing.
    fn seal_shared(&self, plain: &[u8]) -> Result<(Digest, Vec<u8>), SealError> {
        let sealing = self.data_key()?;
        let names = hmac::Key::new(hmac::HMAC_SHA256, &*sealing.opened.key);
        let names = hmac::sign(&names, b"names of shared bodies");
        let names = hmac::Key::new(hmac::HMAC_SHA256, names.as_ref());
        let name = hmac::sign(&names, plain);
        let name = <[u8; 32]>::try_from(name.as_ref()).map_err(|_| SealError::Broken)?;
        let name = Digest(name);
        let place = place(&place_of_shared(&name), Part::Body);
        Ok((name, seal_with(&sealing, &place, plain)?))
    }

    fn open(&self, place: &[u8], envelope: &Envelope<'_>) -> Result<Vec<u8>, SealError> {
        let opened = self.opened(envelope)?;
        let cipher = match envelope.form {
            Form::Random => cipher(&opened.key)?,
            Form::Derived => cipher(&opened.derived.key_of(place))?,
        };
        let mut text = envelope.text.to_vec();
        let length = cipher
            .open_in_place(
                Nonce::assume_unique_for_key(envelope.nonce),
                Aad::from(place),
                &mut text,
            )
            .map_err(|_| SealError::Broken)?
            .len();
        text.truncate(length);
        Ok(text)
    }

    /// The data key that seals now; a new one after many uses, when the wrapping key has changed, and in every process.
    fn data_key(&self) -> Result<Arc<Sealing>, SealError> {
        let mut current = self.data_key.lock();
        let wrapping = self.service.current();
        let usable =
            |current: &&mut Current| current.uses < MOST_USES && current.sealing.key_id == wrapping;
        if let Some(current) = current.as_mut().filter(usable) {
            current.uses += 1;
            return Ok(current.sealing.clone());
        }
        let mut key = DataKey::default();
        fill(&mut *key)?;
        let (key_id, wrapped) = self.service.wrap(&key)?;
        let sealing = Arc::new(Sealing {
            key_id,
            wrapped,
            opened: Opened::new(key),
        });
        *current = Some(Current {
            sealing: sealing.clone(),
            uses: 1,
        });
        Ok(sealing)
    }

    fn opened(&self, envelope: &Envelope<'_>) -> Result<Arc<Opened>, SealError> {
        // Under the id as well: what names another key was tampered with, and would not open after a restart.
        let known = [envelope.key_id.as_bytes(), b"\0", envelope.wrapped].concat();
        if let Some(key) = self.opened.lock().get(&known) {
            return Ok(key.clone());
        }
        let key = self.service.unwrap(envelope.key_id, envelope.wrapped)?;
        let key = Arc::new(Opened::new(key));
        let mut opened = self.opened.lock();
        if opened.len() >= MOST_OPENED {
            opened.clear();
        }
        opened.insert(known, key.clone());
        Ok(key)
    }
}

fn seal_with(sealing: &Sealing, place: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE_LEN];
    fill(&mut nonce)?;
    let mut text = plain.to_vec();
    cipher(&sealing.opened.key)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(place),
            &mut text,
        )
        .map_err(|_| SealError::Broken)?;
    let envelope = Envelope {
        form: Form::Random,
        key_id: &sealing.key_id,
        wrapped: &sealing.wrapped,
        nonce,
        text: &text,
    };
    Ok(envelope.to_bytes())
}

/// What an envelope is bound to. Resources and names hold no NUL.
fn place(key: &Key, part: Part) -> Vec<u8> {
    let part: &str = match part {
        Part::Metadata => "metadata",
        Part::Body => "body",
        Part::Status => "status",
        Part::PrivateKey => "private-key",
    };
    [&*key.resource, &*key.namespace, &*key.name, part]
        .join("\0")
        .into_bytes()
}

fn cipher(key: &DataKey) -> Result<LessSafeKey, SealError> {
    let key = UnboundKey::new(&AES_256_GCM, &**key).map_err(|_| SealError::Broken)?;
    Ok(LessSafeKey::new(key))
}

fn fill(bytes: &mut [u8]) -> Result<(), SealError> {
    SystemRandom::new()
        .fill(bytes)
        .map_err(|_| SealError::Service("the system gives no random numbers".to_owned()))
}

#[cfg(test)]
mod tests;
