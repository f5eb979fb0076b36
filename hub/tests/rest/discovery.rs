//! What clients learn of the API before they use it.

use http::header;
use serde_json::Value;

use crate::support::Hub;

const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

fn names<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array()
        .expect("a list")
        .iter()
        .map(|item| item[field].as_str().expect("a text"))
        .collect()
}

#[tokio::test]
async fn groups_and_resources_are_listed_in_both_formats() {
    let hub = Hub::start().await;
    assert_eq!(hub.get("/api").await.ok()["versions"][0], "v1");
    let groups = hub.get("/apis").await.ok();
    for group in [
        "cluster.open-cluster-management.io",
        "work.open-cluster-management.io",
        "koinon.dev",
        "authorization.k8s.io",
    ] {
        assert!(names(&groups["groups"], "name").contains(&group), "{group}");
        assert_eq!(
            hub.get(&format!("/apis/{group}")).await.ok()["kind"],
            "APIGroup"
        );
    }
    let resources = hub
        .get("/apis/cluster.open-cluster-management.io/v1")
        .await
        .ok();
    assert_eq!(
        names(&resources["resources"], "name"),
        ["managedclusters", "managedclusters/status"]
    );
    assert_eq!(
        resources["resources"][0]["shortNames"],
        serde_json::json!(["mcl", "mcls"])
    );
    let core = hub.get("/api/v1").await.ok();
    assert!(names(&core["resources"], "name").contains(&"configmaps"));

    let all = hub.accept("/apis", AGGREGATED).await;
    assert!(
        all.headers[header::CONTENT_TYPE]
            .to_str()
            .unwrap()
            .contains("as=APIGroupDiscoveryList")
    );
    assert!(all.headers.contains_key(header::ETAG));
    let all = all.ok();
    assert_eq!(all["kind"], "APIGroupDiscoveryList");
    assert!(!all["items"].as_array().unwrap().is_empty());
    assert_eq!(
        hub.accept("/api", AGGREGATED).await.ok()["items"][0]["versions"][0]["version"],
        "v1"
    );
}

#[tokio::test]
async fn every_kind_has_a_schema_and_says_how_it_is_patched() {
    let hub = Hub::start().await;
    let index = hub.get("/openapi/v3").await.ok();
    for kind in hub.registry.kinds().iter() {
        let info = &kind.info;
        let path = if info.group.is_empty() {
            "api/v1".to_owned()
        } else {
            format!("apis/{}/{}", info.group, info.version)
        };
        let url = index["paths"][&path]["serverRelativeURL"]
            .as_str()
            .expect("every version is in the index");
        let document = hub.get(url).await.ok();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let found = schemas.values().any(|schema| {
            let kinds = schema["x-kubernetes-group-version-kind"].as_array();
            kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"] == info.kind.as_str()))
        });
        assert!(found, "{} has no schema", info.kind);
    }
}

#[tokio::test]
async fn the_version_is_a_plausible_one() {
    let hub = Hub::start().await;
    let version = hub.get("/version").await.ok();
    assert_eq!(
        (&version["major"], &version["minor"]),
        (&"1".into(), &"33".into())
    );
    assert!(
        version["gitVersion"]
            .as_str()
            .unwrap()
            .starts_with("v1.33.0+koinon")
    );
    assert!(
        hub.get("/").await.ok()["paths"]
            .as_array()
            .unwrap()
            .contains(&"/apis".into())
    );
}

const OLD_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

#[tokio::test]
async fn clients_that_predate_v3_find_everything_in_one_document() {
    let hub = Hub::start().await;
    let answer = hub.accept("/openapi/v2", "application/json").await;
    let etag = answer.headers[header::ETAG].clone();
    let document = answer.ok();
    let definitions = document["definitions"].as_object().unwrap();
    for kind in hub.registry.kinds().iter() {
        let found = definitions.values().any(|schema| {
            schema["x-kubernetes-group-version-kind"][0]["kind"] == kind.info.kind.as_str()
        });
        assert!(found, "{}", kind.info.kind);
    }
    let ask = async |accept: &'static str, etag: Option<http::HeaderValue>| {
        let mut request = http::Request::get("/openapi/v2").header(header::ACCEPT, accept);
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        hub.admin()
            .raw(request.body(axum::body::Body::empty()).unwrap())
            .await
    };
    assert_eq!(ask("application/json", Some(etag)).await.status(), 304);
    let protobuf = ask(OLD_PROTOBUF, None).await;
    assert_eq!(protobuf.status(), 200);
    assert_eq!(
        protobuf.headers()[header::CONTENT_TYPE],
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    );
    assert_eq!(ask("text/html", None).await.status(), 406);
}

/// KEP-3352: one document for all groups, kept as long as its hash is the same, and another one for each form.
#[tokio::test]
async fn aggregated_discovery_is_kept_by_its_etag() {
    let hub = Hub::start().await;
    let ask = async |accept: &str, etag: Option<&http::HeaderValue>| {
        let mut request = http::Request::get("/apis").header(header::ACCEPT, accept);
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let request = request.body(axum::body::Body::empty()).unwrap();
        crate::support::read(hub.admin().raw(request).await).await
    };
    let first = ask(AGGREGATED, None).await;
    let etag = first.headers[header::ETAG].clone();
    assert_eq!(first.headers[header::VARY], "Accept");
    let document = first.ok();
    for group in document["items"].as_array().unwrap() {
        assert!(group["metadata"]["name"].is_string());
        for version in group["versions"].as_array().unwrap() {
            assert_eq!(version["freshness"], "Current");
            for resource in version["resources"].as_array().unwrap() {
                for field in ["resource", "scope", "singularResource"] {
                    assert!(resource[field].is_string(), "{field}: {resource}");
                }
                let kind = &resource["responseKind"];
                assert_eq!(kind["group"], group["metadata"]["name"]);
                assert_eq!(kind["version"], version["version"]);
                assert!(!resource["verbs"].as_array().unwrap().is_empty());
            }
        }
    }
    assert_eq!(ask(AGGREGATED, Some(&etag)).await.code, 304);
    let beta = AGGREGATED.replace("v=v2", "v=v2beta1");
    let other = ask(&beta, Some(&etag)).await;
    assert_eq!(other.code, 200, "another form is another document");
    assert_eq!(other.ok()["apiVersion"], "apidiscovery.k8s.io/v2beta1");
    assert_eq!(
        ask("application/json", Some(&etag)).await.ok()["kind"],
        "APIGroupList"
    );
}

/// What discovery lists, OpenAPI describes: each resource and subresource, each of its verbs.
#[tokio::test]
async fn every_verb_that_is_listed_is_described() {
    let hub = Hub::start().await;
    let groups = hub.get("/apis").await.ok();
    let mut versions = vec!["api/v1".to_owned()];
    for group in groups["groups"].as_array().unwrap() {
        for version in names(&group["versions"], "groupVersion") {
            versions.push(format!("apis/{version}"));
        }
    }
    let mut described = 0;
    for version in versions {
        let listed = hub.get(&format!("/{version}")).await.ok();
        let document = hub.get(&format!("/openapi/v3/{version}")).await.ok();
        for resource in listed["resources"].as_array().unwrap() {
            let (plural, below) = match resource["name"].as_str().unwrap().split_once('/') {
                Some((plural, below)) => (plural, format!("/{{name}}/{below}")),
                None => (resource["name"].as_str().unwrap(), String::new()),
            };
            let scope = if resource["namespaced"] == true {
                "/namespaces/{namespace}"
            } else {
                ""
            };
            for verb in resource["verbs"].as_array().unwrap() {
                let (method, of_one) = match verb.as_str().unwrap() {
                    "create" => ("post", false),
                    "list" | "watch" => ("get", false),
                    "deletecollection" => ("delete", false),
                    "update" => ("put", true),
                    "patch" => ("patch", true),
                    "delete" => ("delete", true),
                    _ => ("get", true),
                };
                let one = if of_one && below.is_empty() {
                    "/{name}"
                } else {
                    ""
                };
                let path = format!("/{version}{scope}/{plural}{one}{below}");
                let operation = &document["paths"][&path][method];
                assert!(operation.is_object(), "{verb} at {path}");
                let kind = &operation["x-kubernetes-group-version-kind"]["kind"];
                assert_eq!(kind, &resource["kind"], "{verb} at {path}");
                described += 1;
            }
        }
    }
    assert!(described > 150, "{described}");
}

/// `kubectl explain --recursive` shows no field without a word about it.
#[tokio::test]
async fn every_type_and_field_is_described() {
    fn silent(value: &Value, path: &str, found: &mut Vec<String>) {
        for (name, field) in value["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if field["description"].as_str().is_none_or(str::is_empty) {
                found.push(path.clone());
            }
            silent(field, &path, found);
        }
        for part in ["items", "additionalProperties"] {
            if value[part].is_object() {
                silent(&value[part], path, found);
            }
        }
    }
    let hub = Hub::start().await;
    let index = hub.get("/openapi/v3").await.ok();
    let (mut found, mut seen) = (Vec::new(), 0);
    for path in index["paths"].as_object().unwrap().values() {
        let url = path["serverRelativeURL"].as_str().unwrap();
        let document = hub.get(url).await.ok();
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            seen += 1;
            if schema["description"].as_str().is_none_or(str::is_empty) {
                found.push(name.clone());
            }
            silent(schema, name, &mut found);
        }
    }
    assert_eq!(found, Vec::<String>::new());
    assert!(seen > 100, "{seen}");
}

#[tokio::test]
async fn discovery_is_found_with_a_slash_at_its_end_and_given_to_those_who_read_json() {
    let hub = Hub::start().await;
    let roots = [
        "/api",
        "/apis",
        "/apis/work.open-cluster-management.io",
        "/apis/work.open-cluster-management.io/v1",
        "/api/v1",
        "/version",
        "/openapi/v3",
    ];
    for path in roots {
        let plain = hub.get(path).await.ok();
        let slash = hub.get(&format!("{path}/")).await.ok();
        assert_eq!(plain, slash, "{path}");
        for accept in [
            "application/json",
            "*/*",
            "application/*",
            "text/html, application/json;q=0.5",
        ] {
            assert_eq!(hub.accept(path, accept).await.code, 200, "{path} {accept}");
        }
        for accept in [
            "text/html",
            "application/vnd.kubernetes.protobuf",
            "nonsense",
        ] {
            let refused = hub.accept(path, accept).await;
            assert_eq!(refused.code, 406, "{path} {accept}");
            assert_eq!(refused.body["reason"], "NotAcceptable");
        }
    }
    // The group without a name has its place at `/api`.
    for path in ["/apis//v1", "/apis//v1/", "/apis//", "/api//"] {
        assert_eq!(hub.get(path).await.code, 404, "{path}");
    }
}

/// What is kept by its hash is kept for good, and a hash of before leads to the document of now.
#[tokio::test]
async fn documents_are_kept_by_their_hash() {
    let hub = Hub::start().await;
    let index = hub.get("/openapi/v3").await.ok();
    let url = index["paths"]["api/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap()
        .to_owned();
    let ask = async |path: &str, known: &str| {
        let mut request = http::Request::get(path).header(header::ACCEPT, "application/json");
        if !known.is_empty() {
            request = request.header(header::IF_NONE_MATCH, known);
        }
        let request = request.body(axum::body::Body::empty()).unwrap();
        hub.admin().raw(request).await
    };
    let kept = ask(&url, "").await;
    let caching = kept.headers()[header::CACHE_CONTROL].to_str().unwrap();
    assert!(caching.contains("immutable"), "{caching}");
    let etag = kept.headers()[header::ETAG].to_str().unwrap().to_owned();
    let unnamed = ask("/openapi/v3/api/v1", "").await;
    assert_eq!(unnamed.status(), 200);
    assert_eq!(
        unnamed.headers()[header::CACHE_CONTROL],
        "no-cache, private"
    );
    let moved = ask("/openapi/v3/api/v1?hash=OLD", "").await;
    assert_eq!(moved.status(), 301);
    assert_eq!(moved.headers()[header::LOCATION], url.as_str());
    for (known, code) in [
        (etag.as_str(), 304),
        (&format!("W/{etag}"), 304),
        (&format!("\"x\", {etag}"), 304),
        ("*", 304),
        ("\"x\"", 200),
        (&etag.to_lowercase(), 200),
        (etag.trim_matches('"'), 200),
    ] {
        assert_eq!(ask(&url, known).await.status(), code, "{known}");
    }
}
