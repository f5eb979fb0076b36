//! Secrets at rest: what lies in the database is of no use without the key.

use std::path::Path;

use anyhow::ensure;
use koinon_tests::{Hub, League, Postgres, eventually};
use sqlx::Connection;

const SECRET: &str = "correct-horse-battery-staple";
const ONE: &str = "first-key AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
const TWO: &str = "second-key AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";

/// Everything that is in the database, as text.
async fn dump(url: &str) -> anyhow::Result<String> {
    let mut database = sqlx::PgConnection::connect(url).await?;
    let mut all = String::new();
    for (table, column) in [
        ("objects", "metadata"),
        ("objects", "body"),
        ("changes", "metadata"),
        ("changes", "body"),
        ("bodies", "content"),
        ("authorities", "private_key"),
        ("token_keys", "private_key"),
    ] {
        let query = format!(
            "select coalesce(string_agg(encode({column}, 'escape'), ' '), '') from {table}"
        );
        let text: String = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .fetch_one(&mut database)
            .await?;
        all.push_str(&text);
    }
    Ok(all)
}

async fn value(hub: &Hub) -> anyhow::Result<String> {
    let path = ["get", "secret", "hidden", "-o", "jsonpath={.data.p}"];
    hub.kubectl().run(&path).await
}

#[tokio::test]
async fn a_dump_shows_no_secret_and_keys_can_be_changed() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let postgres = Postgres::start().await?;
    let keys = dir.path().join("keys");
    let write = |text: &str| std::fs::write(&keys, text);
    let database = format!("--database-url={}", postgres.url());
    let file = format!("--secrets-key-file={}", keys.display());
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, SECRET);
    // A registry from before, with everything in the clear.
    let mut hub = Hub::start_with(dir.path(), &[&database, "--secrets-key-file=none"]).await?;
    let manifest = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: hidden}}\nstringData: {{p: {SECRET}}}\n"
    );
    hub.kubectl().apply(&manifest).await?;
    ensure!(
        dump(&postgres.url()).await?.contains(&encoded),
        "the dump is looked at rightly"
    );
    hub.stop().await?;

    write(ONE)?;
    let mut hub = with_keys(dir.path(), &database, &file).await?;
    ensure!(
        value(&hub).await? == encoded,
        "what was in the clear is still read"
    );
    // Applied again, also the annotation with what was applied is written anew.
    hub.kubectl()
        .apply(&manifest.replace("p: ", "q: x, p: "))
        .await?;
    let text = dump(&postgres.url()).await?;
    ensure!(
        !text.contains(&encoded) && !text.contains(SECRET),
        "a dump shows the secret"
    );
    ensure!(text.contains("koinon-seal-1"), "nothing is sealed");

    // A new key that opens, then seals, then is the only one.
    for text in [format!("{ONE}{TWO}"), format!("{TWO}{ONE}"), TWO.to_owned()] {
        hub.stop().await?;
        write(&text)?;
        hub.restart().await?;
        ensure!(
            value(&hub).await? == encoded,
            "the secret is read with {text:?}"
        );
    }
    let text = dump(&postgres.url()).await?;
    ensure!(
        !text.contains("first-key"),
        "something is sealed with the old key"
    );
    // Without the right key the hub does not start, and says why.
    hub.stop().await?;
    write(ONE)?;
    hub.launch()?;
    let log = hub.log().to_owned();
    eventually("the hub says which key is missing", async || {
        let text = std::fs::read_to_string(&log)?;
        let says = text.contains("sealed with the key") && text.contains("second-key");
        Ok(says.then_some(()))
    })
    .await?;
    write(TWO)?;
    hub.restart().await?;
    ensure!(value(&hub).await? == encoded, "nothing was lost by that");
    Ok(())
}

async fn with_keys(dir: &Path, database: &str, file: &str) -> anyhow::Result<Hub> {
    Hub::start_with(dir, &[database, file]).await
}

/// Without a word on it nothing secret gets into somebody's database in the clear.
#[tokio::test]
async fn without_a_key_no_secret_is_taken_and_nothing_else_is_refused() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let postgres = Postgres::start().await?;
    let database = format!("--database-url={}", postgres.url());
    let hub = Hub::start_with(dir.path(), &[&database]).await?;
    let create = [
        "create",
        "secret",
        "generic",
        "hidden",
        "--from-literal=p=x",
    ];
    let words = hub.kubectl().refused(&create, "").await?;
    ensure!(
        words.contains("this hub has no key to seal it with (--secrets-key-file FILE)"),
        "{words}"
    );
    hub.kubectl()
        .run(&["create", "configmap", "plain", "--from-literal=p=x"])
        .await?;
    hub.kubectl().run(&["get", "secrets"]).await?;
    Ok(())
}

/// The embedded registry seals without being told, and what it made itself is all that it needs.
#[tokio::test]
async fn an_embedded_registry_has_a_key_of_its_own() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut hub = Hub::start(dir.path()).await?;
    let create = [
        "create",
        "secret",
        "generic",
        "hidden",
        "--from-literal=p=x",
    ];
    hub.kubectl().run(&create).await?;
    let key = dir.path().join("data/secrets.key");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&key)?);
    ensure!(mode & 0o777 == 0o600, "the key is for its owner: {mode:o}");
    hub.stop().await?;
    hub.restart().await?;
    ensure!(value(&hub).await? == "eA==", "the secret is there");
    // The key gone: the hub does not go on as if nothing had been there, and with the key back all is well.
    hub.stop().await?;
    let away = dir.path().join("away");
    std::fs::rename(&key, &away)?;
    hub.launch()?;
    let log = hub.log().to_owned();
    eventually("the hub says which key is missing", async || {
        let text = std::fs::read_to_string(&log)?;
        Ok(text
            .contains("put it back there, nothing is lost")
            .then_some(()))
    })
    .await?;
    hub.kill();
    std::fs::rename(&away, &key)?;
    hub.restart().await?;
    ensure!(value(&hub).await? == "eA==", "nothing was lost by that");
    Ok(())
}

/// A work's Secret reaches its cluster, and is in no dump; nor is the set's from which the work was made.
#[tokio::test]
async fn a_secret_in_a_work_reaches_its_cluster_and_no_dump() -> anyhow::Result<()> {
    let postgres = Postgres::start().await?;
    let dir = tempfile::tempdir()?;
    let keys = dir.path().join("keys");
    std::fs::write(&keys, ONE)?;
    let mut league = League::start()
        .hub_flag(format!("--database-url={}", postgres.url()))
        .hub_flag(format!("--secrets-key-file={}", keys.display()))
        .clusters(["east"])
        .await?;
    let kubectl = league.kubectl();
    let work = |text: &str| {
        format!(
            "
apiVersion: work.open-cluster-management.io/v1
kind: ManifestWork
metadata: {{name: small, namespace: east}}
spec:
  workload:
    manifests:
    - {{apiVersion: v1, kind: Secret, metadata: {{name: small, namespace: default}}, stringData: {{p: {text}}}}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: apps}}
---
apiVersion: cluster.open-cluster-management.io/v1beta2
kind: ManagedClusterSetBinding
metadata: {{name: default, namespace: apps}}
spec: {{clusterSet: default}}
---
apiVersion: cluster.open-cluster-management.io/v1beta1
kind: Placement
metadata: {{name: all, namespace: apps}}
spec: {{}}
---
apiVersion: work.open-cluster-management.io/v1alpha1
kind: ManifestWorkReplicaSet
metadata: {{name: large, namespace: apps}}
spec:
  placementRefs: [{{name: all}}]
  manifestWorkTemplate:
    workload:
      manifests:
      - {{apiVersion: v1, kind: Secret, metadata: {{name: large, namespace: default}}, stringData: {{p: {text}, filler: {filler}}}}}
",
            filler = "y".repeat(4000),
        )
    };
    let has = async |league: &League, text: &str| {
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
        for name in ["small", "large"] {
            let member = league.member_kubectl("east");
            let wanted = &encoded;
            eventually("the cluster has the secret", async || {
                let path = [
                    "get",
                    "secret",
                    name,
                    "-n",
                    "default",
                    "-o",
                    "jsonpath={.data.p}",
                ];
                Ok((member.run(&path).await? == *wanted).then_some(()))
            })
            .await?;
        }
        let dump = dump(&postgres.url()).await?;
        ensure!(
            !dump.contains(text) && !dump.contains(&encoded),
            "a dump shows the secret"
        );
        anyhow::Ok(())
    };
    kubectl.apply(&work(SECRET)).await?;
    has(&league, SECRET).await?;

    // Another key, another process; the agent does not notice, and what is written then arrives as well.
    for text in [format!("{ONE}{TWO}"), format!("{TWO}{ONE}"), TWO.to_owned()] {
        league.hub.stop().await?;
        std::fs::write(&keys, text)?;
        league.hub.restart().await?;
        league.available("east", "True").await?;
    }
    let text = dump(&postgres.url()).await?;
    ensure!(!text.contains("first-key") && text.contains("second-key"));
    let next = format!("next-{SECRET}");
    league.kubectl().apply(&work(&next)).await?;
    has(&league, &next).await?;
    ensure!(!dump(&postgres.url()).await?.contains(SECRET));
    league.finish();
    Ok(())
}
