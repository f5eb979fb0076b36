//! Who may do what, as `kubectl` shows it: roles, tokens, impersonation.

use koinon_tests::{Hub, eventually, kubectl::Kubectl};

#[tokio::test]
async fn a_tenant_works_with_a_token_until_its_account_is_gone() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let hub = Hub::start(dir.path()).await?;
    let admin = hub.kubectl();
    admin.run(&["create", "namespace", "shop"]).await?;
    admin
        .run(&["create", "serviceaccount", "robot", "-n", "shop"])
        .await?;
    admin
        .run(&[
            "create",
            "rolebinding",
            "robot",
            "--clusterrole=edit",
            "--serviceaccount=shop:robot",
            "-n",
            "shop",
        ])
        .await?;
    let token = admin
        .run(&["create", "token", "robot", "-n", "shop", "--duration=20m"])
        .await?;
    let robot = Kubectl::with_token(&hub, token.trim(), dir.path())?;

    let who = robot.run(&["auth", "whoami"]).await?;
    for part in [
        "system:serviceaccount:shop:robot",
        "system:serviceaccounts:shop",
        "system:authenticated",
    ] {
        assert!(who.contains(part), "{who}");
    }
    robot
        .run(&[
            "create",
            "configmap",
            "notes",
            "--from-literal=a=b",
            "-n",
            "shop",
        ])
        .await?;
    robot
        .run(&["get", "configmaps,secrets,placements", "-n", "shop"])
        .await?;
    let said = robot.refused(&["get", "managedclusters"], "").await?;
    assert!(
        said.contains(
            r#"Error from server (Forbidden): managedclusters.cluster.open-cluster-management.io is forbidden: User "system:serviceaccount:shop:robot" cannot list resource "managedclusters" in API group "cluster.open-cluster-management.io" at the cluster scope"#
        ),
        "{said}"
    );
    let said = robot
        .say(&["auth", "can-i", "create", "placements", "-n", "shop"], "")
        .await?;
    assert_eq!((said.stdout.trim(), said.code), ("yes", 0));
    let said = robot
        .say(
            &["auth", "can-i", "create", "placements", "-n", "default"],
            "",
        )
        .await?;
    assert_eq!((said.stdout.trim(), said.code), ("no", 1));
    let list = robot
        .run(&["auth", "can-i", "--list", "-n", "shop"])
        .await?;
    assert!(
        list.contains("manifestworks.work.open-cluster-management.io"),
        "{list}"
    );

    admin
        .run(&["delete", "serviceaccount", "robot", "-n", "shop"])
        .await?;
    let said = robot
        .refused(&["get", "configmaps", "-n", "shop"], "")
        .await?;
    assert!(
        said.contains("Unauthorized") || said.contains("must be logged in"),
        "{said}"
    );
    // Another of the same name is another.
    admin
        .run(&["create", "serviceaccount", "robot", "-n", "shop"])
        .await?;
    robot
        .refused(&["get", "configmaps", "-n", "shop"], "")
        .await?;
    Ok(())
}

#[tokio::test]
async fn an_admin_acts_as_others_and_cluster_sets_have_roles() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let hub = Hub::start(dir.path()).await?;
    let admin = hub.kubectl();
    let objects = "
apiVersion: cluster.open-cluster-management.io/v1beta2
kind: ManagedClusterSet
metadata: {name: eu}
spec: {clusterSelector: {selectorType: ExclusiveClusterSetLabel}}
---
apiVersion: cluster.open-cluster-management.io/v1
kind: ManagedCluster
metadata: {name: east, labels: {cluster.open-cluster-management.io/clusterset: eu}}
spec: {hubAcceptsClient: false}
";
    admin.apply(objects).await?;
    eventually("the set has its roles", async || {
        let said = admin
            .say(&["get", "clusterrole", "koinon:clusterset:eu:admin"], "")
            .await?;
        Ok((said.code == 0).then_some(()))
    })
    .await?;
    admin
        .run(&[
            "create",
            "clusterrolebinding",
            "eu",
            "--clusterrole=koinon:clusterset:eu:admin",
            "--group=eu-team",
        ])
        .await?;
    let ann = ["--as=ann", "--as-group=eu-team"];
    let run = async |args: &[&str]| admin.say(&[args, &ann[..]].concat(), "").await;
    assert_eq!(run(&["get", "mcl", "east"]).await?.code, 0);
    assert_eq!(
        run(&[
            "get",
            "mcl",
            "-l",
            "cluster.open-cluster-management.io/clusterset=eu"
        ])
        .await?
        .code,
        0
    );
    assert_ne!(run(&["get", "mcl"]).await?.code, 0);
    let patch = r#"{"spec":{"hubAcceptsClient":true}}"#;
    let accepted = run(&["patch", "mcl", "east", "--type=merge", "-p", patch]).await?;
    assert_eq!(accepted.code, 0, "{}", accepted.stderr);
    let moved = run(&[
        "label",
        "mcl",
        "east",
        "--overwrite",
        "cluster.open-cluster-management.io/clusterset=us",
    ])
    .await?;
    assert!(
        moved.stderr.contains(r#"to/from ManagedClusterSet "us""#),
        "{}",
        moved.stderr
    );
    let said = admin
        .run(&[
            "auth",
            "whoami",
            "--as=ann",
            "--as-group=eu-team",
            "--as-uid=7",
        ])
        .await?;
    assert!(
        said.contains("ann") && said.contains("eu-team") && said.contains('7'),
        "{said}"
    );
    // Who may not impersonate does not.
    let said = admin.refused(&["get", "mcl", "--as=ann"], "").await?;
    assert!(said.contains(r#"User "ann" cannot list"#), "{said}");
    // Roles are made of others by label.
    let extra = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: extra, labels: {rbac.authorization.k8s.io/aggregate-to-view: 'true'}}
rules: [{apiGroups: [example.com], resources: [widgets], verbs: [get]}]
";
    admin.apply(extra).await?;
    for role in ["view", "edit", "admin"] {
        eventually(&format!("{role} has what was added to view"), async || {
            let rules = admin
                .run(&["get", "clusterrole", role, "-o", "yaml"])
                .await?;
            Ok(rules.contains("widgets").then_some(()))
        })
        .await?;
    }
    Ok(())
}
