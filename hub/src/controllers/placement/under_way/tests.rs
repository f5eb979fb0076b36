use koinon_store::Revision;
use tokio::sync::oneshot;

use super::*;

fn plan(name: &str) -> Plan {
    Plan {
        placement: ("apps".to_owned(), name.to_owned()),
        uid: String::new(),
        actions: Vec::new(),
        recheck_at: None,
        revision: Revision(1),
    }
}

/// Ends when the other half is used.
async fn start(under_way: &mut UnderWay, name: &str) -> oneshot::Sender<()> {
    let (end, ended) = oneshot::channel();
    under_way
        .start(plan(name), |plan| async move {
            let result = ended.await.map_err(|_| ApiError::internal("dropped"));
            Ended { plan, result }
        })
        .await;
    end
}

fn names(ended: Vec<Ended>) -> Vec<String> {
    ended.into_iter().map(|one| one.plan.placement.1).collect()
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_one_that_takes_long() {
    let mut under_way = UnderWay::default();
    let slow = start(&mut under_way, "slow").await;
    let quick = start(&mut under_way, "quick").await;
    quick.send(()).unwrap();
    under_way.settle(Duration::from_secs(1)).await;
    assert_eq!(names(under_way.take()), ["quick"]);
    assert!(under_way.has(&plan("slow").placement) && !under_way.has(&plan("quick").placement));

    slow.send(()).unwrap();
    under_way.settle(Duration::from_secs(1)).await;
    assert_eq!(names(under_way.take()), ["slow"]);
    assert_eq!(under_way.placements().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn so_many_are_under_way_and_no_more() {
    let mut under_way = UnderWay::default();
    let mut ends = Vec::new();
    for n in 0..CONCURRENT_WRITES {
        ends.push(start(&mut under_way, &format!("p{n}")).await);
    }
    let more = timeout_at(
        Instant::now() + Duration::from_secs(60),
        start(&mut under_way, "more"),
    );
    assert!(more.await.is_err(), "there is no room");
    ends.remove(0).send(()).unwrap();
    start(&mut under_way, "more").await;
    assert_eq!(names(under_way.take()), ["p0"]);
}
