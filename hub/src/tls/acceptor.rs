use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::Stream;
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::{Certificate, Peer};

/// Handshakes in progress at once. A herd of 10,000 is through in 3 s with it, and in no less time without.
const HANDSHAKES: usize = 64;
/// A peer that takes longer for its handshake is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed `accept`, which mostly means that files have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections and does their handshakes off the accept loop; a bad handshake ends nothing but itself.
pub struct Acceptor {
    listener: TcpListener,
    tls: TlsAcceptor,
    slots: Arc<Semaphore>,
    handshakes: JoinSet<Option<Conn>>,
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
    /// Makes an acceptor that keeps at most `connections` open at once.
    #[must_use]
    pub fn new(
        listener: TcpListener,
        config: Arc<ServerConfig>,
        connections: usize,
        stop: CancellationToken,
    ) -> Self {
        Self {
            listener,
            tls: config.into(),
            slots: Arc::new(Semaphore::new(connections)),
            handshakes: JoinSet::new(),
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
                (slot, accepted) = accept(&self.listener, &self.slots), if self.handshakes.len() < HANDSHAKES => {
                    match accepted {
                        Ok(tcp) => {
                            let tls = self.tls.clone();
                            self.handshakes.spawn(handshake(tls, tcp, slot));
                        }
                        Err(error) => {
                            tracing::warn!(%error, "failed to accept a connection");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
            }
        }
    }

    /// Turns the acceptor into the stream that tonic wants.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Conn>> {
        futures::stream::unfold(self, |mut acceptor| async {
            let conn = acceptor.next().await?;
            Some((Ok(conn), acceptor))
        })
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (Option<OwnedSemaphorePermit>, io::Result<TcpStream>) {
    // The semaphore is never closed.
    let slot = slots.clone().acquire_owned().await.ok();
    (slot, listener.accept().await.map(|(tcp, _)| tcp))
}

async fn handshake(
    tls: TlsAcceptor,
    tcp: TcpStream,
    slot: Option<OwnedSemaphorePermit>,
) -> Option<Conn> {
    let address = tcp.peer_addr().ok()?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(20));
    if let Err(error) = tcp
        .set_nodelay(true)
        .and_then(|()| SockRef::from(&tcp).set_tcp_keepalive(&keepalive))
    {
        tracing::debug!(peer = %address, %error, "failed to set socket options");
    }
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(tcp)).await {
        Ok(Ok(io)) => {
            let shown = io
                .get_ref()
                .1
                .peer_certificates()
                .and_then(|chain| chain.first());
            let peer = Peer {
                address,
                certificate: shown.and_then(Certificate::parse),
            };
            Some(Conn {
                io,
                peer: Arc::new(peer),
                _slot: slot,
            })
        }
        Ok(Err(error)) => {
            tracing::debug!(peer = %address, %error, "TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(peer = %address, "TLS handshake timed out");
            None
        }
    }
}

/// A connection whose handshake is done.
pub struct Conn {
    io: TlsStream<TcpStream>,
    peer: Arc<Peer>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Conn {
    /// Returns who is on the other end.
    #[must_use]
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
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
