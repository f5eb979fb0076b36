use koinon_api::Placement;
use kube::CustomResourceExt;
use serde_json::json;

use super::{ApiError, Cause, are_enough, deleted};
use crate::ResourceInfo;

fn placements() -> ResourceInfo {
    ResourceInfo::from_crd(&Placement::crd()).unwrap()
}

#[test]
fn messages_are_kubernetes_own() {
    let resource = placements();
    let cases = [
        (
            ApiError::not_found(&resource, "x"),
            404,
            r#"placements.cluster.open-cluster-management.io "x" not found"#,
        ),
        (
            ApiError::already_exists(&resource, "x"),
            409,
            r#"placements.cluster.open-cluster-management.io "x" already exists"#,
        ),
        (
            ApiError::conflict(&resource, "x"),
            409,
            r#"Operation cannot be fulfilled on placements.cluster.open-cluster-management.io "x": the object has been modified; please apply your changes to the latest version and try again"#,
        ),
        (
            ApiError::forbidden(&resource, "x", "no"),
            403,
            r#"placements.cluster.open-cluster-management.io "x" is forbidden: no"#,
        ),
        (
            ApiError::forbidden(&resource, "", "no"),
            403,
            "placements.cluster.open-cluster-management.io is forbidden: no",
        ),
        (ApiError::unauthorized(), 401, "Unauthorized"),
        (
            ApiError::internal("it broke"),
            500,
            "Internal error occurred: it broke",
        ),
        (ApiError::expired("too old"), 410, "too old"),
    ];
    for (error, code, message) in cases {
        assert_eq!((error.code, error.message.as_str()), (code, message));
    }
}

#[test]
fn an_invalid_object_lists_its_causes_once_each() {
    let resource = placements();
    let one = ApiError::invalid(&resource, "x", vec![Cause::required("spec.a", "")]);
    assert_eq!(
        one.message,
        r#"Placement.cluster.open-cluster-management.io "x" is invalid: spec.a: Required value"#
    );
    let cause = || Cause::invalid("spec.b", "v", "is bad");
    let many = ApiError::invalid(
        &resource,
        "x",
        vec![Cause::required("spec.a", ""), cause(), cause()],
    );
    assert_eq!(
        many.message,
        r#"Placement.cluster.open-cluster-management.io "x" is invalid: [spec.a: Required value, spec.b: Invalid value: "v": is bad]"#
    );
    assert_eq!(
        one.to_status(),
        json!({
            "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "reason": "Invalid", "code": 422,
            "message": one.message,
            "details": {
                "name": "x", "group": "cluster.open-cluster-management.io", "kind": "Placement",
                "causes": [{ "reason": "FieldValueRequired", "message": "Required value", "field": "spec.a" }],
            },
        })
    );
}

#[test]
fn a_retry_says_when() {
    let status = ApiError::service_unavailable("the registry does not answer", 1).to_status();
    assert_eq!(status["details"], json!({ "retryAfterSeconds": 1 }));
    assert_eq!(
        (&status["code"], &status["reason"]),
        (&json!(503), &json!("ServiceUnavailable"))
    );
}

#[test]
fn a_huge_value_does_not_make_a_huge_status() {
    let cause = Cause::invalid("spec.a", "ä".repeat(1_000_000), "is bad");
    assert!(cause.message.len() < 4096);
}

#[test]
fn of_many_faults_the_first_hundred_are_named() {
    let fault = |n: usize| Cause::invalid(format!("data[{n}]"), "v", "is bad");
    let named = |count: usize| {
        let error = ApiError::invalid(&placements(), "x", (0..count).map(fault).collect());
        assert!(error.message.contains("data[99]") && !error.message.contains("data[100]"));
        error.causes().len()
    };
    assert_eq!(named(100), 100);
    assert_eq!(named(101), 101);
    assert_eq!(named(200_000), 101, "the last one says that there are more");
    let all: Vec<Cause> = (0..101).map(fault).collect();
    assert!(are_enough(&all) && !are_enough(&all[..100]));
}

#[test]
fn a_field_of_any_length_is_cut_in_a_status() {
    let cause = Cause::invalid("k".repeat(1_000_000), "v", &"d".repeat(1_000_000));
    assert!(cause.to_string().len() < 8192);
}

#[test]
fn a_delete_answers_with_success() {
    assert_eq!(
        deleted(&placements(), "x", "u")["details"],
        json!({ "name": "x", "group": "cluster.open-cluster-management.io", "kind": "placements", "uid": "u" })
    );
}
