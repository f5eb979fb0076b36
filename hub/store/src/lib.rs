//! The registry: objects in Postgres, served from memory.
//!
//! ```text
//!   write ─► queue ─► lane ── one transaction per batch ──► Postgres ──► other replicas
//!                      │                                       │ change log, notified and polled
//!                      ▼                                       ▼
//!   get, list, watch ◄── cache: snapshot + recent events ◄── feeder
//! ```
//!
//! *Stored*: objects, bodies by digest, the change log, heartbeats, identities, certificates, authorities, keys of
//! service tokens, wrapped data keys, the leader's epoch. *Derivable*: the cache, from the first three. *Monotonic*: revisions, in order of commit (P1), and
//! epochs (P5); the incarnation never changes.
//!
//! An object is stored in parts that are JSON text. This crate does not read them (it looks for Secrets in works, to seal them): validation, defaulting,
//! generations and finalizers are the business of the hub's `registry`.

mod audit;
mod authorities;
mod body;
mod cache;
mod compaction;
mod config;
mod data_keys;
mod database;
mod feeder;
mod fresh;
mod heartbeats;
mod history;
mod identities;
mod key;
mod lane;
mod leadership;
mod lineage;
mod load;
mod log;
mod metrics;
mod mutation;
mod peers;
mod queue;
mod reseal;
mod seal;
pub mod server;
mod store;
mod stored;
#[cfg(feature = "testing")]
pub mod testing;
mod token_keys;

pub use self::{
    audit::AuditLog,
    authorities::{Authorities, Authority},
    cache::{ApplyError, Batch, Event, Expired, Moves, Snapshot, Watch},
    config::StoreConfig,
    heartbeats::{Beat, Heartbeat, Heartbeats},
    history::{Past, Unknown},
    identities::{Certificate, Claim, Identities, Identity, Release},
    key::{Digest, Epoch, Incarnation, Key, Revision},
    leadership::{Election, Leadership},
    metrics::{FLUSH_BUCKETS, MetricsSnapshot},
    mutation::{Applied, Change, Mutation, Share, Unavailable, WriteError, Written},
    seal::{DataKey, FileKeys, KeyService, SealError, Sealer},
    store::{Error, Store, StoreTasks},
    stored::{Draft, Stored},
    token_keys::{TokenKey, TokenKeys},
};
