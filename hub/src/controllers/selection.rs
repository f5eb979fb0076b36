//! `--controllers`, with kube-controller-manager's syntax.

use std::collections::BTreeSet;

/// Which controllers run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection(BTreeSet<&'static str>);

/// A value of `--controllers` that names something unknown.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not in the list of known controllers: {}", known.join(", "))]
pub struct Unknown {
    pub name: String,
    pub known: Vec<&'static str>,
}

impl Selection {
    /// Parses a comma-separated list: `*` = all, `foo` = this one, `-foo` = not this one. What names a controller
    /// goes before `*`; of several entries that name it, the first counts.
    ///
    /// # Errors
    /// A name that no controller has.
    pub fn parse(text: &str, known: &[&'static str]) -> Result<Self, Unknown> {
        let entries: Vec<&str> = text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .collect();
        for entry in &entries {
            let name = entry.strip_prefix('-').unwrap_or(entry);
            if name != "*" && !known.contains(&name) {
                return Err(Unknown {
                    name: name.to_owned(),
                    known: known.to_vec(),
                });
            }
        }
        let all = entries.contains(&"*");
        let enabled = |name: &str| {
            let named = entries
                .iter()
                .find(|entry| entry.strip_prefix('-').unwrap_or(entry) == name);
            named.map_or(all, |entry| !entry.starts_with('-'))
        };
        Ok(Self(
            known.iter().copied().filter(|name| enabled(name)).collect(),
        ))
    }

    /// Whether the controller of this name runs.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["lease", "placement", "workset"];

    fn parse(text: &str) -> Vec<&'static str> {
        Selection::parse(text, &KNOWN)
            .unwrap()
            .0
            .into_iter()
            .collect()
    }

    #[test]
    fn a_star_means_all_but_what_is_taken_out() {
        assert_eq!(parse("*"), KNOWN);
        assert_eq!(parse("*,-lease"), ["placement", "workset"]);
        assert_eq!(parse("-lease, *"), ["placement", "workset"]);
    }

    #[test]
    fn without_a_star_only_what_is_named_runs() {
        assert_eq!(parse("lease"), ["lease"]);
        assert_eq!(parse("-lease"), [""; 0]);
        assert_eq!(parse(""), [""; 0]);
    }

    #[test]
    fn the_first_entry_that_names_a_controller_counts() {
        assert_eq!(parse("lease,-lease"), ["lease"]);
        assert_eq!(parse("-lease,lease"), [""; 0]);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_list_of_known_ones() {
        let error = Selection::parse("*,-leese", &KNOWN).unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"leese\" is not in the list of known controllers: lease, placement, workset"
        );
    }
}
