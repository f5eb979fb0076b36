//! Which history a revision belongs to (P4).
//!
//! A registry that was restored from a copy makes revisions that were made before, with other content. Every stretch of
//! history that one connection began has a stamp, so a revision together with its stamp names a history, and whoever
//! remembers both can tell whether this registry ever was there. `docs/decisions/0030` has the reasons.

use std::collections::BTreeMap;

use parking_lot::RwLock;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::key::Revision;

/// The stretches of history that this replica has read of, by their first revision.
#[derive(Debug, Default)]
pub(crate) struct Lineage(RwLock<BTreeMap<i64, Uuid>>);

impl Lineage {
    /// The stamp of the history that `revision` belongs to; none before the first stretch.
    pub(crate) fn stamp(&self, revision: Revision) -> Option<Uuid> {
        self.0
            .read()
            .range(..=revision.0)
            .next_back()
            .map(|(_, stamp)| *stamp)
    }

    /// Whether a registry whose stamp at `revision` is `stamp` has the history that this replica has read.
    pub(crate) fn agrees(&self, revision: Revision, stamp: Option<Uuid>) -> bool {
        self.stamp(revision) == stamp
    }

    pub(crate) fn extend(&self, stretches: impl IntoIterator<Item = (i64, Uuid)>) {
        self.0.write().extend(stretches);
    }
}

/// Begins a stretch; returns its first revision.
pub(crate) async fn begin(connection: &mut PgConnection) -> sqlx::Result<Revision> {
    let begun = sqlx::query!(r#"select begin_lineage() as "start!""#)
        .fetch_one(connection)
        .await?;
    Ok(Revision(begun.start))
}

/// The stamp that the registry has at a revision.
pub(crate) async fn stamp_on(
    connection: &mut PgConnection,
    revision: Revision,
) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!(
        "select stamp from lineage where start <= $1 order by start desc limit 1",
        revision.0
    )
    .fetch_optional(connection)
    .await
}

/// Reads the stretches that begin in `(from, to]`.
pub(crate) async fn read_on(
    connection: &mut PgConnection,
    from: Revision,
    to: Revision,
) -> sqlx::Result<Vec<(i64, Uuid)>> {
    let rows = sqlx::query!(
        "select start, stamp from lineage where start > $1 and start <= $2",
        from.0,
        to.0
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.start, row.stamp)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_has_the_stamp_of_the_stretch_it_is_in() {
        let lineage = Lineage::default();
        let stamp = Uuid::from_u128;
        assert_eq!(lineage.stamp(Revision(7)), None);
        lineage.extend([(5, stamp(1)), (9, stamp(2))]);
        for (revision, expected) in [
            (4, None),
            (5, Some(1)),
            (8, Some(1)),
            (9, Some(2)),
            (99, Some(2)),
        ] {
            assert_eq!(
                lineage.stamp(Revision(revision)),
                expected.map(stamp),
                "{revision}"
            );
        }
    }
}
