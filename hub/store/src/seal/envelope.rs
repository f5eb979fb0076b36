//! The bytes of an envelope: mark, key id, wrapped data key, nonce, ciphertext with its tag.

use aws_lc_rs::aead::NONCE_LEN;

use super::SealError;

/// Which key of a data key seals. No JSON and no PKCS#8 begins like a mark. Queries and an index look for marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The data key itself, with a random nonce.
    Random,
    /// One derived for the place, with a nonce that the text makes.
    Derived,
}

impl Form {
    const ALL: [Self; 2] = [Self::Random, Self::Derived];

    const fn mark(self) -> &'static [u8] {
        match self {
            Self::Random => b"\0koinon-seal-1\0",
            Self::Derived => b"\0koinon-seal-2\0",
        }
    }
}

/// A sealed text, in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    pub(super) form: Form,
    pub(super) key_id: &'a str,
    pub(super) wrapped: &'a [u8],
    pub(super) nonce: [u8; NONCE_LEN],
    pub(super) text: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Reads one; `None` for what is not marked as one, `Broken` for one that is cut.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Result<Self, SealError>> {
        Form::ALL.into_iter().find_map(|form| {
            let rest = bytes.strip_prefix(form.mark())?;
            Some(Self::parts(form, rest).ok_or(SealError::Broken))
        })
    }

    fn parts(form: Form, rest: &'a [u8]) -> Option<Self> {
        let (key_id, rest) = piece(rest)?;
        let (wrapped, rest) = piece(rest)?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN)?;
        Some(Self {
            form,
            key_id: std::str::from_utf8(key_id).ok()?,
            wrapped,
            nonce: nonce.try_into().ok()?,
            text,
        })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = beginning(self.form, self.key_id);
        bytes.reserve(2 + self.wrapped.len() + NONCE_LEN + self.text.len());
        put(&mut bytes, self.wrapped);
        bytes.extend_from_slice(&self.nonce);
        bytes.extend_from_slice(self.text);
        bytes
    }
}

/// How all envelopes begin that a key wraps.
pub(super) fn beginning(form: Form, key_id: &str) -> Vec<u8> {
    let mut bytes = form.mark().to_vec();
    put(&mut bytes, key_id.as_bytes());
    bytes
}

fn put(bytes: &mut Vec<u8>, piece: &[u8]) {
    let length = u16::try_from(piece.len()).expect("key ids and wrapped keys are short");
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(piece);
}

fn piece(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}
