use kube::runtime::watcher;

/// What a watch knows of what it watches. Once something is known it stays known while the watch is interrupted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Look<T> {
    /// Nothing yet: the first list is under way, or failed for the moment.
    #[default]
    Pending,
    /// The API server says that there is no such resource.
    Absent,
    /// The API server does not let this agent look.
    Forbidden,
    /// What the last complete list and the changes since say.
    Known(T),
}

impl<T> Look<T> {
    /// Takes in that the watch failed; says whether that changed anything.
    pub(super) fn fail(&mut self, error: &watcher::Error) -> bool {
        let now = match code(error) {
            _ if matches!(self, Self::Known(_)) => return false,
            Some(404) => Self::Absent,
            Some(403) => Self::Forbidden,
            // Of the moment: what was answered before stands.
            _ => return false,
        };
        let changed = std::mem::discriminant(&now) != std::mem::discriminant(self);
        *self = now;
        changed
    }

    pub(super) fn is_pending(&self) -> bool {
        matches!(self, Self::Pending)
    }

    pub(super) fn known(&self) -> Option<&T> {
        match self {
            Self::Known(known) => Some(known),
            _ => None,
        }
    }
}

fn code(error: &watcher::Error) -> Option<u16> {
    let (watcher::Error::InitialListFailed(inner)
    | watcher::Error::WatchStartFailed(inner)
    | watcher::Error::WatchFailed(inner)) = error
    else {
        return None;
    };
    match inner {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16) -> watcher::Error {
        let status = kube::core::Status::failure("no", "Reason").with_code(code);
        watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn only_a_definite_answer_ends_the_first_look_and_nothing_undoes_what_is_known() {
        let mut look = Look::<u8>::default();
        assert!(!look.fail(&answered(503)) && look.is_pending());
        assert!(!look.fail(&answered(500)) && look.is_pending());
        assert!(look.fail(&answered(404)) && look == Look::Absent);
        assert!(!look.fail(&answered(503)) && look == Look::Absent);
        assert!(look.fail(&answered(403)) && look == Look::Forbidden);
        look = Look::Known(1);
        assert!(!look.fail(&answered(404)) && !look.fail(&answered(403)));
        assert_eq!(look.known(), Some(&1));
    }
}
