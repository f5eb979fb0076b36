//! Keys in a file: one a line, `<id> <base64 of 32 bytes>`; the first wraps, all open.

use std::fmt;

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{DataKey, KeyService, SealError, cipher, fill};

/// Longest id of a key.
const MOST_ID: usize = 64;

/// The keys of a file.
pub struct FileKeys {
    keys: Vec<(String, DataKey)>,
}

impl fmt::Debug for FileKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<&str> = self.keys.iter().map(|(id, _)| id.as_str()).collect();
        f.debug_struct("FileKeys")
            .field("ids", &ids)
            .finish_non_exhaustive()
    }
}

impl FileKeys {
    /// Reads the text of a key file.
    ///
    /// # Errors
    /// What is wrong with it, without repeating any of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut keys: Vec<(String, DataKey)> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: &str| format!("line {}: {why}", number + 1);
            let (id, key) = line
                .split_once(char::is_whitespace)
                .ok_or_else(|| wrong("want an id and a key"))?;
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if id.is_empty() || id.len() > MOST_ID || !id.chars().all(plain) {
                return Err(wrong("an id has letters, digits, `-`, `_` and `.`"));
            }
            if keys.iter().any(|(known, _)| known == id) {
                return Err(wrong("the id is there twice"));
            }
            let bytes = zeroize::Zeroizing::new(
                STANDARD
                    .decode(key.trim())
                    .map_err(|_| wrong("the key is not base64"))?,
            );
            let mut key = DataKey::default();
            if bytes.len() != key.len() {
                return Err(wrong("the key does not have 32 bytes"));
            }
            key.copy_from_slice(&bytes);
            keys.push((id.to_owned(), key));
        }
        if keys.is_empty() {
            return Err("there is no key in it".to_owned());
        }
        Ok(Self { keys })
    }

    /// The text of a new key file.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn generate() -> Result<String, SealError> {
        let mut key = DataKey::default();
        fill(&mut *key)?;
        let mut id = [0; 4];
        fill(&mut id)?;
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!(
            "# Opens what is secret in Koinon's registry. Keep it apart from the database's backups, and do not lose it.\n\
             key-{id} {}\n",
            STANDARD.encode(*key)
        ))
    }
}

impl KeyService for FileKeys {
    fn current(&self) -> String {
        self.keys[0].0.clone()
    }

    fn wrap(&self, key: &DataKey) -> Result<(String, Vec<u8>), SealError> {
        let (id, wrapping) = &self.keys[0];
        let mut nonce = [0; NONCE_LEN];
        fill(&mut nonce)?;
        let mut text = key.to_vec();
        let sealed = cipher(wrapping)?.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(id.as_bytes()),
            &mut text,
        );
        sealed.map_err(|_| SealError::Broken)?;
        Ok((id.clone(), [&nonce[..], &text].concat()))
    }

    fn unwrap(&self, id: &str, wrapped: &[u8]) -> Result<DataKey, SealError> {
        let (_, wrapping) = self
            .keys
            .iter()
            .find(|(known, _)| known == id)
            .ok_or_else(|| SealError::UnknownKey(id.to_owned()))?;
        let (nonce, text) = wrapped
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(SealError::Broken)?;
        let mut text = zeroize::Zeroizing::new(text.to_vec());
        let opened = cipher(wrapping)?
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(id.as_bytes()),
                &mut text,
            )
            .map_err(|_| SealError::Broken)?;
        let mut key = DataKey::default();
        if opened.len() != key.len() {
            return Err(SealError::Broken);
        }
        key.copy_from_slice(opened);
        Ok(key)
    }
}
