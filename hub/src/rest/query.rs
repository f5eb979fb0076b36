//! The query string, with the leniency of Kubernetes.

use koinon_machinery::{ApiError, Result};

/// Decoded query parameters; of a repeated one the first counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: &str) -> Self {
        Self(
            form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// The parameter, unless it is absent or empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.raw(name).filter(|value| !value.is_empty())
    }

    /// Whether a switch is on: `watch`, `watch=1` and `watch=True` are, `watch=0` and `watch=false` are not.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.optional_flag(name).unwrap_or_default()
    }

    /// The same, with absence kept apart.
    pub(super) fn optional_flag(&self, name: &str) -> Option<bool> {
        self.raw(name)
            .map(|value| !(value == "0" || value.eq_ignore_ascii_case("false")))
    }

    /// Every value of a parameter that may be repeated.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let named = move |(key, _): &&(String, String)| key == name;
        self.0.iter().filter(named).map(|(_, value)| value.as_str())
    }

    /// A whole number.
    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>> {
        let Some(text) = self.raw(name) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            ApiError::bad_request(format!(
                "strconv.ParseInt: parsing {text:?}: invalid syntax"
            ))
        })
    }

    /// Whether the parameter is there at all.
    pub(super) fn raw_present(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    fn raw(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_lenient_and_numbers_are_not() {
        let query = Query::parse("a&b=1&c=True&d=false&e=0&f=x&n=12&m=1s&empty=");
        for (name, on) in [
            ("a", true),
            ("b", true),
            ("c", true),
            ("d", false),
            ("e", false),
            ("f", true),
            ("z", false),
        ] {
            assert_eq!(query.flag(name), on, "{name}");
        }
        assert_eq!(query.integer("n").unwrap(), Some(12));
        assert_eq!(query.integer("z").unwrap(), None);
        assert_eq!(query.integer("m").unwrap_err().code, 400);
        assert_eq!(query.integer("empty").unwrap_err().code, 400);
        assert_eq!(query.text("empty"), None);
    }
}
