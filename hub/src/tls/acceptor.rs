//! Accepts connections and does their handshakes.
//!
//! ```text
//!   accept ─► silent ─► said hello ─► a place ─► handshake ─► connection
//!             4,096,     1,024,        512; a peer that answers slowly
//!             the oldest then nothing  loses it when others wait
//!             goes       is accepted
//! ```
//!
//! Connecting costs a peer nothing, so who says nothing is thrown out for whoever comes next, and holds nobody up.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, future::BoxFuture};
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::{
    Certificate, Peer,
    lobby::{Lobby, QUEUE},
};

/// A peer that has not said hello by then is dropped, crowd or no crowd.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that has not got through by then is dropped, however busy we are.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often those are looked for that hold a place others wait for.
const LOOK: Duration = Duration::from_millis(500);
/// Pause after a failed `accept`, which mostly means that files have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections and does their handshakes off the accept loop; a bad handshake ends nothing but itself.
pub struct Acceptor {
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    slots: Arc<Semaphore>,
    lobby: Arc<Lobby>,
    handshakes: JoinSet<Option<Conn>>,
    look: tokio::time::Interval,
    stop: CancellationToken,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

impl Acceptor {
    /// Makes an acceptor that keeps at most `connections` open at once, not counting those in their handshake.
    #[must_use]
    pub fn new(
        listener: TcpListener,
        config: Arc<ServerConfig>,
        connections: usize,
        stop: CancellationToken,
    ) -> Self {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            listener,
            tls: config,
            slots: Arc::new(Semaphore::new(connections)),
            lobby: Arc::default(),
            handshakes: JoinSet::new(),
            look,
            stop,
        }
    }

    /// Returns the next connection; `None` once stopped.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Conn> {
        loop {
            tokio::select! {
                // Finished handshakes first: they hold memory that a connection still to be accepted does not.
                biased;
                () = self.stop.cancelled() => return None,
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(conn)) = done {
                        return Some(conn);
                    }
                }
                _ = self.look.tick(), if !self.handshakes.is_empty() => self.lobby.hurry(),
                accepted = self.listener.accept(), if self.lobby.queued() < QUEUE => match accepted {
                    Ok((tcp, address)) => self.begin(tcp, address),
                    Err(error) => {
                        tracing::warn!(%error, "failed to accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }

    fn begin(&mut self, tcp: TcpStream, address: SocketAddr) {
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(20));
        if let Err(error) = tcp
            .set_nodelay(true)
            .and_then(|()| SockRef::from(&tcp).set_tcp_keepalive(&keepalive))
        {
            tracing::debug!(peer = %address, %error, "failed to set socket options");
        }
        let guest = Lobby::enter(&self.lobby, address.ip());
        let (tls, slots) = (self.tls.clone(), self.slots.clone());
        self.handshakes.spawn(async move {
            let thrown_out = guest.thrown_out();
            let handshake = handshake(tls, tcp, address, guest, slots);
            match thrown_out.run_until_cancelled(handshake).await {
                Some(Ok(conn)) => return Some(conn),
                Some(Err(error)) => {
                    tracing::debug!(peer = %address, %error, "TLS handshake failed")
                }
                None => tracing::debug!(peer = %address, "a slow handshake made way for others"),
            }
            None
        });
    }

    /// Turns the acceptor into the stream that tonic wants.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Conn>> {
        futures::stream::unfold(self, |mut acceptor| async {
            let conn = acceptor.next().await?;
            Some((Ok(conn), acceptor))
        })
    }
}

async fn handshake(
    tls: Arc<ServerConfig>,
    tcp: TcpStream,
    address: SocketAddr,
    mut guest: super::lobby::Guest,
    slots: Arc<Semaphore>,
) -> io::Result<Conn> {
    let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), tcp);
    let hello = timeout(HELLO_TIMEOUT, hello).await??;
    guest.said_hello();
    let rest = async {
        guest.takes_place().await;
        let io = hello.into_stream(tls).await?;
        // Only now: who is slow must not hold what those who got through wait for.
        let closed = |_| io::Error::other("the port is closed");
        let slot = slots.acquire_owned().await.map_err(closed)?;
        io::Result::Ok((slot, io))
    };
    let (slot, io) = timeout(HANDSHAKE_TIMEOUT, rest).await??;
    let shown = io
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first());
    let peer = Peer {
        address,
        certificate: shown.and_then(Certificate::parse),
    };
    Ok(Conn {
        io,
        peer: Arc::new(peer),
        ends: None,
        _slot: slot,
    })
}

/// A connection whose handshake is done.
pub struct Conn {
    io: TlsStream<TcpStream>,
    peer: Arc<Peer>,
    /// Nothing is read from then on.
    ends: Option<BoxFuture<'static, ()>>,
    _slot: OwnedSemaphorePermit,
}

impl Conn {
    /// Returns who is on the other end.
    #[must_use]
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Breaks the connection off as soon as `when` is done. What `when` holds is dropped with the connection.
    #[must_use]
    pub fn ending(mut self, when: impl Future<Output = ()> + Send + 'static) -> Self {
        self.ends = Some(Box::pin(when));
        self
    }
}

impl std::fmt::Debug for Conn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conn")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl Connected for Conn {
    type ConnectInfo = Arc<Peer>;

    fn connect_info(&self) -> Arc<Peer> {
        self.peer.clone()
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Whoever has a connection always waits to read from it.
        if let Some(ends) = &mut self.ends
            && ends.as_mut().poll(cx).is_ready()
        {
            self.ends = None;
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
