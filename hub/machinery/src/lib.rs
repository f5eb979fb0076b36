//! Kubernetes API semantics as pure, synchronous functions over JSON.
//!
//! ```text
//!   request body ──► Object ──► Schema::normalize ──► strategy ──► Schema::validate ──► Parts ──► store
//!                     │            (prune, default)                    (causes)
//!                     └─ validation (names, labels, finalizers)
//!   PATCH ──► patch ──┘
//!   stored object ──► selector ──► Table │ JSON      ResourceInfo ──► discovery, OpenAPI
//! ```
//!
//! A kind is data: a [`ResourceInfo`] with a [`Schema`] and columns. Nothing here knows a kind, reads a clock,
//! opens a socket or touches a database; whatever can go wrong is an [`ApiError`], which is a Kubernetes `Status` as data.
//!
//! The rules are those of the
//! [API conventions](https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md)
//! and of the CRD machinery; error texts are worded as the API server words them because people search for them.

pub mod apply;
pub mod cel;
pub mod continue_token;
pub mod decode;
pub mod discovery;
pub mod jsonpath;
pub mod object;
pub mod openapi;
pub mod patch;
mod path;
pub mod placement;
pub mod quantity;
pub mod resource;
pub mod schema;
pub mod selector;
mod short;
pub mod status;
pub mod table;
pub mod validation;

pub use object::{Object, Parts};
pub use resource::{Column, EventCell, ResourceInfo, ShownAs, Subresource, Verb};
pub use schema::Schema;
pub use selector::{FieldSelector, LabelSelector};
pub use status::{ApiError, Cause, CauseReason, Details, Reason, are_enough};

/// The result of anything that can be refused with a `Status`.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;
