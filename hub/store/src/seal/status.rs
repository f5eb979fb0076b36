//! Statuses: the same status of the same object is sealed to the same bytes, by all replicas, for the database compares them to find that
//! nothing has changed.
//!
//! ```text
//!   data key, one for all replicas ─┬─ HMAC(place) ───────► key of the place ─┐
//!                                   └─ HMAC(place, text) ─► nonce ────────────┴─► AES-256-GCM
//! ```
//!
//! A nonce comes again only with the text that it was made of, as in a synthetic IV (RFC 5297). Each object has a key of its own, so that
//! no key seals nearly as many statuses as 96 bits of nonce allow (2³²). What shows is when an object has a status that it had before.

use aws_lc_rs::{
    aead::{Aad, NONCE_LEN, Nonce},
    hmac,
};
use bytes::Bytes;

use super::{
    DataKey, Inner, Opened, Part, SECRETS, SealError, Sealer, Sealing, WORKS, cipher,
    envelope::{Envelope, Form, beginning},
    fill, place,
};
use crate::key::Key;

/// What is derived from a data key to seal statuses.
pub(super) struct Derived {
    places: hmac::Key,
    nonces: hmac::Key,
}

impl Derived {
    pub(super) fn of(key: &DataKey) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, &**key);
        let derived =
            |label: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, label).as_ref());
        Self {
            places: derived(b"keys of places"),
            nonces: derived(b"nonces of statuses"),
        }
    }

    /// The key of one place.
    pub(super) fn key_of(&self, place: &[u8]) -> DataKey {
        let mut key = DataKey::default();
        key.copy_from_slice(hmac::sign(&self.places, place).as_ref());
        key
    }

    fn nonce_of(&self, place: &[u8], plain: &[u8]) -> [u8; NONCE_LEN] {
        let mut context = hmac::Context::with_key(&self.nonces);
        context.update(place);
        // A place has three NULs, so this one ends it.
        context.update(b"\0");
        context.update(plain);
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&context.sign().as_ref()[..NONCE_LEN]);
        nonce
    }
}

impl Sealer {
    /// A status as it is to be stored; `None` when it is stored as it is. That goes by the kind: what a work reports of an object may be
    /// secret whether or not a Secret is among its manifests.
    pub(crate) fn seal_status(&self, key: &Key, plain: &[u8]) -> Result<Option<Bytes>, SealError> {
        let resource = &*key.resource;
        let Some(inner) = &self.0 else {
            return Ok(None);
        };
        if plain.is_empty() || (resource != SECRETS && !WORKS.contains(&resource)) {
            return Ok(None);
        }
        let sealing = inner.status_key()?;
        let place = place(key, Part::Status);
        let nonce = sealing.opened.derived.nonce_of(&place, plain);
        let mut text = plain.to_vec();
        cipher(&sealing.opened.derived.key_of(&place))?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(&place),
                &mut text,
            )
            .map_err(|_| SealError::Broken)?;
        let envelope = Envelope {
            form: Form::Derived,
            key_id: &sealing.key_id,
            wrapped: &sealing.wrapped,
            nonce,
            text: &text,
        };
        Ok(Some(envelope.to_bytes().into()))
    }

    /// How statuses begin that are sealed with the present key.
    pub(crate) fn beginning_of_statuses(&self) -> Option<Vec<u8>> {
        let inner = self.0.as_ref()?;
        Some(beginning(Form::Derived, &inner.service.current()))
    }

    /// The key that wraps now, if there is a key service.
    pub(crate) fn wrapping_key(&self) -> Option<String> {
        self.0.as_ref().map(|inner| inner.service.current())
    }

    /// Makes a data key: the id of the key that wraps it, and how it is wrapped.
    pub(crate) fn wrapped_data_key(&self) -> Result<(String, Vec<u8>), SealError> {
        let inner = self.0.as_ref().ok_or(SealError::NoKeys)?;
        let mut key = DataKey::default();
        fill(&mut *key)?;
        inner.service.wrap(&key)
    }

    /// Seals statuses with this data key from now on, as long as the key that wraps it is the present one.
    pub(crate) fn share_status_key(&self, key_id: &str, wrapped: &[u8]) -> Result<(), SealError> {
        let inner = self.0.as_ref().ok_or(SealError::NoKeys)?;
        let key = inner.service.unwrap(key_id, wrapped)?;
        *inner.status_key.write() = Some(std::sync::Arc::new(Sealing {
            key_id: key_id.to_owned(),
            wrapped: wrapped.to_vec(),
            opened: Opened::new(key),
        }));
        Ok(())
    }
}

impl Inner {
    /// The data key that all replicas seal statuses with. Without one it is this process's: then what another process repeats is written again.
    fn status_key(&self) -> Result<std::sync::Arc<Sealing>, SealError> {
        let shared = self.status_key.read().clone();
        match shared {
            Some(shared) if shared.key_id == self.service.current() => Ok(shared),
            _ => self.data_key(),
        }
    }
}
