//! Acting as somebody else: `Impersonate-*` headers, as kube-apiserver's `filters/impersonation.go` reads them.
//!
//! Pure: what the headers ask for, which rights that takes, and who the request is then from.

use std::collections::BTreeMap;

use http::HeaderMap;

use super::{ANONYMOUS, ANONYMOUS_GROUP, AUTHENTICATED, User, service_account};
use crate::authz::Attributes;

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// Most values in the headers: each is a question to the authoriser.
const MOST: usize = 256;

/// Whom a request wants to act as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impersonation {
    name: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Impersonation {
    /// Reads the headers; `None` when they ask for nothing.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, String> {
        let text = |name: &str| headers.get(name).map(|value| utf8(value.as_bytes()));
        let mut wanted = Self {
            name: text(USER).transpose()?.unwrap_or_default(),
            uid: text(UID).transpose()?.unwrap_or_default(),
            ..Self::default()
        };
        let mut values = 0;
        for (name, value) in headers {
            let name = name.as_str();
            let extra = name.strip_prefix(EXTRA);
            if name != GROUP && extra.is_none() {
                continue;
            }
            values += 1;
            let value = utf8(value.as_bytes())?;
            match extra {
                Some(key) => wanted.extra.entry(unescaped(key)).or_default().push(value),
                None => wanted.groups.push(value),
            }
        }
        if values > MOST {
            return Err(format!("more than {MOST} values to impersonate"));
        }
        if !wanted.name.is_empty() {
            return Ok(Some(wanted));
        }
        if wanted == Self::default() {
            return Ok(None);
        }
        Err("requested groups, a uid or extra without impersonating a user".to_owned())
    }

    /// The rights that it takes, all of them.
    pub fn rights(&self) -> Vec<Attributes> {
        let ask = |group: &str, resource: &str, name: &str| {
            Attributes::of("impersonate", group, resource).named(name)
        };
        let mut rights = vec![match service_account::split(&self.name) {
            Some((namespace, name)) => ask("", "serviceaccounts", name).within(namespace),
            None => ask("", "users", &self.name),
        }];
        if !self.uid.is_empty() {
            rights.push(ask(AUTHENTICATION, "uids", &self.uid));
        }
        rights.extend(self.groups.iter().map(|group| ask("", "groups", group)));
        for (key, values) in &self.extra {
            let resource = format!("userextras/{key}");
            rights.extend(
                values
                    .iter()
                    .map(|value| ask(AUTHENTICATION, &resource, value)),
            );
        }
        rights
    }

    /// Who the request is from when it may. Never an agent: a cluster is its certificate.
    pub fn into_user(self) -> User {
        let Self {
            name,
            uid,
            mut groups,
            extra,
        } = self;
        if groups.is_empty()
            && let Some((namespace, _)) = service_account::split(&name)
        {
            groups.extend(service_account::groups(namespace));
        }
        let everybody = if name == ANONYMOUS {
            ANONYMOUS_GROUP
        } else {
            AUTHENTICATED
        };
        let settled = groups
            .iter()
            .any(|group| group == AUTHENTICATED || group == ANONYMOUS_GROUP);
        if !settled {
            groups.push(everybody.to_owned());
        }
        User {
            name,
            uid,
            groups,
            extra,
            ..User::default()
        }
    }
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a header to impersonate is no text".to_owned())
}

/// Keys of extra are percent-encoded, for header names are no place for most characters.
fn unescaped(key: &str) -> String {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |at: usize| {
            tail.get(at)
                .and_then(|digit| char::from(*digit).to_digit(16))
        };
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| key.to_owned())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn read(headers: &[(&str, &str)]) -> Result<Option<Impersonation>, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                name.parse::<HeaderName>().unwrap(),
                value.parse::<HeaderValue>().unwrap(),
            );
        }
        Impersonation::read(&map)
    }

    fn rights(wanted: &Impersonation) -> Vec<String> {
        let text = |asked: Attributes| {
            format!(
                "{}/{} {}/{}",
                asked.group,
                asked.full_resource(),
                asked.namespace,
                asked.name
            )
        };
        wanted.rights().into_iter().map(text).collect()
    }

    #[test]
    fn each_part_takes_a_right_of_its_own() {
        let wanted = read(&[
            ("Impersonate-User", "bob"),
            ("Impersonate-Group", "dev"),
            ("Impersonate-Group", "ops"),
            ("Impersonate-Uid", "7"),
            ("Impersonate-Extra-acme.com%2Fproject", "p"),
        ])
        .unwrap()
        .unwrap();
        assert_eq!(
            rights(&wanted),
            [
                "/users /bob",
                "authentication.k8s.io/uids /7",
                "/groups /dev",
                "/groups /ops",
                "authentication.k8s.io/userextras/acme.com/project /p"
            ]
        );
        let user = wanted.into_user();
        assert_eq!(user.groups, ["dev", "ops", AUTHENTICATED]);
        assert_eq!(user.extra["acme.com/project"], ["p"]);
    }

    #[test]
    fn a_service_account_is_one_and_gets_its_groups() {
        let wanted = read(&[("Impersonate-User", "system:serviceaccount:ns:robot")])
            .unwrap()
            .unwrap();
        assert_eq!(rights(&wanted), ["/serviceaccounts ns/robot"]);
        assert_eq!(
            wanted.into_user().groups,
            [
                "system:serviceaccounts",
                "system:serviceaccounts:ns",
                AUTHENTICATED
            ]
        );
    }

    #[test]
    fn nobody_becomes_an_agent_and_anonymous_stays_so() {
        let name = "system:open-cluster-management:east:a1";
        let wanted = read(&[
            ("Impersonate-User", name),
            (
                "Impersonate-Group",
                "system:open-cluster-management:managed-clusters",
            ),
        ]);
        assert_eq!(wanted.unwrap().unwrap().into_user().cluster, None);
        let user = read(&[("Impersonate-User", ANONYMOUS)])
            .unwrap()
            .unwrap()
            .into_user();
        assert_eq!(user.groups, [ANONYMOUS_GROUP]);
    }

    #[test]
    fn headers_that_make_no_sense_are_refused() {
        assert_eq!(read(&[("Accept", "x")]), Ok(None));
        for headers in [
            ("Impersonate-Group", "g"),
            ("Impersonate-Uid", "7"),
            ("Impersonate-Extra-a", "b"),
        ] {
            assert!(read(&[headers]).is_err(), "{headers:?}");
        }
        let many = vec![("Impersonate-Group", "g"); MOST + 1];
        assert!(read(&[&[("Impersonate-User", "u")], &many[..]].concat()).is_err());
        assert!(read(&[("Impersonate-User", "\u{fc}")]).is_ok());
    }
}
