use super::{
    detach::{Remaining, next},
    *,
};

fn cluster() -> Cluster {
    Cluster {
        uid: "u".into(),
        accepted: false,
        deleting: false,
        finalizers: Vec::new(),
        shown: None,
    }
}

impl Cluster {
    fn accepted(mut self) -> Self {
        self.accepted = true;
        self
    }

    fn held(mut self) -> Self {
        self.finalizers = vec![
            finalizer::CLUSTER_RESOURCES.into(),
            finalizer::CLUSTER_API_RESOURCES.into(),
        ];
        self
    }

    fn shows(mut self, truth: bool, reason: &str) -> Self {
        self.shown = Some(Shown {
            truth,
            reason: reason.into(),
        });
        self
    }

    fn deleted(mut self) -> Self {
        self.deleting = true;
        self
    }
}

const ACCEPTED: Action = Action::Show {
    truth: Truth::True,
    reason: reason::ACCEPTED,
    message: "Accepted by hub cluster admin",
};

#[test]
fn an_accepted_cluster_gets_a_namespace_and_is_held_before_it_is_shown_as_accepted() {
    let expected = [
        Action::CreateNamespace,
        Action::Hold { accepted: true },
        ACCEPTED,
    ];
    assert_eq!(decide(&cluster().accepted(), Home::Missing), expected);
    assert_eq!(
        decide(&cluster().accepted().held(), Home::Unlabelled),
        [Action::LabelNamespace, ACCEPTED]
    );
}

#[test]
fn what_is_done_is_not_done_again() {
    assert!(
        decide(
            &cluster().accepted().held().shows(true, reason::ACCEPTED),
            Home::Ready
        )
        .is_empty()
    );
    let mut waiting = cluster();
    waiting.finalizers = vec![finalizer::CLUSTER_RESOURCES.into()];
    assert!(decide(&waiting, Home::Missing).is_empty());
    assert!(decide(&cluster().held().shows(false, reason::DENIED), Home::Ready).is_empty());
}

#[test]
fn a_cluster_that_waits_for_acceptance_gets_nothing_but_a_hold() {
    assert_eq!(
        decide(&cluster(), Home::Missing),
        [Action::Hold { accepted: false }]
    );
}

#[test]
fn denial_is_shown_and_keeps_the_namespace() {
    let denied = Action::Show {
        truth: Truth::False,
        reason: reason::DENIED,
        message: "Denied by hub cluster admin",
    };
    assert_eq!(
        decide(&cluster().held().shows(true, reason::ACCEPTED), Home::Ready),
        [denied]
    );
}

#[test]
fn a_terminating_namespace_is_an_error() {
    let actions = decide(&cluster().accepted().held(), Home::Terminating);
    assert!(
        matches!(
            actions[..],
            [Action::Show {
                truth: Truth::False,
                reason: reason::ERROR,
                ..
            }]
        ),
        "{actions:?}"
    );
}

#[test]
fn a_deleted_cluster_is_detached_while_it_is_held() {
    assert_eq!(
        decide(&cluster().accepted().held().deleted(), Home::Ready),
        [Action::Detach]
    );
    assert!(decide(&cluster().deleted(), Home::Ready).is_empty());
}

#[test]
fn works_go_in_the_order_of_their_priority() {
    let work = |name: &str, priority: u8, deleting: bool| Remaining {
        name: name.into(),
        uid: String::new(),
        deleting,
        priority,
    };
    let works = [
        work("a", 10, false),
        work("b", 0, false),
        work("c", 0, false),
    ];
    assert_eq!(
        next(&works)
            .iter()
            .map(|one| one.name.as_str())
            .collect::<Vec<_>>(),
        ["b", "c"]
    );
    let works = [work("a", 10, false), work("b", 0, true)];
    assert!(
        next(&works).is_empty(),
        "the lower priority is not gone yet"
    );
    assert_eq!(next(&works[..1]).len(), 1);
    assert!(next(&[]).is_empty());
}
