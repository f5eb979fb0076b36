//! Secrets at rest: what lies in the database is of no use without the key.

use std::path::Path;

use anyhow::ensure;
use koinon_tests::{Hub, Postgres, eventually};
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
