//! The kinds about rights: `k8s.io/api/{rbac,authentication,authorization}/v1`, and service accounts.

use super::{ATTRIBUTES, Field, METADATA, PATH_ATTRIBUTES, REFERENCE, Shape};

const RULE: &[Field] = &[
    (1, "verbs", Shape::Texts),
    (2, "apiGroups", Shape::Texts),
    (3, "resources", Shape::Texts),
    (4, "resourceNames", Shape::Texts),
    (5, "nonResourceURLs", Shape::Texts),
];
const REQUIREMENT: &[Field] = &[
    (1, "key", Shape::Text),
    (2, "operator", Shape::Text),
    (3, "values", Shape::Texts),
];
const SELECTOR: &[Field] = &[
    (1, "matchLabels", Shape::TextMap),
    (2, "matchExpressions", Shape::Messages(REQUIREMENT)),
];
const AGGREGATION: &[Field] = &[(1, "clusterRoleSelectors", Shape::Messages(SELECTOR))];
/// `Role` and `ClusterRole`; a role has no third field.
pub(super) const ROLE: &[Field] = &[
    (1, "metadata", Shape::Message(METADATA)),
    (2, "rules", Shape::Messages(RULE)),
    (3, "aggregationRule", Shape::Message(AGGREGATION)),
];
const SUBJECT: &[Field] = &[
    (1, "kind", Shape::Text),
    (2, "apiGroup", Shape::Text),
    (3, "name", Shape::Text),
    (4, "namespace", Shape::Text),
];
const ROLE_REF: &[Field] = &[
    (1, "apiGroup", Shape::Text),
    (2, "kind", Shape::Text),
    (3, "name", Shape::Text),
];
/// `RoleBinding` and `ClusterRoleBinding`.
pub(super) const BINDING: &[Field] = &[
    (1, "metadata", Shape::Message(METADATA)),
    (2, "subjects", Shape::Messages(SUBJECT)),
    (3, "roleRef", Shape::Message(ROLE_REF)),
];
const LOCAL_REFERENCE: &[Field] = &[(1, "name", Shape::Text)];
pub(super) const SERVICE_ACCOUNT: &[Field] = &[
    (1, "metadata", Shape::Message(METADATA)),
    (2, "secrets", Shape::Messages(REFERENCE)),
    (3, "imagePullSecrets", Shape::Messages(LOCAL_REFERENCE)),
    (4, "automountServiceAccountToken", Shape::Bool),
];
const BOUND: &[Field] = &[
    (1, "kind", Shape::Text),
    (2, "apiVersion", Shape::Text),
    (3, "name", Shape::Text),
    (4, "uid", Shape::Text),
];
const TOKEN_REQUEST_SPEC: &[Field] = &[
    (1, "audiences", Shape::Texts),
    (3, "boundObjectRef", Shape::Message(BOUND)),
    (4, "expirationSeconds", Shape::Number),
];
pub(super) const TOKEN_REQUEST: &[Field] = &[
    (1, "metadata", Shape::Message(METADATA)),
    (2, "spec", Shape::Message(TOKEN_REQUEST_SPEC)),
];
const TOKEN_REVIEW_SPEC: &[Field] = &[(1, "token", Shape::Text), (2, "audiences", Shape::Texts)];
pub(super) const TOKEN_REVIEW: &[Field] = &[
    (1, "metadata", Shape::Message(METADATA)),
    (2, "spec", Shape::Message(TOKEN_REVIEW_SPEC)),
];
const RULES_SPEC: &[Field] = &[(1, "namespace", Shape::Text)];
pub(super) const RULES_REVIEW: &[Field] = &[
    (1, "metadata", Shape::Message(METADATA)),
    (2, "spec", Shape::Message(RULES_SPEC)),
];
const SUBJECT_ACCESS: &[Field] = &[
    (1, "resourceAttributes", Shape::Message(ATTRIBUTES)),
    (2, "nonResourceAttributes", Shape::Message(PATH_ATTRIBUTES)),
    (3, "user", Shape::Text),
    (4, "groups", Shape::Texts),
    (6, "uid", Shape::Text),
];
/// `SubjectAccessReview` and its local form.
pub(super) const SUBJECT_REVIEW: &[Field] = &[
    (1, "metadata", Shape::Message(METADATA)),
    (2, "spec", Shape::Message(SUBJECT_ACCESS)),
];

const REQUEST_SPEC: &[Field] = &[
    (1, "request", Shape::Bytes),
    (2, "username", Shape::Text),
    (3, "uid", Shape::Text),
    (4, "groups", Shape::Texts),
    (5, "usages", Shape::Texts),
    (7, "signerName", Shape::Text),
    (8, "expirationSeconds", Shape::Number),
];
const REQUEST_CONDITION: &[Field] = &[
    (1, "type", Shape::Text),
    (2, "reason", Shape::Text),
    (3, "message", Shape::Text),
    (4, "lastUpdateTime", Shape::Time),
    (5, "lastTransitionTime", Shape::Time),
    (6, "status", Shape::Text),
];
const REQUEST_STATUS: &[Field] = &[
    (1, "conditions", Shape::Messages(REQUEST_CONDITION)),
    (2, "certificate", Shape::Bytes),
];
/// `CertificateSigningRequest`, as `kubectl certificate approve` sends it.
pub(super) const CERTIFICATE_REQUEST: &[Field] = &[
    (1, "metadata", Shape::Message(METADATA)),
    (2, "spec", Shape::Message(REQUEST_SPEC)),
    (3, "status", Shape::Message(REQUEST_STATUS)),
];
