//! What a request asks for, read from method, path and query: Kubernetes' `RequestInfo`.

use std::borrow::Cow;

use http::{Method, Uri};

use crate::authz::Attributes;

use super::query::Query;

/// The subresource that kinds here may have.
pub(super) const STATUS: &str = "status";
/// The subresource at which a certificate request is approved or denied.
pub(super) const APPROVAL: &str = "approval";
/// The subresource at which an account's tokens are asked for.
pub(super) const TOKEN: &str = "token";

/// The subresource that says why a placement chose what it chose.
pub(super) const EXPLAIN: &str = "explain";
/// Below here requests are judged by what they name, which a body may say.
const DEBUG: &str = "/debug/placements";

/// Whether a request is one for OCM's debug endpoint.
pub(super) fn is_debug(asked: &Attributes) -> bool {
    let below = asked.path.strip_prefix(DEBUG);
    !asked.is_resource() && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What a request is judged by: whoever may get a placement may have it explained. `None` when its handler judges, which then is
/// reached by nobody who is anonymous.
pub(super) fn judged(asked: &Attributes) -> Option<Cow<'_, Attributes>> {
    if is_debug(asked) {
        return None;
    }
    if asked.resource == "placements" && asked.subresource == EXPLAIN && asked.verb == "get" {
        let mut plain = asked.clone();
        plain.subresource.clear();
        return Some(Cow::Owned(plain));
    }
    Some(Cow::Borrowed(asked))
}

/// Reads the attributes of a request. Anything that is no well-formed resource path is just a path.
pub(super) fn attributes(method: &Method, uri: &Uri, query: &Query) -> Attributes {
    let path = uri.path();
    let mut asked = Attributes {
        verb: method.as_str().to_ascii_lowercase(),
        path: path.to_owned(),
        ..Attributes::default()
    };
    let segments: Vec<String> = path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(decode)
        .collect();
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    let rest = match parts.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => {
            asked.version = (*version).to_owned();
            rest
        }
        ["apis", group, version, rest @ ..] if !rest.is_empty() => {
            asked.group = (*group).to_owned();
            asked.version = (*version).to_owned();
            rest
        }
        _ => return asked,
    };
    let (namespace, rest) = match rest {
        ["namespaces", _, "status" | "finalize"] | ["namespaces"] | ["namespaces", _] => ("", rest),
        ["namespaces", namespace, rest @ ..] => (*namespace, rest),
        _ => ("", rest),
    };
    let (resource, name, subresource) = match rest {
        [resource] => (*resource, "", String::new()),
        [resource, name] => (*resource, *name, String::new()),
        [resource, name, subresource @ ..] => (*resource, *name, subresource.join("/")),
        [] => return asked,
    };
    asked.namespace = namespace.to_owned();
    resource.clone_into(&mut asked.resource);
    asked.subresource = subresource;
    if asked.resource == "namespaces" && asked.group.is_empty() && !name.is_empty() {
        // As in Kubernetes, a namespace is itself inside its namespace.
        name.clone_into(&mut asked.namespace);
    }
    asked.verb = verb(method, name, query).unwrap_or(asked.verb);
    let collection = matches!(asked.verb.as_str(), "list" | "watch" | "deletecollection");
    if collection && let Some(selector) = query.text("labelSelector") {
        selector.clone_into(&mut asked.labels);
    }
    asked.name = if collection {
        selected_name(query).unwrap_or_default()
    } else {
        name.to_owned()
    };
    asked
}

fn verb(method: &Method, name: &str, query: &Query) -> Option<String> {
    let verb = match *method {
        Method::GET | Method::HEAD if !name.is_empty() => "get",
        Method::GET | Method::HEAD if query.flag("watch") => "watch",
        Method::GET | Method::HEAD => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if !name.is_empty() => "delete",
        Method::DELETE => "deletecollection",
        _ => return None,
    };
    Some(verb.to_owned())
}

/// The one name that a field selector narrows a collection to.
fn selected_name(query: &Query) -> Option<String> {
    let selector = query.text("fieldSelector")?;
    selector.split(',').find_map(|term| {
        let (field, value) = term.split_once('=')?;
        let value = value.strip_prefix('=').unwrap_or(value);
        (field.trim() == "metadata.name" && !value.is_empty()).then(|| value.to_owned())
    })
}

/// Undoes percent-encoding in a path segment.
fn decode(segment: &str) -> String {
    if !segment.contains('%') {
        return segment.to_owned();
    }
    let escaped = segment
        .replace('+', "%2B")
        .replace('&', "%26")
        .replace('=', "%3D");
    form_urlencoded::parse(escaped.as_bytes())
        .map(|(text, _)| text.into_owned())
        .next()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &str, uri: &str) -> (String, String) {
        let uri: Uri = uri.parse().unwrap();
        let query = Query::parse(uri.query().unwrap_or_default());
        let asked = attributes(&method.parse().unwrap(), &uri, &query);
        let Attributes {
            verb,
            group,
            version,
            resource,
            subresource,
            namespace,
            name,
            ..
        } = asked;
        (
            verb,
            format!("{group}|{version}|{resource}|{subresource}|{namespace}|{name}"),
        )
    }

    #[test]
    fn paths_read_as_kubernetes_reads_them() {
        for (method, uri, verb, asked) in [
            ("GET", "/apis/g/v1/things", "list", "g|v1|things|||"),
            (
                "GET",
                "/apis/g/v1/things?watch=1",
                "watch",
                "g|v1|things|||",
            ),
            (
                "GET",
                "/apis/g/v1/things?watch=false",
                "list",
                "g|v1|things|||",
            ),
            ("GET", "/apis/g/v1/things/a", "get", "g|v1|things|||a"),
            (
                "PUT",
                "/apis/g/v1/things/a/status",
                "update",
                "g|v1|things|status||a",
            ),
            (
                "GET",
                "/apis/g/v1/namespaces/n/things",
                "list",
                "g|v1|things||n|",
            ),
            (
                "PATCH",
                "/apis/g/v1/namespaces/n/things/a",
                "patch",
                "g|v1|things||n|a",
            ),
            (
                "DELETE",
                "/apis/g/v1/namespaces/n/things",
                "deletecollection",
                "g|v1|things||n|",
            ),
            ("GET", "/api/v1/namespaces", "list", "|v1|namespaces|||"),
            ("GET", "/api/v1/namespaces/n", "get", "|v1|namespaces||n|n"),
            (
                "PUT",
                "/api/v1/namespaces/n/status",
                "update",
                "|v1|namespaces|status|n|n",
            ),
            (
                "POST",
                "/api/v1/namespaces/n/configmaps",
                "create",
                "|v1|configmaps||n|",
            ),
            ("GET", "/apis/g/v1/things/a%3Ab", "get", "g|v1|things|||a:b"),
            (
                "GET",
                "/apis/g/v1/things?fieldSelector=metadata.name%3Dx",
                "list",
                "g|v1|things|||x",
            ),
            ("GET", "/apis/g/v1", "get", "|||||"),
            ("GET", "/version", "get", "|||||"),
        ] {
            assert_eq!(
                read(method, uri),
                (verb.to_owned(), asked.to_owned()),
                "{method} {uri}"
            );
        }
    }
}
