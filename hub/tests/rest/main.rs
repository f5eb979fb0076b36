//! The API as a client meets it: requests through the whole router, on a real Postgres.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod access;
mod apply;
mod around;
mod audit;
mod bad_input;
mod collections;
mod deletion;
mod discovery;
mod explain;
mod faults;
mod health;
mod leases;
mod matrix;
mod may;
mod objects;
mod oidc;
mod outage;
mod own_rules;
mod replicas;
mod rights;
mod shares;
mod sockets;
mod support;
mod tokens;
mod watches;
