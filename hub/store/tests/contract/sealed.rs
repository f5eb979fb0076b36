//! Works with Secrets among their manifests: sealed in the database, plain for everybody who may read them.

use std::sync::Arc;

use bytes::Bytes;
use koinon_store::{
    Change, Digest, Draft, FileKeys, Key, Revision, Sealer, Store, StoreConfig,
    testing::{Inspector, TestPostgres},
};
use uuid::Uuid;

use crate::support::{Replica, eventually};

const WORKS: &str = "manifestworks.work.open-cluster-management.io";
const ONE: &str = "one AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
const TWO: &str = "two AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";

/// Rows of both tables, and bodies, in which the canary is to be seen.
const CLEAR: &str = "(select metadata a, body b, status c from objects union all select metadata, body, status from changes
                      union all select null, content, null from bodies) x
                     where position('canary'::bytea in a) > 0 or position('canary'::bytea in b) > 0 or position('canary'::bytea in c) > 0";
const OLD_KEY: &str = "(select metadata a, body b, status c from objects union all select metadata, body, status from changes
                        union all select null, content, null from bodies) x
                       where position('\\000\\003one'::bytea in a) > 0 or position('\\000\\003one'::bytea in b) > 0
                             or position('\\000\\003one'::bytea in c) > 0";

fn config(postgres: &TestPostgres, keys: &str) -> StoreConfig {
    let mut config = postgres.config();
    if !keys.is_empty() {
        config.sealer = Sealer::new(Arc::new(FileKeys::parse(keys).unwrap()));
    }
    config
}

fn key(name: &str) -> Key {
    Key::new(WORKS, "east", name)
}

/// A work of one manifest with a text.
fn work(name: &str, kind: &str, text: &str) -> Draft {
    let body = format!(
        r#"{{"spec":{{"workload":{{"manifests":[{{"data":{{"p":"{text}"}},"kind":"{kind}"}}]}}}}}}"#
    );
    let metadata = format!(r#"{{"annotations":{{"repeats":"{text}"}},"name":"{name}"}}"#);
    Draft {
        key: key(name),
        uid: Uuid::new_v4(),
        generation: 1,
        labels: Arc::default(),
        metadata: metadata.into(),
        body: body.into(),
        status: Bytes::new(),
    }
}

fn large() -> String {
    "canary".repeat(1000)
}

async fn write(store: &Store, draft: Draft) -> Revision {
    let written = store.write(Change::Create(draft)).await.unwrap();
    written.revision
}

/// What the store shows is what was written, under the digests that agents know.
fn intact(store: &Store) {
    for (name, kind, text) in [
        ("small", "Secret", "canary".to_owned()),
        ("large-1", "Secret", large()),
        ("large-2", "Secret", large()),
        ("plain", "ConfigMap", "visible".to_owned()),
        ("plain-large", "ConfigMap", "visible".repeat(1000)),
    ] {
        let stored = store
            .get(&key(name))
            .unwrap_or_else(|| panic!("{name} is there"));
        let wanted = work(name, kind, &text);
        assert_eq!(
            (&stored.body, &stored.metadata),
            (&wanted.body, &wanted.metadata),
            "{name}"
        );
        assert_eq!(stored.digest, Digest::of(&stored.body), "{name}");
    }
    assert_eq!(store.get(&key("small")).unwrap().status, r#"{"said":"x"}"#);
}

async fn reports(store: &Store, text: &str) {
    let stored = store.get(&key("small")).unwrap();
    let change = Change::Status {
        key: key("small"),
        uid: stored.uid,
        status: Bytes::from(format!(r#"{{"said":"{text}"}}"#)),
        expected: None,
    };
    store.write(change).await.unwrap();
}

async fn all_sealed(database: &mut Inspector) {
    eventually("nothing secret is in the clear", async || {
        database.count(CLEAR).await == 0
    })
    .await;
}

#[tokio::test]
async fn works_with_secrets_are_sealed_and_nobody_else_notices() {
    let postgres = TestPostgres::start().await.unwrap();
    let mut database = postgres.connect().await;
    // From before there was a key.
    let replica = Replica::open(config(&postgres, "")).await;
    let store = &replica.store;
    let oldest = write(store, work("small", "Secret", "canary")).await;
    write(store, work("large-1", "Secret", &large())).await;
    write(store, work("plain", "ConfigMap", "visible")).await;
    write(
        store,
        work("plain-large", "ConfigMap", &"visible".repeat(1000)),
    )
    .await;
    reports(store, "x").await;
    replica.close().await;
    assert!(database.count(CLEAR).await > 0, "it is looked at rightly");

    let first = Replica::open(config(&postgres, ONE)).await;
    let second = Replica::open(config(&postgres, ONE)).await;
    all_sealed(&mut database).await;
    write(&first.store, work("large-2", "Secret", &large())).await;
    let head = first.store.revision();
    eventually("the other replica knows", async || {
        second.store.revision() >= head
    })
    .await;
    for store in [&first.store, &second.store] {
        intact(store);
    }
    assert_eq!(database.count(CLEAR).await, 0);
    let plain = "objects where name = 'plain' and position('visible'::bytea in body) > 0";
    assert_eq!(
        database.count(plain).await,
        1,
        "what is not secret is not sealed"
    );
    first.close().await;
    second.close().await;

    // A new key; the old one is not needed afterwards.
    for keys in [format!("{ONE}{TWO}"), format!("{TWO}{ONE}"), TWO.to_owned()] {
        let replica = Replica::open(config(&postgres, &keys)).await;
        intact(&replica.store);
        let mut watch = replica.store.watch(WORKS, Revision(0)).unwrap();
        let seen = watch.next().await.unwrap().events;
        let texts: Vec<_> = seen
            .iter()
            .map(|event| event.latest().body.clone())
            .collect();
        assert!(
            texts.contains(&work("x", "Secret", "canary").body),
            "the past is plain"
        );
        let past = replica.store.recall(&[WORKS], oldest).await.unwrap();
        assert_eq!(past.objects[0].body, work("x", "Secret", "canary").body);
        reports(&replica.store, &keys.len().to_string()).await;
        reports(&replica.store, "x").await;
        if keys.starts_with(TWO) {
            eventually("all is sealed with the new key", async || {
                database.count(OLD_KEY).await == 0
            })
            .await;
        }
        replica.close().await;
        assert_eq!(database.count(CLEAR).await, 0);
    }
    assert_eq!(
        database.count(OLD_KEY).await,
        0,
        "nothing needs the old key"
    );
    // Of the large bodies few are left: the plain one, and one for each process that sealed.
    let bodies = database.count("bodies").await;
    assert!((2..=4).contains(&bodies), "{bodies} bodies");

    // Without the key nothing is served, and nothing is changed.
    let refused = Store::open(config(&postgres, ONE))
        .await
        .map(drop)
        .unwrap_err();
    let mut why = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(&refused);
    while let Some(error) = cause {
        why.push_str(&error.to_string());
        cause = error.source();
    }
    assert!(why.contains("sealed with the key \"two\""), "{why}");
}

/// What a hub without a key wrote before it was given one is found again, also after the first time.
#[tokio::test]
async fn a_work_that_was_written_without_a_key_meanwhile_is_found() {
    let postgres = TestPostgres::start().await.unwrap();
    let mut database = postgres.connect().await;
    let replica = Replica::open(config(&postgres, ONE)).await;
    replica.close().await;
    // As it is a minute after a start.
    database
        .execute("update registry set works_sealed = true")
        .await;
    let replica = Replica::open(config(&postgres, "")).await;
    write(&replica.store, work("small", "Secret", "canary")).await;
    replica.close().await;
    assert_eq!(database.count("registry where works_sealed").await, 0);
    let replica = Replica::open(config(&postgres, ONE)).await;
    all_sealed(&mut database).await;
    replica.close().await;
}

/// Reports a status of a work; returns the revision that the work has then.
async fn says(store: &Store, name: &str, text: &str) -> Revision {
    let stored = store.get(&key(name)).unwrap();
    let change = Change::Status {
        key: key(name),
        uid: stored.uid,
        status: Bytes::from(format!(r#"{{"said":"{text}"}}"#)),
        expected: None,
    };
    store.write(change).await.unwrap().revision
}

fn said(text: &str) -> String {
    format!(r#"{{"said":"{text}"}}"#)
}

/// A feedback rule may report a value of anything.
#[tokio::test]
async fn statuses_of_works_are_sealed_and_repeated_ones_write_nothing() {
    let postgres = TestPostgres::start().await.unwrap();
    let mut database = postgres.connect().await;
    let replica = Replica::open(config(&postgres, "")).await;
    let plain = work("plain", "ConfigMap", "visible");
    let oldest = write(&replica.store, plain.clone()).await;
    says(&replica.store, "plain", "canary-1").await;
    says(&replica.store, "plain", "canary-2").await;
    replica.close().await;
    assert!(database.count(CLEAR).await > 0, "it is looked at rightly");

    // What was in the clear is read, and sealed, also in the log; nobody sees a change.
    let first = Replica::open(config(&postgres, ONE)).await;
    let second = Replica::open(config(&postgres, ONE)).await;
    all_sealed(&mut database).await;
    let changes = database.count("changes").await;
    assert_eq!(
        first.store.get(&key("plain")).unwrap().status,
        said("canary-2")
    );
    let body = "objects where position('visible'::bytea in body) > 0";
    assert_eq!(
        database.count(body).await,
        1,
        "its manifests are not secret"
    );

    // Whoever repeats it, nothing is written; what is new is, and everybody sees it in the clear.
    for replica in [&first, &second] {
        let before = replica.store.get(&key("plain")).unwrap().revision;
        assert_eq!(says(&replica.store, "plain", "canary-2").await, before);
    }
    assert_eq!(
        database.count("changes").await,
        changes,
        "nothing was written"
    );
    let newest = says(&second.store, "plain", "canary-3").await;
    let seen = || first.store.get(&key("plain")).unwrap();
    eventually("the other replica sees it", async || {
        seen().revision == newest
    })
    .await;
    assert_eq!(seen().status, said("canary-3"));
    assert_eq!(says(&first.store, "plain", "canary-3").await, newest);
    // Also what comes with a draft.
    let draft = Draft {
        status: said("canary-4").into(),
        ..work("other", "ConfigMap", "visible")
    };
    write(&first.store, draft).await;
    assert_eq!(database.count(CLEAR).await, 0);
    first.close().await;
    second.close().await;

    // After a start the past is there, and it still is the same status.
    let replica = Replica::open(config(&postgres, ONE)).await;
    assert_eq!(says(&replica.store, "plain", "canary-3").await, newest);
    let mut watch = replica.store.watch(WORKS, Revision(0)).unwrap();
    let events = watch.next().await.unwrap().events;
    let statuses: Vec<_> = events
        .iter()
        .map(|event| event.latest().status.clone())
        .collect();
    let wanted = ["", "canary-1", "canary-2", "canary-3", "canary-4"];
    let wanted = wanted.map(|text| {
        if text.is_empty() {
            String::new()
        } else {
            said(text)
        }
    });
    assert_eq!(statuses, wanted);
    let past = replica
        .store
        .recall(&[WORKS], oldest.max(Revision(newest.0 - 1)))
        .await
        .unwrap();
    assert_eq!(past.objects[0].status, said("canary-2"));
    replica.close().await;
}

/// Who can write to the database cannot give a work the status of another one, nor one of his own making unnoticed.
#[tokio::test]
async fn a_status_that_was_moved_or_altered_is_not_taken() {
    let postgres = TestPostgres::start().await.unwrap();
    let mut database = postgres.connect().await;
    let replica = Replica::open(config(&postgres, ONE)).await;
    for name in ["a", "b"] {
        write(&replica.store, work(name, "ConfigMap", "visible")).await;
        says(&replica.store, name, name).await;
    }
    replica.close().await;
    let refused = async || {
        let error = Store::open(config(&postgres, ONE))
            .await
            .map(drop)
            .unwrap_err();
        format!("{:?}", error)
    };
    let keep = "create table kept as select name, status from objects";
    let back = "update objects o set status = k.status from kept k where k.name = o.name";
    database.execute(keep).await;
    for spoil in [
        "update objects set status = (select status from kept where name = 'b') where name = 'a'",
        "update objects set status = set_byte(status, length(status) - 1, get_byte(status, length(status) - 1) # 1)
         where name = 'a'",
        "update objects set status = substring(status from 1 for 40) where name = 'a'",
    ] {
        database.execute(spoil).await;
        let why = refused().await;
        assert!(why.contains("seal is broken"), "{why}");
        database.execute(back).await;
    }
    // In the log it is as if it were trimmed.
    let spoil = "update changes set status = (select status from kept where name = 'b') where name = 'a' and kind = 3";
    database.execute(spoil).await;
    let replica = Replica::open(config(&postgres, ONE)).await;
    assert_eq!(replica.store.get(&key("a")).unwrap().status, said("a"));
    replica.close().await;
}
