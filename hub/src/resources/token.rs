//! `JoinToken`: lets clusters join.

use koinon_api::{JoinToken, labels::well_known, names::TokenName, token::TokenText};
use koinon_machinery::{ApiError, Cause, Object, ResourceInfo, Result, validation::NameRule};
use rand::RngExt;
use serde_json::{Value, json};

use crate::{
    authz::Attributes,
    registry::{Admission, Strategy},
};

/// When a token ends.
const EXPIRES: &[&str] = &["spec", "expiresAt"];

#[derive(Debug)]
pub(super) struct Token {
    pub(super) ca_sha256: [u8; 32],
}

impl Strategy for Token {
    fn info(&self) -> ResourceInfo {
        super::custom::<JoinToken>()
    }

    /// The name is a part of the token's text, whose parts are separated by dots.
    fn names(&self) -> NameRule {
        NameRule::DnsLabel
    }

    /// Draws the secret. Only its hash is stored, the text is in this one response.
    fn prepare_create(&self, object: &mut Object, admission: &mut Admission<'_>) -> Result<()> {
        admit_acceptance(object, admission)?;
        let Ok(name) = TokenName::parse(object.name()) else {
            // Validation refuses the name with all else that is wrong.
            return Ok(());
        };
        let text = TokenText::new(name, rand::rng().random(), self.ca_sha256);
        let uses = object
            .at(&["spec", "uses"])
            .and_then(Value::as_u64)
            .unwrap_or(1);
        object.set_status(Some(
            json!({ "tokenHash": text.secret_hash(), "usesLeft": uses }),
        ));
        admission.revealed = Some(json!({ "status": { "token": text.expose() } }));
        Ok(())
    }

    /// A token that accepts clusters lasts as long as somebody said who may.
    fn prepare_update(
        &self,
        object: &mut Object,
        old: &Object,
        admission: &mut Admission<'_>,
    ) -> Result<()> {
        if object.at(EXPIRES) == old.at(EXPIRES) {
            return Ok(());
        }
        admit_acceptance(object, admission)
    }

    /// The hub alone says which secret a token has and how often it is good: who wrote that would have a token of his own making.
    fn prepare_status(
        &self,
        object: &mut Object,
        old: &Object,
        admission: &mut Admission<'_>,
    ) -> Result<()> {
        if admission.user.is_hub() || object.status() == old.status() {
            return Ok(());
        }
        let why = "the status of a token is the hub's";
        Err(ApiError::forbidden(&self.info(), old.name(), why))
    }

    fn validate(&self, object: &Object, old: Option<&Object>) -> Vec<Cause> {
        let mut causes = Vec::new();
        if object.at(&["status", "token"]).is_some() {
            causes.push(Cause::forbidden(
                "status.token",
                "the text of a token is never stored",
            ));
        }
        // What a token allows is settled when it is given away; a new use needs a new token.
        for field in ["clusterName", "uses", "autoAccept"] {
            let value = |object: &Object| object.at(&["spec", field]).cloned();
            if old.is_some_and(|old| value(old) != value(object)) {
                let value = value(object).unwrap_or(Value::Null);
                causes.push(Cause::invalid(
                    format!("spec.{field}"),
                    value,
                    "field is immutable",
                ));
            }
        }
        causes
    }
}

/// Whoever makes a token that accepts clusters accepts them, and puts them into the default set.
fn admit_acceptance(object: &Object, admission: &Admission<'_>) -> Result<()> {
    if object.at(&["spec", "autoAccept"]) != Some(&Value::Bool(true)) {
        return Ok(());
    }
    let cluster = object.at(&["spec", "clusterName"]).and_then(Value::as_str);
    let accept = Attributes::of(
        "update",
        "register.open-cluster-management.io",
        "managedclusters/accept",
    )
    .named(cluster.unwrap_or_default());
    let join = Attributes::of(
        "create",
        "cluster.open-cluster-management.io",
        "managedclustersets/join",
    )
    .named(well_known::DEFAULT_SET);
    let may = |asked| admission.access.allows(admission.user, asked);
    if may(&accept) && may(&join) {
        return Ok(());
    }
    let info = super::custom::<JoinToken>();
    let why = format!(
        "user {:?} cannot accept clusters into the default set, and so not by a token",
        admission.user.name
    );
    Err(ApiError::forbidden(&info, object.name(), &why))
}
