//! Controllers die between any two of their writes, start again, and get to the same end (P2).

use k8s_openapi::api::core::v1::Namespace;
use koinon_api::{ManifestWorkReplicaSet, labels::condition, meta::is_true};
use koinon_store::testing::TestPostgres;

use crate::support::{Hub, eventually, eventually_or};

const CLUSTERS: [&str; 3] = ["east", "standby", "west"];

/// From some write on the database refuses every further one, as it would for a process that is dead.
const CRASH_POINT: &str = r#"
    create table crash (budget bigint not null);
    insert into crash values (1000000);
    create sequence crash_writes;
    create function crash_point() returns trigger language plpgsql as $$
    begin
        if nextval('crash_writes') > (select budget from crash) then
            raise exception 'crash point';
        end if;
        return new;
    end $$;
    create trigger crash_point before insert on changes for each row execute function crash_point();
"#;

struct CrashPoint<'a>(&'a TestPostgres);

impl CrashPoint<'_> {
    async fn run(&self, sql: String) {
        // The inspector takes literals only; a test may leak a few.
        self.0.connect().await.execute(sql.leak()).await;
    }

    async fn after(&self, writes: u32) {
        self.run(format!(
            "update crash set budget = {writes}; select setval('crash_writes', 1, false)"
        ))
        .await;
    }

    async fn never(&self) {
        self.run("update crash set budget = 1000000000".to_owned())
            .await;
    }
}

fn settled(hub: &Hub, namespace: &str) -> bool {
    let set = hub
        .client
        .get::<ManifestWorkReplicaSet>(namespace, "web")
        .unwrap()
        .unwrap();
    let status = set.status.unwrap_or_default();
    status.summary.total == 2 && is_true(&status.conditions, condition::PLACEMENT_VERIFIED)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_any_write_of_placement_and_workset_converges() {
    let postgres = TestPostgres::start().await.unwrap();
    let hub = Hub::open(&postgres).await;
    let crash = CrashPoint(&postgres);
    crash.run(CRASH_POINT.to_owned()).await;
    let setup = hub.lead("setup", "*,-lease");
    for cluster in CLUSTERS {
        hub.cluster(cluster, 60).await;
    }
    eventually("the clusters are free of taints", || {
        CLUSTERS.iter().all(|one| hub.taints(one).is_empty())
    })
    .await;
    let home = |name: &str| hub.client.get::<Namespace>("", name).unwrap().is_some();
    eventually("the clusters have namespaces", || {
        CLUSTERS.iter().all(|name| home(name))
    })
    .await;
    eventually("the default set exists", || {
        hub.list::<koinon_api::ManagedClusterSet>(None).len() == 2
    })
    .await;
    setup.stop().await;

    for writes in 0..200 {
        let namespace = format!("crash-{writes}");
        hub.namespace(&namespace).await;
        hub.workload(&namespace, Some(2)).await;

        crash.after(writes).await;
        let first = hub.lead("first", "placement,workset");
        eventually("a crash or the end", || {
            first.has_failed() || settled(&hub, &namespace)
        })
        .await;
        let crashed = first.has_failed();
        first.stop().await;
        crash.never().await;

        let second = hub.lead("second", "placement,workset");
        let state = || {
            let set = hub.client.get::<ManifestWorkReplicaSet>(&namespace, "web");
            let decided = hub.decided(&namespace);
            format!(
                "after {writes} writes: {decided:?} {:?} {set:?} {:?}",
                hub.works(&namespace),
                second.reports.list()
            )
        };
        eventually_or(
            "the replica set is settled",
            || settled(&hub, &namespace),
            state,
        )
        .await;
        second.stop().await;
        let decided = hub.decided(&namespace);
        assert_eq!(decided.len(), 2, "after {writes} writes: {decided:?}");
        let works: Vec<String> = hub
            .works(&namespace)
            .into_iter()
            .map(|(cluster, _)| cluster)
            .collect();
        assert_eq!(
            works, decided,
            "after {writes} writes: one work per decision"
        );
        if !crashed {
            assert!(writes > 5, "the crash point works");
            return;
        }
    }
    panic!("the controllers never get through");
}
