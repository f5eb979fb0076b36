//! What is recorded, and how much of it: the `Policy` of `audit.k8s.io/v1`. Pure.

use serde::Deserialize;

use crate::{
    auth::{CONTROLLERS, User},
    authz::Attributes,
};

/// How much is recorded of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// Who, what, when, from where, with what outcome.
    Metadata,
    /// And the body of the request, secrets apart.
    Request,
    /// In Kubernetes also the answer; here the same as `Request`.
    RequestResponse,
}

/// Rules; the first that matches a request decides, and none does not record it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// `audit.k8s.io/v1`.
    pub api_version: String,
    /// `Policy`.
    pub kind: String,
    /// Ignored; present in files that are written for Kubernetes.
    #[serde(default)]
    pub metadata: serde_json::Value,
    /// Ignored: there is one stage to a request here.
    #[serde(default)]
    pub omit_stages: Vec<String>,
    /// Ignored: managed fields are never recorded.
    #[serde(default)]
    pub omit_managed_fields: Option<bool>,
    /// In order.
    pub rules: Vec<Rule>,
}

/// One rule; what it does not name it does not care for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rule {
    /// How much is recorded.
    pub level: Level,
    /// User names.
    pub users: Vec<String>,
    /// Groups, of which the user has one.
    pub user_groups: Vec<String>,
    /// Verbs.
    pub verbs: Vec<String>,
    /// Resources; such a rule is not about paths.
    pub resources: Vec<Resources>,
    /// Namespaces; the empty one is the cluster's scope.
    pub namespaces: Vec<String>,
    /// Paths, with `*` at the end; such a rule is not about resources.
    #[serde(rename = "nonResourceURLs")]
    pub non_resource_urls: Vec<String>,
    /// Ignored, as above.
    pub omit_stages: Vec<String>,
    /// Ignored, as above.
    pub omit_managed_fields: Option<bool>,
}

/// Resources of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resources {
    /// The group; core's is empty.
    pub group: String,
    /// `plural`, `plural/subresource`, `plural/*`, `*/subresource`, `*`; none at all is every one.
    pub resources: Vec<String>,
    /// Names; none at all is every one.
    pub resource_names: Vec<String>,
}

impl Policy {
    /// What is recorded by a level alone: every change at that level, and who read secrets or the log itself or failed to; health and
    /// plain reading are not. Of what the controllers do by themselves: what they delete and decide, not what follows from objects.
    pub fn standard(level: Level) -> Self {
        let resources = |group: &str, names: &[&str]| Resources {
            group: group.to_owned(),
            resources: names.iter().map(|&name| name.to_owned()).collect(),
            resource_names: Vec::new(),
        };
        let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let of_controllers = || Rule {
            user_groups: texts(&[CONTROLLERS]),
            ..Rule::default()
        };
        let rules = vec![
            // Events end after an hour, by the thousand.
            Rule {
                level: Level::None,
                resources: vec![resources("", &["events"])],
                ..of_controllers()
            },
            Rule {
                level: Level::Metadata,
                verbs: texts(&["delete"]),
                ..of_controllers()
            },
            Rule {
                level: Level::Metadata,
                resources: vec![resources(
                    "cluster.open-cluster-management.io",
                    &[
                        "placementdecisions",
                        "placementdecisions/status",
                        "managedclusters",
                    ],
                )],
                ..of_controllers()
            },
            Rule {
                level: Level::None,
                ..of_controllers()
            },
            // Questions about rights change nothing, and every console asks them.
            Rule {
                level: Level::None,
                verbs: texts(&["create"]),
                resources: vec![
                    resources("authorization.k8s.io", &["*"]),
                    resources("authentication.k8s.io", &["selfsubjectreviews"]),
                ],
                ..Rule::default()
            },
            Rule {
                level: Level::Metadata,
                resources: vec![
                    resources("", &["secrets", "serviceaccounts/token"]),
                    resources("koinon.dev", &["jointokens"]),
                    resources("authentication.k8s.io", &["tokenreviews"]),
                ],
                ..Rule::default()
            },
            Rule {
                level,
                verbs: texts(&["create", "update", "patch", "delete", "deletecollection"]),
                ..Rule::default()
            },
            Rule {
                level: Level::Metadata,
                non_resource_urls: texts(&["/audit/*"]),
                ..Rule::default()
            },
        ];
        Self {
            api_version: "audit.k8s.io/v1".to_owned(),
            kind: "Policy".to_owned(),
            rules,
            ..Self::default()
        }
    }

    /// Reads a policy file.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(yaml: &str) -> Result<Self, String> {
        let policy: Self = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        if policy.api_version != "audit.k8s.io/v1" || policy.kind != "Policy" {
            return Err("it must be a Policy of audit.k8s.io/v1".to_owned());
        }
        if policy.rules.is_empty() {
            return Err("it has no rules".to_owned());
        }
        Ok(policy)
    }

    /// How much is recorded of a request.
    pub fn level(&self, user: &User, asked: &Attributes) -> Level {
        let rule = self.rules.iter().find(|rule| rule.matches(user, asked));
        let level = rule.map_or(Level::None, |rule| rule.level);
        if is_secret(asked) || is_part_of_a_work(asked) {
            level.min(Level::Metadata)
        } else {
            level.min(Level::Request)
        }
    }
}

/// Requests whose body holds a secret: it is never recorded, whatever a policy says.
fn is_secret(asked: &Attributes) -> bool {
    matches!(
        (asked.group.as_str(), asked.resource.as_str()),
        ("", "secrets") | ("authentication.k8s.io", "tokenreviews") | ("koinon.dev", "jointokens")
    ) || asked.group.is_empty() && asked.full_resource() == "serviceaccounts/token"
}

/// A patch of a work may have a piece of a Secret in it that nothing tells from other text.
fn is_part_of_a_work(asked: &Attributes) -> bool {
    asked.verb == "patch" && asked.group == "work.open-cluster-management.io"
}

impl Rule {
    fn matches(&self, user: &User, asked: &Attributes) -> bool {
        let named = |list: &[String], one: &str| {
            list.is_empty() || list.iter().any(|held| held == "*" || held == one)
        };
        let grouped = self.user_groups.is_empty()
            || self.user_groups.iter().any(|group| user.in_group(group));
        named(&self.users, &user.name)
            && grouped
            && named(&self.verbs, &asked.verb)
            && if asked.is_resource() {
                self.matches_resource(asked)
            } else {
                self.matches_path(&asked.path)
            }
    }

    fn matches_resource(&self, asked: &Attributes) -> bool {
        if !self.namespaces.is_empty() && !self.namespaces.contains(&asked.namespace) {
            return false;
        }
        if self.resources.is_empty() {
            return self.non_resource_urls.is_empty();
        }
        self.resources.iter().any(|resources| {
            resources.group == asked.group
                && (resources.resources.is_empty()
                    || resources.resources.iter().any(|one| is_named(one, asked)))
                && (resources.resource_names.is_empty()
                    || resources.resource_names.contains(&asked.name))
        })
    }

    fn matches_path(&self, path: &str) -> bool {
        if self.non_resource_urls.is_empty() {
            return self.resources.is_empty() && self.namespaces.is_empty();
        }
        self.non_resource_urls.iter().any(|url| {
            url == path
                || url
                    .strip_suffix('*')
                    .is_some_and(|prefix| path.starts_with(prefix))
        })
    }
}

fn is_named(one: &str, asked: &Attributes) -> bool {
    match one.split_once('/') {
        _ if one == "*" => true,
        None => asked.subresource.is_empty() && one == asked.resource,
        Some((of, subresource)) => {
            (of == "*" || of == asked.resource)
                && (subresource == "*" || subresource == asked.subresource)
                && !asked.subresource.is_empty()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        User {
            name: "ann".to_owned(),
            groups: vec!["dev".to_owned()],
            ..User::default()
        }
    }

    #[test]
    fn the_standard_policy_records_changes_and_secrets() {
        let policy = Policy::standard(Level::Metadata);
        let level = |asked: Attributes| policy.level(&user(), &asked);
        let path = |verb: &str, path: &str| Attributes {
            verb: verb.to_owned(),
            path: path.to_owned(),
            ..Attributes::default()
        };
        for (asked, wanted) in [
            (Attributes::of("create", "", "configmaps"), Level::Metadata),
            (
                Attributes::of("deletecollection", "", "configmaps"),
                Level::Metadata,
            ),
            (Attributes::of("get", "", "configmaps"), Level::None),
            (Attributes::of("watch", "", "configmaps"), Level::None),
            (Attributes::of("list", "", "secrets"), Level::Metadata),
            (
                Attributes::of("create", "", "serviceaccounts/token"),
                Level::Metadata,
            ),
            (
                Attributes::of("create", "authorization.k8s.io", "selfsubjectaccessreviews"),
                Level::None,
            ),
            (path("get", "/readyz"), Level::None),
            (path("get", "/audit/records"), Level::Metadata),
        ] {
            assert_eq!(level(asked.clone()), wanted, "{asked:?}");
        }
    }

    #[test]
    fn of_controllers_is_recorded_what_they_delete_and_decide() {
        let policy = Policy::standard(Level::Request);
        let gc = User::controller("gc");
        assert!(gc.is_hub() && !user().is_hub());
        let of = |verb: &str, group: &str, resource: &str| {
            policy.level(&gc, &Attributes::of(verb, group, resource))
        };
        let (clusters, works) = (
            "cluster.open-cluster-management.io",
            "work.open-cluster-management.io",
        );
        for (asked, wanted) in [
            (of("delete", works, "manifestworks"), Level::Metadata),
            (of("delete", "", "secrets"), Level::Metadata),
            (
                of("create", clusters, "placementdecisions"),
                Level::Metadata,
            ),
            (
                of("update", clusters, "placementdecisions/status"),
                Level::Metadata,
            ),
            (of("update", clusters, "managedclusters"), Level::Metadata),
            (
                of("update", clusters, "managedclusters/status"),
                Level::None,
            ),
            (
                of("update", works, "manifestworkreplicasets/status"),
                Level::None,
            ),
            (of("create", works, "manifestworks"), Level::None),
            (of("delete", "", "events"), Level::None),
        ] {
            assert_eq!(asked, wanted);
        }
        // A file may say otherwise.
        let all = Policy::parse(
            "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}",
        );
        let asked = Attributes::of("create", works, "manifestworks");
        assert_eq!(all.unwrap().level(&gc, &asked), Level::Metadata);
    }

    #[test]
    fn a_file_is_read_and_the_first_rule_decides() {
        let policy = Policy::parse(
            "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: None, users: [bob]}
- {level: None, userGroups: [dev], verbs: [get], resources: [{group: '', resources: [configmaps]}]}
- {level: Request, resources: [{group: '', resources: ['*']}], namespaces: [shop]}
- {level: RequestResponse, resources: [{group: g, resources: [a/*], resourceNames: [x]}]}
- {level: Metadata, nonResourceURLs: ['/api*']}
",
        )
        .unwrap();
        let level = |name: &str, asked: Attributes| {
            let user = User {
                name: name.to_owned(),
                ..user()
            };
            policy.level(&user, &asked)
        };
        let maps = |verb: &str| Attributes::of(verb, "", "configmaps");
        assert_eq!(level("bob", maps("create").within("shop")), Level::None);
        assert_eq!(level("ann", maps("get").within("shop")), Level::None);
        assert_eq!(level("ann", maps("create").within("shop")), Level::Request);
        assert_eq!(level("ann", maps("create").within("other")), Level::None);
        // Secrets are never recorded with their content.
        let secret = Attributes::of("create", "", "secrets").within("shop");
        assert_eq!(level("ann", secret), Level::Metadata);
        assert_eq!(
            level("ann", Attributes::of("get", "g", "a/status").named("x")),
            Level::Request
        );
        assert_eq!(
            level("ann", Attributes::of("get", "g", "a").named("x")),
            Level::None
        );
        assert_eq!(
            level("ann", Attributes::of("get", "g", "a/status").named("y")),
            Level::None
        );
        let path = |path: &str| Attributes {
            verb: "get".into(),
            path: path.into(),
            ..Attributes::default()
        };
        assert_eq!(
            (level("ann", path("/apis")), level("ann", path("/x"))),
            (Level::Metadata, Level::None)
        );
    }

    #[test]
    fn a_file_that_says_something_else_is_refused() {
        for bad in [
            "",
            "rules: []",
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []",
            "apiVersion: v1\nkind: Policy\nrules: [{level: None}]",
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Everything}]",
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, user: [x]}]",
        ] {
            assert!(Policy::parse(bad).is_err(), "{bad}");
        }
    }
}
