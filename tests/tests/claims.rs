//! What a cluster says of itself: claims and properties on their way to the hub, and what an agent that starts again
//! must not do to them (P3).

use std::time::Duration;

use anyhow::{Context as _, ensure};
use koinon_tests::{
    Gate, Join, Klusterlet, Kubectl, League, Member, eventually, league::condition, stays,
    yaml::APPS,
};
use serde_json::{Value, json};

const CLUSTER: &str = "/apis/cluster.open-cluster-management.io/v1/managedclusters/east";

/// The definition of the About API, as its own project has it.
fn about_api() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "clusterproperties.about.k8s.io",
            "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes/enhancements/pull/3084"},
        },
        "spec": {
            "group": "about.k8s.io", "scope": "Cluster",
            "names": {"kind": "ClusterProperty", "plural": "clusterproperties", "singular": "clusterproperty"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "required": ["value"], "properties": {
                    "value": {"type": "string", "minLength": 1},
                }}},
            }}}],
        },
    })
}

fn claim(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "cluster.open-cluster-management.io/v1alpha1", "kind": "ClusterClaim",
        "metadata": {"name": name}, "spec": {"value": value},
    })
}

fn property(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "about.k8s.io/v1alpha1", "kind": "ClusterProperty",
        "metadata": {"name": name}, "spec": {"value": value},
    })
}

/// A league with one cluster whose agent speaks to its API server through a gate.
struct Site {
    league: League,
    agent: Klusterlet,
    gate: Gate,
    member: Member,
}

impl Site {
    async fn start() -> anyhow::Result<Self> {
        let league = League::start().clusters([]).await?;
        let dir = league.dir().join("east");
        let member = Member::start("east", &dir).await?;
        let gate = Gate::before(member.client().await?).await?;
        let token = json!({"clusterName": "east", "autoAccept": true});
        let agent = Klusterlet::start(Join {
            cluster: "east",
            kubeconfig: &gate.kubeconfig(&dir)?,
            hub: league.hub.agent_address(),
            token: Some(&league.token(&token).await?),
            dir: &dir,
            flags: &["--reserved-cluster-claim-suffixes=.corp.io".to_owned()],
        })?;
        Ok(Self {
            league,
            agent,
            gate,
            member,
        })
    }

    fn member(&self) -> Kubectl {
        self.member.kubectl()
    }

    async fn status(&self) -> anyhow::Result<Value> {
        Ok(self.league.get(CLUSTER).await?["status"].take())
    }

    /// Waits until the hub has a claim with this value, or has it no more.
    async fn claimed(&self, name: &str, value: Option<&str>) -> anyhow::Result<()> {
        eventually(&format!("claim {name} is {value:?}"), async || {
            let status = self.status().await?;
            let found = value_of(&status, name);
            ensure!(found == value, "{name} is {found:?}");
            Ok(Some(()))
        })
        .await
    }
}

fn value_of<'a>(status: &'a Value, name: &str) -> Option<&'a str> {
    let claims = status["clusterClaims"].as_array()?;
    claims.iter().find(|one| one["name"] == name)?["value"].as_str()
}

#[tokio::test]
async fn claims_arrive_live_and_an_agent_that_starts_takes_nothing_away() -> anyhow::Result<()> {
    let mut site = Site::start().await?;
    let member = site.member();
    site.claimed("platform.open-cluster-management.io", None)
        .await?;
    eventually("the agent has installed ClusterClaim", async || {
        member
            .apply(&claim("region", "eu").to_string())
            .await
            .map(Some)
    })
    .await?;
    site.claimed("region", Some("eu")).await?;

    placements_may_rely_on_claims(&mut site).await?;
    properties_win_over_claims(&site).await?;
    what_is_left_out_is_said(&site).await?;
    namespaces_of_sets_are_made_and_stay(&site).await?;
    site.league.finish();
    Ok(())
}

/// The lists are slow, or fail for a moment, while the session is up at once.
async fn placements_may_rely_on_claims(site: &mut Site) -> anyhow::Result<()> {
    let placement = "
apiVersion: cluster.open-cluster-management.io/v1beta1
kind: Placement
metadata: {name: eu, namespace: apps}
spec:
  predicates:
  - requiredClusterSelector:
      claimSelector:
        matchExpressions: [{key: region, operator: In, values: [eu]}]
";
    site.league
        .kubectl()
        .apply(&[APPS, placement].concat())
        .await?;
    let chosen = async |site: &Site| -> anyhow::Result<Value> {
        let path = "/apis/cluster.open-cluster-management.io/v1beta1/namespaces/apps/placementdecisions/eu-decision-1";
        Ok(site.league.get(path).await?["status"]["decisions"].take())
    };
    eventually("the cluster is chosen by its claim", async || {
        Ok((chosen(site).await?[0]["clusterName"] == "east").then_some(()))
    })
    .await?;

    let before = site.status().await?;
    ensure!(before["allocatable"]["cpu"].is_string(), "{before}");
    site.agent.stop().await?;
    site.gate
        .hold(&["/nodes", "/clusterclaims", "/clusterproperties"]);
    site.agent.restart()?;
    stays(
        "claims, resources and decisions",
        Duration::from_secs(8),
        async || {
            let now = site.status().await?;
            Ok(now["clusterClaims"] == before["clusterClaims"]
                && now["allocatable"] == before["allocatable"]
                && chosen(site).await?[0]["clusterName"] == "east")
        },
    )
    .await?;
    // Whoever reads again is believed again.
    site.gate.hold(&[]);
    site.member().apply(&claim("zone", "a").to_string()).await?;
    site.claimed("zone", Some("a")).await?;
    site.member()
        .run(&["delete", "clusterclaim", "zone"])
        .await?;
    site.claimed("zone", None).await
}

async fn properties_win_over_claims(site: &Site) -> anyhow::Result<()> {
    let member = site.member();
    member.apply(&about_api().to_string()).await?;
    eventually("properties are served", async || {
        member
            .apply(&property("region", "us").to_string())
            .await
            .map(Some)
    })
    .await?;
    site.claimed("region", Some("us")).await?;
    member.apply(&property("tier", "gold").to_string()).await?;
    site.claimed("tier", Some("gold")).await?;
    let private = "open-cluster-management.io/spoke-only=";
    member
        .run(&["label", "clusterproperty", "region", private])
        .await?;
    site.claimed("region", Some("eu")).await?;
    member.run(&["delete", "clusterproperty", "tier"]).await?;
    site.claimed("tier", None).await
}

async fn what_is_left_out_is_said(site: &Site) -> anyhow::Result<()> {
    let member = site.member();
    let many: Vec<Value> = (0..25).map(|n| claim(&format!("a{n:02}"), "v")).collect();
    let many = json!({"apiVersion": "v1", "kind": "List", "items": many});
    member.apply(&many.to_string()).await?;
    member
        .apply(&claim("zz.corp.io", "always").to_string())
        .await?;
    site.claimed("zz.corp.io", Some("always")).await?;
    let message = eventually("the truncation is said on the cluster", async || {
        let cluster = site.league.get(CLUSTER).await?;
        ensure!(
            condition(&cluster, "ClusterClaimsTruncated") == "True",
            "{}",
            cluster["status"]
        );
        // 25 of ours, and region.
        let all = cluster["status"]["conditions"]
            .as_array()
            .context("no conditions")?;
        let found = all
            .iter()
            .find(|one| one["type"] == "ClusterClaimsTruncated");
        let message = found
            .and_then(|one| one["message"].as_str())
            .unwrap_or_default();
        ensure!(
            message.starts_with("26 cluster claims are found."),
            "{message}"
        );
        Ok(Some(message.to_owned()))
    })
    .await?;
    let status = site.status().await?;
    ensure!(
        value_of(&status, "a19").is_some() && value_of(&status, "a20").is_none(),
        "{status}"
    );
    eventually("the truncation is an event", async || {
        let events = site.league.get("/api/v1/namespaces/east/events").await?;
        let items = events["items"].as_array().context("no events")?;
        let ours = |one: &&Value| one["reason"] == "CustomClusterClaimsTruncated";
        Ok(items
            .iter()
            .filter(ours)
            .any(|one| one["message"] == *message)
            .then_some(()))
    })
    .await?;
    let essay = property("essay", &"x".repeat(2000));
    member.apply(&essay.to_string()).await?;
    for n in 0..25 {
        member
            .run(&["delete", "clusterclaim", &format!("a{n:02}")])
            .await?;
    }
    eventually("what does not fit is named", async || {
        let cluster = site.league.get(CLUSTER).await?;
        Ok(cluster["status"]
            .to_string()
            .contains("are left out: essay")
            .then_some(()))
    })
    .await?;
    member.run(&["delete", "clusterproperty", "essay"]).await?;
    eventually("nothing is left out any more", async || {
        let cluster = site.league.get(CLUSTER).await?;
        Ok(condition(&cluster, "ClusterClaimsTruncated")
            .is_empty()
            .then_some(()))
    })
    .await
}

/// A set's namespaces are made, marked and reported; one that is not wanted any more loses its mark only (P3).
async fn namespaces_of_sets_are_made_and_stay(site: &Site) -> anyhow::Result<()> {
    let hub = site.league.kubectl();
    let want = async |names: &Value| {
        let patch = json!({"spec": {"managedNamespaces": names}}).to_string();
        hub.run(&[
            "patch",
            "managedclusterset",
            "default",
            "--type=merge",
            "-p",
            &patch,
        ])
        .await
    };
    let marks = async |name: &str| -> anyhow::Result<Vec<String>> {
        let namespace = site.member().json(&["get", "namespace", name]).await?;
        let labels = namespace["metadata"]["labels"]
            .as_object()
            .context("no labels")?;
        let ours = labels
            .iter()
            .filter(|(key, _)| key.starts_with("clusterset.open-cluster-management.io/"));
        Ok(ours
            .map(|(_, value)| value.as_str().unwrap_or_default().to_owned())
            .collect())
    };
    want(&json!([{"name": "team-a"}])).await?;
    eventually("the namespace is there and marked", async || {
        Ok((marks("team-a").await? == ["true"]).then_some(()))
    })
    .await?;
    eventually("the hub says so", async || {
        let status = site.status().await?;
        let entry = &status["managedNamespaces"][0];
        ensure!(
            entry["name"] == "team-a" && entry["clusterSet"] == "default",
            "{entry}"
        );
        Ok((entry["conditions"][0]["reason"] == "NamespaceApplied").then_some(()))
    })
    .await?;
    want(&json!([])).await?;
    eventually("the mark is taken off", async || {
        Ok((marks("team-a").await? == ["false"]).then_some(()))
    })
    .await?;
    eventually("the hub shows none", async || {
        Ok(site.status().await?["managedNamespaces"]
            .is_null()
            .then_some(()))
    })
    .await
}
