mod bounds;
mod errors;
mod values;

use super::*;

fn environment() -> Environment {
    Environment::new().variable("self").variable("other")
}

fn object() -> Value {
    value(&serde_json::json!({
        "name": "alpha",
        "replicas": 3,
        "ratio": 1.5,
        "ready": true,
        "nothing": null,
        "tags": ["a", "b", "c"],
        "labels": {"region": "eu", "tier": "1"},
        "version": "v1.29.3",
    }))
}

fn run(source: &str) -> Result<Value, EvaluationError> {
    let program = environment()
        .compile(source)
        .unwrap_or_else(|error| panic!("{source}: {error}"));
    program.evaluate(
        Bindings::of(&[object(), Value::Null]),
        &mut Meter::new(COST_LIMIT),
    )
}
