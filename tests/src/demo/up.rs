//! From nothing to a workload that runs in two clusters; and the end of it.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use futures::future::try_join_all;

use crate::{
    demo::{
        CLUSTERS, LEASE_SECONDS, Refused,
        control::{Ask, Control, Status},
        journey::print_table,
        look::{Look, runs_fully},
        say::Say,
        state,
    },
    eventually::eventually,
    koinon::Koinon,
    kubectl::Kubectl,
    tools::{binary, repository},
};

/// Starts the demo.
///
/// # Errors
/// [`Refused::Running`] when there is one; otherwise when anything fails, and
/// then nothing is left running.
pub async fn up() -> anyhow::Result<()> {
    if Control::connect(&state::folder()).is_ok() {
        bail!(Refused::Running);
    }
    let folder = state::fresh()?;
    let say = Say::new(&format!(
        "Koinon demo: one hub, three member clusters; files and logs are in {}",
        folder.display()
    ));
    let mut control = supervisor_start(&folder).await?;
    let status = match Box::pin(story(&say, &folder, &mut control)).await {
        Ok(status) => status,
        Err(error) => {
            // Dropping the first connection ends the supervisor, and it ends the rest.
            return Err(error.context(format!(
                "the demo did not start; the logs are in {}",
                folder.display()
            )));
        }
    };
    print_table(&status).await?;
    print_hints(&status);
    Ok(())
}

async fn story(say: &Say, folder: &Path, control: &mut Control) -> anyhow::Result<Status> {
    let clusters = CLUSTERS.map(|(name, _)| name);
    let hub = say.step(
        "the hub is ready, with a Postgres of its own",
        control.ask(&Ask::Hub),
    );
    // One connection each, so that the clusters start side by side.
    let members = try_join_all(CLUSTERS.map(async |(name, memory)| {
        let mut control = Control::connect(folder)?;
        let ask = Ask::Member {
            cluster: name.into(),
            memory: memory.into(),
        };
        control
            .ask(&ask)
            .await
            .with_context(|| format!("cluster {name}"))?;
        say.line(&format!(
            "cluster {name} serves: etcd, kube-apiserver, kube-controller-manager"
        ));
        anyhow::Ok(())
    }));
    let (status, _) = tokio::try_join!(hub, members)?;

    let koinon = Koinon::new(&status.hub_kubeconfig);
    let kubectl = Kubectl::new(&status.hub_kubeconfig, folder);
    let look = Look::at(&status.hub_kubeconfig).await?;
    for name in clusters {
        let token = say
            .step(
                &format!("koinon token create --cluster {name}"),
                token_create(&koinon, name),
            )
            .await?;
        control
            .ask(&Ask::Agent {
                cluster: name.into(),
                token,
            })
            .await?;
    }
    say.step("the agents ask to join", async {
        for name in clusters {
            eventually("the agent enrols", async || {
                Ok(look.exists(name).await.then_some(()))
            })
            .await?;
        }
        Ok(())
    })
    .await?;
    prepare(say, &kubectl, &clusters).await?;
    say.step(
        &format!("koinon accept {}", clusters.join(" ")),
        koinon.run(&[&["accept"], &clusters[..]].concat()),
    )
    .await?;
    say.step(
        "the clusters are available and have reported their capacity",
        async {
            for name in clusters {
                eventually(&format!("cluster {name} joins"), async || {
                    Ok(
                        (look.available(name).await? == "True" && look.has_capacity(name).await?)
                            .then_some(()),
                    )
                })
                .await?;
            }
            Ok(())
        },
    )
    .await?;
    let sample = repository().join("deploy/demo/sample.yaml");
    say.step(
        "kubectl apply -f deploy/demo/sample.yaml",
        kubectl.run(&["apply", "-f", &sample.display().to_string()]),
    )
    .await?;
    let chosen = say.step("the placement has chosen two clusters", async {
        eventually("the placement decides", async || {
            Ok(Some(look.chosen().await?).filter(|chosen| chosen.len() == 2))
        })
        .await
    });
    let chosen = chosen.await?;
    let status = control.ask(&Ask::Status).await?;
    for name in &chosen {
        let cluster = status
            .clusters
            .iter()
            .find(|cluster| cluster.name == *name)
            .context("an unknown cluster was chosen")?;
        say.step(&format!("the workload runs in {name}"), async {
            eventually("the Deployment is available", async || {
                Ok(runs_fully(cluster).await?.then_some(()))
            })
            .await?;
            let applied = async || {
                let work = look.work(name).await?;
                Ok(work
                    .is_some_and(|work| crate::condition(&work, "Available") == "True")
                    .then_some(()))
            };
            eventually("the hub knows", applied).await
        })
        .await?;
    }
    control.ask(&Ask::Ready).await
}

async fn prepare(say: &Say, kubectl: &Kubectl, clusters: &[&str]) -> anyhow::Result<()> {
    let label = [
        &["label", "managedclusters"],
        clusters,
        &[
            "cluster.open-cluster-management.io/clusterset=demo",
            "--overwrite",
        ],
    ]
    .concat();
    say.step(
        "the clusters are put into the cluster set `demo` by their label",
        kubectl.run(&label),
    )
    .await?;
    let what = format!(
        "leaseDurationSeconds is set to {LEASE_SECONDS}, so that a lost cluster is noticed after {} s instead of 5 min",
        5 * LEASE_SECONDS
    );
    let patch = format!(r#"{{"spec":{{"leaseDurationSeconds":{LEASE_SECONDS}}}}}"#);
    say.step(&what, async {
        for name in clusters {
            kubectl
                .run(&[
                    "patch",
                    "managedcluster",
                    name,
                    "--type=merge",
                    "-p",
                    &patch,
                ])
                .await?;
        }
        Ok(())
    })
    .await
}

async fn token_create(koinon: &Koinon, cluster: &str) -> anyhow::Result<String> {
    let said = koinon
        .run(&["token", "create", "--cluster", cluster])
        .await?;
    let token = said
        .split_whitespace()
        .find(|word| word.starts_with("koinon.") && word.len() > 40);
    Ok(token
        .with_context(|| format!("`koinon token create` printed no token: {said}"))?
        .to_owned())
}

async fn supervisor_start(folder: &Path) -> anyhow::Result<Control> {
    let log = std::fs::File::create(folder.join("supervisor.log"))?;
    let mut child = Command::new(binary("koinon-demo")?)
        .arg("supervise")
        .env("KOINON_STATE", folder)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    std::fs::write(folder.join("supervisor.pid"), child.id().to_string())?;
    eventually("the supervisor listens", async || {
        if let Some(ended) = child.try_wait()? {
            return Ok(Some(Err(anyhow::anyhow!(
                "the supervisor ended with {ended}; see {}",
                folder.join("supervisor.log").display()
            ))));
        }
        Ok(Control::connect(folder).ok().map(Ok))
    })
    .await?
}

/// Ends the demo.
///
/// # Errors
/// [`Refused::NotRunning`] when there is none; when it does not end.
pub async fn stop() -> anyhow::Result<()> {
    let folder = state::folder();
    let mut control = Control::connect(&folder)?;
    let say = Say::new("Ending the demo");
    let pid = std::fs::read_to_string(folder.join("supervisor.pid"))
        .context("the supervisor has left no process id")?;
    say.step("agents, hub and clusters have ended", async {
        control.ask(&Ask::Stop).await?;
        let process = Path::new("/proc").join(pid.trim());
        eventually("the supervisor ends", async || {
            Ok((!process.exists() || zombie(&process)).then_some(()))
        })
        .await?;
        ensure!(
            Control::connect(&folder).is_err(),
            "the supervisor still listens"
        );
        Ok(())
    })
    .await?;
    println!(
        "The files and logs are still in {}; the next `make demo` begins afresh.",
        folder.display()
    );
    Ok(())
}

// A supervisor whose parent does not wait for it has ended all the same.
fn zombie(process: &Path) -> bool {
    std::fs::read_to_string(process.join("stat")).is_ok_and(|stat| {
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('Z'))
    })
}

fn print_hints(status: &Status) {
    let kubeconfig = status.hub_kubeconfig.display();
    let member = status
        .clusters
        .first()
        .map(|cluster| cluster.kubeconfig.display().to_string())
        .unwrap_or_default();
    println!(
        "Try next:

  export KUBECONFIG={kubeconfig}
  kubectl get managedclusters
  kubectl get placements,manifestworkreplicasets -n demo
  kubectl get manifestworks -A
  kubectl edit manifestworkreplicaset shop -n demo          # the clusters follow
  kubectl --kubeconfig {member} get all -n shop             # a member cluster's own view

  make demo-lose CLUSTER=east      # its agent and API server die; see the workload move
  make demo-return CLUSTER=east    # and come back
  make demo-stop
"
    );
}
