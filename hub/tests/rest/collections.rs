//! Lists: selectors, pages, versions, tables.

use serde_json::{Value, json};

use crate::support::{CLUSTERS, CONFIG_MAPS, Hub, cluster, config_map};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("a list has items");
    items
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

async fn hub() -> Hub {
    let hub = Hub::start().await;
    for name in ["c", "a", "e", "b", "d"] {
        hub.create(CONFIG_MAPS, &config_map(name, &json!({ "k": name })))
            .await
            .ok();
    }
    hub
}

#[tokio::test]
async fn lists_come_in_order_of_names_and_by_selectors() {
    let hub = hub().await;
    let list = hub.get(CONFIG_MAPS).await.ok();
    assert_eq!(
        (list["kind"].as_str(), list["apiVersion"].as_str()),
        (Some("ConfigMapList"), Some("v1"))
    );
    assert_eq!(names(&list), ["a", "b", "c", "d", "e"]);
    assert_eq!(
        list["items"][0],
        hub.get(&format!("{CONFIG_MAPS}/a")).await.ok()
    );
    for (query, expected) in [
        ("labelSelector=app%3Da", vec!["a"]),
        ("labelSelector=app+notin+(a,b),app!%3Dc", vec!["d", "e"]),
        ("labelSelector=!app", vec![]),
        ("fieldSelector=metadata.name%3Db", vec!["b"]),
        (
            "fieldSelector=metadata.name!%3Db,metadata.namespace%3Ddefault",
            vec!["a", "c", "d", "e"],
        ),
        ("fieldSelector=metadata.namespace%3Dother", vec![]),
    ] {
        let list = hub.get(&format!("{CONFIG_MAPS}?{query}")).await.ok();
        assert_eq!(names(&list), expected, "{query}");
    }
    assert_eq!(
        names(&hub.get("/api/v1/configmaps").await.ok()).len(),
        5,
        "all namespaces"
    );
    assert_eq!(
        names(&hub.get("/api/v1/namespaces/other/configmaps").await.ok()).len(),
        0
    );
    assert_eq!(
        names(
            &hub.get("/api/v1/namespaces?fieldSelector=status.phase%3DActive")
                .await
                .ok()
        ),
        ["default"]
    );
}

#[tokio::test]
async fn pages_show_one_state_even_while_it_changes() {
    let hub = hub().await;
    let first = hub.get(&format!("{CONFIG_MAPS}?limit=2")).await.ok();
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    hub.delete(&format!("{CONFIG_MAPS}/d")).await.ok();
    hub.create(CONFIG_MAPS, &config_map("cc", &json!({})))
        .await
        .ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = hub
        .get(&format!("{CONFIG_MAPS}?limit=2&continue={token}"))
        .await
        .ok();
    assert_eq!(names(&second), ["c", "d"], "as it was when the list began");
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    let token = second["metadata"]["continue"].as_str().unwrap();
    let last = hub
        .get(&format!("{CONFIG_MAPS}?limit=2&continue={token}"))
        .await
        .ok();
    assert_eq!(names(&last), ["e"]);
    assert!(last["metadata"].get("continue").is_none());
}

#[tokio::test]
async fn a_page_that_is_gone_says_how_to_go_on() {
    let hub = hub().await;
    let token = koinon_machinery::continue_token::ContinueToken {
        revision: 1,
        namespace: "default".to_owned(),
        name: "b".to_owned(),
    };
    let gone = hub
        .get(&format!(
            "{CONFIG_MAPS}?limit=2&continue={}",
            token.encode()
        ))
        .await;
    let next = gone.body["metadata"]["continue"]
        .as_str()
        .expect("a token to go on with")
        .to_owned();
    gone.refusal(410, "Expired");
    assert_eq!(
        names(
            &hub.get(&format!("{CONFIG_MAPS}?limit=2&continue={next}"))
                .await
                .ok()
        ),
        ["c", "d"]
    );
    hub.get(&format!("{CONFIG_MAPS}?continue=nonsense"))
        .await
        .refusal(400, "BadRequest");
}

#[tokio::test]
async fn versions_ask_for_states() {
    let hub = hub().await;
    let list = hub.get(CONFIG_MAPS).await.ok();
    let now = list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse::<i64>()
        .unwrap();
    for version in ["0", "1", &now.to_string()] {
        assert_eq!(
            names(
                &hub.get(&format!("{CONFIG_MAPS}?resourceVersion={version}"))
                    .await
                    .ok()
            )
            .len(),
            5
        );
    }
    let exact = format!("{CONFIG_MAPS}?resourceVersionMatch=Exact&resourceVersion=");
    assert_eq!(
        names(&hub.get(&format!("{exact}{now}")).await.ok()).len(),
        5
    );
    assert!(
        names(&hub.get(&format!("{exact}1")).await.ok()).is_empty(),
        "nothing was there yet"
    );
    for path in [CONFIG_MAPS.to_owned(), format!("{CONFIG_MAPS}/a")] {
        let message = hub
            .get(&format!("{path}?resourceVersion={}", now + 1000))
            .await
            .refusal(504, "Timeout");
        assert!(message.contains("Too large resource version"), "{message}");
    }
}

#[tokio::test]
async fn tables_have_ocms_columns() {
    let hub = Hub::start().await;
    hub.create(CLUSTERS, &cluster("east")).await.ok();
    let table = hub.accept(CLUSTERS, TABLE).await.ok();
    let columns: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        columns,
        [
            "Name",
            "Hub Accepted",
            "Managed Cluster URLs",
            "Joined",
            "Available",
            "Age"
        ]
    );
    let row = &table["rows"][0];
    assert_eq!(
        (&row["cells"][0], &row["cells"][1]),
        (&json!("east"), &json!(true))
    );
    assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
    let one = hub
        .accept(&format!("{CLUSTERS}/east?includeObject=Object"), TABLE)
        .await
        .ok();
    assert_eq!(one["rows"][0]["object"]["kind"], "ManagedCluster");
}

#[tokio::test]
async fn metadata_alone_can_be_asked_for() {
    let hub = hub().await;
    let list = hub
        .accept(
            CONFIG_MAPS,
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        )
        .await
        .ok();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["kind"], "PartialObjectMetadata");
    assert!(list["items"][0].get("data").is_none());
    hub.accept(CONFIG_MAPS, "application/vnd.kubernetes.protobuf")
        .await
        .refusal(406, "NotAcceptable");
}

#[tokio::test]
async fn a_list_of_the_past_is_as_it_was() {
    let hub = hub().await;
    let then = hub.get(CONFIG_MAPS).await.ok();
    let revision = then["metadata"]["resourceVersion"].as_str().unwrap();
    hub.delete(&format!("{CONFIG_MAPS}/b")).await.ok();
    hub.merge(
        &format!("{CONFIG_MAPS}/c"),
        &json!({ "data": { "k": "new" } }),
    )
    .await
    .ok();
    hub.create(CONFIG_MAPS, &config_map("f", &json!({})))
        .await
        .ok();

    let at = format!("{CONFIG_MAPS}?resourceVersion={revision}&resourceVersionMatch=Exact");
    assert_eq!(hub.get(&at).await.ok(), then);
    let first = hub.get(&format!("{at}&limit=2")).await.ok();
    assert_eq!(names(&first), ["a", "b"]);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let rest = hub
        .get(&format!("{CONFIG_MAPS}?continue={token}"))
        .await
        .ok();
    assert_eq!(
        names(&rest),
        ["c", "d", "e"],
        "the pages are of the same moment"
    );
    assert_eq!(rest["items"][0]["data"]["k"], "c");
    hub.get(&format!(
        "/api/v1/namespaces/other/configmaps?continue={token}"
    ))
    .await
    .refusal(400, "BadRequest");
    let selected = hub.get(&format!("{at}&labelSelector=app%3Db")).await.ok();
    assert_eq!(names(&selected), ["b"]);
}

#[tokio::test]
async fn a_past_that_is_forgotten_is_gone_and_one_to_come_is_not_there() {
    let hub = Hub::start_with(|config| config.ring_events = 2).await;
    hub.create(CONFIG_MAPS, &config_map("a", &json!({})))
        .await
        .ok();
    let then = hub.registry.store().revision();
    for round in 0..4 {
        hub.merge(
            &format!("{CONFIG_MAPS}/a"),
            &json!({ "data": { "k": round.to_string() } }),
        )
        .await
        .ok();
    }
    let exactly = |revision: i64| {
        format!("{CONFIG_MAPS}?resourceVersion={revision}&resourceVersionMatch=Exact")
    };
    let message = hub.get(&exactly(then.0)).await.refusal(410, "Expired");
    assert_eq!(
        message,
        "The resourceVersion for the provided list is too old."
    );
    hub.get(&exactly(then.0 + 1000))
        .await
        .refusal(504, "Timeout");
}
