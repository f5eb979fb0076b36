//! The bytes of an envelope: mark, key id, wrapped data key, nonce, ciphertext with its tag.

use aws_lc_rs::aead::NONCE_LEN;

use super::SealError;

/// No JSON and no PKCS#8 begins like this. Queries and an index look for it.
const MARK: &[u8] = b"\0koinon-seal-1\0";

/// A sealed text, in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    pub(super) key_id: &'a str,
    pub(super) wrapped: &'a [u8],
    pub(super) nonce: [u8; NONCE_LEN],
    pub(super) text: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Reads one; `None` for what is not marked as one, `Broken` for one that is cut.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Result<Self, SealError>> {
        let rest = bytes.strip_prefix(MARK)?;
        Some(Self::parts(rest).ok_or(SealError::Broken))
    }

    fn parts(rest: &'a [u8]) -> Option<Self> {
        let (key_id, rest) = piece(rest)?;
        let (wrapped, rest) = piece(rest)?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN)?;
        Some(Self {
            key_id: std::str::from_utf8(key_id).ok()?,
            wrapped,
            nonce: nonce.try_into().ok()?,
            text,
        })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MARK.to_vec();
        for piece in [self.key_id.as_bytes(), self.wrapped] {
            let length = u16::try_from(piece.len()).expect("key ids and wrapped keys are short");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(piece);
        }
        bytes.extend_from_slice(&self.nonce);
        bytes.extend_from_slice(self.text);
        bytes
    }
}

fn piece(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}
