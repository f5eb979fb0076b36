use http::{HeaderValue, Request, header::HeaderName};

use super::{Error, Result, refused};

/// A service account of the member.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Account {
    /// Returns the user name that Kubernetes gives it.
    #[must_use]
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }

    /// Returns the groups that Kubernetes puts it into.
    #[must_use]
    pub fn groups(&self) -> [String; 3] {
        [
            "system:serviceaccounts".to_owned(),
            "system:authenticated".to_owned(),
            format!("system:serviceaccounts:{}", self.namespace),
        ]
    }

    /// Lets a request be the account's.
    pub(super) fn sign(&self, request: &mut Request<Vec<u8>>) -> Result<()> {
        let header = |text: &str| {
            HeaderValue::from_str(text)
                .map_err(|e| -> Error { refused(400, "BadRequest", e.to_string()) })
        };
        let headers = request.headers_mut();
        headers.insert(
            HeaderName::from_static("impersonate-user"),
            header(&self.user())?,
        );
        for group in self.groups() {
            headers.append(
                HeaderName::from_static("impersonate-group"),
                header(&group)?,
            );
        }
        Ok(())
    }
}
