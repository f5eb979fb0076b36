//! The agent plane over real TLS and a real Postgres, with agents that speak the wire themselves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod audit;
mod bodies;
mod crowds;
mod enrolment;
mod faults;
mod matrix;
mod names;
mod sessions;
mod support;
mod works;
