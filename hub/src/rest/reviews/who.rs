//! `SelfSubjectReview`: who am I?

use serde_json::{Value, json};

use crate::auth::User;

pub(super) fn status(user: &User) -> Value {
    json!({ "userInfo": info(user) })
}

/// A user as the API shows one.
pub(super) fn info(user: &User) -> Value {
    let mut info = json!({ "username": user.name, "groups": user.groups });
    if !user.uid.is_empty() {
        info["uid"] = user.uid.as_str().into();
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}
