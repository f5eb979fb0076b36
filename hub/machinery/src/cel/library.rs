//! Calls into the function library of `kube-cel`, paid for by the size of their arguments.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, LazyLock},
};

use kube_cel::{
    KubeCelExt as _,
    cel::{
        Context, IdedExpr,
        common::ast::{CallExpr, Expr},
        objects::{Key, OptionalValue, Value},
    },
};

use super::{EvaluationError, Meter};

static LIBRARY: LazyLock<Context<'static>> = LazyLock::new(|| Context::default().with_all());

/// The functions that are called by their plain name, as a method or not.
const PLAIN: &[&str] = &[
    // CEL itself: conversions, optional values, times
    "bytes",
    "double",
    "int",
    "uint",
    "string",
    "timestamp",
    "duration",
    "value",
    "hasValue",
    "or",
    "orValue",
    "getFullYear",
    "getMonth",
    "getDayOfYear",
    "getDayOfMonth",
    "getDate",
    "getDayOfWeek",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
    // strings
    "charAt",
    "indexOf",
    "lastIndexOf",
    "lowerAscii",
    "upperAscii",
    "replace",
    "split",
    "substring",
    "trim",
    "join",
    "format",
    "reverse",
    // lists
    "isSorted",
    "sum",
    "min",
    "max",
    "slice",
    "sort",
    "flatten",
    "distinct",
    "first",
    "last",
    // urls
    "url",
    "isURL",
    "getScheme",
    "getHost",
    "getHostname",
    "getPort",
    "getEscapedPath",
    "getQuery",
    // addresses
    "ip",
    "isIP",
    "family",
    "isLoopback",
    "isUnspecified",
    "isLinkLocalMulticast",
    "isLinkLocalUnicast",
    "isGlobalUnicast",
    "cidr",
    "isCIDR",
    "containsIP",
    "containsCIDR",
    "prefixLength",
    "masked",
    // named formats
    "validate",
    // quantities and versions
    "quantity",
    "isQuantity",
    "isInteger",
    "asInteger",
    "asApproximateFloat",
    "sign",
    "add",
    "sub",
    "isGreaterThan",
    "isLessThan",
    "compareTo",
    "semver",
    "isSemver",
    "major",
    "minor",
    "patch",
];

/// The functions that are called with a namespace.
const QUALIFIED: &[&str] = &[
    "optional.none",
    "optional.of",
    "optional.ofNonZeroValue",
    "strings.quote",
    "lists.range",
    "ip.isCanonical",
    "format.dns1123Label",
    "format.dns1123Subdomain",
    "format.dns1035Label",
    "format.dns1035LabelPrefix",
    "format.dns1123LabelPrefix",
    "format.dns1123SubdomainPrefix",
    "format.qualifiedName",
    "format.labelValue",
    "format.uri",
    "format.uuid",
    "format.byte",
    "format.date",
    "format.datetime",
    "format.named",
    "base64.decode",
    "base64.encode",
    "jsonpatch.escapeKey",
    "math.ceil",
    "math.floor",
    "math.round",
    "math.trunc",
    "math.abs",
    "math.sign",
    "math.isInf",
    "math.isNaN",
    "math.isFinite",
    "math.bitAnd",
    "math.bitOr",
    "math.bitXor",
    "math.bitNot",
    "math.bitShiftLeft",
    "math.bitShiftRight",
    "math.sqrt",
    "math.greatest",
    "math.least",
    "sets.contains",
    "sets.equivalent",
    "sets.intersects",
];

pub(super) fn has(name: &str) -> bool {
    PLAIN.contains(&name)
}

pub(super) fn has_qualified(namespace: &str, name: &str) -> bool {
    QUALIFIED.iter().any(|known| {
        let rest = known.strip_prefix(namespace);
        rest.and_then(|rest| rest.strip_prefix('.')) == Some(name)
    })
}

/// A call in the library's own terms: its arguments are variables of a scope that holds nothing else.
#[derive(Debug)]
pub(super) struct Delegate {
    name: String,
    expression: IdedExpr,
}

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style<'a> {
    Global,
    /// The first argument is the receiver.
    Method,
    Qualified(&'a str),
}

impl Delegate {
    pub(super) fn new(style: Style<'_>, name: &str, arguments: usize) -> Self {
        let identifier = |name: String| IdedExpr {
            id: 0,
            expr: Expr::Ident(name),
        };
        let mut args = (0..arguments).map(|place| identifier(variable(place)));
        let target = match style {
            Style::Global => None,
            Style::Method => args.next(),
            Style::Qualified(namespace) => Some(identifier(namespace.to_owned())),
        };
        let call = CallExpr {
            func_name: name.to_owned(),
            target: target.map(Box::new),
            args: args.collect(),
        };
        Self {
            name: name.to_owned(),
            expression: IdedExpr {
                id: 0,
                expr: Expr::Call(call),
            },
        }
    }
}

fn variable(place: usize) -> String {
    format!("@{place}")
}

/// Calls a library function. One that panics on its input has no value there.
pub(super) fn call(
    delegate: &Delegate,
    arguments: &[Value],
    meter: &mut Meter,
) -> Result<Value, EvaluationError> {
    pay(&delegate.name, arguments, meter)?;
    let printed = delegate.name == "format";
    let run = || {
        let mut scope = LIBRARY.new_inner_scope();
        for (place, argument) in arguments.iter().enumerate() {
            let argument = if printed {
                with_ordered_maps(argument)
            } else {
                argument.clone()
            };
            scope.add_variable_from_value(variable(place), argument);
        }
        scope.resolve(&delegate.expression)
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(EvaluationError::Failed(shortened(&error.to_string()))),
        Err(_) => Err(EvaluationError::Failed(format!(
            "{} failed on its arguments",
            delegate.name
        ))),
    }
}

/// Charges what a call may cost at most, by what it does with its arguments.
fn pay(name: &str, arguments: &[Value], meter: &mut Meter) -> Result<(), EvaluationError> {
    let mut sizes = Vec::with_capacity(arguments.len());
    for argument in arguments {
        sizes.push(meter.traverse_all(argument)?);
    }
    let size = |place: usize| sizes.get(place).copied().unwrap_or(1);
    match (name, arguments) {
        (
            "replace",
            [
                Value::String(text),
                Value::String(from),
                Value::String(to),
                ..,
            ],
        ) => {
            let (text, from, to) = (text.len() as u64, from.len() as u64, to.len() as u64);
            let places = text.checked_div(from).unwrap_or(text + 1);
            meter.traverse(text.saturating_add(places.saturating_mul(to)))
        }
        ("join", [Value::List(items), Value::String(separator)]) => {
            meter.traverse((items.len() as u64).saturating_mul(separator.len() as u64))
        }
        ("indexOf" | "lastIndexOf" | "contains" | "equivalent" | "intersects", _) => {
            meter.traverse(size(0).saturating_mul(size(1)))
        }
        ("distinct" | "sum" | "sort" | "isSorted" | "min" | "max", [Value::List(items), ..]) => {
            meter.traverse((items.len() as u64).saturating_mul(size(0)))
        }
        ("range", [Value::Int(to)]) => meter.charge(u64::try_from(*to).unwrap_or(0)),
        ("format", [Value::String(template), ..]) => precision(template, meter),
        _ => Ok(()),
    }
}

/// `%.1000000f` writes a million digits.
fn precision(template: &str, meter: &mut Meter) -> Result<(), EvaluationError> {
    for part in template.split("%.").skip(1) {
        let digits: &str = part
            .split(|c: char| !c.is_ascii_digit())
            .next()
            .unwrap_or_default();
        meter.traverse(digits.parse().unwrap_or(u64::MAX))?;
    }
    Ok(())
}

/// The library prints maps in the order of their hashes, which is another one in each process; cel-go sorts them. So the
/// arguments of `format` that have maps in them are printed here. Only `%s` takes such values; for all other verbs a text
/// is as wrong as a map.
fn with_ordered_maps(arguments: &Value) -> Value {
    let Value::List(items) = arguments else {
        return arguments.clone();
    };
    let each = |item: &Value| match item {
        _ if has_map(item) => {
            let mut text = String::new();
            print(item, &mut text);
            Value::String(Arc::new(text))
        }
        _ => item.clone(),
    };
    Value::List(Arc::new(items.iter().map(each).collect()))
}

fn has_map(value: &Value) -> bool {
    match value {
        Value::Map(_) => true,
        Value::List(items) => items.iter().any(has_map),
        Value::Opaque(_) => held(value).is_some_and(has_map),
        _ => false,
    }
}

/// Prints as the library does, with the keys of maps in order.
fn print(value: &Value, out: &mut String) {
    let separate = |place: usize, out: &mut String| {
        if place > 0 {
            out.push_str(", ");
        }
    };
    match value {
        Value::List(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                separate(place, out);
                print(item, out);
            }
            out.push(']');
        }
        Value::Map(fields) => {
            let mut sorted: Vec<_> = fields.map.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (place, (key, field)) in sorted.into_iter().enumerate() {
                separate(place, out);
                match key {
                    Key::String(text) => out.extend(["\"", text.as_str(), "\""]),
                    other => out.push_str(&other.to_string()),
                }
                out.push(':');
                print(field, out);
            }
            out.push('}');
        }
        Value::String(text) => out.extend(["\"", text.as_str(), "\""]),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::UInt(number) => out.push_str(&number.to_string()),
        Value::Bool(value) => out.push_str(&value.to_string()),
        Value::Null => out.push_str("null"),
        Value::Float(number) if number.is_finite() && *number == number.trunc() => {
            out.push_str(&format!("{number:.1}"));
        }
        Value::Float(number) => out.push_str(&number.to_string()),
        other => match held(other) {
            Some(inner) => {
                out.push_str("optional.of(");
                print(inner, out);
                out.push(')');
            }
            None => out.push_str(&format!("{other:?}")),
        },
    }
}

/// What an optional value holds.
fn held(value: &Value) -> Option<&Value> {
    <&OptionalValue>::try_from(value).ok()?.value()
}

/// The library's messages print whole values.
fn shortened(message: &str) -> String {
    const LONGEST: usize = 200;
    match message.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}
