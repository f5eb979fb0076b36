//! What the store promises, tried on a real Postgres.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

mod compaction;
mod faults;
mod fleet;
mod forks;
mod history;
mod leadership;
mod names;
mod overload;
mod sealed;
mod storm;
mod watches;
mod writes;
