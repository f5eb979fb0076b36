//! `ServiceAccount`: a program that uses the hub. Its tokens are asked for at `/token` and not stored.

use k8s_openapi::api::core::v1::ServiceAccount;
use koinon_machinery::{Column, ResourceInfo, Subresource, Verb};

use crate::registry::{Generation, Strategy, Unconditional};

#[derive(Debug)]
pub(super) struct ServiceAccounts;

impl Strategy for ServiceAccounts {
    fn info(&self) -> ResourceInfo {
        let token = Subresource {
            name: "token".to_owned(),
            group: "authentication.k8s.io".to_owned(),
            version: "v1".to_owned(),
            kind: "TokenRequest".to_owned(),
            verbs: vec![Verb::Create],
        };
        let mut info = super::builtin::<ServiceAccount>(false, &["sa"]).with_subresource(token);
        let secrets = Column::entries("Secrets", &["secrets"]);
        info.columns.insert(0, secrets);
        info
    }

    fn generation(&self) -> Generation {
        Generation::Absent
    }

    fn unconditional_update(&self) -> Unconditional {
        Unconditional::Allowed
    }
}
