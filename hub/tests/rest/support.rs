//! A hub's API without sockets, and fixtures.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, response::Response};
use http::{HeaderMap, Method, Request, header};
use http_body_util::BodyExt;
use koinon_hub::{
    auth::MASTERS,
    pki::{Enrolled, approve::Subject},
    registry::Registry,
    resources::{self, Settings},
    rest::{self, Api},
    tls::{Certificate, Peer},
};
use koinon_store::{Key, Store, StoreConfig, testing::TestPostgres};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;
use uuid::Uuid;

pub(crate) const CLUSTERS: &str = "/apis/cluster.open-cluster-management.io/v1/managedclusters";
pub(crate) const SETS: &str = "/apis/cluster.open-cluster-management.io/v1beta2/managedclustersets";
pub(crate) const BINDINGS: &str =
    "/apis/cluster.open-cluster-management.io/v1beta2/namespaces/default/managedclustersetbindings";
pub(crate) const WORKS: &str =
    "/apis/work.open-cluster-management.io/v1/namespaces/default/manifestworks";
pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(crate) const NAMESPACES: &str = "/api/v1/namespaces";
pub(crate) const TOKENS: &str = "/apis/koinon.dev/v1alpha1/jointokens";

pub(crate) const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The API of one hub.
pub(crate) struct Hub {
    pub(crate) registry: Registry,
    pub(crate) postgres: TestPostgres,
    pub(crate) stop: CancellationToken,
    router: Router,
    peer: Peer,
    _tasks: Arc<DropGuard>,
}

/// A response with its body read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Hub {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A hub whose store has other settings.
    pub(crate) async fn start_with(change: impl FnOnce(&mut StoreConfig)) -> Self {
        let postgres = TestPostgres::start().await.expect("Postgres is installed");
        let mut config = postgres.config();
        change(&mut config);
        let (store, tasks) = Store::open(config).await.expect("the store opens");
        let running = CancellationToken::new();
        tokio::spawn(tasks.run(running.clone()));
        let settings = Settings {
            ca_sha256: [7; 32],
            work_limit: 1 << 20,
            takes_secrets: true,
        };
        let registry = Registry::new(store, resources::all(&settings));
        registry
            .seed()
            .await
            .expect("the default namespace is created");
        let stop = CancellationToken::new();
        let router = rest::router(Api::new(registry.clone(), stop.clone()));
        let peer = peer(Some(certificate("koinon-admin", MASTERS, None)));
        Self {
            registry,
            postgres,
            stop,
            router,
            peer,
            _tasks: Arc::new(running.drop_guard()),
        }
    }

    /// The same hub with other limits.
    pub(crate) fn with_limits(mut self, limits: rest::Limits) -> Self {
        let settings = rest::Settings {
            limits,
            ..rest::Settings::default()
        };
        let api = Api::with(self.registry.clone(), self.stop.clone(), settings);
        self.router = rest::router(api);
        self
    }

    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    /// The same API, asked by the agent of a cluster.
    pub(crate) fn agent(&self, cluster: &str) -> Caller {
        let key = Key::new(
            "managedclusters.cluster.open-cluster-management.io",
            "",
            cluster,
        );
        let registered = self.registry.store().get(&key);
        self.agent_of(cluster, registered.map_or(Uuid::nil(), |stored| stored.uid))
    }

    /// The same API, asked by the agent of the cluster that had this name and uid.
    pub(crate) fn agent_of(&self, cluster: &str, uid: Uuid) -> Caller {
        let name = format!("system:open-cluster-management:{cluster}:a1");
        let subject = Subject {
            cluster: cluster.to_owned(),
            agent: "a1".to_owned(),
        };
        let agent = Enrolled { subject, uid };
        let group = koinon_api::labels::user::AGENTS;
        Caller {
            router: self.router.clone(),
            peer: peer(Some(certificate(&name, group, Some(agent)))),
        }
    }

    /// Another replica of the hub, whose store has other settings, asked by an admin.
    pub(crate) async fn replica(&self, change: impl FnOnce(&mut StoreConfig)) -> Caller {
        let mut config = self.postgres.config();
        change(&mut config);
        let (store, tasks) = Store::open(config).await.expect("the store opens");
        // Until the test ends.
        tokio::spawn(tasks.run(CancellationToken::new()));
        let settings = Settings {
            takes_secrets: true,
            ca_sha256: [7; 32],
            work_limit: 1 << 20,
        };
        let registry = Registry::new(store, resources::all(&settings));
        Caller {
            router: rest::router(Api::new(registry, self.stop.clone())),
            peer: self.peer.clone(),
        }
    }

    /// The API of the same registry with another way to know users, asked by whoever shows nothing but a token.
    pub(crate) fn with(&self, authenticator: koinon_hub::auth::Authenticator) -> Caller {
        let settings = rest::Settings {
            authenticator,
            ..rest::Settings::default()
        };
        self.serving(settings)
    }

    /// The API of the same registry with other settings, asked by nobody.
    pub(crate) fn serving(&self, settings: rest::Settings) -> Caller {
        let api = Api::with(self.registry.clone(), self.stop.clone(), settings);
        Caller {
            router: rest::router(api),
            peer: peer(None),
        }
    }

    /// The same API, asked by somebody with a certificate of this name and group.
    pub(crate) fn user(&self, name: &str, group: &str) -> Caller {
        Caller {
            router: self.router.clone(),
            peer: peer(Some(certificate(name, group, None))),
        }
    }

    /// Binds a cluster role to a user, cluster-wide or in a namespace.
    pub(crate) async fn bind(&self, user: &str, role: &str, namespace: &str) {
        let (path, kind) = if namespace.is_empty() {
            (format!("{RBAC}/clusterrolebindings"), "ClusterRoleBinding")
        } else {
            (
                format!("{RBAC}/namespaces/{namespace}/rolebindings"),
                "RoleBinding",
            )
        };
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": { "generateName": "test-" },
            "roleRef": { "kind": "ClusterRole", "name": role }, "subjects": [{ "kind": "User", "name": user }],
        });
        self.create(&path, &binding).await.ok();
    }

    /// The same API, asked by nobody.
    pub(crate) fn nobody(&self) -> Caller {
        Caller {
            router: self.router.clone(),
            peer: peer(None),
        }
    }

    pub(crate) fn admin(&self) -> Caller {
        Caller {
            router: self.router.clone(),
            peer: self.peer.clone(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.admin().send("GET", path, "", Vec::new()).await
    }

    pub(crate) async fn create(&self, path: &str, object: &Value) -> Answer {
        self.admin()
            .send("POST", path, "application/json", object.to_string())
            .await
    }

    pub(crate) async fn replace(&self, path: &str, object: &Value) -> Answer {
        self.admin()
            .send("PUT", path, "application/json", object.to_string())
            .await
    }

    pub(crate) async fn merge(&self, path: &str, patch: &Value) -> Answer {
        self.admin()
            .send(
                "PATCH",
                path,
                "application/merge-patch+json",
                patch.to_string(),
            )
            .await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.admin().send("DELETE", path, "", Vec::new()).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        self.admin().send(method, path, content_type, body).await
    }

    /// Asks with an `Accept` header.
    pub(crate) async fn accept(&self, path: &str, accept: &str) -> Answer {
        let request = Request::get(path)
            .header(header::ACCEPT, accept)
            .body(Body::empty())
            .unwrap();
        read(self.admin().raw(request).await).await
    }
}

/// Somebody who asks the API.
pub(crate) struct Caller {
    router: Router,
    peer: Peer,
}

impl Caller {
    /// The same API, asked by another caller's peer.
    pub(crate) fn as_whom(&self, other: &Caller) -> Caller {
        Caller {
            router: self.router.clone(),
            peer: other.peer.clone(),
        }
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let method: Method = method.parse().unwrap();
        let mut request = Request::builder().method(method).uri(path);
        if !content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        read(
            self.raw(request.body(Body::from(body.into())).unwrap())
                .await,
        )
        .await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", "").await
    }

    pub(crate) async fn create(&self, path: &str, object: &Value) -> Answer {
        self.send("POST", path, "application/json", object.to_string())
            .await
    }

    pub(crate) async fn merge(&self, path: &str, patch: &Value) -> Answer {
        let patch = patch.to_string();
        self.send("PATCH", path, "application/merge-patch+json", patch)
            .await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, "", "").await
    }

    pub(crate) async fn raw(&self, mut request: Request<Body>) -> Response {
        request.extensions_mut().insert(self.peer.clone());
        self.router.clone().oneshot(request).await.unwrap()
    }
}

/// Raises the limit of open files; returns how many connections of up to `wanted` may be open at both ends.
pub(crate) fn many_files(wanted: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let most = limit
        .maximum
        .map_or(usize::MAX, |most| usize::try_from(most).unwrap());
    wanted.min(most / 2 - 200)
}

pub(crate) async fn read(response: Response) -> Answer {
    let (head, body) = response.into_parts();
    let bytes = tokio::time::timeout(PATIENCE, body.collect())
        .await
        .expect("the body ends")
        .unwrap()
        .to_bytes();
    let body = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&bytes).into_owned()));
    Answer {
        code: head.status.as_u16(),
        headers: head.headers,
        body,
    }
}

impl Answer {
    /// The body of a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!(
            (200..300).contains(&self.code),
            "{} {}",
            self.code,
            self.body
        );
        self.body
    }

    /// The message of a refusal, which must be a Kubernetes `Status` with this code and reason.
    #[track_caller]
    pub(crate) fn refusal(self, code: u16, reason: &str) -> String {
        assert_eq!(
            (self.code, self.body["reason"].as_str()),
            (code, Some(reason)),
            "{}",
            self.body
        );
        assert_eq!(self.body["kind"], "Status");
        assert_eq!(self.body["apiVersion"], "v1");
        assert_eq!(self.body["status"], "Failure");
        assert_eq!(self.body["code"], code);
        self.body["message"]
            .as_str()
            .expect("a refusal says why")
            .to_owned()
    }

    pub(crate) fn warnings(&self) -> Vec<&str> {
        self.headers
            .get_all(header::WARNING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect()
    }
}

pub(crate) fn certificate(
    common_name: &str,
    organization: &str,
    agent: Option<Enrolled>,
) -> Certificate {
    Certificate {
        common_name: common_name.to_owned(),
        organizations: vec![organization.to_owned()],
        agent,
        serial: vec![1],
        not_after: i64::MAX,
    }
}

fn peer(certificate: Option<Certificate>) -> Peer {
    Peer {
        address: ([127, 0, 0, 1], 1).into(),
        certificate,
    }
}

pub(crate) fn cluster(name: &str) -> Value {
    json!({
        "apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster",
        "metadata": { "name": name }, "spec": { "hubAcceptsClient": true },
    })
}

pub(crate) fn config_map(name: &str, data: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "labels": { "app": name } }, "data": data })
}

pub(crate) fn work(name: &str) -> Value {
    json!({
        "apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork", "metadata": { "name": name },
        "spec": { "workload": { "manifests": [
            { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c", "namespace": "n" }, "data": { "a": "1" } },
        ] } },
    })
}
