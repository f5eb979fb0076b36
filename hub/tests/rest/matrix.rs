//! P6 and the tenants: every route × verb × identity, against rules that are written down here once more, plainly.

use axum::body::Body;
use http::{Method, Request, header};
use koinon_machinery::Verb;
use serde_json::json;

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
        // To approve and to ask for tokens are rights of their own.
        let special = matches!(subresource.as_str(), "approval" | "token");
        match self {
            Self::Nobody | Self::BadToken | Self::Stranger => false,
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
                let plain = ["namespaces", "certificatesigningrequests"].contains(&plural);
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

    let mut asked = 0;
    for kind in hub.registry.kinds().iter() {
        let info = &kind.info;
        let root = if info.group.is_empty() {
            format!("/api/{}", info.version)
        } else {
            format!("/apis/{}/{}", info.group, info.version)
        };
        let namespaces: &[&'static str] = if info.namespaced {
            &["red", "east", ""]
        } else {
            &[""]
        };
        for namespace in namespaces {
            for verb in Verb::ALL {
                let own = info.subresources.iter().map(|one| one.name.as_str());
                for subresource in ["", "status"].into_iter().chain(own) {
                    let collective = matches!(
                        verb,
                        Verb::List | Verb::Watch | Verb::Create | Verb::DeleteCollection
                    );
                    // Objects of a namespaced kind are in a namespace; only collections are everywhere.
                    let nowhere = info.namespaced
                        && namespace.is_empty()
                        && !matches!(verb, Verb::List | Verb::Watch);
                    if nowhere || collective && !subresource.is_empty() {
                        continue;
                    }
                    let names: &[&'static str] = if collective { &[""] } else { &["east", "red"] };
                    for name in names {
                        let mut path = root.clone();
                        if !namespace.is_empty() {
                            path.push_str(&format!("/namespaces/{namespace}"));
                        }
                        path.push_str(&format!("/{}", info.plural));
                        for part in [*name, subresource] {
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
                            plural: info.plural.clone(),
                            subresource: subresource.to_owned(),
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
    assert!(asked > 3000, "{asked}");
}

/// Paths that are no resources.
#[tokio::test]
async fn paths_answer_each_identity_as_they_should() {
    let hub = Hub::start().await;
    let health = ["/livez", "/readyz", "/healthz"];
    let discovery = [
        "/api",
        "/apis",
        "/api/v1",
        "/apis/koinon.dev",
        "/openapi/v3",
    ];
    let nothing = [
        "/",
        "/metrics",
        "/debug/tasks",
        "/audit/records",
        "/apisx",
        "/etc/passwd",
    ];
    for who in ALL {
        for path in health
            .iter()
            .chain(&["/version"])
            .chain(&discovery)
            .chain(&nothing)
        {
            let code = who.ask(&hub, Method::GET, path).await;
            let expected = match who {
                Who::BadToken => false,
                Who::Admin => true,
                Who::Nobody => health.contains(path) || *path == "/version",
                _ => !nothing.contains(path),
            };
            assert_eq!(
                !matches!(code, 401 | 403),
                expected,
                "{who:?} {path}: {code}"
            );
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
