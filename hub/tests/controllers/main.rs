//! The controllers on a real Postgres, with agents that exist only as heartbeats and acknowledgements.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod cleanup;
mod crash;
mod failover;
mod foreground;
mod leadership;
mod mistakes;
mod names;
mod scale;
mod support;
