//! The klusterlet: one agent per member cluster.
//!
//! ```text
//!            hub ◄── one mTLS stream, opened from here ──► session ─► inbox ─► keeper ─► Secrets in the member
//!                                                            ▲                   │
//!                                              outbox ◄──────┴── actors ◄────────┘
//!                                                                  │ plan, apply, prune, watch
//!                                                                  ▼
//!                                                          member's API server
//! ```
//!
//! It opens every connection itself, keeps what it was last told in the member, and needs no hub to keep the cluster so.
//! It removes something only when the hub names it as deleted; a list that lacks it, a broken stream or another hub never
//! count as that. It writes nothing while nothing changes.

// Modules are public for this crate's own tests; `run` is the interface.
pub mod args;
pub mod backoff;
mod boot;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod crds;
pub mod desired;
pub mod feedback;
pub mod fence;
pub mod health;
pub mod hub;
pub mod identity;
pub mod metrics;
pub mod namespaces;
pub mod outbox;
pub mod policy;
pub mod position;
pub mod report;
pub mod tasks;
pub mod telemetry;
pub mod unmanaged;
pub mod work;

pub use boot::{Failure, run};
pub use config::Config;
pub use hub::HubAddress;
pub use identity::TokenSource;
