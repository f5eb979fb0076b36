//! Field selectors: equality on the name, the namespace and what a kind offers beside them.

use std::{borrow::Cow, fmt};

use serde_json::Value;

use crate::{ApiError, Object, ResourceInfo, Result};

const NAME: &str = "metadata.name";
const NAMESPACE: &str = "metadata.namespace";

/// Terms on fields; all must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    path: String,
    equal: bool,
    value: String,
}

impl FieldSelector {
    /// The selector that selects everything.
    #[must_use]
    pub const fn everything() -> Self {
        Self { terms: Vec::new() }
    }

    /// Reads a selector as it stands in a URL: `metadata.name=x,spec.clusterSet!=y`.
    ///
    /// # Errors
    /// `BadRequest` when it does not parse or names a field that the kind does not offer.
    pub fn parse(text: &str, resource: &ResourceInfo) -> Result<Self> {
        let mut terms = Vec::new();
        for part in split_terms(text) {
            if part.is_empty() {
                continue;
            }
            let Some((path, equal, value)) = split_operator(part) else {
                let message = format!("invalid selector: '{text}'; can't understand '{part}'");
                return Err(ApiError::bad_request(message));
            };
            let offered = path == NAME
                || path == NAMESPACE
                || resource.selectable_fields.iter().any(|field| field == path);
            if !offered {
                return Err(ApiError::bad_request(format!(
                    "{path:?} is not a known field selector: only {}",
                    offers(resource)
                )));
            }
            terms.push(Term {
                path: path.to_owned(),
                equal,
                value: unescape(value)?,
            });
        }
        Ok(Self { terms })
    }

    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The one name that can match, so that a list becomes a lookup.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.exact(NAME)
    }

    /// The one namespace that can match.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.exact(NAMESPACE)
    }

    /// Whether the key alone decides, without reading the object.
    #[must_use]
    pub fn is_on_key(&self) -> bool {
        self.terms
            .iter()
            .all(|term| term.path == NAME || term.path == NAMESPACE)
    }

    /// Whether the terms on name and namespace hold; the others are not looked at.
    #[must_use]
    pub fn matches_key(&self, namespace: &str, name: &str) -> bool {
        self.terms.iter().all(|term| match term.path.as_str() {
            NAME => term.holds(name),
            NAMESPACE => term.holds(namespace),
            _ => true,
        })
    }

    #[must_use]
    pub fn matches(&self, object: &Object) -> bool {
        self.terms.iter().all(|term| {
            let path: Vec<&str> = term.path.split('.').collect();
            term.holds(&shown(object.at(&path)))
        })
    }

    fn exact(&self, path: &str) -> Option<&str> {
        self.terms
            .iter()
            .find(|term| term.equal && term.path == path)
            .map(|term| term.value.as_str())
    }
}

impl Term {
    fn holds(&self, value: &str) -> bool {
        (self.value == value) == self.equal
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Term { path, equal, value }) in self.terms.iter().enumerate() {
            let separator = if index > 0 { "," } else { "" };
            let operator = if *equal { "=" } else { "!=" };
            let value = value
                .replace('\\', "\\\\")
                .replace(',', "\\,")
                .replace('=', "\\=");
            write!(f, "{separator}{path}{operator}{value}")?;
        }
        Ok(())
    }
}

fn offers(resource: &ResourceInfo) -> String {
    let fields = [NAME, NAMESPACE]
        .into_iter()
        .chain(resource.selectable_fields.iter().map(String::as_str));
    fields
        .map(|field| format!("{field:?}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A value as a selector compares it: an absent field is the empty text.
fn shown(value: Option<&Value>) -> Cow<'_, str> {
    match value {
        None | Some(Value::Null) => Cow::Borrowed(""),
        Some(Value::String(text)) => Cow::Borrowed(text),
        Some(other) => Cow::Owned(other.to_string()),
    }
}

/// Splits at commas that no backslash precedes.
fn split_terms(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn split_operator(part: &str) -> Option<(&str, bool, &str)> {
    let at = part.find(['=', '!'])?;
    let (path, rest) = part.split_at(at);
    if let Some(value) = rest.strip_prefix("!=") {
        return Some((path, false, value));
    }
    rest.strip_prefix("==")
        .or_else(|| rest.strip_prefix('='))
        .map(|value| (path, true, value))
}

fn unescape(value: &str) -> Result<String> {
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(next @ ('\\' | ',' | '=')) => text.push(next),
                _ => {
                    return Err(ApiError::bad_request(format!(
                        "invalid field selector: invalid escape sequence in {value:?}"
                    )));
                }
            },
            ',' | '=' => {
                let message = format!("invalid field selector: unescaped character in value: {c}");
                return Err(ApiError::bad_request(message));
            }
            other => text.push(other),
        }
    }
    Ok(text)
}
