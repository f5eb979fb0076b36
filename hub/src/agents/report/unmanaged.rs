//! What a cluster keeps although this hub does not know it, as a condition that says how to dispose of it.

use jiff::Timestamp;
use koinon_api::{
    ManagedCluster,
    cluster::ManagedClusterStatus,
    labels::{annotation, condition, reason::unmanaged},
    meta::{Truth, new_condition, remove_condition, set_condition},
};
use koinon_proto::v1::{ClusterReport, Unmanaged};

use super::cut;

/// Longest token taken from an agent, and longest order given to one.
const MOST_TOKEN: usize = 64;

/// Sets or removes the condition; says whether that changed anything.
pub(super) fn apply(
    report: &ClusterReport,
    status: &mut ManagedClusterStatus,
    now: Timestamp,
) -> bool {
    if report.unmanaged_unknown {
        return false;
    }
    let Some(found) = &report.unmanaged else {
        return remove_condition(&mut status.conditions, condition::UNMANAGED_WORKS);
    };
    let why = if token(report).is_some() {
        unmanaged::NOT_ON_HUB
    } else {
        unmanaged::DISPOSING
    };
    let truth = new_condition(
        condition::UNMANAGED_WORKS,
        Truth::True,
        why,
        cut(&message(found)),
        now,
    );
    set_condition(&mut status.conditions, truth)
}

/// The token of what is there to be disposed of, if anything is.
pub(super) fn token(report: &ClusterReport) -> Option<String> {
    let found = report.unmanaged.as_ref()?;
    let token = &found.token;
    let sound = token.len() <= MOST_TOKEN && token.bytes().all(|b| b.is_ascii_alphanumeric());
    (sound && !token.is_empty()).then(|| token.clone())
}

fn message(found: &Unmanaged) -> String {
    let mut parts = Vec::new();
    if found.works > 0 {
        parts.push(format!("{} works are kept applied", found.works));
    }
    if found.records > 0 {
        parts.push(format!(
            "{} objects of {} former works are left",
            found.objects, found.records
        ));
    }
    if found.leaving > 0 {
        parts.push(format!("{} are being disposed of", found.leaving));
    }
    let mut message = format!("This hub does not know them: {}", parts.join(", "));
    if !found.names.is_empty() {
        message += &format!(" ({})", found.names.join(", "));
    }
    if found.works + found.records > 0 {
        message +=
            "; make works of these names to manage them, or: koinon cluster dispose-unmanaged";
    }
    if !found.held.is_empty() {
        message += &format!("; {}", found.held);
    }
    message
}

/// Reads the order to dispose of what this hub does not know; empty if there is none.
pub(in crate::agents) fn disposal(cluster: &ManagedCluster) -> String {
    let annotations = cluster.metadata.annotations.as_ref();
    let order = annotations.and_then(|all| all.get(annotation::DISPOSE_UNMANAGED));
    let order = order.filter(|order| order.len() <= 2 * MOST_TOKEN);
    order.cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use koinon_api::meta::condition as find;

    use super::*;

    fn report(unmanaged: Option<Unmanaged>) -> ClusterReport {
        ClusterReport {
            unmanaged,
            ..ClusterReport::default()
        }
    }

    #[test]
    fn what_is_not_known_is_counted_named_and_forgotten_when_it_is_gone() {
        let now = Timestamp::UNIX_EPOCH;
        let mut status = ManagedClusterStatus::default();
        let found = Unmanaged {
            works: 2,
            records: 1,
            objects: 3,
            names: vec!["a".to_owned(), "b".to_owned()],
            token: "abc".to_owned(),
            ..Unmanaged::default()
        };
        assert!(apply(&report(Some(found)), &mut status, now));
        let said = find(&status.conditions, condition::UNMANAGED_WORKS).unwrap();
        assert_eq!(said.reason, "NotOnHub");
        for words in [
            "2 works",
            "3 objects of 1 former works",
            "(a, b)",
            "dispose-unmanaged",
        ] {
            assert!(said.message.contains(words), "{}", said.message);
        }
        // An agent that has not looked yet does not say that there is nothing.
        let unknown = ClusterReport {
            unmanaged_unknown: true,
            ..report(None)
        };
        assert!(!apply(&unknown, &mut status, now));
        let going = Unmanaged {
            leaving: 2,
            held: "approve it".to_owned(),
            ..Unmanaged::default()
        };
        assert!(apply(&report(Some(going)), &mut status, now));
        let said = find(&status.conditions, condition::UNMANAGED_WORKS).unwrap();
        assert_eq!(said.reason, "Disposing");
        assert!(said.message.ends_with("approve it"), "{}", said.message);
        assert!(apply(&report(None), &mut status, now));
        assert!(status.conditions.is_empty());
    }

    #[test]
    fn tokens_of_an_agent_are_bounded() {
        for (text, good) in [("abc1", true), ("", false), ("a b", false), ("\"", false)] {
            let found = Unmanaged {
                token: text.to_owned(),
                ..Unmanaged::default()
            };
            assert_eq!(token(&report(Some(found))).is_some(), good, "{text:?}");
        }
        let found = Unmanaged {
            token: "a".repeat(MOST_TOKEN + 1),
            ..Unmanaged::default()
        };
        assert_eq!(token(&report(Some(found))), None);
    }
}
