//! Operators on values, by the rules of the CEL specification.

use std::cmp::Ordering;

use kube_cel::cel::objects::{KeyRef, Value};

use super::{EvaluationError, Meter, function::no_overload, node::Operator};

pub(super) fn apply(
    operator: Operator,
    left: Value,
    right: Value,
    meter: &mut Meter,
) -> Result<Value, EvaluationError> {
    let compared = |wanted: fn(Ordering) -> bool, meter: &mut Meter| {
        compare(&left, &right, meter).map(|order| Value::Bool(order.is_some_and(wanted)))
    };
    match operator {
        Operator::Equals => equal(&left, &right, meter).map(Value::Bool),
        Operator::NotEquals => equal(&left, &right, meter).map(|equal| Value::Bool(!equal)),
        Operator::Less => compared(Ordering::is_lt, meter),
        Operator::LessEquals => compared(Ordering::is_le, meter),
        Operator::Greater => compared(Ordering::is_gt, meter),
        Operator::GreaterEquals => compared(Ordering::is_ge, meter),
        Operator::In => contains(&right, &left, meter).map(Value::Bool),
        Operator::Add => add(left, right, meter),
        Operator::Subtract => arithmetic(left, right, |left, right| left - right),
        Operator::Multiply => arithmetic(left, right, |left, right| left * right),
        Operator::Divide => arithmetic(left, right, |left, right| left / right),
        Operator::Modulo => arithmetic(left, right, |left, right| left % right),
    }
}

/// Equality is defined between all types; it looks at no more than the smaller of the two.
pub(super) fn equal(
    left: &Value,
    right: &Value,
    meter: &mut Meter,
) -> Result<bool, EvaluationError> {
    match (left, right) {
        (Value::List(_), Value::List(_)) | (Value::Map(_), Value::Map(_)) => {
            meter.traverse_all(left)?;
        }
        (Value::String(left), Value::String(right)) => {
            meter.traverse(left.len().min(right.len()) as u64)?;
        }
        _ => {}
    }
    Ok(left == right)
}

/// `None` for numbers without an order, which is NaN.
fn compare(
    left: &Value,
    right: &Value,
    meter: &mut Meter,
) -> Result<Option<Ordering>, EvaluationError> {
    let number = |value: &Value| matches!(value, Value::Int(_) | Value::UInt(_) | Value::Float(_));
    match (left, right) {
        (left, right) if number(left) && number(right) => Ok(left.partial_cmp(right)),
        (Value::String(a), Value::String(b)) => {
            meter.traverse(a.len().min(b.len()) as u64)?;
            Ok(Some(a.cmp(b)))
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            meter.traverse(a.len().min(b.len()) as u64)?;
            Ok(Some(a.cmp(b)))
        }
        (Value::Bool(a), Value::Bool(b)) => Ok(Some(a.cmp(b))),
        (Value::Timestamp(a), Value::Timestamp(b)) => Ok(Some(a.cmp(b))),
        (Value::Duration(a), Value::Duration(b)) => Ok(Some(a.cmp(b))),
        _ => Err(no_overload()),
    }
}

fn contains(container: &Value, item: &Value, meter: &mut Meter) -> Result<bool, EvaluationError> {
    match container {
        Value::List(items) => {
            for one in items.iter() {
                meter.traverse(1)?;
                if equal(one, item, meter)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::Map(fields) => {
            let key = KeyRef::try_from(item).map_err(|_| no_overload())?;
            Ok(fields.get(&key).is_some())
        }
        _ => Err(no_overload()),
    }
}

fn add(left: Value, right: Value, meter: &mut Meter) -> Result<Value, EvaluationError> {
    let length = |value: &Value| match value {
        Value::String(text) => text.len() as u64,
        Value::Bytes(bytes) => bytes.len() as u64,
        // An element is some dozens of bytes.
        Value::List(items) => 10 * items.len() as u64,
        _ => 0,
    };
    meter.traverse(length(&left) + length(&right))?;
    match (left, right) {
        (Value::Bytes(left), Value::Bytes(right)) => {
            Ok(Value::Bytes([&left[..], &right[..]].concat().into()))
        }
        (left, right) => arithmetic(left, right, |left, right| left + right),
    }
}

fn arithmetic(
    left: Value,
    right: Value,
    operation: impl FnOnce(Value, Value) -> Result<Value, kube_cel::cel::ExecutionError>,
) -> Result<Value, EvaluationError> {
    use kube_cel::cel::ExecutionError as Error;
    operation(left, right).map_err(|error| {
        let message = match error {
            Error::Overflow(..) => "integer overflow",
            Error::DivisionByZero(_) => "division by zero",
            Error::RemainderByZero(_) => "modulus by zero",
            _ => "no such overload",
        };
        EvaluationError::Failed(message.to_owned())
    })
}

pub(super) fn negate(value: Value) -> Result<Value, EvaluationError> {
    match value {
        Value::Int(value) => value
            .checked_neg()
            .map(Value::Int)
            .ok_or_else(|| EvaluationError::Failed("integer overflow".to_owned())),
        Value::Float(value) => Ok(Value::Float(-value)),
        _ => Err(no_overload()),
    }
}
