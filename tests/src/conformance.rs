//! The differential test: rows of requests, played against a real kube-apiserver that has the hub's CRDs and against the
//! hub, must be answered alike.
//!
//! ```text
//!   tests/conformance/*.yaml ─► Row ─┬─► Server "kube" ─► answers ─► normalise ─┐
//!                                    └─► Server "hub"  ─► answers ─► normalise ─┴─► difference
//! ```
//!
//! Rows are also made up: [`Story`] tells of random writes to objects of random schemas ([`shape`]).
//!
//! What differs by nature (uids, revisions, times) is replaced before the comparison ([`normal`]). What differs on
//! purpose is listed in `docs/conformance.md` with its reason, and must differ.

pub mod normal;
pub mod play;
pub mod row;
pub mod shape;
pub mod story;

pub use play::{Answer, Server};
pub use row::Row;
pub use story::{Story, Thing};
