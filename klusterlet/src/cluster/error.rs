use crate::telemetry::Chain;

/// Result of a call to the member's API server.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call to the member's API server failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered, and refused. The message is the server's own.
    #[error("{message}")]
    Refused {
        /// HTTP status.
        code: u16,
        /// Kubernetes reason, such as `Conflict`.
        reason: String,
        /// The server's words.
        message: String,
        /// Name of the object that the answer is about, if the server says.
        object: String,
        /// What is wrong with which field, if the server says.
        causes: Vec<Cause>,
    },
    /// No answer in time.
    #[error("the API server did not answer in time")]
    Timeout,
    /// No connection, or a broken one.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Kubernetes' word for it, such as `FieldValueRequired`.
    pub reason: String,
    /// The field's path.
    pub field: String,
    /// The server's words.
    pub message: String,
}

/// How Kubernetes, and most definitions and webhooks, say that something may not change any more.
const UNCHANGING: [&str; 11] = [
    "immutable",
    "once set",
    "may not change",
    "may not be change",
    "may not be unset",
    "must not change",
    "cannot change",
    "cannot be change",
    "can not be change",
    "cannot be unset",
    "can not be unset",
];

fn is_unchanging(message: &str) -> bool {
    UNCHANGING.iter().any(|words| message.contains(words))
}

impl Cause {
    /// The field may not be changed any more.
    fn is_immutable(&self) -> bool {
        self.reason == "FieldValueForbidden" || is_unchanging(&self.message)
    }
}

impl Error {
    /// The object is invalid for no other reason than that it would change what may not be changed: a field that is missing may have
    /// been filled in by the server, which lets nobody take it out.
    #[must_use]
    pub fn is_about_a_change(&self) -> bool {
        let Self::Refused {
            code: 422,
            causes,
            message,
            ..
        } = self
        else {
            return false;
        };
        if causes.is_empty() {
            // A webhook's, or another server's.
            return is_unchanging(message);
        }
        let unchanging: Vec<&str> = causes
            .iter()
            .filter(|cause| cause.is_immutable())
            .map(|cause| cause.field.as_str())
            .collect();
        // What is missing must be the very field; what is wrong may lie below it.
        let is_explained = |cause: &Cause| {
            unchanging.iter().any(|field| {
                let below = cause.field.strip_prefix(field);
                below.is_some_and(|below| {
                    below.is_empty()
                        || below.starts_with('.') && cause.reason != "FieldValueRequired"
                })
            })
        };
        causes.iter().all(is_explained)
    }

    /// The object or the resource does not exist.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// The object of this name does not exist, in the server's own words.
    ///
    /// A path that the server does not serve just now is not found either, but says nothing about the object: its version may
    /// have been retired, its definition or the server behind it may be away for a moment.
    #[must_use]
    pub fn is_missing(&self, name: &str) -> bool {
        match self {
            Self::Refused {
                code: 404,
                reason,
                message,
                object,
                ..
            } => {
                // Servers that are not made with Kubernetes' library may leave the details out.
                reason == "NotFound"
                    && (object == name || message.contains(&format!("{name:?} not found")))
            }
            _ => false,
        }
    }

    /// The object's Namespace is on its way out. The server's status says so in its causes too, which are not kept.
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        matches!(self, Self::Refused { code: 403, message, .. } if message.ends_with("because it is being terminated"))
    }

    /// The object exists already.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Self::Refused { reason, .. } if reason == "AlreadyExists")
    }

    /// Somebody else changed the object in between, or owns the field.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: 409, reason, .. } if reason != "AlreadyExists")
    }

    /// The server says that it did not do what it was asked. A failure of its own may have come when it was done.
    #[must_use]
    pub const fn is_denial(&self) -> bool {
        matches!(self, Self::Refused { code: 400..=407 | 409..=499, .. })
    }

    /// The resource does not know the verb.
    #[must_use]
    pub const fn is_not_allowed(&self) -> bool {
        matches!(self, Self::Refused { code: 405, .. })
    }

    /// The server has too much to do, and did not look at the call.
    #[must_use]
    pub const fn is_too_many(&self) -> bool {
        matches!(self, Self::Refused { code: 429, .. })
    }

    /// The object does not pass validation.
    #[must_use]
    pub const fn is_invalid(&self) -> bool {
        matches!(self, Self::Refused { code: 422, .. })
    }

    /// An admission plugin or a webhook may have refused what the object says: they use what code they like.
    #[must_use]
    pub const fn may_be_admission(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                code: 400 | 402 | 403 | 406,
                ..
            }
        )
    }

    /// The object is larger than the server takes.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        match self {
            Self::Refused { code, message, .. } => {
                matches!(code, 413 | 422) || message.contains("request is too large")
            }
            Self::Timeout | Self::Unreachable(_) => false,
        }
    }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused {
                code: status.code,
                reason: status.reason.clone(),
                message: status.message.clone(),
                object: status
                    .details
                    .as_ref()
                    .map(|details| details.name.clone())
                    .unwrap_or_default(),
                causes: status
                    .details
                    .iter()
                    .flat_map(|details| &details.causes)
                    .map(|cause| Cause {
                        reason: cause.reason.clone(),
                        field: cause.field.clone(),
                        message: cause.message.clone(),
                    })
                    .collect(),
            },
            other => Self::Unreachable(Chain(&other).to_string()),
        }
    }
}

/// Makes an error of the same shape for what the agent itself refuses.
#[must_use]
pub fn refused(code: u16, reason: &str, message: String) -> Error {
    Error::Refused {
        code,
        reason: reason.to_owned(),
        message,
        object: String::new(),
        causes: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_fails_may_have_done_what_it_was_asked() {
        for (error, is_denial) in [
            (refused(403, "Forbidden", String::new()), true),
            (refused(422, "Invalid", String::new()), true),
            (refused(429, "TooManyRequests", String::new()), true),
            (refused(408, "Timeout", String::new()), false),
            (refused(500, "InternalError", String::new()), false),
            (refused(504, "Timeout", String::new()), false),
            (Error::Timeout, false),
            (Error::Unreachable("reset".to_owned()), false),
        ] {
            assert_eq!(error.is_denial(), is_denial, "{error:?}");
        }
    }

    #[test]
    fn what_is_missing_is_not_taken_for_what_may_not_change() {
        let cause = |reason: &str, field: &str, message: &str| Cause {
            reason: reason.to_owned(),
            field: field.to_owned(),
            message: message.to_owned(),
        };
        let immutable = |field: &str| cause("FieldValueInvalid", field, "null: field is immutable");
        let required = |field: &str| cause("FieldValueRequired", field, "Required value");
        for (causes, expected) in [
            (vec![immutable("spec.template")], true),
            (
                vec![cause(
                    "FieldValueInvalid",
                    "spec.loadBalancerClass",
                    "Invalid value: \"null\": may not change once set",
                )],
                true,
            ),
            (
                vec![cause(
                    "FieldValueForbidden",
                    "spec",
                    "pod updates may not change fields",
                )],
                true,
            ),
            // A Job without the selector that the server made.
            (
                vec![
                    required("spec.selector"),
                    cause(
                        "FieldValueInvalid",
                        "spec.template.metadata.labels",
                        "`selector` does not match template `labels`",
                    ),
                    immutable("spec.selector"),
                    immutable("spec.template"),
                ],
                true,
            ),
            (
                vec![
                    required("spec.template.spec.containers[0].image"),
                    immutable("spec.template"),
                ],
                false,
            ),
            (
                vec![
                    cause("FieldValueInvalid", "spec.templates", "no"),
                    immutable("spec.template"),
                ],
                false,
            ),
            (
                vec![required("spec.template.spec.containers[0].image")],
                false,
            ),
            (
                vec![required("spec.rules"), immutable("spec.selector")],
                false,
            ),
            (
                vec![cause(
                    "FieldValueInvalid",
                    "spec",
                    "either `defaultBackend` or `rules` must be specified",
                )],
                false,
            ),
            (vec![], false),
        ] {
            let refused = |code: u16| Error::Refused {
                code,
                reason: "Invalid".to_owned(),
                message: String::new(),
                object: String::new(),
                causes: causes.clone(),
            };
            assert_eq!(refused(422).is_about_a_change(), expected, "{causes:?}");
            assert!(!refused(400).is_about_a_change());
        }
        // Servers that name no causes.
        for (message, expected) in [
            ("spec.zone: Invalid value: cannot be changed", true),
            ("spec.zone is wrong", false),
        ] {
            let error = refused(422, "Invalid", message.to_owned());
            assert_eq!(error.is_about_a_change(), expected, "{message}");
        }
    }

    #[test]
    fn a_path_that_is_not_served_says_nothing_about_an_object() {
        let not_found = |reason: &str, message: &str, object: &str| Error::Refused {
            code: 404,
            reason: reason.to_owned(),
            message: message.to_owned(),
            object: object.to_owned(),
            causes: Vec::new(),
        };
        for (error, missing) in [
            (
                not_found("NotFound", "configmaps \"a\" not found", "a"),
                true,
            ),
            (not_found("NotFound", "things \"a\" not found", ""), true),
            (
                not_found("NotFound", "namespaces \"n\" not found", "n"),
                false,
            ),
            (
                not_found(
                    "NotFound",
                    "the server could not find the requested resource",
                    "",
                ),
                false,
            ),
            (
                not_found("Failed to parse error data", "404 page not found", ""),
                false,
            ),
            (
                refused(403, "Forbidden", "\"a\" not found".to_owned()),
                false,
            ),
            (Error::Timeout, false),
        ] {
            assert_eq!(error.is_missing("a"), missing, "{error}");
        }
    }
}
