//! P1, P2 and P5 at once: three replicas, writers, leaders, watchers and readers, while connections, leaders, a replica and
//! the server itself are killed. Afterwards the log says what happened, and what everybody was told has to agree with it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use koinon_store::{
    Applied, Change, Event, Mutation, Revision, Snapshot, Store, WriteError, Written,
    server::Durability, testing::TestPostgres,
};
use parking_lot::Mutex;
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{Replica, WIDGETS, delete, draft, eventually, key, replace, status};

const REPLICAS: usize = 3;
const WRITERS: usize = 4;
/// What happens between two blows, in revisions.
const CALM: i64 = 120;

/// A change as the log has it: revision, name, kind (1 create, 2 replace, 3 status, 4 delete), and the text that only this
/// change has; a deletion has none.
type Line = (i64, String, i16, String);

/// What somebody was told of a change that he asked for.
#[derive(Debug)]
struct Claim {
    name: String,
    kind: i16,
    text: String,
    /// The term of leadership that it was made in.
    epoch: Option<i64>,
    told: Told,
}

#[derive(Debug, PartialEq)]
enum Told {
    Done(i64),
    NotDone,
    Perhaps,
}

/// The place of a replica; who sits there may change.
#[derive(Clone)]
struct Seat(Arc<Mutex<(Replica, CancellationToken)>>);

impl Seat {
    fn new(replica: Replica) -> Self {
        Self(Arc::new(Mutex::new((replica, CancellationToken::new()))))
    }

    fn store(&self) -> Store {
        self.0.lock().0.store.clone()
    }

    fn gone(&self) -> CancellationToken {
        self.0.lock().1.clone()
    }

    /// Kills who sits there, and seats another.
    fn replace(&self, replica: Replica) {
        let (old, gone) =
            std::mem::replace(&mut *self.0.lock(), (replica, CancellationToken::new()));
        old.kill();
        gone.cancel();
    }
}

/// What all share.
struct Storm {
    seats: Vec<Seat>,
    over: AtomicBool,
    /// The newest revision that anybody was told of as written.
    acknowledged: AtomicI64,
    /// Where the log ends, once it does.
    end: Mutex<Option<Revision>>,
}

impl Storm {
    fn over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Asks for a change and notes what was answered.
    async fn ask(
        &self,
        seat: &Seat,
        mutation: Mutation,
        text: String,
    ) -> (Claim, Result<(), WriteError>) {
        let kind = match &mutation.change {
            Change::Create(_) => 1,
            Change::Replace { .. } => 2,
            Change::Status { .. } => 3,
            Change::Delete { .. } => 4,
        };
        let mut claim = Claim {
            name: mutation.change.key().name.to_string(),
            kind,
            text: if kind == 4 { String::new() } else { text },
            epoch: mutation.epoch.map(|epoch| epoch.0),
            told: Told::Perhaps,
        };
        let (store, gone) = (seat.store(), seat.gone());
        let Some(outcome) = gone.run_until_cancelled(store.write(mutation)).await else {
            return (claim, Ok(()));
        };
        claim.told = match &outcome {
            Ok(written) => {
                self.acknowledged
                    .fetch_max(written.revision.0, Ordering::SeqCst);
                Told::Done(written.revision.0)
            }
            Err(WriteError::Unavailable(why)) if why.applied == Applied::Maybe => Told::Perhaps,
            Err(_) => Told::NotDone,
        };
        (claim, outcome.map(drop))
    }
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// Some change of some object, from what the replica knows of it, with a text of its own.
fn some_change(store: &Store, dice: &mut Dice) -> (Change, String) {
    let (name, text) = (format!("w{}", dice.roll(12)), Uuid::new_v4().to_string());
    let change = match store.get(&key(&name)) {
        None => Change::Create(draft(&name, &text)),
        Some(stored) => {
            let known = Written {
                revision: stored.revision,
                stored,
            };
            match dice.roll(5) {
                0 => delete(&known),
                1 | 2 => status(&known, &text),
                _ => replace(&known, &text),
            }
        }
    };
    (change, text)
}

async fn writer(storm: Arc<Storm>, seat: usize, seed: u64) -> Vec<Claim> {
    let (seat, mut dice) = (storm.seats[seat].clone(), Dice(seed));
    let mut claims = Vec::new();
    while !storm.over() {
        let (change, text) = some_change(&seat.store(), &mut dice);
        let (claim, _) = storm.ask(&seat, change.into(), text).await;
        claims.push(claim);
    }
    claims
}

/// Stands for election again and again, and writes in its terms; it goes on writing when it does not lead any more.
async fn leader(storm: Arc<Storm>, seat: usize, seed: u64) -> Vec<Claim> {
    let (seat, mut dice) = (storm.seats[seat].clone(), Dice(seed));
    let mut claims = Vec::new();
    while !storm.over() {
        let (store, gone) = (seat.store(), seat.gone());
        let election = store.election(format!("seat {seed}"));
        let campaign = gone.run_until_cancelled(election.campaign());
        let Ok(Some(term)) = timeout(Duration::from_millis(500), campaign).await else {
            continue;
        };
        while !storm.over() {
            let (change, text) = some_change(&store, &mut dice);
            let epoch = Some(term.epoch());
            let (claim, outcome) = storm
                .ask(
                    &seat,
                    Mutation {
                        epoch,
                        ..change.into()
                    },
                    text,
                )
                .await;
            claims.push(claim);
            if gone.is_cancelled() || outcome == Err(WriteError::Deposed) {
                break;
            }
        }
    }
    claims
}

/// What was acknowledged before a fresh read began is in it.
async fn reader(storm: Arc<Storm>, seat: usize) -> usize {
    let mut reads = 0;
    while !storm.over() {
        let seat = &storm.seats[seat];
        let (store, gone) = (seat.store(), seat.gone());
        let before = storm.acknowledged.load(Ordering::SeqCst);
        if let Some(Ok(revision)) = gone.run_until_cancelled(store.fresh()).await {
            assert!(
                revision.0 >= before,
                "{before} was acknowledged, and a later read was of {revision}"
            );
            assert!(store.revision() >= revision);
            reads += 1;
        }
        tokio::task::yield_now().await;
    }
    reads
}

fn line(event: &Event) -> Line {
    let text = |bytes: &[u8]| {
        let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        let text = value["spec"]["text"].as_str().or(value["text"].as_str());
        text.unwrap().to_owned()
    };
    let name = event.latest().key.name.to_string();
    let (kind, text) = match (&event.before, &event.after) {
        (None, Some(after)) => (1, text(&after.body)),
        (Some(before), Some(after)) if before.body == after.body => (3, text(&after.status)),
        (_, Some(after)) => (2, text(&after.body)),
        (_, None) => (4, String::new()),
    };
    (event.revision.0, name, kind, text)
}

/// Names, and which state of which object is there.
type State = BTreeMap<String, (Uuid, i64)>;

fn state_of(snapshot: &Snapshot) -> State {
    let entry = |stored: &Arc<koinon_store::Stored>| {
        (stored.key.name.to_string(), (stored.uid, stored.revision.0))
    };
    snapshot.iter().map(entry).collect()
}

/// Follows everything from the beginning, now at one replica and now at another as a client behind a balancer does, and
/// compares lists with what the watch has told by then. Returns its history and how many lists were compared.
async fn watcher(storm: Arc<Storm>, seed: u64) -> (Vec<Line>, usize) {
    let mut dice = Dice(seed);
    let (mut history, mut state, mut seen) = (Vec::new(), State::new(), Revision(0));
    let (mut lists, mut compared) = (Vec::<(Revision, State)>::new(), 0);
    loop {
        let seat = &storm.seats[dice.roll(REPLICAS as u64) as usize];
        let (store, gone) = (seat.store(), seat.gone());
        let watch = store.watch(WIDGETS, seen).expect("the past is remembered");
        // Sooner than a watcher goes elsewhere: else it would never hear of a revision that no event has.
        let mut watch = watch.telling_every(Duration::from_millis(50));
        for _ in 0..20 + dice.roll(60) {
            if storm.end.lock().is_some_and(|end| seen >= end) {
                return (history, compared);
            }
            if gone.is_cancelled() {
                break;
            }
            if dice.roll(4) == 0 {
                let snapshot = store.snapshot(WIDGETS);
                // One that has not got as far says nothing about what was seen elsewhere.
                if snapshot.revision() >= seen {
                    lists.push((snapshot.revision(), state_of(&snapshot)));
                }
            }
            let Ok(batch) = timeout(Duration::from_millis(200), watch.next()).await else {
                break;
            };
            let batch = batch.expect("the watcher keeps up");
            for event in &batch.events {
                assert!(
                    event.revision > seen,
                    "{} was learned of after {seen}",
                    event.revision
                );
                lists.retain(|(revision, list)| {
                    let due = *revision < event.revision;
                    if due {
                        assert_eq!(*list, state, "the list at {revision} is another state");
                        compared += 1;
                    }
                    !due
                });
                seen = event.revision;
                let name = event.latest().key.name.to_string();
                let before = event.before.as_ref();
                assert_eq!(
                    before.map(|before| (before.uid, before.revision.0)),
                    state.get(&name).copied(),
                    "{name} at {seen} follows another state than the one seen"
                );
                match &event.after {
                    Some(after) => state.insert(name, (after.uid, after.revision.0)),
                    None => state.remove(&name),
                };
                history.push(line(event));
            }
            assert!(batch.revision >= seen);
            seen = batch.revision;
        }
    }
}

/// One blow after the other, each when the writers have got on.
async fn blows(storm: &Storm, postgres: &mut TestPostgres) {
    let head = || {
        let revisions = storm.seats.iter().map(|seat| seat.store().revision().0);
        revisions.max().unwrap_or_default()
    };
    for blow in 0..10 {
        let begun = head();
        eventually("the writers get on", async || head() > begun + CALM).await;
        match blow % 5 {
            0 | 3 => {
                postgres
                    .connect()
                    .await
                    .execute(
                        "select pg_terminate_backend(pid) from pg_stat_activity
                         where application_name = 'koinon-hub' and pid <> pg_backend_pid() and random() < 0.5",
                    )
                    .await;
            }
            1 => {
                postgres
                    .connect()
                    .await
                    .execute(
                        "select pg_terminate_backend(pid) from pg_locks
                         where locktype = 'advisory' and objsubid = 2 and objid = 2",
                    )
                    .await;
            }
            2 => {
                let newcomer = Replica::open(postgres.config()).await;
                storm.seats[REPLICAS - 1].replace(newcomer);
            }
            _ => {
                postgres.kill().await;
                postgres.restart().await.unwrap();
            }
        }
    }
    let begun = head();
    eventually("the writers get on", async || head() > begun + CALM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_was_told_the_same_story_through_a_storm() {
    let mut postgres = TestPostgres::start_with(Durability::Full).await.unwrap();
    let mut seats = Vec::new();
    for _ in 0..REPLICAS {
        seats.push(Seat::new(Replica::open(postgres.config()).await));
    }
    let storm = Arc::new(Storm {
        seats,
        over: AtomicBool::new(false),
        acknowledged: AtomicI64::new(0),
        end: Mutex::new(None),
    });
    let (mut asking, mut reading, mut watching) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    for seat in 0..REPLICAS {
        for i in 0..WRITERS {
            asking.spawn(writer(storm.clone(), seat, (seat * WRITERS + i) as u64));
        }
        asking.spawn(leader(storm.clone(), seat, 100 + seat as u64));
        reading.spawn(reader(storm.clone(), seat));
        for i in 0..2 {
            watching.spawn(watcher(storm.clone(), (200 + 2 * seat + i) as u64));
        }
    }
    blows(&storm, &mut postgres).await;
    storm.over.store(true, Ordering::Relaxed);
    let claims: Vec<Claim> = asking.join_all().await.into_iter().flatten().collect();
    let reads = reading.join_all().await;
    for seat in &storm.seats {
        eventually("every replica has caught up", async || {
            seat.store().fresh().await.is_ok()
        })
        .await;
    }
    // The last revision is one that no event has, as after a batch whose last write was refused.
    let mut inspector = postgres.connect().await;
    inspector.execute("select begin_lineage()").await;
    *storm.end.lock() = Some(storm.seats[0].store().fresh().await.unwrap());

    let log = inspector.log_texts().await;
    for (history, compared) in watching.join_all().await {
        assert_eq!(history, log);
        assert!(compared > 0, "no list was compared");
    }
    assert!(reads.iter().all(|reads| *reads > 0), "{reads:?}");
    agree_with(&log, &claims);

    let mut states: Vec<State> = Vec::new();
    for seat in &storm.seats {
        seat.store().fresh().await.unwrap();
        states.push(state_of(&seat.store().snapshot(WIDGETS)));
    }
    let newcomer = Replica::open(postgres.config()).await;
    states.push(state_of(&newcomer.store.snapshot(WIDGETS)));
    assert!(states.windows(2).all(|pair| pair[0] == pair[1]));
    newcomer.close().await;
}

/// What was acknowledged is in the log as it was acknowledged, what was refused is not, and terms do not overlap.
fn agree_with(log: &[Line], claims: &[Claim]) {
    let lines: HashMap<i64, &Line> = log.iter().map(|line| (line.0, line)).collect();
    let mut texts: HashMap<&str, usize> = HashMap::new();
    for (_, _, _, text) in log.iter().filter(|line| !line.3.is_empty()) {
        *texts.entry(text).or_default() += 1;
    }
    assert!(texts.values().all(|count| *count == 1), "written twice");
    // What the log has was told to somebody, or somebody was told that nobody knows; each claim accounts for one line.
    let mut told: HashSet<i64> = HashSet::new();
    let mut doubts: HashMap<(&str, i16, &str), usize> = HashMap::new();
    for claim in claims {
        match claim.told {
            Told::Done(revision) => _ = told.insert(revision),
            Told::Perhaps => {
                *doubts
                    .entry((&claim.name, claim.kind, &claim.text))
                    .or_default() += 1
            }
            Told::NotDone => {}
        }
    }
    for line in log.iter().filter(|line| !told.contains(&line.0)) {
        let doubt = doubts.get_mut(&(line.1.as_str(), line.2, line.3.as_str()));
        let doubt = doubt.filter(|left| **left > 0);
        *doubt.unwrap_or_else(|| panic!("nobody was told of {line:?}")) -= 1;
    }
    let mut terms: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    let (mut done, mut perhaps) = (0, 0);
    for claim in claims {
        match claim.told {
            Told::Done(revision) => {
                let line = lines.get(&revision);
                let line = line.unwrap_or_else(|| panic!("{claim:?} is not in the log"));
                assert_eq!(
                    (&line.1, line.2, &line.3),
                    (&claim.name, claim.kind, &claim.text)
                );
                if let Some(epoch) = claim.epoch {
                    let (first, last) = terms.entry(epoch).or_insert((revision, revision));
                    (*first, *last) = (revision.min(*first), revision.max(*last));
                }
                done += 1;
            }
            Told::NotDone => assert!(
                !texts.contains_key(claim.text.as_str()),
                "{claim:?} is in the log"
            ),
            Told::Perhaps => perhaps += 1,
        }
    }
    assert!(done > 500, "{done} writes are no storm");
    assert!(perhaps > 0, "no blow hit a batch in flight");
    assert!(terms.len() > 1, "nobody was deposed");
    let terms: Vec<_> = terms.values().collect();
    assert!(
        terms.windows(2).all(|pair| pair[0].1 < pair[1].0),
        "terms overlap: {terms:?}"
    );
}
