//! Postgres goes away and comes back: nobody is lied to, nothing is lost.

use http::header;
use koinon_store::testing::impatient;
use serde_json::json;

use crate::support::{CLUSTERS, Hub, PATIENCE, cluster};

/// P2, and design §3: writes fail with an error that says so, cached reads go on, everything recovers by itself.
#[tokio::test]
async fn without_its_database_the_hub_says_so_and_serves_what_it_knows() {
    let mut hub = Hub::start_with(impatient).await;
    hub.create(CLUSTERS, &cluster("east")).await.ok();
    hub.postgres.kill().await;

    // Whether the first was still written is not known, of the second it is.
    let write = hub.create(CLUSTERS, &cluster("west")).await;
    assert!(!write.headers.contains_key(header::RETRY_AFTER));
    let message = write.refusal(504, "Timeout");
    assert!(message.starts_with("Timeout: the registry"), "{message}");
    let write = hub.create(CLUSTERS, &cluster("west")).await;
    assert!(write.headers.contains_key(header::RETRY_AFTER));
    let message = write.refusal(503, "ServiceUnavailable");
    assert!(message.starts_with("the registry"), "{message}");
    hub.get(&format!("{CLUSTERS}/east"))
        .await
        .refusal(503, "ServiceUnavailable");
    hub.merge(
        &format!("{CLUSTERS}/east"),
        &json!({ "metadata": { "labels": { "a": "b" } } }),
    )
    .await
    .refusal(503, "ServiceUnavailable");
    let ready = hub.get("/readyz").await;
    assert_eq!(ready.code, 503);
    let told = ready.body.as_str().unwrap();
    assert!(
        told.contains("[-]registry failed: reason withheld\n"),
        "{told}"
    );
    assert!(told.ends_with("readyz check failed\n"), "{told}");
    assert_eq!(hub.get("/livez").await.code, 200);

    for path in [
        format!("{CLUSTERS}?resourceVersion=0"),
        format!("{CLUSTERS}/east?resourceVersion=0"),
    ] {
        let cached = hub.get(&path).await;
        assert_eq!(
            cached.warnings(),
            ["299 - \"the registry is unreachable: this is what the hub knew last\""]
        );
        cached.ok();
    }

    hub.postgres.restart().await.expect("Postgres starts again");
    // A write during the outage may have happened or not, and the hub says so: both are right afterwards.
    settled(async || {
        let answer = hub.create(CLUSTERS, &cluster("west")).await;
        matches!(answer.code, 201 | 409)
    })
    .await;
    settled(async || hub.get(CLUSTERS).await.code == 200).await;
    assert!(
        hub.get(&format!("{CLUSTERS}?resourceVersion=0"))
            .await
            .warnings()
            .is_empty()
    );
    let list = hub.get(CLUSTERS).await.ok();
    assert_eq!(
        list["items"].as_array().unwrap().len(),
        2,
        "what was acknowledged is there"
    );
}

/// Asks until it holds.
async fn settled(holds: impl AsyncFn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the hub recovers by itself"
        );
        tokio::task::yield_now().await;
    }
}
