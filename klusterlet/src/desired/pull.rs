//! Puts the chunks of pulled bodies together and checks them.

use std::collections::BTreeMap;

use koinon_proto::v1::PullChunk;
use sha2::{Digest as _, Sha256};

use super::MAX_BODY;

/// A body that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pulled {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) digest: Vec<u8>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

/// Why a pull is given up.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("the body of work {0:?} does not have the digest it was announced with")]
    Digest(String),
    #[error("the body of work {0:?} is too large")]
    TooLarge(String),
    #[error("chunks of different works are mixed")]
    Mixed,
}

/// Assembles one stream; chunks of one work follow each other. A body that is refused does not spoil those after it.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    current: Option<Pulled>,
    /// A body that was given up, and whose chunks are still coming: name and digest.
    skipped: Option<(String, Vec<u8>)>,
}

impl Assembly {
    /// Adds a chunk; returns the body that it completed. A body that the hub no longer has is left out.
    pub(super) fn add(&mut self, chunk: PullChunk) -> Result<Option<Pulled>, Error> {
        if let Some((name, digest)) = &self.skipped
            && (name, digest.as_slice()) == (&chunk.name, &*chunk.digest)
        {
            if chunk.last {
                self.skipped = None;
            }
            return Ok(None);
        }
        if chunk.gone {
            self.current = None;
            return Ok(None);
        }
        let current = match &mut self.current {
            Some(current)
                if (&current.name, &current.uid, current.digest.as_slice())
                    != (&chunk.name, &chunk.uid, &*chunk.digest) =>
            {
                return Err(Error::Mixed);
            }
            Some(current) => current,
            None => self.current.insert(Pulled {
                name: chunk.name.clone(),
                uid: chunk.uid.clone(),
                digest: chunk.digest.to_vec(),
                labels: chunk.labels,
                body: Vec::new(),
            }),
        };
        if current.body.len() + chunk.data.len() > MAX_BODY {
            self.current = None;
            self.skipped = (!chunk.last).then(|| (chunk.name.clone(), chunk.digest.to_vec()));
            return Err(Error::TooLarge(chunk.name));
        }
        current.body.extend_from_slice(&chunk.data);
        if !chunk.last {
            return Ok(None);
        }
        let Some(done) = self.current.take() else {
            return Ok(None);
        };
        if Sha256::digest(&done.body).as_slice() != done.digest {
            return Err(Error::Digest(done.name));
        }
        Ok(Some(done))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunks(name: &str, body: &[u8], size: usize) -> Vec<PullChunk> {
        let digest: Vec<u8> = Sha256::digest(body).to_vec();
        let pieces: Vec<&[u8]> = if body.is_empty() {
            vec![&[]]
        } else {
            body.chunks(size).collect()
        };
        let count = pieces.len();
        pieces
            .into_iter()
            .enumerate()
            .map(|(n, data)| PullChunk {
                name: name.into(),
                uid: "u".into(),
                digest: digest.clone().into(),
                data: data.to_vec().into(),
                last: n + 1 == count,
                ..Default::default()
            })
            .collect()
    }

    #[test]
    fn a_damaged_body_is_refused() {
        let mut chunks = chunks("a", b"hello", 2);
        chunks[1].data = b"xx".as_slice().into();
        let mut assembly = Assembly::default();
        let outcomes: Vec<_> = chunks.into_iter().map(|c| assembly.add(c)).collect();
        assert_eq!(outcomes.last().unwrap(), &Err(Error::Digest("a".into())));
        let next = self::chunks("b", b"hello", 9).remove(0);
        assert!(assembly.add(next).unwrap().is_some());
    }

    #[test]
    fn a_work_that_is_gone_leaves_the_others_alone() {
        let mut assembly = Assembly::default();
        assert_eq!(
            assembly.add(PullChunk {
                name: "a".into(),
                gone: true,
                last: true,
                ..Default::default()
            }),
            Ok(None)
        );
        let last = chunks("b", b"hello", 9).pop().unwrap();
        assert_eq!(assembly.add(last).unwrap().unwrap().body, b"hello");
    }

    #[test]
    fn mixed_chunks_are_refused() {
        let mut assembly = Assembly::default();
        assembly.add(chunks("a", b"hello", 2).remove(0)).unwrap();
        assert_eq!(
            assembly.add(chunks("b", b"hello", 2).remove(0)),
            Err(Error::Mixed)
        );
    }

    proptest! {
        #[test]
        fn bodies_arrive_whole_whatever_the_chunks(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..5), size in 1_usize..50) {
            let mut assembly = Assembly::default();
            let mut arrived = Vec::new();
            for (n, body) in bodies.iter().enumerate() {
                for chunk in chunks(&n.to_string(), body, size) {
                    arrived.extend(assembly.add(chunk).unwrap());
                }
            }
            prop_assert_eq!(arrived.into_iter().map(|p| p.body).collect::<Vec<_>>(), bodies);
        }
    }
}
