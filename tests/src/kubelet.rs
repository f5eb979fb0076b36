//! A stand-in for the kubelets of a cluster, as KWOK is: it makes nodes, binds
//! pods to them and says that they run. No container is ever started.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::TryStreamExt;
use k8s_openapi::{
    api::core::v1::{Binding, Node, ObjectReference, Pod},
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::eventually::eventually;

/// The nodes of a cluster.
#[derive(Clone, Debug)]
pub struct Nodes {
    pub count: usize,
    /// Of each node.
    pub cpu: String,
    /// Of each node.
    pub memory: String,
}

impl Default for Nodes {
    fn default() -> Self {
        Self {
            count: 2,
            cpu: "4".into(),
            memory: "16Gi".into(),
        }
    }
}

/// Runs until dropped.
#[derive(Debug)]
pub struct Kubelet {
    task: JoinHandle<()>,
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Kubelet {
    /// Makes the nodes and begins to care for pods.
    ///
    /// # Errors
    /// When the nodes cannot be made.
    pub async fn start(client: Client, nodes: Nodes) -> anyhow::Result<Self> {
        let names: Vec<String> = (1..=nodes.count).map(|n| format!("node-{n}")).collect();
        for name in &names {
            eventually("a node is made", async || {
                node_make(&client, name, &nodes).await.map(Some)
            })
            .await?;
        }
        let task = tokio::spawn(async move {
            let turn = AtomicUsize::new(0);
            let pods = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default())
                .default_backoff()
                .applied_objects();
            // The stream starts over by itself when the API server was away.
            let mut pods = std::pin::pin!(pods);
            loop {
                match pods.try_next().await {
                    Ok(Some(pod)) => {
                        let node =
                            &names[turn.fetch_add(1, Ordering::Relaxed) % names.len().max(1)];
                        // A change that failed comes again: the pod changes, or is listed anew.
                        if let Err(error) = pod_care(&client, &pod, node).await {
                            tracing::debug!(%error, pod = pod.name_any(), "pod not cared for");
                        }
                    }
                    Ok(None) => return,
                    Err(error) => tracing::debug!(%error, "pod watch failed"),
                }
            }
        });
        Ok(Self { task })
    }
}

async fn node_make(client: &Client, name: &str, nodes: &Nodes) -> anyhow::Result<()> {
    let api: Api<Node> = Api::all(client.clone());
    let node: Node = serde_json::from_value(
        json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}}}),
    )?;
    match api.create(&PostParams::default(), &node).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(error) => return Err(error.into()),
    }
    let resources = json!({"cpu": nodes.cpu, "memory": nodes.memory, "pods": "110"});
    let status = json!({"status": {
        "capacity": resources, "allocatable": resources,
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "stand-in", "lastHeartbeatTime": Timestamp::now(), "lastTransitionTime": Timestamp::now()}],
        "nodeInfo": {"architecture": "amd64", "bootID": "", "containerRuntimeVersion": "none://0", "kernelVersion": "0", "kubeProxyVersion": "", "kubeletVersion": "v0.0.0-stand-in", "machineID": "", "operatingSystem": "linux", "osImage": "none", "systemUUID": ""},
    }});
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(status))
        .await?;
    Ok(())
}

async fn pod_care(client: &Client, pod: &Pod, node: &str) -> anyhow::Result<()> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let name = pod.name_any();
    if pod.metadata.deletion_timestamp.is_some() {
        api.delete(&name, &DeleteParams::default().grace_period(0))
            .await?;
        return Ok(());
    }
    if pod
        .spec
        .as_ref()
        .is_none_or(|spec| spec.node_name.is_none())
    {
        let binding = Binding {
            metadata: kube::api::ObjectMeta {
                name: Some(name.clone()),
                ..Default::default()
            },
            target: ObjectReference {
                kind: Some("Node".into()),
                name: Some(node.into()),
                ..Default::default()
            },
        };
        // The binding changes the pod, which brings it back here to be started.
        let _: serde_json::Value = api
            .create_subresource("binding", &name, &PostParams::default(), &binding)
            .await?;
        return Ok(());
    }
    if pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .is_none_or(|phase| phase == "Pending")
    {
        api.patch_status(&name, &PatchParams::default(), &Patch::Merge(running(pod)))
            .await?;
    }
    Ok(())
}

fn running(pod: &Pod) -> serde_json::Value {
    let now = Timestamp::now();
    let conditions: Vec<_> = ["Initialized", "Ready", "ContainersReady", "PodScheduled"]
        .iter()
        .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": now}))
        .collect();
    let containers: Vec<_> = pod
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .map(|container| json!({"name": container.name, "image": container.image, "imageID": "", "ready": true, "started": true, "restartCount": 0, "state": {"running": {"startedAt": now}}}))
        .collect();
    json!({"status": {"phase": "Running", "startTime": now, "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "hostIP": "192.0.2.1", "conditions": conditions, "containerStatuses": containers}})
}
