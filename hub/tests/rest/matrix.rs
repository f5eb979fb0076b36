//! P6 and the tenants: every route × verb × identity, against rules that are written down here once more, plainly.

use axum::body::Body;
use http::{Method, Request, header};
use koinon_hub::rest;
use koinon_machinery::Verb;
use serde_json::{Value, json};

use crate::support::{CLUSTERS, Caller, Hub, NAMESPACES, cluster};

/// Who asks. Everybody but the first four was bound to a role in the namespace `red` or cluster-wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Nobody,
    BadToken,
    /// The agent of the cluster `east`.
    East,
    /// A user without any binding.
    Stranger,
    Viewer,
    Editor,
    Tenant,
    FleetViewer,
    Admin,
}

const ALL: [Who; 9] = [
    Who::Nobody,
    Who::BadToken,
    Who::East,
    Who::Stranger,
    Who::Viewer,
    Who::Editor,
    Who::Tenant,
    Who::FleetViewer,
    Who::Admin,
];

/// What tenants read.
const READ: [&str; 10] = [
    "addonplacementscores",
    "configmaps",
    "events",
    "leases",
    "managedclustersetbindings",
    "manifestworkreplicasets",
    "manifestworks",
    "placementdecisions",
    "placements",
    "serviceaccounts",
];

/// Of those, what editors do not change: it is the hub's.
const HUBS: [&str; 1] = ["placementdecisions"];

/// Of those, what has a status.
const WITH_STATUS: [&str; 6] = [
    "addonplacementscores",
    "managedclustersetbindings",
    "manifestworkreplicasets",
    "manifestworks",
    "placementdecisions",
    "placements",
];

/// The questions about rights; whether everybody who is known may ask them.
const REVIEWS: [(&str, bool); 6] = [
    ("selfsubjectreviews", true),
    ("selfsubjectaccessreviews", true),
    ("selfsubjectrulesreviews", true),
    ("localsubjectaccessreviews", false),
    ("subjectaccessreviews", false),
    ("tokenreviews", false),
];

/// One question.
#[derive(Clone, Debug)]
struct Asked {
    plural: String,
    subresource: String,
    verb: Verb,
    namespace: &'static str,
    name: &'static str,
}

impl Who {
    /// Whether it may, by the words of `docs/operations.md`.
    fn may(self, asked: &Asked) -> bool {
        let Asked {
            plural,
            subresource,
            verb,
            namespace,
            name,
        } = asked;
        let plural = plural.as_str();
        let reads = matches!(verb, Verb::Get | Verb::List | Verb::Watch);
        // A namespace is inside itself, for what is asked of it alone.
        let in_red = *namespace == "red"
            || plural == "namespaces"
                && *name == "red"
                && !matches!(verb, Verb::List | Verb::Watch);
        // Whoever may get a placement may have it explained.
        let whole = subresource.is_empty() || subresource == "explain" && *verb == Verb::Get;
        let read = reads
            && in_red
            && if whole {
                READ.contains(&plural) || plural == "namespaces"
            } else {
                WITH_STATUS.contains(&plural)
            };
        let edit = read
            || in_red && whole && plural == "secrets"
            || in_red && whole && !reads && READ.contains(&plural) && !HUBS.contains(&plural);
        if let Some(open) = REVIEWS.iter().find(|review| review.0 == plural) {
            let known = !matches!(self, Self::Nobody | Self::BadToken);
            let asks = whole && *verb == Verb::Create;
            // Who looks after a namespace may ask about others in it.
            let local = plural == "localsubjectaccessreviews" && in_red && self == Self::Tenant;
            return self == Self::Admin || asks && (known && open.1 || local);
        }
        // To approve and to ask for tokens are rights of their own.
        let special = matches!(subresource.as_str(), "approval" | "token");
        match self {
            Self::Nobody | Self::BadToken | Self::Stranger => false,
            Self::Editor | Self::Tenant
                if subresource == "token"
                    && plural == "serviceaccounts"
                    && *verb == Verb::Create =>
            {
                in_red
            }
            Self::Viewer | Self::Editor | Self::Tenant | Self::FleetViewer if special => false,
            Self::East => {
                let own_cluster = plural == "managedclusters" && *name == "east";
                let own_works = plural == "manifestworks" && *namespace == "east";
                reads && (own_works || own_cluster && *verb == Verb::Get)
            }
            Self::Viewer => read,
            Self::Editor => edit,
            Self::Tenant => edit || in_red && whole && matches!(plural, "roles" | "rolebindings"),
            Self::FleetViewer => {
                let fleet = ["managedclusters", "managedclustersets"].contains(&plural);
                let plain = [
                    "namespaces",
                    "certificatesigningrequests",
                    "customresourcedefinitions",
                ]
                .contains(&plural);
                reads && (fleet || plain && whole)
            }
            Self::Admin => true,
        }
    }

    async fn ask(self, hub: &Hub, method: Method, path: &str) -> u16 {
        let content = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, content);
        if self == Self::BadToken {
            request = request.header(header::AUTHORIZATION, "Bearer e30.e30.e30");
        }
        let caller: Caller = match self {
            Self::Nobody | Self::BadToken => hub.nobody(),
            Self::East => hub.agent("east"),
            Self::Admin => hub.admin(),
            _ => hub.user(&format!("{self:?}"), "staff"),
        };
        // A body that no kind takes: who may write is told what is wrong with it.
        let body = Body::from(r#"{"kind":"Wrong"}"#);
        let response = caller.raw(request.body(body).unwrap()).await;
        // A watch that is allowed has no end; its head says enough.
        response.status().as_u16()
    }
}

#[tokio::test]
async fn every_route_and_verb_answers_each_identity_as_it_should() {
    let hub = Hub::start().await;
    for name in ["red", "east"] {
        let namespace = json!({ "metadata": { "name": name } });
        hub.create(NAMESPACES, &namespace).await.ok();
    }
    hub.create(CLUSTERS, &cluster("east")).await.ok();
    hub.bind("Viewer", "view", "red").await;
    hub.bind("Editor", "edit", "red").await;
    hub.bind("Tenant", "admin", "red").await;
    hub.bind("FleetViewer", "koinon:fleet-view", "").await;

    let served = served(&hub).await;
    for kind in hub.registry.kinds().iter() {
        let info = &kind.info;
        let found = served
            .iter()
            .find(|one| one.plural == info.plural && one.group == info.group);
        let found = found.unwrap_or_else(|| panic!("{} is served and not shown", info.plural));
        let mut own: Vec<&str> = info
            .subresources
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        own.extend(info.has_status.then_some("status"));
        own.sort_unstable();
        own.dedup();
        assert_eq!(found.subresources, own, "{}", info.plural);
    }
    for (review, _) in REVIEWS {
        assert!(served.iter().any(|one| one.plural == review), "{review}");
    }
    let mut asked = 0;
    for kind in served {
        let root = if kind.group.is_empty() {
            format!("/api/{}", kind.version)
        } else {
            format!("/apis/{}/{}", kind.group, kind.version)
        };
        let namespaces: &[&'static str] = if kind.namespaced {
            &["red", "east", ""]
        } else {
            &[""]
        };
        // A status is asked for where there is none, too.
        let mut parts = vec!["".to_owned(), "status".to_owned()];
        parts.extend(
            kind.subresources
                .iter()
                .filter(|one| *one != "status")
                .cloned(),
        );
        for namespace in namespaces {
            for verb in Verb::ALL {
                for subresource in &parts {
                    let collective = matches!(
                        verb,
                        Verb::List | Verb::Watch | Verb::Create | Verb::DeleteCollection
                    );
                    // Objects of a namespaced kind are in a namespace; only collections are everywhere.
                    let nowhere = kind.namespaced
                        && namespace.is_empty()
                        && !matches!(verb, Verb::List | Verb::Watch);
                    // Some subresources are created.
                    let of_one = !subresource.is_empty() && verb == Verb::Create;
                    if nowhere || collective && !subresource.is_empty() && !of_one {
                        continue;
                    }
                    let names: &[&'static str] = if collective && !of_one {
                        &[""]
                    } else {
                        &["east", "red"]
                    };
                    for name in names {
                        let mut path = root.clone();
                        if !namespace.is_empty() {
                            path.push_str(&format!("/namespaces/{namespace}"));
                        }
                        path.push_str(&format!("/{}", kind.plural));
                        for part in [*name, subresource.as_str()] {
                            if !part.is_empty() {
                                path.push_str(&format!("/{part}"));
                            }
                        }
                        let (method, query) = match verb {
                            Verb::Get | Verb::List => (Method::GET, ""),
                            Verb::Watch => (Method::GET, "?watch=1"),
                            Verb::Create => (Method::POST, "?dryRun=All"),
                            Verb::Update => (Method::PUT, "?dryRun=All"),
                            Verb::Patch => (Method::PATCH, "?dryRun=All"),
                            Verb::Delete | Verb::DeleteCollection => {
                                (Method::DELETE, "?dryRun=All")
                            }
                        };
                        path.push_str(query);
                        let question = Asked {
                            plural: kind.plural.clone(),
                            subresource: subresource.clone(),
                            verb,
                            namespace,
                            name,
                        };
                        for who in ALL {
                            let code = who.ask(&hub, method.clone(), &path).await;
                            let let_in = !matches!(code, 401 | 403);
                            assert_eq!(
                                let_in,
                                who.may(&question),
                                "{who:?} {verb:?} {path}: {code}"
                            );
                            assert_eq!(
                                code == 401,
                                who == Who::BadToken,
                                "{who:?} {verb:?} {path}"
                            );
                            asked += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(asked > 4000, "{asked}");
}

/// A kind as discovery shows it.
struct Served {
    group: String,
    version: String,
    plural: String,
    namespaced: bool,
    /// Sorted.
    subresources: Vec<String>,
}

/// All that is served, as any client finds it.
async fn served(hub: &Hub) -> Vec<Served> {
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let list = |value: &Value, field: &str| value[field].as_array().cloned().unwrap_or_default();
    let mut all = Vec::new();
    for root in ["/api", "/apis"] {
        let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let request = Request::get(root).header(header::ACCEPT, accept);
        let response = hub.admin().raw(request.body(Body::empty()).unwrap()).await;
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 24)
            .await
            .unwrap();
        let groups: Value = serde_json::from_slice(&bytes).unwrap();
        for group in list(&groups, "items") {
            for version in list(&group, "versions") {
                for resource in list(&version, "resources") {
                    let mut subresources: Vec<String> = list(&resource, "subresources")
                        .iter()
                        .map(|one| text(one, "subresource"))
                        .collect();
                    subresources.sort_unstable();
                    all.push(Served {
                        group: text(&group["metadata"], "name"),
                        version: text(&version, "version"),
                        plural: text(&resource, "resource"),
                        namespaced: resource["scope"] == "Namespaced",
                        subresources,
                    });
                }
            }
        }
    }
    all
}

/// Whether a pattern of axum's is about a path.
fn is_about(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    for piece in pattern.split('/') {
        if piece.starts_with("{*") {
            return parts.next().is_some_and(|part| !part.is_empty());
        }
        let Some(part) = parts.next() else {
            return false;
        };
        let is_it = if piece.starts_with('{') {
            !part.is_empty()
        } else {
            piece == part
        };
        if !is_it {
            return false;
        }
    }
    parts.next().is_none()
}

/// Paths that are no resources.
#[tokio::test]
async fn paths_answer_each_identity_as_they_should() {
    let hub = Hub::start().await;
    let health = ["/livez", "/readyz", "/healthz"];
    let checks = [
        "/livez/ping",
        "/readyz/ping",
        "/readyz/registry",
        "/readyz/shutdown",
        "/readyz/none",
        "/healthz/ping",
    ];
    let discovery = [
        "/api",
        "/apis",
        "/api/v1",
        "/apis/koinon.dev",
        "/apis/koinon.dev/v1alpha1",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/api/v1",
        "/api/",
        "/apis/",
        "/api/v1/",
        "/apis/koinon.dev/",
        "/apis/koinon.dev/v1alpha1/",
        "/openapi/v3/",
    ];
    let nothing = [
        "/",
        "/metrics",
        "/debug/tasks",
        "/audit/records",
        "/apisx",
        "/etc/passwd",
    ];
    let debug = [
        "/debug/placements",
        "/debug/placements/",
        "/debug/placements/red/p",
    ];
    // Nothing is served that is not asked for here, or is a kind, which the other test asks for.
    let kinds = ["/api/{version}/{*path}", "/apis/{group}/{version}/{*path}"];
    for pattern in rest::paths() {
        let here = health
            .iter()
            .chain(&["/version", "/version/"])
            .chain(&discovery)
            .chain(&checks)
            .chain(&nothing)
            .chain(&debug);
        let asked = here.filter(|path| is_about(pattern, path)).count();
        assert!(
            kinds.contains(&pattern) || asked > 0,
            "{pattern} is served and nobody asks whether it may be"
        );
    }
    for who in ALL {
        for path in health
            .iter()
            .chain(&["/version", "/version/"])
            .chain(&discovery)
            .chain(&nothing)
        {
            let code = who.ask(&hub, Method::GET, path).await;
            let expected = match who {
                Who::BadToken => false,
                Who::Admin => true,
                Who::Nobody => health.contains(path) || path.starts_with("/version"),
                _ => !nothing.contains(path),
            };
            assert_eq!(
                !matches!(code, 401 | 403),
                expected,
                "{who:?} {path}: {code}"
            );
        }
        for path in checks {
            let code = who.ask(&hub, Method::GET, path).await;
            let expected = matches!(who, Who::East | Who::Admin);
            let answers = !matches!(code, 401 | 403);
            assert_eq!(answers, expected, "{who:?} {path}: {code}");
        }
        // What is asked for in a body is judged when that was read, but nobody unknown is listened to.
        let known = !matches!(who, Who::Nobody | Who::BadToken);
        for (method, path, expected) in [
            (Method::GET, "/debug/placements", known),
            (Method::POST, "/debug/placements", known),
            (Method::POST, "/debug/placements/", known),
            (Method::POST, "/debug/placements/red/p", known),
            (Method::GET, "/debug/placements/red/p", who == Who::Admin),
        ] {
            let code = who.ask(&hub, method.clone(), path).await;
            assert_eq!(
                !matches!(code, 401 | 403),
                expected,
                "{who:?} {method} {path}: {code}"
            );
        }
    }
}
