//! An HTTP gate before a cluster's API server: it counts what a client asks, and can stand in for the client's death
//! before or after any of its writes.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use kube::{Client, client::Body};
use parking_lot::Mutex;
use serde_json::json;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// Where a client dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The write does not reach the server.
    Before,
    /// The write is done; its answer reaches nobody.
    After,
}

#[derive(Debug, Default)]
struct Counted {
    /// Method and path of each write that reached the server.
    writes: Vec<String>,
    /// How many there ever were.
    total: u64,
    /// How many other requests reached the server.
    reads: u64,
    /// The write, counted from now, at which the client dies.
    fatal: Option<(usize, Death)>,
}

#[derive(Debug)]
struct State {
    counted: Mutex<Counted>,
    /// The client is dead: nothing of it passes any more.
    dead: watch::Sender<bool>,
    /// Requests whose path ends so wait.
    held: watch::Sender<Vec<String>>,
    /// Until then every request is refused with 429, and how many were.
    throttled: Mutex<(Option<Instant>, u64)>,
    /// Longest time by which a request is delayed: they overtake each other.
    shuffled: watch::Sender<Duration>,
}

/// Listens on loopback without TLS; dropped, it closes.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gate {
    /// Opens a gate before the server that `client` speaks to.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn before(client: Client) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            counted: Mutex::default(),
            dead: watch::Sender::new(false),
            held: watch::Sender::default(),
            throttled: Mutex::default(),
            shuffled: watch::Sender::default(),
        });
        let task = tokio::spawn(accept(listener, client, state.clone()));
        Ok(Self {
            address,
            state,
            task,
        })
    }

    /// Writes a kubeconfig for whoever is to pass through the gate.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn kubeconfig(&self, dir: &Path) -> anyhow::Result<PathBuf> {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "gate",
            "clusters": [{"name": "gate", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "gate", "user": {}}],
            "contexts": [{"name": "gate", "context": {"cluster": "gate", "user": "gate"}}],
        });
        let path = dir.join("gate.kubeconfig");
        std::fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// Lets the client die at its `number`th write from now, the first being 1.
    pub fn kill_at(&self, number: usize, death: Death) {
        self.state.counted.lock().fatal = Some((number, death));
    }

    /// Lets requests wait whose path ends with one of these; with none, what waits goes on.
    pub fn hold(&self, ends: &[&str]) {
        let ends = ends.iter().map(|&end| end.to_owned()).collect();
        self.state.held.send_replace(ends);
    }

    /// Refuses everything for so long as an overloaded API server does: 429, `Retry-After: 1`.
    pub fn throttle(&self, time: Duration) {
        *self.state.throttled.lock() = (Some(Instant::now() + time), 0);
    }

    /// Requests that were refused since [`Gate::throttle`].
    #[must_use]
    pub fn throttled(&self) -> u64 {
        self.state.throttled.lock().1
    }

    /// Delays each request by a random time up to this, so that they overtake each other.
    pub fn shuffle(&self, longest: Duration) {
        self.state.shuffled.send_replace(longest);
    }

    /// Whether the client has died.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        *self.state.dead.borrow()
    }

    /// Lets a new client pass. What the dead one still had under way is lost.
    pub fn revive(&self) {
        self.state.counted.lock().fatal = None;
        self.state.dead.send_replace(false);
    }

    /// Writes that reached the server so far, whether they were taken or not.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.state.counted.lock().total
    }

    /// Requests that reached the server so far and were no writes.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.state.counted.lock().reads
    }

    /// Takes the writes that reached the server since the last call, as method and path.
    #[must_use]
    pub fn take_writes(&self) -> Vec<String> {
        std::mem::take(&mut self.state.counted.lock().writes)
    }
}

async fn accept(listener: TcpListener, client: Client, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (client, state) = (client.clone(), state.clone());
        tokio::spawn(async move {
            let pass = service_fn(|request| pass(request, client.clone(), &state));
            let mut dead = state.dead.subscribe();
            tokio::select! {
                // A client that went away is no failure of the gate.
                _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), pass) => {}
                _ = dead.wait_for(|dead| *dead) => {}
            }
        });
    }
}

async fn pass(
    request: Request<Incoming>,
    client: Client,
    state: &State,
) -> anyhow::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    if is_throttled(state) {
        // Word for word what API Priority and Fairness says.
        return Ok(Response::builder()
            .status(StatusCode::TOO_MANY_REQUESTS)
            .header("retry-after", "1")
            .body(Body::from(
                b"Too many requests, please try again later.".to_vec(),
            ))?);
    }
    let delay = *state.shuffled.borrow();
    if !delay.is_zero() {
        tokio::time::sleep(delay.mul_f64(rand::random_range(0.0..1.0))).await;
    }
    let write = !matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS)
        // Reviews are questions.
        && !head.uri.path().contains("reviews");
    let death = if write { due(state) } else { None };
    if death == Some(Death::Before) {
        die(state);
        return std::future::pending().await;
    }
    let path = head.uri.path();
    let waits = |held: &Vec<String>| held.iter().any(|end| path.ends_with(end));
    state.held.subscribe().wait_for(|held| !waits(held)).await?;
    let said = format!("{} {path}", head.method);
    let mut forward = Request::builder().method(head.method).uri(
        head.uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str),
    );
    for (name, value) in &head.headers {
        if !matches!(name.as_str(), "host" | "content-length" | "connection") {
            forward = forward.header(name, value);
        }
    }
    let response = client
        .send(forward.body(Body::from(body.to_vec()))?)
        .await?;
    if write {
        let mut counted = state.counted.lock();
        counted.total += 1;
        counted.writes.push(said);
    } else {
        state.counted.lock().reads += 1;
    }
    if death == Some(Death::After) {
        die(state);
        return std::future::pending().await;
    }
    Ok(response)
}

fn is_throttled(state: &State) -> bool {
    let mut throttled = state.throttled.lock();
    let refused = throttled.0.is_some_and(|until| Instant::now() < until);
    throttled.1 += u64::from(refused);
    refused
}

fn due(state: &State) -> Option<Death> {
    let mut counted = state.counted.lock();
    let (left, death) = counted.fatal.as_mut()?;
    *left = left.saturating_sub(1);
    let death = (*left == 0).then_some(*death);
    if death.is_some() {
        counted.fatal = None;
    }
    death
}

fn die(state: &State) {
    state.dead.send_replace(true);
}
