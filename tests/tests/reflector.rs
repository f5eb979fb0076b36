//! The hub under client-go's reflector: list in pages, watch with bookmarks, begin again where it broke off, list anew after 410.
//!
//! The loop is that of `k8s.io/client-go/tools/cache/reflector.go`, with what it asks and how it takes the answers; kube-rs'
//! own, which begins with a streamed list, runs beside it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use koinon_tests::{Hub, Proxy, client::install_provider, eventually};
use kube::{
    Api, Client, Config, ResourceExt as _,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{WatchStreamExt as _, reflector, watcher},
};
use parking_lot::Mutex;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// client-go asks for 500; fewer make more pages of less.
const PAGE: usize = 30;
const OBJECTS: usize = 130;
/// Before a hub that was not reached is tried again.
const PAUSE: Duration = Duration::from_millis(10);

/// What a reflector holds: the revision of each object by its name.
type Held = BTreeMap<String, u64>;

/// What it went through.
#[derive(Debug, Default)]
struct Diary {
    lists: AtomicUsize,
    pages: AtomicUsize,
    watches: AtomicUsize,
    bookmarks: AtomicUsize,
    expired: AtomicUsize,
}

fn count(of: &AtomicUsize) -> usize {
    of.load(Ordering::Relaxed)
}

/// client-go's reflector.
struct Reflector {
    client: Client,
    held: Arc<Mutex<Held>>,
    diary: Arc<Diary>,
    /// The last revision it has seen; empty before the first list and after 410.
    at: String,
}

impl Reflector {
    async fn run(mut self) {
        loop {
            // Whatever went wrong, it begins again: at the list, or at the watch where that goes on.
            if self.list().await.is_ok() {
                while self.watch().await == Next::Watch {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn forget(&mut self) {
        self.diary.expired.fetch_add(1, Ordering::Relaxed);
        self.at.clear();
    }

    async fn get(&self, path: &str) -> anyhow::Result<(u16, Value)> {
        let request = http::Request::get(path).body(kube::client::Body::empty())?;
        let (head, body) = self.client.send(request).await?.into_parts();
        let bytes = http_body_util::BodyExt::collect(body).await?.to_bytes();
        Ok((head.status.as_u16(), serde_json::from_slice(&bytes)?))
    }

    /// `ListAndWatch`'s first half: pages from the newest state that it may have missed.
    async fn list(&mut self) -> anyhow::Result<()> {
        let (mut items, mut token) = (Held::new(), String::new());
        // What it has seen is the least that it wants to see again; after 410, whatever there is.
        let wanted = if self.at.is_empty() {
            String::new()
        } else {
            format!("&resourceVersion={}", self.at)
        };
        let revision = loop {
            let path = if token.is_empty() {
                format!("{MAPS}?limit={PAGE}{wanted}")
            } else {
                format!("{MAPS}?limit={PAGE}&continue={token}")
            };
            let (code, page) = self.get(&path).await?;
            if code == 410 {
                self.forget();
            }
            ensure!(code == 200, "{code} {page}");
            self.diary.pages.fetch_add(1, Ordering::Relaxed);
            for item in page["items"].as_array().context("a list")? {
                items.insert(name(item)?, revision(item)?);
            }
            page["metadata"]["continue"]
                .as_str()
                .unwrap_or_default()
                .clone_into(&mut token);
            if token.is_empty() {
                break page["metadata"]["resourceVersion"]
                    .as_str()
                    .map(str::to_owned);
            }
        };
        self.at = revision.context("a list has a revision")?;
        *self.held.lock() = items;
        self.diary.lists.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The second half: until the watch ends. What may follow is another watch or, after 410, another list.
    async fn watch(&mut self) -> Next {
        self.diary.watches.fetch_add(1, Ordering::Relaxed);
        let path = format!(
            "{MAPS}?watch=true&allowWatchBookmarks=true&timeoutSeconds=5&resourceVersion={}",
            self.at
        );
        let Ok(request) = http::Request::get(path).body(Vec::new()) else {
            return Next::List;
        };
        let stream = match self.client.request_stream(request).await {
            Ok(stream) => stream,
            Err(kube::Error::Api(status)) => {
                if status.code == 410 {
                    self.forget();
                }
                return Next::List;
            }
            // It was not reached: what it has seen stays seen.
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                return Next::Watch;
            }
        };
        let mut lines = std::pin::pin!(stream.lines());
        while let Ok(Some(line)) = lines.try_next().await {
            let Ok(event) = serde_json::from_str::<Value>(&line) else {
                return Next::Watch;
            };
            let object = &event["object"];
            let (Some(kind), Ok(now)) = (event["type"].as_str(), revision(object)) else {
                // An ERROR has a status for an object.
                if object["code"] == 410 {
                    self.forget();
                    return Next::List;
                }
                return Next::Watch;
            };
            let Ok(name) = name(object) else {
                if kind == "BOOKMARK" {
                    self.diary.bookmarks.fetch_add(1, Ordering::Relaxed);
                    self.at = now.to_string();
                }
                continue;
            };
            match kind {
                "ADDED" | "MODIFIED" => drop(self.held.lock().insert(name, now)),
                "DELETED" => drop(self.held.lock().remove(&name)),
                _ => {}
            }
            self.at = now.to_string();
        }
        Next::Watch
    }
}

#[derive(PartialEq)]
enum Next {
    Watch,
    List,
}

fn name(object: &Value) -> anyhow::Result<String> {
    let name = object["metadata"]["name"]
        .as_str()
        .filter(|name| !name.is_empty());
    Ok(name.context("no name")?.to_owned())
}

fn revision(object: &Value) -> anyhow::Result<u64> {
    Ok(object["metadata"]["resourceVersion"]
        .as_str()
        .context("no revision")?
        .parse()?)
}

async fn client(hub: &Hub, wire: Option<&Proxy>) -> anyhow::Result<Client> {
    let file = Kubeconfig::read_from(hub.kubeconfig())?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    if let Some(wire) = wire {
        config.cluster_url = format!("https://{}", wire.address()).parse()?;
    }
    Ok(Client::try_from(config)?)
}

async fn send(client: &Client, method: &str, path: &str, body: Value) -> anyhow::Result<()> {
    let mut request = http::Request::builder().method(method).uri(path);
    if method == "PATCH" {
        request = request.header("content-type", "application/merge-patch+json");
    } else {
        request = request.header("content-type", "application/json");
    }
    let body = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    client.request_text(request.body(body)?).await?;
    Ok(())
}

fn map(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "k": "v" } })
}

/// What a plain list says.
async fn state(client: &Client) -> anyhow::Result<Held> {
    let request = http::Request::get(MAPS).body(Vec::new())?;
    let list: Value = client.request(request).await?;
    list["items"]
        .as_array()
        .context("a list")?
        .iter()
        .map(|item| Ok((name(item)?, revision(item)?)))
        .collect()
}

/// Some of everything, at names that others write as well.
async fn churn(client: &Client, round: usize) -> anyhow::Result<()> {
    for n in 0..12 {
        let at = (round * 7 + n * 11) % OBJECTS;
        let path = format!("{MAPS}/m{at:04}");
        match n % 4 {
            0 => {
                send(client, "DELETE", &path, Value::Null).await?;
                send(client, "POST", MAPS, map(&format!("m{at:04}"))).await?;
            }
            1 => send(client, "POST", MAPS, map(&format!("extra-{round}-{n}"))).await?,
            _ => {
                let value = json!({ "data": { "k": format!("{round}-{n}") } });
                send(client, "PATCH", &path, value).await?;
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reflector_holds_what_there_is_whatever_breaks() -> anyhow::Result<()> {
    install_provider();
    let dir = tempfile::tempdir()?;
    let mut hub = Hub::start(dir.path()).await?;
    let direct = client(&hub, None).await?;
    stream::iter(0..OBJECTS)
        .map(|n| {
            let direct = direct.clone();
            async move { send(&direct, "POST", MAPS, map(&format!("m{n:04}"))).await }
        })
        .buffer_unordered(8)
        .try_collect::<()>()
        .await?;

    let wire = Proxy::to(hub.api_address()).await?;
    let broken = client(&hub, Some(&wire)).await?;
    let (held, diary) = (
        Arc::new(Mutex::new(Held::new())),
        Arc::new(Diary::default()),
    );
    let reflector = Reflector {
        client: broken.clone(),
        held: Arc::clone(&held),
        diary: Arc::clone(&diary),
        at: String::new(),
    };
    let running = tokio::spawn(reflector.run());
    // kube-rs' own, which asks for the state as events of a watch.
    let (mirror, writer) = reflector::store();
    let streamed = watcher::Config::default().streaming_lists();
    let maps: Api<ConfigMap> = Api::namespaced(broken, "default");
    let mirrored = tokio::spawn(
        reflector::reflector(writer, watcher(maps, streamed))
            .default_backoff()
            .for_each(|_| std::future::ready(())),
    );

    let agree = async |what: &str| {
        let state = state(&direct).await?;
        eventually(
            &format!("client-go's reflector holds the state {what}"),
            async || Ok((*held.lock() == state).then_some(())),
        )
        .await?;
        eventually(
            &format!("kube-rs' reflector holds the state {what}"),
            async || {
                let mirrored: Held = mirror
                    .state()
                    .iter()
                    .map(|map| {
                        Ok((
                            map.name_any(),
                            map.resource_version().context("none")?.parse()?,
                        ))
                    })
                    .collect::<anyhow::Result<_>>()?;
                Ok((mirrored == state).then_some(()))
            },
        )
        .await
    };
    agree("after a list in pages").await?;
    ensure!(count(&diary.pages) > OBJECTS / PAGE, "{diary:?}");

    churn(&direct, 0).await?;
    agree("after changes").await?;
    ensure!(
        count(&diary.lists) == 1,
        "a watch goes on without a list: {diary:?}"
    );

    let before = count(&diary.watches);
    for round in 1..4 {
        wire.cut();
        churn(&direct, round).await?;
        wire.resume();
        agree("after a connection broke").await?;
    }
    ensure!(count(&diary.watches) > before, "{diary:?}");
    ensure!(
        (count(&diary.lists), count(&diary.expired)) == (1, 0),
        "a watch goes on where it broke: {diary:?}"
    );

    hub.kill();
    hub.restart().await?;
    churn(&direct, 4).await?;
    agree("after the hub was killed").await?;
    ensure!(
        count(&diary.expired) == 0,
        "a hub that was killed remembers: {diary:?}"
    );

    eventually("a bookmark came", async || {
        Ok((count(&diary.bookmarks) > 0).then_some(()))
    })
    .await?;

    // More than the hub remembers of a kind, while nobody can follow.
    wire.cut();
    let large = json!({ "data": { "k": "x".repeat(1_000_000) } });
    send(&direct, "PATCH", &format!("{MAPS}/m0000"), large).await?;
    for n in 0..72 {
        // A little is changed, and all of it superseded.
        let little = json!({ "data": { "n": n.to_string() } });
        send(&direct, "PATCH", &format!("{MAPS}/m0000"), little).await?;
    }
    wire.resume();
    agree("after more than the hub remembers").await?;
    ensure!(
        count(&diary.expired) > 0,
        "it was told that its revision is gone: {diary:?}"
    );
    churn(&direct, 6).await?;
    agree("in the end").await?;
    println!("{diary:?}");
    running.abort();
    mirrored.abort();
    Ok(())
}
