//! Why an enrolment gets no certificate, and what the agent is told of it.

use koinon_machinery::{ApiError, Reason};
use tonic::Status;

use crate::{
    agents::token::Refusal,
    pki::{self, approve},
};

/// Why an enrolment gets no certificate.
#[derive(Debug, thiserror::Error)]
pub(in crate::agents) enum Error {
    #[error("{0}")]
    Malformed(String),
    #[error(transparent)]
    Request(#[from] approve::Refusal),
    #[error(transparent)]
    Token(#[from] Refusal),
    #[error("the name {0:?} belongs to another cluster")]
    Taken(String),
    #[error("the hub has a namespace {0:?} that belongs to no cluster")]
    Occupied(String),
    #[error("the cluster {0:?} had too many certificates of late; try again in a minute")]
    TooManyCertificates(String),
    #[error("the cluster {0:?} was denied by an admin of the hub")]
    Denied(String),
    #[error("the certificate request {0:?} was denied by an admin of the hub")]
    RequestDenied(String),
    #[error(
        "the cluster {0:?} has too many certificate requests; an admin of the hub has to decide some"
    )]
    TooMany(String),
    #[error("too many attempts failed; try again later")]
    Throttled,
    #[error("the hub is busy; try again later")]
    Busy,
    #[error("the registry does not answer; try again later")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the hub could not carry out the enrolment")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// The outcome as metrics name it.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Request(_) => "csr_refused",
            Self::Token(refusal) => refusal.as_str(),
            Self::Taken(_) => "name_taken",
            Self::Occupied(_) => "name_occupied",
            Self::TooManyCertificates(_) => "too_many_certificates",
            Self::Denied(_) | Self::RequestDenied(_) => "denied",
            Self::TooMany(_) => "too_many_requests",
            Self::Throttled => "throttled",
            Self::Busy => "busy",
            Self::Unavailable(_) => "unavailable",
            Self::Internal(_) => "internal",
        }
    }

    /// Whether it counts against the peer.
    pub(super) fn is_suspicious(&self) -> bool {
        matches!(
            self,
            Self::Malformed(_)
                | Self::Request(_)
                | Self::Token(_)
                | Self::Taken(_)
                | Self::Occupied(_)
        )
    }
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        match error.reason {
            Reason::ServiceUnavailable | Reason::Timeout => Self::Unavailable(error.message.into()),
            _ => Self::Internal(error.message.into()),
        }
    }
}

impl From<koinon_store::Unavailable> for Error {
    fn from(error: koinon_store::Unavailable) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

impl From<pki::Error> for Error {
    fn from(error: pki::Error) -> Self {
        Self::Internal(Box::new(error))
    }
}

impl From<&Error> for Status {
    fn from(error: &Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Malformed(_) | Error::Request(_) => Self::invalid_argument(message),
            // One answer for all: who has no good token learns nothing of the tokens there are.
            Error::Token(_) => Self::unauthenticated(
                "the join token is unknown, expired, used up, or for another name",
            ),
            Error::Taken(_) | Error::Occupied(_) => Self::already_exists(message),
            Error::Denied(_) | Error::RequestDenied(_) => Self::permission_denied(message),
            Error::Throttled | Error::Busy | Error::TooMany(_) | Error::TooManyCertificates(_) => {
                Self::resource_exhausted(message)
            }
            Error::Unavailable(_) => Self::unavailable(message),
            Error::Internal(_) => Self::internal(message),
        }
    }
}
