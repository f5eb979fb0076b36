//! Loopback ports for programs that must be told theirs, and keep it over a restart.

use std::net::TcpListener;

use anyhow::Context;

/// A port that nobody listens on now. Below the range that the kernel hands out
/// for outgoing connections, so none of those takes it while a program is down.
///
/// # Errors
/// When none of many tried is free.
pub fn free_port() -> anyhow::Result<u16> {
    (0..200)
        .map(|_| rand::random_range(12_000..32_000))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .context("no free loopback port")
}
