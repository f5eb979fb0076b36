//! A TCP proxy that can misbehave: cut, stall, lose one direction, come back.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

use crate::ports::free_port;

/// What the proxy does to its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weather {
    /// Bytes pass.
    #[default]
    Clear,
    /// Connections are reset and new ones refused at once.
    Cut,
    /// Connections stay open and nothing passes: the network ate the packets.
    Stalled,
    /// Bytes from the server pass, bytes from the client do not.
    ClientMute,
    /// Bytes from the client pass, bytes from the server do not.
    ServerMute,
    /// Bytes pass, a few kilobytes at a time: about 60 KiB a second in each direction.
    Slow,
    /// Bytes pass, each connection held up for a while of its own at each turn: what is said on one overtakes what was said before on another,
    /// an event the answer to the write that caused it.
    Jumbled,
}

impl Weather {
    const fn lets_up(&self) -> bool {
        matches!(
            self,
            Self::Clear | Self::ServerMute | Self::Slow | Self::Jumbled
        )
    }

    const fn lets_down(&self) -> bool {
        matches!(
            self,
            Self::Clear | Self::ClientMute | Self::Slow | Self::Jumbled
        )
    }
}

/// What passes at a time in slow weather, and how long that takes.
const SIP: usize = 3 * 1024;
const SLOW: Duration = Duration::from_millis(50);

/// Longest while in jumbled weather, in milliseconds.
const WHILE: u64 = 120;

/// Stands between a client and a server. Dropping it cuts everything.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    weather: Arc<watch::Sender<Weather>>,
    passed: Arc<Passed>,
    task: JoinHandle<()>,
}

/// Bytes that have passed.
#[derive(Debug, Default)]
struct Passed {
    up: AtomicU64,
    down: AtomicU64,
}

impl Proxy {
    /// Listens on a free loopback port and passes everything to `to`.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn to(to: SocketAddr) -> anyhow::Result<Self> {
        let port = free_port()?;
        let listener = TcpListener::bind(("127.0.0.1", port))
            .await
            .context("cannot bind the proxy's port")?;
        let weather = Arc::new(watch::Sender::new(Weather::Clear));
        let passed = Arc::new(Passed::default());
        let task = tokio::spawn(accept(listener, to, weather.clone(), passed.clone()));
        Ok(Self {
            port,
            weather,
            passed,
            task,
        })
    }

    /// Bytes that have passed so far, from the client and from the server.
    pub fn passed(&self) -> (u64, u64) {
        let read = |bytes: &AtomicU64| bytes.load(Ordering::Relaxed);
        (read(&self.passed.up), read(&self.passed.down))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Changes what happens to all connections, present and future.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    pub fn cut(&self) {
        self.set(Weather::Cut);
    }

    pub fn stall(&self) {
        self.set(Weather::Stalled);
    }

    pub fn resume(&self) {
        self.set(Weather::Clear);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    to: SocketAddr,
    weather: Arc<watch::Sender<Weather>>,
    passed: Arc<Passed>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let (now, passed) = (weather.subscribe(), passed.clone());
        if *now.borrow() == Weather::Cut {
            reset(&client);
            continue;
        }
        tokio::spawn(async move {
            if let Ok(server) = TcpStream::connect(to).await {
                carry(client, server, now, passed).await;
            }
        });
    }
}

async fn carry(
    client: TcpStream,
    server: TcpStream,
    mut weather: watch::Receiver<Weather>,
    passed: Arc<Passed>,
) {
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true); // only a matter of speed
    }
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let (up_to, down_to) = (passed.clone(), passed);
    let up = tokio::spawn(copy(
        client_read,
        server_write,
        weather.clone(),
        |w| w.lets_up(),
        move |n| up_to.up.fetch_add(n, Ordering::Relaxed),
    ));
    let down = tokio::spawn(copy(
        server_read,
        client_write,
        weather.clone(),
        |w| w.lets_down(),
        move |n| down_to.down.fetch_add(n, Ordering::Relaxed),
    ));
    let (stop_up, stop_down) = (up.abort_handle(), down.abort_handle());
    tokio::select! {
        _ = weather.wait_for(|w| *w == Weather::Cut) => {}
        // Each direction ends by itself, as half-closed connections do.
        _ = async { let _ = up.await; let _ = down.await; } => {}
    }
    stop_up.abort();
    stop_down.abort();
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    passes: fn(&Weather) -> bool,
    count: impl Fn(u64) -> u64,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // Not reading while nothing passes: the sender's window fills, as in a real stall.
        if weather.wait_for(passes).await.is_err() {
            return;
        }
        let (most, pause) = match *weather.borrow() {
            Weather::Slow => (SIP, SLOW),
            Weather::Jumbled => (
                buffer.len(),
                Duration::from_millis(rand::random_range(0..WHILE)),
            ),
            _ => (buffer.len(), Duration::ZERO),
        };
        let Ok(n @ 1..) = from.read(&mut buffer[..most]).await else {
            break;
        };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        if weather.wait_for(passes).await.is_err() || to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
        count(n as u64);
    }
    let _ = to.shutdown().await; // the other side may be gone already
}

fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger(); // without it the close is an orderly one
}
