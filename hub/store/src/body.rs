//! Bodies as they are stored, and the digests that the hub and its agents know them by.
//!
//! A digest is of the plain body. In the database it stands beside a body in the clear only: of one that is sealed it would say too much,
//! where the body can be guessed. What is sealed has a name of its own there, and its digest is known when it has been opened.

use std::collections::HashMap;

use bytes::Bytes;
use sqlx::PgConnection;

use crate::{
    key::{Digest, Key},
    seal::{Part, SealError, Sealer, place_of_shared},
};

/// Bodies fetched at once: one of them can be many megabytes.
const PIECE: usize = 16;

/// A body in the clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    pub(crate) digest: Digest,
}

/// Shared bodies by what they are called in the database.
pub(crate) type Bodies = HashMap<Digest, Result<Body, SealError>>;

impl Body {
    /// Opens the body of one object.
    pub(crate) fn inline(
        sealer: &Sealer,
        key: &Key,
        stored: Bytes,
        name: Digest,
    ) -> Result<Self, SealError> {
        let was_sealed = Sealer::is_sealed(&stored);
        let bytes = sealer.open(key, Part::Body, stored)?;
        let digest = if was_sealed { Digest::of(&bytes) } else { name };
        Ok(Self { bytes, digest })
    }
}

/// Adds the bodies with these names to `into`, opened.
pub(crate) async fn fetch(
    connection: &mut PgConnection,
    sealer: &Sealer,
    names: &[Digest],
    into: &mut Bodies,
) -> sqlx::Result<()> {
    for names in names.chunks(PIECE) {
        let names: Vec<&[u8]> = names.iter().map(|name| &name.0[..]).collect();
        let rows = sqlx::query!(
            "select digest, content from bodies where digest = any($1)",
            &names as &[&[u8]]
        )
        .fetch_all(&mut *connection)
        .await?;
        for row in rows {
            if let Ok(name) = row.digest.try_into().map(Digest) {
                let place = place_of_shared(&name);
                into.insert(name, Body::inline(sealer, &place, row.content.into(), name));
            }
        }
    }
    Ok(())
}
