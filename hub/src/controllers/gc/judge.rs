//! What becomes of a dependent, from how its owners stand.

/// How an owner stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Present,
    /// Gone, or replaced by another object of the same name.
    Absent,
    /// Being deleted in the foreground: it waits for its dependents.
    Waiting,
    /// Nobody here can tell: its kind is not served, or it cannot be where the reference says.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    Delete(Why),
    /// Another owner holds the object; the references at these positions go.
    Strip(Vec<usize>),
}

/// Why an object goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It has no owner left.
    Lost,
    /// An owner is being deleted that waits until it is gone.
    Awaited,
}

/// As Kubernetes' garbage collector: one present owner is enough to stay, and while one owner cannot be judged
/// nothing is done at all.
pub(super) fn judge(owners: &[Owner]) -> Verdict {
    if owners.is_empty() || owners.contains(&Owner::Unknown) {
        return Verdict::Keep;
    }
    if !owners.contains(&Owner::Present) {
        return Verdict::Delete(if owners.contains(&Owner::Waiting) {
            Why::Awaited
        } else {
            Why::Lost
        });
    }
    let lost = owners
        .iter()
        .enumerate()
        .filter(|(_, owner)| **owner != Owner::Present);
    let lost: Vec<usize> = lost.map(|(index, _)| index).collect();
    if lost.is_empty() {
        Verdict::Keep
    } else {
        Verdict::Strip(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::{Owner::*, *};

    #[test]
    fn a_dependent_goes_with_its_last_owner() {
        assert_eq!(judge(&[]), Verdict::Keep);
        assert_eq!(judge(&[Present]), Verdict::Keep);
        assert_eq!(judge(&[Absent]), Verdict::Delete(Why::Lost));
        assert_eq!(judge(&[Absent, Waiting]), Verdict::Delete(Why::Awaited));
        assert_eq!(
            judge(&[Absent, Present, Waiting]),
            Verdict::Strip(vec![0, 2])
        );
        assert_eq!(judge(&[Unknown]), Verdict::Keep);
        assert_eq!(judge(&[Absent, Unknown, Present]), Verdict::Keep);
    }
}
