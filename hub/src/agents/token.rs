//! Whether a join token admits an enrolment: pure decisions.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use koinon_api::token::{JoinToken, TokenText, TokenUse};
use subtle::ConstantTimeEq as _;

/// Who wants in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Applicant {
    pub(super) cluster: String,
    pub(super) cluster_uid: String,
    /// SHA-256 of the public key, hex.
    pub(super) key: String,
    /// UID of the `ManagedCluster` of that name; empty while there is none.
    pub(super) object: String,
}

/// A token that is good for an applicant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// This very enrolment has spent its use already.
    Known,
    /// A use has to be spent.
    New,
}

/// Why a token is no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the token is unknown")]
    Unknown,
    #[error("the token is for another hub")]
    OtherHub,
    #[error("the token has expired")]
    Expired,
    #[error("the token is used up")]
    UsedUp,
    #[error("the token is for another cluster")]
    OtherCluster,
}

impl Refusal {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "token_unknown",
            Self::OtherHub => "token_other_hub",
            Self::Expired => "token_expired",
            Self::UsedUp => "token_used_up",
            Self::OtherCluster => "token_other_cluster",
        }
    }
}

/// Decides whether `token` admits `applicant`.
///
/// The secret comes first: who does not know it learns nothing about the token. An enrolment that has spent its use
/// may outlast the token, since it may wait for an admin; but not the `ManagedCluster` that the use was spent on, or a
/// cluster that was deleted would come back by itself.
///
/// # Errors
///
/// With the reason if it does not.
pub(super) fn check(
    text: &TokenText,
    token: Option<&JoinToken>,
    applicant: &Applicant,
    ca_sha256: &[u8; 32],
    now: Timestamp,
) -> Result<Admission, Refusal> {
    let (token, status) = token
        .and_then(|token| Some((token, token.status.as_ref()?)))
        .ok_or(Refusal::Unknown)?;
    let hash = text.secret_hash();
    if !bool::from(hash.as_bytes().ct_eq(status.token_hash.as_bytes())) {
        return Err(Refusal::Unknown);
    }
    if token.metadata.deletion_timestamp.is_some() {
        return Err(Refusal::Unknown);
    }
    if text.ca_sha256 != *ca_sha256 {
        return Err(Refusal::OtherHub);
    }
    if token
        .spec
        .cluster_name
        .as_ref()
        .is_some_and(|name| *name != applicant.cluster)
    {
        return Err(Refusal::OtherCluster);
    }
    if status.consumed_by.iter().any(|used| is_by(used, applicant)) {
        return Ok(Admission::Known);
    }
    if token.spec.expires_at.0 <= now {
        return Err(Refusal::Expired);
    }
    if status.uses_left == 0 {
        return Err(Refusal::UsedUp);
    }
    Ok(Admission::New)
}

/// Spends a use on `applicant`; says no if there is none left. Spends nothing twice.
pub(super) fn spend(token: &mut JoinToken, applicant: &Applicant, now: Timestamp) -> Option<bool> {
    let status = token.status.as_mut()?;
    if status.consumed_by.iter().any(|used| is_by(used, applicant)) {
        return Some(false);
    }
    status.uses_left = status.uses_left.checked_sub(1)?;
    status.consumed_by.push(TokenUse {
        cluster_name: applicant.cluster.clone(),
        cluster_uid: applicant.cluster_uid.clone(),
        public_key_sha256: applicant.key.clone(),
        managed_cluster_uid: applicant.object.clone(),
        at: Time(now),
    });
    Some(true)
}

fn is_by(used: &TokenUse, applicant: &Applicant) -> bool {
    used.cluster_name == applicant.cluster
        && used.cluster_uid == applicant.cluster_uid
        && used.public_key_sha256 == applicant.key
        && !applicant.object.is_empty()
        && used.managed_cluster_uid == applicant.object
}

#[cfg(test)]
mod tests {
    use koinon_api::{
        names::TokenName,
        token::{JoinTokenSpec, JoinTokenStatus},
    };

    use super::*;

    const CA: [u8; 32] = [9; 32];

    fn now() -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap()
    }

    fn text(secret: u8) -> TokenText {
        TokenText::new(TokenName::parse("t").unwrap(), [secret; 32], CA)
    }

    fn token() -> JoinToken {
        let spec = JoinTokenSpec {
            cluster_name: None,
            expires_at: Time(Timestamp::from_second(1_700_000_060).unwrap()),
            uses: 1,
            auto_accept: false,
            description: None,
        };
        let mut token = JoinToken::new("t", spec);
        token.status = Some(JoinTokenStatus {
            token_hash: text(1).secret_hash(),
            uses_left: 1,
            ..JoinTokenStatus::default()
        });
        token
    }

    fn east() -> Applicant {
        Applicant {
            cluster: "east".to_owned(),
            cluster_uid: "u".to_owned(),
            key: "k".to_owned(),
            object: "o".to_owned(),
        }
    }

    #[test]
    fn tokens_admit_whom_they_should() {
        type Change = fn(&mut JoinToken);
        let expired: Change =
            |t| t.spec.expires_at = Time(Timestamp::from_second(1_700_000_000).unwrap());
        let used_up: Change = |t| t.status.as_mut().unwrap().uses_left = 0;
        let other: Change = |t| t.spec.cluster_name = Some("west".to_owned());
        let own: Change = |t| t.spec.cluster_name = Some("east".to_owned());
        let deleted: Change = |t| t.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        let no_status: Change = |t| t.status = None;
        let same: Change = |_| ();
        let cases: [(&str, u8, Change, Result<Admission, Refusal>); 8] = [
            ("good", 1, same, Ok(Admission::New)),
            ("good for its name", 1, own, Ok(Admission::New)),
            ("forged secret", 2, same, Err(Refusal::Unknown)),
            ("expired", 1, expired, Err(Refusal::Expired)),
            ("used up", 1, used_up, Err(Refusal::UsedUp)),
            ("of another cluster", 1, other, Err(Refusal::OtherCluster)),
            ("revoked", 1, deleted, Err(Refusal::Unknown)),
            ("without status", 1, no_status, Err(Refusal::Unknown)),
        ];
        for (name, secret, change, want) in cases {
            let mut token = token();
            change(&mut token);
            assert_eq!(
                check(&text(secret), Some(&token), &east(), &CA, now()),
                want,
                "{name}"
            );
        }
        assert_eq!(
            check(&text(1), None, &east(), &CA, now()),
            Err(Refusal::Unknown)
        );
        assert_eq!(
            check(&text(1), Some(&token()), &east(), &[8; 32], now()),
            Err(Refusal::OtherHub)
        );
    }

    #[test]
    fn a_forged_secret_learns_nothing_of_an_expired_token() {
        let mut token = token();
        token.spec.expires_at = Time(Timestamp::UNIX_EPOCH);
        assert_eq!(
            check(&text(2), Some(&token), &east(), &CA, now()),
            Err(Refusal::Unknown)
        );
    }

    #[test]
    fn an_enrolment_spends_one_use_however_often_it_asks() {
        let mut token = token();
        assert_eq!(spend(&mut token, &east(), now()), Some(true));
        assert_eq!(spend(&mut token, &east(), now()), Some(false));
        token.spec.expires_at = Time(Timestamp::UNIX_EPOCH);
        assert_eq!(
            check(&text(1), Some(&token), &east(), &CA, now()),
            Ok(Admission::Known)
        );
        for other in [
            Applicant {
                key: "other".to_owned(),
                ..east()
            },
            Applicant {
                cluster_uid: "other".to_owned(),
                ..east()
            },
            Applicant {
                cluster: "west".to_owned(),
                ..east()
            },
            Applicant {
                object: "made anew".to_owned(),
                ..east()
            },
            Applicant {
                object: String::new(),
                ..east()
            },
        ] {
            assert_eq!(spend(&mut token, &other, now()), None);
            assert!(check(&text(1), Some(&token), &other, &CA, now()).is_err());
        }
        assert_eq!(token.status.unwrap().consumed_by.len(), 1);
    }
}
