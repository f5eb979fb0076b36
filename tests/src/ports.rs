//! Loopback ports for programs that must be told theirs, and keep it over a restart.

use std::{
    io,
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    sync::{Mutex, PoisonError},
};

use anyhow::Context;

/// The claims of this process. They end with it, however it ends.
static CLAIMS: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// A port that nobody listens on now and that no other call gets, of this process
/// or another, while this one lives: a program binds it long after it was chosen.
/// Below the range that the kernel hands out for outgoing connections, so none of
/// those takes it while a program is down.
///
/// # Errors
/// When none of many tried is free.
pub fn free_port() -> anyhow::Result<u16> {
    let (port, claim) = (0..200)
        .map(|_| rand::random_range(12_000..32_000))
        .find_map(|port| {
            let claim = claim(port).ok()?;
            TcpListener::bind(("127.0.0.1", port)).ok()?;
            Some((port, claim))
        })
        .context("no free loopback port")?;
    CLAIMS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(claim);
    Ok(port)
}

/// An abstract socket is a lock that leaves no file behind.
fn claim(port: u16) -> io::Result<UnixListener> {
    let name = format!("koinon-port-{port}");
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_was_handed_out_is_not_handed_out_again() -> anyhow::Result<()> {
        let port = free_port()?;
        TcpListener::bind(("127.0.0.1", port)).context("nobody listens on it yet")?;
        assert_eq!(
            claim(port).map(drop).map_err(|error| error.kind()),
            Err(io::ErrorKind::AddrInUse)
        );
        Ok(())
    }
}
