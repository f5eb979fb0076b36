//! The hub: a Kubernetes-style API for Open Cluster Management on a Postgres registry.
//!
//! ```text
//!   kubectl, client-go ──TLS──► rest ─► authz ─► registry ─► koinon-store ─► Postgres
//!                                                  ▲  │
//!                        controllers (one leader) ─┘  │ watch cache
//!                                                     ▼
//!   klusterlets ──mTLS gRPC──► agents (enrolment, one task per session)
//! ```
//!
//! It never connects to a member cluster (P7) and holds no state outside of the registry.

pub mod agents;
pub mod args;
pub mod audit;
pub mod auth;
pub mod authz;
pub mod boot;
pub mod clock;
pub mod config;
pub mod controllers;
pub mod embedded;
mod explain;
pub mod health;
pub mod keeping;
pub mod leader;
pub mod listen;
pub mod metrics;
pub mod pki;
pub mod registry;
pub mod resources;
pub mod rest;
pub mod shares;
pub mod tasks;
pub mod telemetry;
pub mod tls;
