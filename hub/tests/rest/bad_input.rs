//! Bad input: each gets the Kubernetes-shaped refusal with the field's path, changes nothing, and is never a 500.

use serde_json::json;

use crate::support::{
    CLUSTERS, CONFIG_MAPS, Hub, NAMESPACES, SETS, WORKS, cluster, config_map, work,
};

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";

#[tokio::test]
async fn bodies_that_do_not_decode() {
    let hub = Hub::start().await;
    let before = hub.registry.store().revision();
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    for (content_type, body) in [
        (JSON, ""),
        (JSON, "{"),
        (JSON, "null"),
        (JSON, "[]"),
        (JSON, "\"text\""),
        (JSON, "{} {}"),
        (JSON, deep.as_str()),
        (JSON, "{\"metadata\": 5}"),
        (JSON, "{\"metadata\": {\"name\": 5}}"),
        (JSON, "{\"metadata\": {\"labels\": {\"a\": 1}}}"),
        (JSON, "{\"kind\": 1}"),
        (
            JSON,
            "{\"kind\": \"ManagedCluster\", \"apiVersion\": \"v1\"}",
        ),
        (JSON, "{\"kind\": \"Pod\"}"),
        (YAML, "a: [1"),
        (YAML, "\tkind: x"),
        (YAML, "- a\n- b\n"),
    ] {
        let answer = hub.send("POST", CLUSTERS, content_type, body).await;
        answer.refusal(400, "BadRequest");
    }
    hub.send("POST", CLUSTERS, JSON, vec![0xff, 0xfe, b'{'])
        .await
        .refusal(400, "BadRequest");
    hub.send("POST", CLUSTERS, "application/cbor", "x")
        .await
        .refusal(415, "UnsupportedMediaType");
    assert_eq!(hub.registry.store().revision(), before);
}

#[tokio::test]
async fn wrong_types_and_values_name_their_fields() {
    let hub = Hub::start().await;
    for (spec, said) in [
        (
            json!({ "leaseDurationSeconds": "soon" }),
            "spec.leaseDurationSeconds",
        ),
        (json!({ "taints": "x" }), "spec.taints"),
        (
            json!({ "taints": [{ "key": "a", "effect": "Explode" }] }),
            "spec.taints[0].effect: Unsupported value: \"Explode\"",
        ),
        (
            json!({ "taints": [{ "effect": "NoSelect" }] }),
            "spec.taints[0].key: Required value",
        ),
        (
            json!({ "managedClusterClientConfigs": [{ "url": "http://x" }] }),
            "spec.managedClusterClientConfigs[0].url: Invalid value: \"http://x\"",
        ),
    ] {
        let mut object = cluster("east");
        object["spec"] = spec;
        let answer = hub.create(CLUSTERS, &object).await;
        let field = said.split(':').next().unwrap();
        assert_eq!(
            answer.body["details"]["causes"][0]["field"], field,
            "{}",
            answer.body
        );
        assert_eq!(answer.body["details"]["kind"], "ManagedCluster");
        let message = answer.refusal(422, "Invalid");
        assert!(
            message.starts_with(
                "ManagedCluster.cluster.open-cluster-management.io \"east\" is invalid: "
            ),
            "{message}"
        );
        assert!(message.contains(said), "{message}");
    }
}

#[tokio::test]
async fn names_and_labels_that_are_none() {
    let hub = Hub::start().await;
    for name in ["East", "a.b", "-a", "a_b", "ä", &"a".repeat(64)] {
        let message = hub
            .create(CLUSTERS, &cluster(name))
            .await
            .refusal(422, "Invalid");
        assert!(
            message.contains("metadata.name: Invalid value"),
            "{message}"
        );
    }
    let message = hub
        .create(CLUSTERS, &json!({ "spec": {} }))
        .await
        .refusal(422, "Invalid");
    assert!(
        message.contains("metadata.name: Required value: name or generateName is required"),
        "{message}"
    );
    let mut object = cluster("east");
    object["metadata"]["labels"] = json!({ "bad key": "x", "a": "bad value" });
    let message = hub.create(CLUSTERS, &object).await.refusal(422, "Invalid");
    assert!(
        message.contains("metadata.labels: Invalid value: \"bad key\""),
        "{message}"
    );
    assert!(message.contains("\"bad value\""), "{message}");
    let mut object = cluster("east");
    object["metadata"]["finalizers"] = json!(["unqualified"]);
    hub.create(CLUSTERS, &object).await.refusal(422, "Invalid");
    let mut object = cluster("east");
    object["metadata"]["ownerReferences"] = json!([{ "kind": "X" }]);
    hub.create(CLUSTERS, &object).await.refusal(422, "Invalid");
}

#[tokio::test]
async fn unknown_fields_are_dropped_told_or_refused() {
    let hub = Hub::start().await;
    let mut object = cluster("east");
    object["spec"]["colour"] = "red".into();
    object["extra"] = 1.into();
    let strict = format!("{CLUSTERS}?fieldValidation=Strict");
    let message = hub
        .create(&strict, &object)
        .await
        .refusal(400, "BadRequest");
    assert!(
        message.starts_with("strict decoding error: ")
            && message.contains("unknown field \"spec.colour\""),
        "{message}"
    );
    let duplicate = r#"{"metadata":{"name":"x"},"spec":{"leaseDurationSeconds":1,"leaseDurationSeconds":2,"colour":"red"}}"#;
    let message = hub
        .send("POST", &strict, JSON, duplicate)
        .await
        .refusal(400, "BadRequest");
    // Both at once, as from Go's strict decoder.
    assert_eq!(
        message,
        r#"strict decoding error: duplicate field "spec.leaseDurationSeconds", unknown field "spec.colour""#
    );
    let ignored = hub
        .create(
            &format!("{CLUSTERS}?dryRun=All&fieldValidation=Ignore"),
            &object,
        )
        .await;
    assert_eq!(ignored.warnings(), Vec::<&str>::new());
    let told = hub.create(CLUSTERS, &object).await;
    assert!(
        told.warnings()
            .contains(&r#"299 - "unknown field \"spec.colour\"""#),
        "{:?}",
        told.warnings()
    );
    assert!(told.ok()["spec"].get("colour").is_none());
    hub.create(&format!("{CLUSTERS}?fieldValidation=Perhaps"), &object)
        .await
        .refusal(422, "Invalid");
}

#[tokio::test]
async fn bodies_over_the_limit() {
    let hub = Hub::start().await;
    let huge = config_map("huge", &json!({ "k": "x".repeat(3 << 20) }));
    let message = hub
        .create(CONFIG_MAPS, &huge)
        .await
        .refusal(413, "RequestEntityTooLarge");
    assert_eq!(message, "Request entity too large: limit is 3145728");
    let mut large = work("large");
    large["spec"]["workload"]["manifests"][0]["data"]["a"] = "x".repeat(1 << 20).into();
    hub.create(WORKS, &large)
        .await
        .refusal(413, "RequestEntityTooLarge");
    hub.merge(&format!("{CONFIG_MAPS}/huge"), &huge)
        .await
        .refusal(413, "RequestEntityTooLarge");
}

#[tokio::test]
async fn queries_that_do_not_parse() {
    let hub = Hub::start().await;
    for (query, code) in [
        ("labelSelector=a+in+b", 400),
        ("labelSelector=a%3D%3D%3Db", 400),
        ("labelSelector=%2Fx", 400),
        ("fieldSelector=spec.nothing%3D1", 400),
        ("fieldSelector=metadata.name", 400),
        ("limit=many", 400),
        ("resourceVersion=abc", 422),
        ("resourceVersion=-5", 422),
        ("resourceVersionMatch=Exact", 422),
        ("resourceVersion=1&resourceVersionMatch=Roughly", 422),
        ("watch=1&timeoutSeconds=soon", 400),
        ("watch=1&labelSelector=(", 400),
    ] {
        let answer = hub.get(&format!("{CLUSTERS}?{query}")).await;
        assert_eq!(
            (answer.code, answer.body["kind"].as_str()),
            (code, Some("Status")),
            "{query}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn paths_that_lead_nowhere() {
    let hub = Hub::start().await;
    hub.create(CLUSTERS, &cluster("east")).await.ok();
    for path in [
        "/nothing",
        "/apis/cluster.open-cluster-management.io/v7",
        "/apis/cluster.open-cluster-management.io/v1/nothings",
        "/apis/cluster.open-cluster-management.io/v1beta1/managedclusters",
        "/apis/cluster.open-cluster-management.io/v1/namespaces/default/managedclusters",
        "/apis/cluster.open-cluster-management.io/v1/namespaces/default/managedclusters/east",
        "/apis/cluster.open-cluster-management.io/v1/managedclusters/east/scale",
        "/apis/cluster.open-cluster-management.io/v1/managedclusters/east/status/more",
        "/api/v1/configmaps/a",
        "/api/v1/pods",
        "/api/v2/namespaces",
        "/openapi/v3/apis/nothing/v1",
    ] {
        hub.get(path).await.refusal(404, "NotFound");
    }
    hub.create(&format!("{CLUSTERS}/east"), &cluster("east"))
        .await
        .refusal(405, "MethodNotAllowed");
    hub.send("OPTIONS", CLUSTERS, "", "")
        .await
        .refusal(405, "MethodNotAllowed");
    hub.send("POST", "/version", "", "")
        .await
        .refusal(405, "MethodNotAllowed");
    hub.create("/api/v1/configmaps", &config_map("a", &json!({})))
        .await
        .refusal(405, "MethodNotAllowed");
}

#[tokio::test]
async fn objects_that_contradict_their_path() {
    let hub = Hub::start().await;
    let mut object = config_map("a", &json!({}));
    object["metadata"]["namespace"] = "other".into();
    let message = hub
        .create(CONFIG_MAPS, &object)
        .await
        .refusal(400, "BadRequest");
    assert!(message.starts_with(
        "the namespace of the provided object does not match the namespace sent on the request"
    ));
    hub.create(SETS, &json!({ "metadata": { "name": "x" } }))
        .await
        .ok();
    let message = hub
        .replace(
            &format!("{SETS}/x"),
            &json!({ "metadata": { "name": "y" } }),
        )
        .await
        .refusal(400, "BadRequest");
    assert_eq!(
        message,
        "the name of the object (y) does not match the name on the URL (x)"
    );
    hub.replace(&format!("{SETS}/x"), &json!({}))
        .await
        .refusal(400, "BadRequest");
    let versioned = json!({ "metadata": { "name": "z", "resourceVersion": "3" } });
    hub.create(SETS, &versioned)
        .await
        .refusal(400, "BadRequest");
    let foreign = json!({ "metadata": { "name": "x", "uid": "other", "resourceVersion": "1" } });
    hub.replace(&format!("{SETS}/x"), &foreign)
        .await
        .refusal(409, "Conflict");
    hub.replace(
        &format!("{SETS}/none"),
        &json!({ "metadata": { "name": "none", "resourceVersion": "1" } }),
    )
    .await
    .refusal(404, "NotFound");
    hub.create(
        "/api/v1/namespaces/nowhere/configmaps",
        &config_map("a", &json!({})),
    )
    .await
    .refusal(404, "NotFound");
    hub.create(NAMESPACES, &json!({ "metadata": { "name": "a.b" } }))
        .await
        .refusal(422, "Invalid");
}

/// Postgres cannot hold U+0000 in jsonb, which labels are kept in.
#[tokio::test]
async fn characters_that_the_database_cannot_hold() {
    let hub = Hub::start().await;
    let created = hub
        .create(CONFIG_MAPS, &config_map("nul", &json!({ "k": "a\u{0}b" })))
        .await
        .ok();
    assert_eq!(created["data"]["k"], "a\u{0}b");
    let mut object = config_map("x", &json!({}));
    object["metadata"]["annotations"] = json!({ "a": "\u{0}" });
    hub.create(CONFIG_MAPS, &object).await.ok();
    hub.get(&format!("{CONFIG_MAPS}/%00"))
        .await
        .refusal(404, "NotFound");
    hub.get(&format!("{CONFIG_MAPS}/%ff%fe"))
        .await
        .refusal(404, "NotFound");
}

/// What each way in does with what no program writes by mistake.
#[tokio::test]
async fn hostile_bodies() {
    let hub = Hub::start().await;
    hub.create(CONFIG_MAPS, &config_map("a", &json!({ "k": "v" })))
        .await
        .ok();
    let before = hub.registry.store().revision();
    let (object, apply) = (
        format!("{CONFIG_MAPS}/a"),
        format!("{CONFIG_MAPS}/a?fieldManager=me&force=true"),
    );
    let ways = [
        ("POST", CONFIG_MAPS, JSON),
        ("POST", CONFIG_MAPS, YAML),
        ("PUT", object.as_str(), JSON),
        ("PATCH", &object, "application/merge-patch+json"),
        ("PATCH", &object, "application/json-patch+json"),
        ("PATCH", &object, "application/strategic-merge-patch+json"),
        ("PATCH", &apply, "application/apply-patch+yaml"),
        ("DELETE", &object, JSON),
        (
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            JSON,
        ),
    ];
    let lists = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let maps = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    // Ten levels, each nine times the one before: a gigabyte in 300 bytes.
    let mut laughs = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for level in 1..10 {
        let inner = format!("*a{}", level - 1);
        laughs += &format!("a{level}: &a{level} [{}]\n", [inner.as_str(); 9].join(","));
    }
    // A megabyte of zeros that a careless reader would make of a kilobyte.
    let zipped = [
        &b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03"[..],
        &[
            0xec, 0xc1, 0x01, 0x01, 0x00, 0x00, 0x00, 0x80, 0x90, 0xfe, 0xaf, 0xee, 0x08, 0x0a,
        ],
    ]
    .concat();
    let bodies: [Vec<u8>; 9] = [
        lists.clone().into_bytes(),
        maps.clone().into_bytes(),
        // Not even closed.
        "[".repeat(100_000).into_bytes(),
        r#"{"a":"#.repeat(100_000).into_bytes(),
        format!(r#"{{"metadata":{{"name":"a"}},"data":{maps}}}"#).into_bytes(),
        b"{\"metadata\":{\"name\":\"\xff\xfe\"}}".to_vec(),
        b"\xff\xfe\x00\x01".to_vec(),
        laughs.into_bytes(),
        zipped,
    ];
    for (method, path, content_type) in ways {
        for (index, body) in bodies.iter().enumerate() {
            let answer = hub.send(method, path, content_type, body.clone()).await;
            assert!(
                (400..500).contains(&answer.code) && answer.body["kind"] == "Status",
                "{method} {path} {content_type}, body {index}: {} {}",
                answer.code,
                answer.body
            );
        }
    }
    assert_eq!(
        hub.registry.store().revision(),
        before,
        "nothing was changed"
    );
    let duplicate = r#"{"metadata":{"name":"twice","name":"twice"},"data":{"k":"1","k":"2"}}"#;
    let told = hub.send("POST", CONFIG_MAPS, JSON, duplicate).await;
    assert_eq!(told.warnings().len(), 2, "{:?}", told.warnings());
    assert_eq!(told.ok()["data"]["k"], "2", "the last one counts, as in Go");
}

/// Where a watch may begin, and where it may not.
#[tokio::test]
async fn watches_from_anywhere() {
    let hub = Hub::start().await;
    hub.create(CONFIG_MAPS, &config_map("a", &json!({})))
        .await
        .ok();
    let last = hub.registry.store().revision().0;
    for (revision, code) in [
        ("-1".to_owned(), 422),
        ("1e3".to_owned(), 422),
        (i64::MIN.to_string(), 422),
        ("99999999999999999999999999".to_owned(), 422),
        ((last + 1_000_000).to_string(), 504),
        (i64::MAX.to_string(), 504),
        ("0".to_owned(), 200),
        ("1".to_owned(), 200),
        (last.to_string(), 200),
    ] {
        let path = format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=1&resourceVersion={revision}");
        let answer = hub
            .admin()
            .raw(
                http::Request::get(&path)
                    .body(axum::body::Body::empty())
                    .unwrap(),
            )
            .await;
        assert_eq!(answer.status(), code, "{revision}");
    }
}

/// As many faults as fit into a body are told of as far as an answer has room for them.
#[tokio::test]
async fn bodies_full_of_faults_get_an_answer_of_bearable_size() {
    let hub = Hub::start().await;
    let mut object = config_map("unknown", &json!({}));
    let unknown = (0..100_000).map(|n| (format!("f{n}"), json!(1)));
    object.as_object_mut().unwrap().extend(unknown);
    let repeated = "\"data\":{},".repeat(100_000);
    let repeated = format!("{{{repeated}\"metadata\":{{\"name\":\"repeated\"}}}}");
    for body in [object.to_string(), repeated] {
        let told = hub.send("POST", CONFIG_MAPS, JSON, body.as_str()).await;
        let said: usize = told.warnings().iter().map(|text| text.len()).sum();
        assert!((1..20_000).contains(&said), "{said}");
        told.ok();
        let strict = format!("{CONFIG_MAPS}?fieldValidation=Strict");
        let message = hub
            .send("POST", &strict, JSON, body)
            .await
            .refusal(400, "BadRequest");
        assert!(message.len() < 20_000, "{}", message.len());
    }
    // The path of each of these is as long as half of the body.
    let long = "k".repeat(500_000);
    let same = "\"a\":1,".repeat(200_000);
    let doubled = format!(r#"{{"metadata":{{"name":"d"}},"data":{{"{long}":{{{same}"a":1}}}}}}"#);
    hub.send("POST", CONFIG_MAPS, JSON, doubled)
        .await
        .refusal(422, "Invalid");
}
