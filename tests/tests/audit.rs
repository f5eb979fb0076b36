//! The audit log: who did what, and that nobody can change it unnoticed.

use std::path::Path;

use anyhow::{Context as _, ensure};
use koinon_tests::{Hub, League, Postgres, eventually, koinon::Koinon, yaml::APPS};
use serde_json::Value;
use sqlx::Connection;

const SECRET: &str = "correct-horse-battery";

async fn records(koinon: &Koinon, filter: &[&str]) -> anyhow::Result<Vec<Value>> {
    let text = koinon
        .run(&[&["audit", "list", "--output=json"], filter].concat())
        .await?;
    let list: Value = serde_json::from_str(&text)?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

#[tokio::test]
async fn what_is_done_is_recorded_and_tampering_shows() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let postgres = Postgres::start().await?;
    let lines = dir.path().join("audit.jsonl");
    let (database, log) = (
        format!("--database-url={}", postgres.url()),
        format!("--audit-log={}", lines.display()),
    );
    let policy = dir.path().join("policy.yaml");
    std::fs::write(
        &policy,
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- {level: None, userGroups: ['system:unauthenticated']}\n- {level: None, nonResourceURLs: ['/audit/*']}\n- {level: Request}\n",
    )?;
    let policy = format!("--audit-policy-file={}", policy.display());
    let flags = [database.as_str(), &log, &policy, "--secrets-key-file=none"];
    let mut hub = Hub::start_with(dir.path(), &flags).await?;
    let (kubectl, koinon) = (hub.kubectl(), Koinon::new(&hub.kubeconfig()));
    kubectl
        .run(&[
            "create",
            "configmap",
            "notes",
            "--from-literal=k=recorded-value",
        ])
        .await?;
    let literal = format!("--from-literal=p={SECRET}");
    kubectl
        .run(&["create", "secret", "generic", "hidden", &literal])
        .await?;
    kubectl.run(&["create", "serviceaccount", "robot"]).await?;
    let token = kubectl.run(&["create", "token", "robot"]).await?;
    kubectl
        .refused(&["get", "secrets", "--as=eve", "--as-group=staff"], "")
        .await?;
    let refused = eventually("the refusal is recorded", async || {
        let all = records(&koinon, &["--resource=secrets"]).await?;
        Ok(all
            .into_iter()
            .find(|record| record["event"]["impersonatedUser"]["username"] == "eve"))
    })
    .await?;
    let event = &refused["event"];
    ensure!(event["user"]["username"] == "koinon-admin", "{event}");
    // She is found by her name, too.
    let said = koinon.run(&["audit", "list", "--user=eve"]).await?;
    ensure!(said.contains("koinon-admin as eve"), "{said}");
    ensure!(event["responseStatus"]["code"] == 403, "{event}");
    ensure!(event["sourceIPs"][0] == "127.0.0.1", "{event}");
    ensure!(
        event["annotations"]["authorization.k8s.io/decision"] == "forbid",
        "{event}"
    );
    // Bodies are there as the policy says, and no secret is in any.
    let text = koinon.run(&["audit", "list", "--output=json"]).await?;
    ensure!(text.contains("recorded-value"), "{text}");
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, SECRET);
    for hidden in [SECRET, &encoded, token.trim()] {
        ensure!(!text.contains(hidden), "a secret is in the audit log");
    }
    let said = koinon.run(&["audit", "list", "--verb=create"]).await?;
    ensure!(
        said.contains("koinon-admin") && said.contains("configmaps"),
        "{said}"
    );

    // A restart begins a chain that knows the one before it. An orderly stop is none that anything has to be restarted for.
    let status = hub.stop().await?;
    ensure!(status.success(), "it ended with {status}");
    hub.restart().await?;
    eventually("the second chain is there and all is well", async || {
        let said = koinon.run(&["audit", "verify"]).await?;
        ensure!(said.contains("nothing was altered"), "{said}");
        Ok(said.contains("2 chains").then_some(()))
    })
    .await?;
    // The second one has something to say, too.
    for name in ["one", "two", "three", "four"] {
        kubectl.run(&["create", "configmap", name]).await?;
    }
    eventually("the last of it is recorded", async || {
        let all = records(&koinon, &["--resource=configmaps"]).await?;
        let is_last =
            |record: &Value| record["event"]["requestObject"]["metadata"]["name"] == "four";
        Ok(all.iter().any(is_last).then_some(()))
    })
    .await?;
    let file = format!("--file={}", lines.display());
    koinon.run(&["audit", "verify", &file]).await?;
    let first = sqlx::query_scalar("select replica from audit order by id limit 1");
    let first: String = first
        .fetch_one(&mut sqlx::PgConnection::connect(&postgres.url()).await?)
        .await?;
    let said = koinon.say(&["audit", "verify"]).await?;
    ensure!(
        said.stderr.contains("not ended in order") && !said.stderr.contains(&first),
        "{}",
        said.stderr
    );

    // The table refuses changes; whoever owns the database gets around that, and is found out.
    let mut database = sqlx::PgConnection::connect(&postgres.url()).await?;
    for change in [
        "update audit set record = '{}'",
        "delete from audit",
        "truncate audit",
    ] {
        let refused = sqlx::raw_sql(change).execute(&mut database).await;
        ensure!(
            refused.is_err_and(|error| error.to_string().contains("append-only")),
            "{change}"
        );
    }
    let tampered = [
        ("create table kept as select * from audit; alter table audit disable trigger user;
          update audit set record = replace(record, '\"eve\"', '\"bob\"') where record like '%\"eve\"%'", "was altered"),
        ("delete from audit where record like '%\"eve\"%'", "missing"),
        ("insert into audit overriding system value
          select (select max(id) + 1 from audit), replica, sequence + 100000, at, hash, record from audit order by id limit 1",
         "inserted"),
        ("delete from audit where replica = (select replica from audit order by id limit 1)", "missing"),
    ];
    let swap = "delete from audit where id = (select min(id) + 2 from kept); insert into audit overriding system value
          select (select max(id) + 1 from kept), replica, sequence, at, hash, record from kept where id = (select min(id) + 2 from kept)";
    let swap = (swap, "put elsewhere");
    for (change, shows) in tampered.into_iter().chain([swap]) {
        sqlx::raw_sql(change).execute(&mut database).await?;
        let said = koinon.say(&["audit", "verify"]).await?;
        ensure!(said.code != 0, "{change}: {}", said.stdout);
        let found = said.stdout.contains(shows);
        ensure!(found, "{change}: {}{}", said.stdout, said.stderr);
        let restore =
            "delete from audit; insert into audit overriding system value select * from kept";
        sqlx::raw_sql(restore).execute(&mut database).await?;
        koinon.run(&["audit", "verify"]).await?;
    }
    // The end of a chain that the other one knows, and the beginning of one, without a word of either.
    let ends = [
        (
            "delete from audit a where replica = (select replica from kept order by id limit 1)
            and sequence >= (select max(sequence) - 1 from kept b where b.replica = a.replica)",
            "missing",
        ),
        (
            "delete from audit where replica = (select replica from kept order by id limit 1) and sequence <= 2",
            "the first of its chain that is left",
        ),
    ];
    for (change, shows) in ends {
        sqlx::raw_sql(change).execute(&mut database).await?;
        let said = koinon.say(&["audit", "verify"]).await?;
        ensure!(said.code != 0, "{change}: {}", said.stdout);
        ensure!(
            said.stdout.contains(shows),
            "{change}: {}{}",
            said.stdout,
            said.stderr
        );
        let restore =
            "delete from audit; insert into audit overriding system value select * from kept";
        sqlx::raw_sql(restore).execute(&mut database).await?;
    }
    tampered_files(dir.path(), &lines, &koinon).await?;

    // The end of the chain that is being written, which nobody else knows: whoever has seen it does, and so does the next record.
    let seen = format!("--seen={}", dir.path().join("seen").display());
    koinon.run(&["audit", "verify", &seen]).await?;
    koinon.run(&["audit", "verify", &seen]).await?;
    let cut = "delete from audit where id in (select id from audit order by id desc limit 3)";
    sqlx::raw_sql(cut).execute(&mut database).await?;
    let said = koinon.say(&["audit", "verify", &seen]).await?;
    ensure!(
        said.code != 0 && said.stdout.contains("missing"),
        "{}{}",
        said.stdout,
        said.stderr
    );
    kubectl.run(&["create", "configmap", "later"]).await?;
    eventually("the next record shows it", async || {
        let said = koinon.say(&["audit", "verify"]).await?;
        let shows = said.stdout.contains("follows 3 records that are missing");
        Ok((said.code != 0 && shows).then_some(()))
    })
    .await?;
    // All of it.
    sqlx::raw_sql("delete from audit")
        .execute(&mut database)
        .await?;
    let said = koinon.say(&["audit", "verify", &seen]).await?;
    ensure!(said.code != 0, "{}{}", said.stdout, said.stderr);
    Ok(())
}

/// A log of JSON lines is altered in every way that leaves lines that look like records.
async fn tampered_files(dir: &Path, lines: &Path, koinon: &Koinon) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(lines)?;
    let all: Vec<&str> = text.lines().collect();
    let whole = all.join("\n");
    let altered = whole.replacen("\"eve\"", "\"bob\"", 1);
    let deleted = [&all[..3], &all[4..]].concat().join("\n");
    let repeated = [&all[..4], &all[2..]].concat().join("\n");
    let mut reordered = all.clone();
    reordered.swap(2, 3);
    // The first chain's, which the second one knows.
    let ends = all.iter().position(|line| line.contains("ChainEnd"));
    let ends = ends.context("the first chain has an end")?;
    let shortened = [&all[..ends - 1], &all[ends + 1..]].concat().join("\n");
    let torn = whole[..whole.len() - 9].to_owned();
    let path = |name: &str| dir.join(format!("{name}.jsonl"));
    for (name, text, shows) in [
        ("altered", altered, "was altered"),
        ("deleted", deleted, "missing"),
        ("repeated", repeated, "inserted"),
        ("reordered", reordered.join("\n"), "put elsewhere"),
        ("shortened", shortened, "missing"),
        ("torn", torn, "is no record"),
    ] {
        std::fs::write(path(name), text)?;
        let file = format!("--file={}", path(name).display());
        let said = koinon.say(&["audit", "verify", &file]).await?;
        ensure!(said.code != 0, "{name}: {}", said.stdout);
        ensure!(said.stdout.contains(shows), "{name}: {}", said.stdout);
    }
    // Whole lines at the end: nothing in the file says so, whoever has seen them does, and keeps saying it.
    let seen = format!("--seen={}", dir.join("seen-lines").display());
    let file = |name: &str| format!("--file={}", path(name).display());
    std::fs::write(path("whole"), &whole)?;
    std::fs::write(path("cut"), all[..all.len() - 2].join("\n"))?;
    std::fs::write(path("empty"), "")?;
    koinon
        .run(&["audit", "verify", &file("whole"), &seen])
        .await?;
    koinon.run(&["audit", "verify", &file("cut")]).await?;
    for _ in 0..2 {
        let said = koinon
            .say(&["audit", "verify", &file("cut"), &seen])
            .await?;
        ensure!(
            said.code != 0 && said.stdout.contains("missing"),
            "{}",
            said.stdout
        );
    }
    koinon
        .run(&["audit", "verify", &file("whole"), &seen])
        .await?;
    let said = koinon
        .say(&["audit", "verify", &file("empty"), &seen])
        .await?;
    ensure!(said.stderr.contains("the log is empty"), "{}", said.stderr);
    ensure!(said.code != 0, "{}{}", said.stdout, said.stderr);
    Ok(())
}

const WORKLOAD: &str = "
apiVersion: cluster.open-cluster-management.io/v1beta1
kind: Placement
metadata: {name: prod, namespace: apps}
spec: {}
---
apiVersion: work.open-cluster-management.io/v1alpha1
kind: ManifestWorkReplicaSet
metadata: {name: web, namespace: apps}
spec:
  placementRefs: [{name: prod}]
  manifestWorkTemplate:
    workload:
      manifests:
      - {apiVersion: v1, kind: ConfigMap, metadata: {name: web, namespace: default}, data: {k: v}}
";

/// Who did what to what, and the code.
fn lines(records: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let line = |record: &Value| {
        let (event, what) = (&record["event"], &record["event"]["objectRef"]);
        let resource = [text(&what["resource"]), text(&what["subresource"])].join("/");
        let (user, verb) = (text(&event["user"]["username"]), text(&event["verb"]));
        format!(
            "{user} {verb} {resource} {} {}",
            text(&what["name"]),
            event["responseStatus"]["code"]
        )
    };
    records.iter().map(line).collect()
}

#[tokio::test]
async fn what_agents_and_controllers_do_is_recorded() -> anyhow::Result<()> {
    let mut league = League::start()
        .hub_flag("--audit-level=metadata")
        .clusters(["east"])
        .await?;
    let (kubectl, koinon) = (league.kubectl(), league.koinon());
    kubectl.apply(&[APPS, WORKLOAD].concat()).await?;
    let works = "/apis/work.open-cluster-management.io/v1/namespaces/east/manifestworks";
    let count = async || -> anyhow::Result<usize> {
        let list = league.get(works).await?;
        Ok(list["items"].as_array().map_or(0, Vec::len))
    };
    eventually("the work is made", async || {
        Ok((count().await? == 1).then_some(()))
    })
    .await?;
    kubectl
        .run(&["delete", "manifestworkreplicaset", "web", "-n", "apps"])
        .await?;
    eventually("the work is gone", async || {
        Ok((count().await? == 0).then_some(()))
    })
    .await?;
    let all = eventually("all is recorded", async || {
        let lines = lines(&records(&koinon, &[]).await?);
        let has = |parts: &[&str]| {
            lines
                .iter()
                .any(|line| parts.iter().all(|part| line.contains(part)))
        };
        let whole = [
            &[
                "system:bootstrap:test-",
                "create managedclusters/enrolment east 201",
            ][..],
            &[
                "system:open-cluster-management:east:",
                "create managedclusters/session east 200",
            ],
            &[
                "system:koinon:controller:placement ",
                "create placementdecisions/",
                " 201",
            ],
            &["system:koinon:controller:", "delete manifestworks/", " 200"],
            &["koinon-admin delete manifestworkreplicasets/ web 200"],
        ]
        .iter()
        .all(|parts| has(parts));
        ensure!(whole, "{lines:#?}");
        Ok(Some(lines))
    })
    .await?;
    // What follows from objects is not: it would be many times as much.
    let noise = |line: &&String| {
        line.starts_with("system:koinon:controller:")
            && (line.contains("create manifestworks/") || line.contains("managedclusters/status"))
    };
    ensure!(!all.iter().any(|line| noise(&line)), "{all:#?}");
    let said = koinon.run(&["audit", "verify"]).await?;
    ensure!(said.contains("nothing was altered"), "{said}");
    // With an agent attached, too.
    let status = league.hub.stop().await?;
    ensure!(status.success(), "it ended with {status}");
    league.finish();
    Ok(())
}
