//! A batch in columns, as the database function wants it, and the function's verdict.

use std::collections::HashSet;

use sqlx::{PgConnection, postgres::PgSeverity};
use uuid::Uuid;

use crate::{
    cache::{Delta, Effect},
    key::{Digest, Revision},
    mutation::{Change, WriteError},
    queue::{Job, Reply},
    stored::Draft,
};

/// Columns of `write_batch`.
#[derive(Debug, Default)]
pub(super) struct Batch<'a> {
    kinds: Vec<i16>,
    resources: Vec<&'a str>,
    namespaces: Vec<&'a str>,
    names: Vec<&'a str>,
    uids: Vec<Option<Uuid>>,
    expecteds: Vec<Option<i64>>,
    epochs: Vec<Option<i64>>,
    generations: Vec<Option<i64>>,
    digests: Vec<Option<&'a [u8]>>,
    labels: Vec<Option<String>>,
    metadatas: Vec<Option<&'a [u8]>>,
    inline_bodies: Vec<Option<&'a [u8]>>,
    statuses: Vec<Option<&'a [u8]>>,
    shared_digests: Vec<&'a [u8]>,
    shared_bodies: Vec<&'a [u8]>,
    tell: bool,
}

impl<'a> Batch<'a> {
    pub(super) fn new(jobs: &'a [Job], intern_above: usize, tell: bool) -> Self {
        let mut batch = Self {
            tell,
            ..Self::default()
        };
        let mut shared = HashSet::new();
        for job in jobs {
            let key = job.key();
            batch.resources.push(&key.resource);
            batch.namespaces.push(&key.namespace);
            batch.names.push(&key.name);
            batch.epochs.push(job.mutation.epoch.map(|epoch| epoch.0));
            match &job.mutation.change {
                Change::Create(draft) => {
                    batch.head(1, Some(draft.uid), None);
                    batch.draft(draft, job, intern_above, &mut shared);
                }
                Change::Replace { draft, expected } => {
                    batch.head(2, Some(draft.uid), Some(*expected));
                    batch.draft(draft, job, intern_above, &mut shared);
                }
                Change::Status {
                    uid,
                    status,
                    expected,
                    ..
                } => {
                    batch.head(3, Some(*uid), *expected);
                    batch.blank();
                    batch
                        .statuses
                        .push(Some(job.status.as_ref().unwrap_or(status)));
                }
                Change::Delete { uid, expected, .. } => {
                    batch.head(4, *uid, *expected);
                    batch.blank();
                    batch.statuses.push(None);
                }
            }
        }
        batch
    }

    fn head(&mut self, kind: i16, uid: Option<Uuid>, expected: Option<Revision>) {
        self.kinds.push(kind);
        self.uids.push(uid);
        self.expecteds.push(expected.map(|revision| revision.0));
    }

    fn draft(
        &mut self,
        draft: &'a Draft,
        job: &'a Job,
        intern_above: usize,
        shared: &mut HashSet<&'a Digest>,
    ) {
        let (metadata, body) = match &job.sealed {
            Some(sealed) => (&sealed.metadata, &sealed.body),
            None => (&draft.metadata, &draft.body),
        };
        let status = job.status.as_ref().unwrap_or(&draft.status);
        let (digest, is_shared) = match &job.sealed {
            Some(sealed) => (&sealed.name, sealed.shared),
            None => (&job.digest, body.len() > intern_above),
        };
        self.generations.push(Some(draft.generation));
        self.digests.push((!job.keeps_body).then_some(&digest.0));
        self.labels.push(Some(if draft.labels.is_empty() {
            "{}".to_owned()
        } else {
            serde_json::to_string(&*draft.labels).expect("strings always serialise")
        }));
        self.metadatas.push(Some(metadata));
        self.statuses.push(Some(status));
        if job.keeps_body {
            self.inline_bodies.push(None);
            return;
        }
        if !is_shared {
            self.inline_bodies.push(Some(body));
            return;
        }
        self.inline_bodies.push(None);
        if shared.insert(digest) {
            self.shared_digests.push(&digest.0);
            self.shared_bodies.push(body);
        }
    }

    /// Columns that only drafts have, status apart.
    fn blank(&mut self) {
        self.generations.push(None);
        self.digests.push(None);
        self.labels.push(None);
        self.metadatas.push(None);
        self.inline_bodies.push(None);
    }

    /// Commits the batch.
    pub(super) async fn apply(&self, connection: &mut PgConnection) -> sqlx::Result<Verdict> {
        // `fetch_all` on purpose: it returns after the server said that it is ready, which is after the commit. The
        // rows come before.
        let rows = sqlx::query!(
            r#"select entry_ordinal as "ordinal!", entry_outcome as "outcome!", entry_revision as revision
               from write_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"#,
            &self.kinds,
            &self.resources as &[&str],
            &self.namespaces as &[&str],
            &self.names as &[&str],
            &self.uids as &[Option<Uuid>],
            &self.expecteds as &[Option<i64>],
            &self.epochs as &[Option<i64>],
            &self.generations as &[Option<i64>],
            &self.digests as &[Option<&[u8]>],
            &self.labels as &[Option<String>],
            &self.metadatas as &[Option<&[u8]>],
            &self.inline_bodies as &[Option<&[u8]>],
            &self.statuses as &[Option<&[u8]>],
            &self.shared_digests as &[&[u8]],
            &self.shared_bodies as &[&[u8]],
            self.tell,
        )
        .fetch_all(connection)
        .await?;
        let base = rows
            .iter()
            .find(|row| row.ordinal == 0)
            .and_then(|row| row.revision);
        let base = base
            .ok_or_else(|| sqlx::Error::Protocol("write_batch gave no base revision".to_owned()))?;
        let mut results: Vec<_> = (1..=self.kinds.len() as i64)
            .map(|ordinal| Ok(Revision(base + ordinal)))
            .collect();
        for row in rows.iter().filter(|row| row.ordinal > 0) {
            let result = usize::try_from(row.ordinal - 1)
                .ok()
                .and_then(|at| results.get_mut(at));
            let result = result.ok_or_else(|| {
                sqlx::Error::Protocol("write_batch gave a foreign ordinal".to_owned())
            })?;
            *result = Err(match row.outcome {
                1 => Miss::Refused(WriteError::Exists),
                2 => Miss::Refused(WriteError::NotFound),
                3 => Miss::Refused(WriteError::Conflict),
                4 => Miss::Refused(WriteError::Deposed),
                _ => Miss::Unchanged(Revision(row.revision.unwrap_or(base))),
            });
        }
        Ok(Verdict {
            base: Revision(base),
            results,
        })
    }
}

/// What came of a committed batch.
#[derive(Debug)]
pub(super) struct Verdict {
    /// The revision before the batch.
    pub(super) base: Revision,
    /// By ordinal.
    pub(super) results: Vec<Result<Revision, Miss>>,
}

/// Why an entry of a committed batch changed nothing.
#[derive(Debug)]
pub(super) enum Miss {
    Unchanged(Revision),
    Refused(WriteError),
}

impl Verdict {
    pub(super) fn refused(&self) -> usize {
        self.results
            .iter()
            .filter(|result| matches!(result, Err(Miss::Refused(_))))
            .count()
    }

    /// The revision after the batch.
    pub(super) fn head(&self) -> Revision {
        // A batch that changed nothing did not move the registry's revision.
        let moved = if self.results.iter().any(Result::is_ok) {
            self.results.len() as i64
        } else {
            0
        };
        Revision(self.base.0 + moved)
    }

    /// The applied entries as changes of the cache, and whom to answer what.
    pub(super) fn into_deltas(self, jobs: Vec<Job>) -> (Vec<Delta>, Vec<Answer>) {
        let mut deltas = Vec::with_capacity(jobs.len());
        let mut answers = Vec::with_capacity(jobs.len());
        for (job, result) in jobs.into_iter().zip(self.results) {
            let revision = match result {
                Ok(revision) => revision,
                Err(Miss::Unchanged(revision)) => {
                    answers.push(Answer::Unchanged(revision, job));
                    continue;
                }
                Err(Miss::Refused(error)) => {
                    answers.push(Answer::Refused(error, job));
                    continue;
                }
            };
            let (mutation, digest, reply) = job.into_parts();
            let effect = match mutation.change {
                Change::Create(draft) | Change::Replace { draft, .. } => {
                    Effect::Put(draft.into_stored(revision, digest))
                }
                Change::Status {
                    key, uid, status, ..
                } => Effect::Status { key, uid, status },
                Change::Delete { key, .. } => Effect::Delete { key },
            };
            deltas.push(Delta { revision, effect });
            answers.push(Answer::Applied(revision, reply));
        }
        (deltas, answers)
    }
}

/// What a writer is to be told.
#[derive(Debug)]
pub(super) enum Answer {
    /// The state is what the cache makes of the next change.
    Applied(Revision, Reply),
    Unchanged(Revision, Job),
    Refused(WriteError, Job),
}

/// What a failed call means for the writes in it.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was written, and never will be: the data is at fault.
    Refused(String),
    /// Nothing was written.
    RolledBack(String),
    /// The connection ended: before or after the commit.
    Doubt(String),
}

impl Failure {
    pub(super) fn of(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(database) = &error else {
            return match error {
                // Refused before anything was sent.
                sqlx::Error::Encode(error) => Self::Refused(error.to_string()),
                error => Self::Doubt(error.to_string()),
            };
        };
        let severity = database
            .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
            .map(|error| error.severity());
        if severity != Some(PgSeverity::Error) {
            // The session was ended, and nothing says when.
            return Self::Doubt(error.to_string());
        }
        let code = database.code().unwrap_or_default();
        // Classes: data exception, integrity violation, program limit exceeded.
        match code.get(..2) {
            Some("22" | "23" | "54") => Self::Refused(database.message().to_owned()),
            _ => Self::RolledBack(database.message().to_owned()),
        }
    }
}
