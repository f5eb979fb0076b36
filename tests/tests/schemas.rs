//! Server-side apply against the original: random writes to objects of random schemas go to a server that has their CRDs and
//! to a hub that has their kinds; after each, object, owners and refusals must be the same.
//!
//! `APPLY_SEED` chooses the stories, `APPLY_STORIES` how many of each kind. A story that is told differently is made smaller
//! as long as it is, and printed.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Request;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use koinon_hub::{
    auth::MASTERS,
    registry::{Registry, Strategy},
    resources::{self, Settings},
    rest::{self, Api},
    tls::{Certificate, Peer},
};
use koinon_machinery::ResourceInfo;
use koinon_store::{Store, testing::TestPostgres};
use koinon_tests::{
    Member,
    conformance::{Answer, Server, Story, Thing, normal, shape::Shape, story::WRITES},
    eventually,
    tools::kubernetes_minor,
};
use kube::{Client, client::Body};
use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Kinds that stories are told of, the first one of everything.
const THINGS: usize = 12;
/// Stories that are told at a time.
const AT_A_TIME: usize = 4;
/// Of stories that are told differently, so many are made smaller and printed.
const SHOWN: usize = 3;
/// How often a story is told again to make it smaller.
const RETELLINGS: usize = 300;

/// A kind that only its CRD says anything about.
#[derive(Debug)]
struct Plain(ResourceInfo);

impl Strategy for Plain {
    fn info(&self) -> ResourceInfo {
        self.0.clone()
    }
}

/// A hub with more kinds than it comes with, without sockets.
struct Hub {
    client: Client,
    _postgres: TestPostgres,
    stop: CancellationToken,
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Hub {
    async fn start(things: &[Thing]) -> anyhow::Result<Self> {
        let postgres = TestPostgres::start().await?;
        let (store, tasks) = Store::open(postgres.config()).await?;
        let stop = CancellationToken::new();
        tokio::spawn(tasks.run(stop.clone()));
        let settings = Settings {
            ca_sha256: [7; 32],
            work_limit: 1 << 20,
            takes_secrets: true,
        };
        let mut more: Vec<Box<dyn Strategy>> = Vec::new();
        for thing in things {
            let crd: CustomResourceDefinition = serde_json::from_value(thing.definition())?;
            more.push(Box::new(Plain(ResourceInfo::from_crd(&crd)?)));
        }
        let registry = Registry::new(store, resources::all(&settings).and(more));
        let seeded = registry.seed().await;
        seeded.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let router = rest::router(Api::new(registry, stop.clone()));
        let peer = Peer {
            address: ([127, 0, 0, 1], 1).into(),
            certificate: Some(Certificate {
                common_name: "koinon-admin".to_owned(),
                organizations: vec![MASTERS.to_owned()],
                agent: None,
                serial: vec![1],
                not_after: i64::MAX,
            }),
        };
        let admin = router.map_request(move |mut request: Request<Body>| {
            request.extensions_mut().insert(peer.clone());
            request
        });
        Ok(Self {
            client: Client::new(admin, "default"),
            _postgres: postgres,
            stop,
        })
    }
}

/// What a replace names as the revision of an object that could not be made.
fn known() -> BTreeMap<String, String> {
    BTreeMap::from([("$rv".to_owned(), "1".to_owned())])
}

/// How the two told a story.
enum Told {
    Alike,
    /// Alike up to the write of this number; what comes then cannot be compared with that version.
    Until(usize),
    /// The write of this number was answered differently, and how.
    Differently(usize, String),
}

/// What the hub is compared with.
struct Reference {
    kube: Server,
    minor: u32,
}

impl Reference {
    /// Gives it the kinds, and waits until their objects can be written.
    async fn new(client: Client, minor: u32, things: &[Thing]) -> anyhow::Result<Self> {
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        for thing in things {
            let definition = thing.definition().to_string();
            let request = Request::post(path)
                .header("content-type", "application/json")
                .body(definition.clone().into_bytes())?;
            let made = client.request_text(request).await;
            made.with_context(|| format!("the CRD {definition}"))?;
        }
        let kube = Server {
            name: "kube",
            client,
        };
        let this = Self { kube, minor };
        for (at, thing) in things.iter().enumerate() {
            let first = Story::random(thing, &mut StdRng::seed_from_u64(0), false).until(0);
            eventually("the kinds are served", async || {
                let answer = this.kube.tell(&first.row(1_000_000 + at), known()).await?;
                ensure!(answer[0].code != 404, "{answer:?}");
                Ok(Some(()))
            })
            .await?;
        }
        Ok(this)
    }

    /// Tells a story to both.
    async fn tell(&self, hub: &Server, story: &Story, at: usize) -> anyhow::Result<Told> {
        let row = story.row(at);
        let (theirs, ours) =
            tokio::try_join!(self.kube.tell(&row, known()), hub.tell(&row, known()))?;
        let mut before = Value::Null;
        let mut ordered = true;
        for (at, (theirs, ours)) in theirs.iter().zip(&ours).enumerate() {
            let (mut theirs, mut ours) = (theirs.clone(), ours.clone());
            let spec = |answer: &Answer| answer.body.first().map(|object| object["spec"].clone());
            // Another order of a list is a change, and which order a merge makes is a matter of versions.
            ordered &= spec(&theirs) == spec(&ours);
            if !ordered && self.minor < 27 {
                for answer in [&mut theirs, &mut ours] {
                    let object = answer.body.first_mut();
                    let metadata = object.and_then(|object| object.get_mut("metadata"));
                    if let Some(metadata) = metadata.and_then(Value::as_object_mut) {
                        metadata.remove("generation");
                    }
                }
            }
            let (theirs, ours) = (&theirs, &ours);
            let differences = self.compare(theirs, ours);
            if !differences.is_empty() {
                let how = format!("{}\n    before: {before}", differences.join("\n    "));
                return Ok(Told::Differently(at, how));
            }
            // What a merge empties becomes null, which old versions refuse and newer ones, as the hub, drop.
            if ours.code < 300 && theirs.code != ours.code {
                return Ok(Told::Until(at));
            }
            // Until structured-merge-diff 4.1.1 (its issue 191) who owned a record or a list and nothing in it was taken for the owner
            // of all that is in it.
            let object = theirs.body.first().unwrap_or(&Value::Null);
            if self.minor < 22 && story.has_hollow_owner(object) {
                return Ok(Told::Until(at));
            }
            if theirs.code < 300 {
                before = object.clone();
            }
        }
        Ok(Told::Alike)
    }

    fn compare(&self, theirs: &Answer, ours: &Answer) -> Vec<String> {
        let message = |answer: &Answer| {
            let said = answer
                .body
                .first()
                .and_then(|body| body["message"].as_str());
            said.unwrap_or_default().to_owned()
        };
        if theirs.code != ours.code {
            let why = message(theirs);
            let documented = theirs.code == 500 && (400..500).contains(&ours.code)
                || self.minor < 25 && theirs.code == 422 && why.contains("\"null\"");
            if documented {
                return Vec::new();
            }
            let (theirs, ours) = (brief(theirs), brief(ours));
            return vec![format!("kube {theirs}\n    hub {ours}")];
        }
        let (theirs, ours) = (
            normal::answer(theirs, self.minor),
            normal::answer(ours, self.minor),
        );
        let first = |answer: Answer| answer.body.into_iter().next().unwrap_or_default();
        let (theirs, ours) = (&first(theirs), &first(ours));
        if theirs["kind"] == "Status" && ours["kind"] == "Status" {
            let by = |named| normal::differences(&refusal(theirs, named), &refusal(ours, named));
            // Until 1.28 fields in conflict that have most of their path in common could go by each other's names
            // (kubernetes issue 119141).
            return if self.minor < 28 && by(false).is_empty() {
                Vec::new()
            } else {
                by(true)
            };
        }
        normal::differences(&shown(theirs, self.minor), &shown(ours, self.minor))
    }
}

fn brief(answer: &Answer) -> String {
    let text = answer
        .body
        .first()
        .map(Value::to_string)
        .unwrap_or_default();
    format!(
        "{} {}",
        answer.code,
        text.chars().take(600).collect::<String>()
    )
}

/// What a refusal comes to: its reason, and of conflicts which and with whom. `named` is whether the names of their fields count.
fn refusal(status: &Value, named: bool) -> Value {
    let causes = status["details"]["causes"].as_array();
    let mut conflicts: Vec<String> = causes
        .into_iter()
        .flatten()
        .filter(|cause| cause["reason"] == "FieldManagerConflict")
        .map(|cause| match named {
            true => format!("{}: {}", cause["field"], cause["message"]),
            false => cause["message"].to_string(),
        })
        .collect();
    conflicts.sort();
    json!({ "reason": status["reason"], "conflicts": conflicts })
}

/// What is compared of an object: all of it where the versions agree on the order of merged lists.
fn shown(object: &Value, minor: u32) -> Value {
    let mut object = object.clone();
    if minor < 27 {
        // Before, merged lists began with what was there.
        sort(&mut object["spec"]);
        sort(&mut object["status"]);
    }
    // A generation that counts is compared, for a write that changes nothing must not count.
    if let Some(finalizers) = object["metadata"]["finalizers"].as_array_mut() {
        finalizers.sort_by_key(ToString::to_string);
    }
    object
}

fn sort(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(sort),
        Value::Array(items) => {
            items.iter_mut().for_each(sort);
            items.sort_by_key(ToString::to_string);
        }
        _ => {}
    }
}

/// Tells smaller and smaller stories, as long as they are told differently.
async fn smallest(
    reference: &Reference,
    hub: &Server,
    mut story: Story,
    mut found: (usize, String),
    from: usize,
) -> anyhow::Result<String> {
    // Objects of their own, for each telling.
    let mut told = from;
    story = story.until(found.0);
    'smaller: loop {
        for less in story.smaller(reference.minor >= 22) {
            told += 1;
            if told > from + RETELLINGS {
                break 'smaller;
            }
            if let Told::Differently(at, how) = reference.tell(hub, &less, told).await? {
                story = less.until(at);
                found = (at, how);
                continue 'smaller;
            }
        }
        break;
    }
    let row = story.row(0);
    let steps: Vec<String> = row
        .steps
        .iter()
        .map(|step| {
            let body = String::from_utf8_lossy(&step.body);
            format!("{} {} {body}", step.method, step.path)
        })
        .collect();
    Ok(format!(
        "{}\n  {}\n  at the last one:\n    {}",
        story.schema(),
        steps.join("\n  "),
        found.1
    ))
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Tells stories of all kinds to a reference and to a hub.
async fn compare(client: Client, minor: u32) -> anyhow::Result<()> {
    let (seed, stories) = (setting("APPLY_SEED", 1), setting("APPLY_STORIES", 6));
    // Before 1.22 the status, untyped objects and what is empty were owned otherwise.
    let modern = minor >= 22;
    let mut random = StdRng::seed_from_u64(seed);
    let mut things = vec![Thing::new(0, Shape::everything(modern))];
    things.extend((1..THINGS).map(|at| Thing::new(at, Shape::random(&mut random, modern))));
    let reference = Reference::new(client, minor, &things).await?;
    let hub = Hub::start(&things).await?;
    let server = Server {
        name: "hub",
        client: hub.client.clone(),
    };
    let (reference, server) = (Arc::new(reference), Arc::new(server));
    let all: Vec<(usize, Story)> = things
        .iter()
        .flat_map(|thing| std::iter::repeat_n(thing, usize::try_from(stories).unwrap_or(1)))
        .map(|thing| Story::random(thing, &mut random, modern))
        .enumerate()
        .collect();
    let told: Vec<_> = stream::iter(&all)
        .map(|(at, story)| {
            let (reference, server) = (Arc::clone(&reference), Arc::clone(&server));
            async move {
                let told = reference.tell(&server, story, *at).await?;
                anyhow::Ok((story.clone(), told))
            }
        })
        .buffered(AT_A_TIME)
        .try_collect()
        .await?;
    let mut ended = Vec::new();
    let mut wrong = Vec::new();
    for (story, told) in told {
        match told {
            Told::Alike => {}
            Told::Until(at) => ended.push(at + 1),
            Told::Differently(at, how) => wrong.push((story, (at, how))),
        }
    }
    println!(
        "Kubernetes 1.{minor}: {} stories of {THINGS} kinds, {} of them up to a write that it cannot judge ({ended:?}), {} told differently",
        all.len(),
        ended.len(),
        wrong.len()
    );
    let many = wrong.len();
    let mut shown = Vec::new();
    for (nth, (story, found)) in wrong.into_iter().take(SHOWN).enumerate() {
        let from = 2_000_000 * (nth + 1);
        shown.push(smallest(&reference, &server, story, found, from).await?);
    }
    ensure!(
        shown.is_empty(),
        "APPLY_SEED={seed}, Kubernetes 1.{minor}: {many} stories differ; the first:\n{}",
        shown.join("\n")
    );
    let compared: usize = ended.iter().sum::<usize>() + (all.len() - ended.len()) * WRITES;
    ensure!(
        compared * 2 > all.len() * WRITES,
        "most stories end early: {compared} writes were compared"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_writes_are_owned_as_in_kubernetes() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let member = Member::start("kube", dir.path()).await?;
    compare(member.client().await?, kubernetes_minor()?).await
}
