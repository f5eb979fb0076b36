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
//! envelope is plain; it was written before sealing was on. The cache and every answer are plain: this is about the
//! database, its backups and its replicas.

mod envelope;
mod file;

use std::{collections::HashMap, fmt, sync::Arc};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom as _, SystemRandom},
};
use bytes::Bytes;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use self::envelope::Envelope;
pub use self::file::FileKeys;
use crate::{key::Key, stored::Draft};

/// The resource whose objects are sealed. What else is sealed are the hub's private keys.
pub(crate) const SEALED: &str = "secrets";
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
    opened: Mutex<HashMap<Vec<u8>, DataKey>>,
}

#[derive(Debug)]
struct Current {
    /// The key that it is wrapped with.
    key_id: String,
    wrapped: Vec<u8>,
    key: DataKey,
    uses: u64,
}

/// The parts of a draft as they are stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sealed {
    pub(crate) metadata: Bytes,
    pub(crate) body: Bytes,
    pub(crate) status: Bytes,
}

impl Sealer {
    /// Seals Secrets, and the hub's private keys, with keys of `service`.
    #[must_use]
    pub fn new(service: Arc<dyn KeyService>) -> Self {
        Self(Some(Arc::new(Inner {
            service,
            data_key: Mutex::default(),
            opened: Mutex::default(),
        })))
    }

    /// Whether anything is sealed.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
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

    /// The parts of a draft as they are to be stored; `None` when they are stored as they are.
    pub(crate) fn seal_draft(&self, draft: &Draft) -> Result<Option<Sealed>, SealError> {
        let Some(inner) = &self.0 else {
            return Ok(None);
        };
        if &*draft.key.resource != SEALED {
            return Ok(None);
        }
        let seal = |part, plain: &[u8]| inner.seal(&place(&draft.key, part), plain);
        Ok(Some(Sealed {
            // Annotations repeat what was applied.
            metadata: seal(Part::Metadata, &draft.metadata)?.into(),
            body: seal(Part::Body, &draft.body)?.into(),
            status: if draft.status.is_empty() {
                Bytes::new()
            } else {
                seal(Part::Status, &draft.status)?.into()
            },
        }))
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
        let (key_id, wrapped, data_key) = self.data_key()?;
        let mut nonce = [0; NONCE_LEN];
        fill(&mut nonce)?;
        let mut text = plain.to_vec();
        cipher(&data_key)?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place),
                &mut text,
            )
            .map_err(|_| SealError::Broken)?;
        let envelope = Envelope {
            key_id: &key_id,
            wrapped: &wrapped,
            nonce,
            text: &text,
        };
        Ok(envelope.to_bytes())
    }

    fn open(&self, place: &[u8], envelope: &Envelope<'_>) -> Result<Vec<u8>, SealError> {
        let data_key = self.opened(envelope)?;
        let mut text = envelope.text.to_vec();
        let length = cipher(&data_key)?
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

    /// The data key that seals now, what it is wrapped with, and how; a new one after many uses, when the wrapping key has changed, and
    /// in every process.
    fn data_key(&self) -> Result<(String, Vec<u8>, DataKey), SealError> {
        let mut current = self.data_key.lock();
        let wrapping = self.service.current();
        let usable =
            |current: &&mut Current| current.uses < MOST_USES && current.key_id == wrapping;
        if let Some(current) = current.as_mut().filter(usable) {
            current.uses += 1;
            return Ok((
                current.key_id.clone(),
                current.wrapped.clone(),
                current.key.clone(),
            ));
        }
        let mut key = DataKey::default();
        fill(&mut *key)?;
        let (key_id, wrapped) = self.service.wrap(&key)?;
        *current = Some(Current {
            key_id: key_id.clone(),
            wrapped: wrapped.clone(),
            key: key.clone(),
            uses: 1,
        });
        Ok((key_id, wrapped, key))
    }

    fn opened(&self, envelope: &Envelope<'_>) -> Result<DataKey, SealError> {
        // Under the id as well: what names another key was tampered with, and would not open after a restart.
        let known = [envelope.key_id.as_bytes(), b"\0", envelope.wrapped].concat();
        if let Some(key) = self.opened.lock().get(&known) {
            return Ok(key.clone());
        }
        let key = self.service.unwrap(envelope.key_id, envelope.wrapped)?;
        let mut opened = self.opened.lock();
        if opened.len() >= MOST_OPENED {
            opened.clear();
        }
        opened.insert(known, key.clone());
        Ok(key)
    }
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
