//! What an agent's certificate says.

use uuid::Uuid;

use super::approve::Subject;

/// What an agent's certificate says: whose it is, and for which of the clusters that had this name.
///
/// A name outlives a cluster: it is deleted on the hub and another one enrols under it. The uid of the `ManagedCluster` tells them
/// apart for as long as a certificate is valid, on every replica and after every restart, with nothing to look up but the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// Whose certificate it is.
    pub subject: Subject,
    /// The uid of the `ManagedCluster` that it was issued for.
    pub uid: Uuid,
}

impl Enrolled {
    /// Returns the URI that carries the identity.
    #[must_use]
    pub fn uri(&self) -> String {
        let Self { subject, uid } = self;
        format!(
            "spiffe://koinon/cluster/{}/uid/{uid}/agent/{}",
            subject.cluster, subject.agent
        )
    }

    /// Reads such a URI; `None` if it is none of ours.
    #[must_use]
    pub fn from_uri(uri: &str) -> Option<Self> {
        let path = uri.strip_prefix("spiffe://koinon/cluster/")?;
        let mut parts = path.split('/');
        let (cluster, uid, agent) = match std::array::from_fn(|_| parts.next()) {
            [
                Some(cluster),
                Some("uid"),
                Some(uid),
                Some("agent"),
                Some(agent),
                None,
            ] => (cluster, uid, agent),
            _ => return None,
        };
        let enrolled = Self {
            subject: Subject {
                cluster: cluster.to_owned(),
                agent: agent.to_owned(),
            },
            uid: uid.parse().ok()?,
        };
        // One spelling for each identity.
        (!cluster.is_empty() && !agent.is_empty() && enrolled.uri() == uri).then_some(enrolled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_uris_name_an_agent() {
        let uid = "6f1c2a52-8f0e-4f3b-9d52-0d9a3f1f7c11";
        let uri = format!("spiffe://koinon/cluster/east/uid/{uid}/agent/a1");
        let read = Enrolled::from_uri(&uri).unwrap();
        assert_eq!(
            (read.subject.cluster.as_str(), read.subject.agent.as_str()),
            ("east", "a1")
        );
        assert_eq!((read.uid.to_string().as_str(), read.uri()), (uid, uri));
        for bad in [
            "spiffe://koinon/cluster/east/agent/a1".to_owned(),
            format!("spiffe://other/cluster/east/uid/{uid}/agent/a1"),
            format!("spiffe://koinon/cluster//uid/{uid}/agent/a1"),
            format!("spiffe://koinon/cluster/east/uid/{uid}/agent/"),
            format!("spiffe://koinon/cluster/east/x/uid/{uid}/agent/a1"),
            format!("spiffe://koinon/cluster/east/uid/{uid}/agent/a/agent/b"),
            format!("spiffe://koinon/cluster/east/uid/{uid}/agent/a/"),
            format!(
                "spiffe://koinon/cluster/east/uid/{}/agent/a1",
                uid.to_uppercase()
            ),
            format!(
                "spiffe://koinon/cluster/east/uid/{}/agent/a1",
                uid.replace('-', "")
            ),
            "spiffe://koinon/cluster/east/uid//agent/a1".to_owned(),
        ] {
            assert_eq!(Enrolled::from_uri(&bad), None, "{bad}");
        }
    }
}
