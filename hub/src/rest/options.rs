//! The options of each verb, read and checked in one place.

mod deletion;

pub(super) use deletion::delete_options;

use std::time::Duration;

use koinon_machinery::{ApiError, Cause, Details, Reason, Result, apply};
use koinon_store::Revision;

use super::query::Query;
use crate::registry::{DryRun, FieldValidation, Force, Options};

/// Which state a list is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// Everything that was committed when the request came.
    Newest,
    /// Whatever this replica has.
    Any,
    /// This revision or a later one.
    NotOlderThan(Revision),
    /// This revision.
    Exactly(Revision),
}

/// Options of list and watch.
#[derive(Clone, Debug)]
pub(super) struct ListOptions {
    pub(super) label_selector: String,
    pub(super) field_selector: String,
    /// Zero for everything.
    pub(super) limit: usize,
    pub(super) continue_token: Option<String>,
    pub(super) at: At,
    pub(super) bookmarks: bool,
    /// Whether a watch begins with the present state and marks its end; `None` leaves it to the revision.
    pub(super) initial_events: Option<bool>,
    pub(super) timeout: Option<Duration>,
}

impl ListOptions {
    pub(super) fn list(query: &Query) -> Result<Self> {
        if query.text("continue").is_some() && query.text("resourceVersionMatch").is_some() {
            return Err(invalid(
                "ListOptions",
                Cause::forbidden(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden when continue is provided",
                ),
            ));
        }
        let options = Self::read(query)?;
        if options.continue_token.is_some() && !matches!(options.at, At::Newest | At::Any) {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        if query.raw_present("sendInitialEvents") {
            return Err(invalid(
                "ListOptions",
                Cause::forbidden(
                    "sendInitialEvents",
                    "sendInitialEvents is forbidden for list",
                ),
            ));
        }
        Ok(options)
    }

    pub(super) fn watch(query: &Query) -> Result<Self> {
        let matching = query.text("resourceVersionMatch");
        match (query.optional_flag("sendInitialEvents"), matching) {
            (None, Some(_)) => Err(invalid(
                "ListOptions",
                Cause::forbidden(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                ),
            )),
            (Some(_), matching) if matching != Some("NotOlderThan") => Err(invalid(
                "ListOptions",
                Cause::forbidden(
                    "resourceVersionMatch",
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                ),
            )),
            (Some(true), _) if !query.flag("allowWatchBookmarks") => {
                // Nothing could mark the end of the initial events.
                Err(ApiError::bad_request(
                    "sendInitialEvents requires allowWatchBookmarks",
                ))
            }
            _ => Self::read(query),
        }
    }

    fn read(query: &Query) -> Result<Self> {
        let limit = query.integer("limit")?.unwrap_or_default();
        let timeout = query
            .integer("timeoutSeconds")?
            .filter(|seconds| *seconds > 0);
        Ok(Self {
            label_selector: query.text("labelSelector").unwrap_or_default().to_owned(),
            field_selector: query.text("fieldSelector").unwrap_or_default().to_owned(),
            limit: usize::try_from(limit).unwrap_or_default(),
            continue_token: query.text("continue").map(str::to_owned),
            at: at(query)?,
            bookmarks: query.flag("allowWatchBookmarks"),
            initial_events: query.optional_flag("sendInitialEvents"),
            timeout: timeout
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map(Duration::from_secs),
        })
    }
}

/// Reads `resourceVersion` and `resourceVersionMatch`.
pub(super) fn at(query: &Query) -> Result<At> {
    let matching = query.text("resourceVersionMatch");
    let forbidden = |detail: &str| {
        Err(invalid(
            "ListOptions",
            Cause::forbidden("resourceVersionMatch", detail),
        ))
    };
    let revision = match query.text("resourceVersion") {
        None if query.raw_present("sendInitialEvents") => return Ok(At::Newest),
        None if matching.is_some() => {
            return forbidden(
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            );
        }
        None => return Ok(At::Newest),
        Some(text) => revision(text)?,
    };
    match matching {
        Some("Exact") if revision.0 == 0 => {
            forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")
        }
        Some("Exact") => Ok(At::Exactly(revision)),
        None | Some("NotOlderThan") if revision.0 == 0 => Ok(At::Any),
        None | Some("NotOlderThan") => Ok(At::NotOlderThan(revision)),
        Some(other) => Err(invalid(
            "ListOptions",
            Cause::not_supported("resourceVersionMatch", other, ["Exact", "NotOlderThan"]),
        )),
    }
}

fn revision(text: &str) -> Result<Revision> {
    match text.parse::<i64>() {
        Ok(number) if number >= 0 => Ok(Revision(number)),
        _ => Err(invalid(
            "ListOptions",
            Cause::invalid("resourceVersion", text, "must be a number"),
        )),
    }
}

/// Reads the options of a server-side apply.
pub(super) fn apply_options(query: &Query) -> Result<(Options, Force)> {
    const KIND: &str = "PatchOptions";
    if query.text("fieldManager").is_none() {
        let cause = Cause::required("fieldManager", "is required for apply patch");
        return Err(invalid(KIND, cause));
    }
    let force = if query.flag("force") {
        Force::Yes
    } else {
        Force::No
    };
    Ok((write_options(query, KIND)?, force))
}

/// Reads the options of a patch that is no apply.
pub(super) fn patch_options(query: &Query) -> Result<Options> {
    const KIND: &str = "PatchOptions";
    if query.raw_present("force") {
        let cause = Cause::forbidden("force", "may not be specified for non-apply patch");
        return Err(invalid(KIND, cause));
    }
    write_options(query, KIND)
}

/// Reads the options of create, update and patch; `kind` is the name of the option type in messages.
pub(super) fn write_options(query: &Query, kind: &str) -> Result<Options> {
    let manager = query.text("fieldManager").unwrap_or_default();
    if let Some(cause) = apply::check_manager(manager).into_iter().next() {
        return Err(invalid(kind, cause));
    }
    let fields = match query.text("fieldValidation") {
        Some("Ignore") => FieldValidation::Ignore,
        None | Some("Warn") => FieldValidation::Warn,
        Some("Strict") => FieldValidation::Strict,
        Some(other) => {
            let cause =
                Cause::not_supported("fieldValidation", other, ["Ignore", "Strict", "Warn"]);
            return Err(invalid(kind, cause));
        }
    };
    Ok(Options {
        dry_run: dry_run(query.all("dryRun"), kind)?,
        fields,
    })
}

/// Reads all values of `dryRun`. One that is not known is refused, and so is an empty one: whoever names it at all means not to write.
fn dry_run<'a>(values: impl IntoIterator<Item = &'a str>, kind: &str) -> Result<DryRun> {
    let mut found = DryRun::No;
    for value in values {
        if value != "All" {
            let cause = Cause::not_supported("dryRun", value, ["All"]);
            return Err(invalid(kind, cause));
        }
        found = DryRun::All;
    }
    Ok(found)
}

/// 422 about the options themselves.
fn invalid(kind: &str, cause: Cause) -> ApiError {
    let details = Details {
        group: "meta.k8s.io".to_owned(),
        kind: kind.to_owned(),
        causes: vec![cause.clone()],
        ..Details::default()
    };
    ApiError::new(
        Reason::Invalid,
        format!("{kind}.meta.k8s.io \"\" is invalid: {cause}"),
    )
    .with_details(details)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<impl std::fmt::Debug>) -> String {
        result.unwrap_err().message
    }

    #[test]
    fn versions_mean_what_kubernetes_says() {
        let at = |query: &str| at(&Query::parse(query));
        assert_eq!(at("").unwrap(), At::Newest);
        assert_eq!(at("resourceVersion=0").unwrap(), At::Any);
        assert_eq!(
            at("resourceVersion=7").unwrap(),
            At::NotOlderThan(Revision(7))
        );
        assert_eq!(
            at("resourceVersion=7&resourceVersionMatch=Exact").unwrap(),
            At::Exactly(Revision(7))
        );
        assert!(message(at("resourceVersion=abc")).contains("resourceVersion: Invalid value"));
        assert!(message(at("resourceVersionMatch=Exact")).contains("Forbidden"));
        assert!(
            message(at("resourceVersion=1&resourceVersionMatch=Maybe"))
                .contains("Unsupported value")
        );
    }

    #[test]
    fn initial_events_need_their_partners() {
        let watch = |query: &str| ListOptions::watch(&Query::parse(query));
        assert!(
            watch("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=1")
                .unwrap()
                .initial_events
                == Some(true)
        );
        assert!(watch("sendInitialEvents=true").is_err());
        assert!(watch("resourceVersionMatch=NotOlderThan&resourceVersion=1").is_err());
        assert!(ListOptions::list(&Query::parse("sendInitialEvents=true")).is_err());
    }

    #[test]
    fn write_options_are_checked() {
        let read = |query: &str| write_options(&Query::parse(query), "CreateOptions");
        assert_eq!(read("dryRun=All").unwrap().dry_run, DryRun::All);
        assert_eq!(read("").unwrap().fields, FieldValidation::Warn);
        assert_eq!(
            message(read("dryRun=Some")),
            "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: \"Some\": supported values: \"All\""
        );
        assert!(read("fieldValidation=strict").is_err());
        for query in ["dryRun=", "dryRun", "dryRun=All&dryRun=Some", "dryRun=all"] {
            assert!(read(query).is_err(), "{query}");
        }
    }
}
