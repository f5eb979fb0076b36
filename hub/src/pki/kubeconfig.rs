//! The admin's kubeconfig: written at the first start, renewed when it no longer serves.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use super::{Authority, Error as PkiError};
use crate::clock;

/// Why there is no admin kubeconfig.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No certificate.
    #[error("failed to issue the admin's certificate")]
    Issue(#[source] PkiError),
    /// No file.
    #[error("failed to write the admin's kubeconfig")]
    Write(#[source] io::Error),
}

/// What became of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It serves as it is.
    Kept,
    /// It was written.
    Written,
}

/// Makes sure that `path` holds a kubeconfig for `server` whose certificate lasts for a third of `lifetime` more.
///
/// # Errors
///
/// If it has to be written and cannot be.
pub fn ensure(
    path: &Path,
    authority: &Authority,
    server: &str,
    lifetime: Duration,
) -> Result<Outcome, Error> {
    if std::fs::read_to_string(path)
        .is_ok_and(|text| serves(&text, authority, server, lifetime / 3))
    {
        return Ok(Outcome::Kept);
    }
    let issued = authority.issue_admin(lifetime).map_err(Error::Issue)?;
    let chain: String = issued
        .chain
        .iter()
        .map(|der| pem("CERTIFICATE", der))
        .collect();
    let key = Zeroizing::new(pem("PRIVATE KEY", &issued.key));
    let text = Zeroizing::new(render(
        server,
        &BASE64_STANDARD.encode(pem("CERTIFICATE", authority.certificate())),
        &BASE64_STANDARD.encode(chain),
        &Zeroizing::new(BASE64_STANDARD.encode(key.as_bytes())),
    ));
    write_secret(path, text.as_bytes()).map_err(Error::Write)?;
    Ok(Outcome::Written)
}

fn render(server: &str, ca: &str, certificate: &str, key: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: koinon
  cluster:
    server: {server}
    certificate-authority-data: {ca}
users:
- name: koinon-admin
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: koinon
  context:
    cluster: koinon
    user: koinon-admin
current-context: koinon
"
    )
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

pub(crate) fn pem(kind: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut out = format!("-----BEGIN {kind}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.extend(line.iter().map(|byte| char::from(*byte)));
        out.push('\n');
    }
    out.push_str(&format!("-----END {kind}-----\n"));
    out
}

/// Decodes the first block of a PEM text.
fn first_block(pem: &str) -> Option<Vec<u8>> {
    let body: String = pem
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with("-----"))
        .collect();
    BASE64_STANDARD.decode(body).ok()
}

#[derive(Deserialize)]
struct Kubeconfig {
    clusters: Vec<Named>,
    users: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    cluster: Cluster,
    #[serde(default)]
    user: User,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Cluster {
    server: String,
    certificate_authority_data: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    client_certificate_data: String,
}

fn serves(text: &str, authority: &Authority, server: &str, left: Duration) -> bool {
    let decoded = |data: &str| {
        let pem = BASE64_STANDARD
            .decode(data)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        pem.and_then(|pem| first_block(&pem))
    };
    let check = || {
        let config: Kubeconfig = serde_saphyr::from_str(text).ok()?;
        let cluster = &config.clusters.first()?.cluster;
        let ca = decoded(&cluster.certificate_authority_data)?;
        let leaf = decoded(&config.users.first()?.user.client_certificate_data)?;
        let (_, leaf) = X509Certificate::from_der(&leaf).ok()?;
        let lasts = clock::until_unix(leaf.validity().not_after.timestamp()) > left;
        Some(cluster.server == server && ca == authority.certificate().as_ref() && lasts)
    };
    check().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::pki::Material;

    const YEAR: Duration = Duration::from_secs(365 * 86_400);

    fn authority() -> Authority {
        Authority::load(&Material::generate().unwrap()).unwrap()
    }

    #[test]
    fn it_is_written_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (path, authority) = (dir.path().join("admin.kubeconfig"), authority());
        assert_eq!(
            ensure(&path, &authority, "https://127.0.0.1:1", YEAR).unwrap(),
            Outcome::Written
        );
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let before = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            ensure(&path, &authority, "https://127.0.0.1:1", YEAR).unwrap(),
            Outcome::Kept
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    }

    #[test]
    fn it_is_written_anew_for_another_address_authority_or_age() {
        let dir = tempfile::tempdir().unwrap();
        let (path, one) = (dir.path().join("admin.kubeconfig"), authority());
        ensure(&path, &one, "https://a:1", YEAR).unwrap();
        assert_eq!(
            ensure(&path, &one, "https://b:1", YEAR).unwrap(),
            Outcome::Written
        );
        assert_eq!(
            ensure(&path, &authority(), "https://b:1", YEAR).unwrap(),
            Outcome::Written
        );
        assert_eq!(
            ensure(&path, &authority(), "https://b:1", YEAR * 4).unwrap(),
            Outcome::Written
        );
        std::fs::write(&path, "not: [a kubeconfig").unwrap();
        assert_eq!(
            ensure(&path, &one, "https://b:1", YEAR).unwrap(),
            Outcome::Written
        );
    }
}
