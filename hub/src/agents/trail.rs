//! What is recorded of calls on the agents' port: enrolments, renewals, and who is let in.
//!
//! They are recorded as if they were requests about the cluster: `create` of `managedclusters/enrolment`, `/certificate` and `/session`,
//! and of `/bodies` if a pull is refused. What an agent reports in a session is not recorded: it is in the change log.

use tonic::{Code, Status};

use super::Agents;
use crate::{
    audit::{Audit, Happened, Level, Outcome, Recording},
    auth::User,
    authz::Attributes,
    clock,
    tls::{Peer, network},
};

/// What an agent calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Enrol,
    Renew,
    Attach,
    Pull,
}

impl Call {
    fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::Enrol => ("enrolment", "/koinon.agent.v1.Enrolment/Enrol"),
            Self::Renew => ("certificate", "/koinon.agent.v1.Session/Renew"),
            Self::Attach => ("session", "/koinon.agent.v1.Session/Attach"),
            Self::Pull => ("bodies", "/koinon.agent.v1.Session/Pull"),
        }
    }
}

/// The record of one call, if one is kept. Dropped when it is under way it says that nobody knows the outcome.
#[derive(Debug)]
pub(super) struct Trail {
    audit: Option<(Audit, Option<Happened>)>,
    recording: Recording,
}

impl Trail {
    /// Notes who calls for what.
    pub(super) fn note(
        agents: &Agents,
        peer: &Peer,
        user: User,
        cluster: &str,
        call: Call,
    ) -> Self {
        let none = Self {
            audit: None,
            recording: Recording::default(),
        };
        let Some(audit) = &agents.0.settings.audit else {
            return none;
        };
        let (subresource, path) = call.parts();
        let mut asked = Attributes::of(
            "create",
            "cluster.open-cluster-management.io",
            "managedclusters",
        )
        .named(cluster);
        asked.version = "v1".to_owned();
        asked.subresource = subresource.to_owned();
        asked.path = path.to_owned();
        if audit.policy().level(&user, &asked) == Level::None {
            return none;
        }
        let happened = Happened {
            // A certificate request and what an agent says of itself are not for the log.
            level: Level::Metadata,
            at: clock::now(),
            from: Some(peer.address),
            uri: path.to_owned(),
            agent: "koinon-klusterlet".to_owned(),
            user,
            acting_as: None,
            asked,
            body: None,
            unrecorded: None,
        };
        Self {
            audit: Some((audit.clone(), Some(happened))),
            recording: Recording::default(),
        }
    }

    /// Keeps a place for the record, before anything is changed.
    ///
    /// # Errors
    ///
    /// `UNAVAILABLE` when there is none and changes may not go unrecorded.
    pub(super) fn begin(&mut self) -> Result<(), Status> {
        if let Some((audit, happened)) = &mut self.audit
            && let Some(happened) = happened.take()
        {
            self.recording = audit.begin(happened, true).map_err(|_| {
                Status::unavailable("the hub's audit log takes no records at the moment")
            })?;
        }
        Ok(())
    }

    /// It turned out who calls.
    pub(super) fn is_by(&mut self, user: User) {
        match &mut self.audit {
            Some((_, Some(happened))) => happened.user = user,
            _ => self.recording.is_by(user),
        }
    }

    /// It was done.
    pub(super) fn done(mut self, code: u16) {
        if self.begin().is_ok() {
            self.recording.end(code, Some("allow"));
        }
    }

    /// It failed half way.
    pub(super) fn failed(mut self, status: &Status) {
        if self.begin().is_ok() {
            let code = http_code(status.code());
            self.recording.end(code, (code == 403).then_some("forbid"));
        }
    }

    /// Nothing was done that is worth a record.
    pub(super) fn nothing(self) {
        drop(self.recording.forget());
    }

    /// It was refused. Anybody can have much refused, so that has a share of its own.
    pub(super) fn refused(self, status: &Status) {
        let Some((audit, happened)) = self.audit else {
            return;
        };
        let Some(happened) = happened.or_else(|| self.recording.forget()) else {
            return;
        };
        let code = http_code(status.code());
        let outcome = Outcome {
            code: Some(code),
            decision: (code == 403).then_some("forbid"),
            at: clock::now(),
        };
        let user = happened.user.clone();
        audit.refused(&user, || happened.event(&outcome));
    }
}

/// Records a call without an agent's certificate, or with one that has ended. Whoever reaches the port can make any number of these, so each
/// network has few records, and of its further calls there is a number.
pub(super) fn stranger(agents: &Agents, peer: &Peer, call: Call, status: &Status) {
    let Some(audit) = &agents.0.settings.audit else {
        return;
    };
    let trail = Trail::note(agents, peer, agent_of(peer), "", call);
    if trail.audit.is_none() {
        return;
    }
    let network = network(peer.address.ip());
    if agents.0.strangers.admits(&network) {
        agents.0.strangers.count(network);
        trail.refused(status);
    } else {
        audit.refused_untold();
    }
}

/// The user whose agent a verified certificate is of, with its serial number: which of its certificates it was.
pub(super) fn agent_of(peer: &Peer) -> User {
    let shown = peer.certificate.as_ref();
    let user = shown.and_then(|shown| Some((User::from_certificate(shown)?, shown)));
    let Some((mut user, shown)) = user else {
        return User::anonymous();
    };
    let serial: String = shown
        .serial
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    user.extra
        .insert("koinon.dev/certificate-serial".to_owned(), vec![serial]);
    user
}

/// The HTTP status that an API server would have answered.
fn http_code(code: Code) -> u16 {
    match code {
        Code::Ok => 200,
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::ResourceExhausted => 429,
        Code::Unavailable => 503,
        Code::DeadlineExceeded | Code::Cancelled => 504,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_the_codes_of_an_api_server() {
        for (status, code) in [
            (Status::unauthenticated(""), 401),
            (Status::permission_denied(""), 403),
            (Status::already_exists(""), 409),
            (Status::resource_exhausted(""), 429),
            (Status::unavailable(""), 503),
            (Status::internal(""), 500),
        ] {
            assert_eq!(http_code(status.code()), code, "{status:?}");
        }
    }
}
