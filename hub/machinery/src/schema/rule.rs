//! CEL rules in schemas (`x-kubernetes-validations`), as apiextensions-apiserver evaluates them.
//!
//! A rule is judged with `self`, the value that it stands beside, and if it mentions `oldSelf` only when there is an old
//! value to compare with: that of the same field, of the same key of a map, of the item with the same keys of a list-map.
//! Items of other lists have no old selves. Each rule has the cost limit of one expression, all rules of an object
//! together ten times that.
//!
//! Not as there: a rule that did not hold before either is still a refusal (no ratcheting), and texts with a format
//! (`date-time`, `duration`) stay texts.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{
    Error,
    node::{Additional, Kind, List, Node},
    unique,
};
use crate::{
    Cause, CauseReason, Object, are_enough,
    cel::{self, Bindings, COST_LIMIT, Environment, EvaluationError, Meter, Program},
    path::Path,
};

/// For all rules of one object, as in Kubernetes.
const BUDGET: u64 = 10 * COST_LIMIT;
/// A message longer than this is no message, as in Kubernetes.
const LONGEST_MESSAGE: usize = 5 * 1024;

/// One rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    source: String,
    program: Program,
    /// Whether it compares with the old value, so that without one it says nothing.
    transition: bool,
    /// Whether it, or its message, looks at the old value.
    pub(super) looks_back: bool,
    message: String,
    message_program: Option<Program>,
    reason: CauseReason,
    /// Below the value, as `.name`.
    field: String,
}

impl Rule {
    /// Reads the rules of a schema's level.
    pub(super) fn parse_all(fields: &Map<String, Value>, path: &str) -> Result<Vec<Self>, Error> {
        let list = fields
            .get("x-kubernetes-validations")
            .and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .map(|rule| Self::parse(rule, path))
            .collect()
    }

    fn parse(rule: &Value, path: &str) -> Result<Self, Error> {
        let text = |field: &str| {
            rule.get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .trim()
        };
        let refused = |source| Error::Rule {
            path: path.to_owned(),
            source,
        };
        let alone = Environment::new().variable("self");
        let both = Environment::new().variable("self").variable("oldSelf");
        // What compiles without the old value does not mention it.
        let compile = |source| match alone.compile(source) {
            Ok(program) => Ok((program, false)),
            Err(_) => Ok((both.compile(source).map_err(refused)?, true)),
        };
        let (program, transition) = compile(text("rule"))?;
        let said = match text("messageExpression") {
            "" => None,
            source => Some(compile(source)?),
        };
        Ok(Self {
            source: text("rule").to_owned(),
            program,
            transition,
            looks_back: transition || said.as_ref().is_some_and(|(_, looks_back)| *looks_back),
            message: text("message").to_owned(),
            message_program: said.map(|(program, _)| program),
            reason: match text("reason") {
                "FieldValueForbidden" => CauseReason::FieldValueForbidden,
                "FieldValueRequired" => CauseReason::FieldValueRequired,
                "FieldValueDuplicate" => CauseReason::FieldValueDuplicate,
                _ => CauseReason::FieldValueInvalid,
            },
            field: text("fieldPath").to_owned(),
        })
    }

    /// How the rule is named where it failed to give an answer.
    fn name(&self) -> &str {
        if self.message.is_empty() {
            &self.source
        } else {
            &self.message
        }
    }

    /// What is said when it does not hold.
    fn words(&self, variables: &[cel::Value], meter: &mut Meter) -> String {
        let said = self
            .message_program
            .as_ref()
            .and_then(|program| program.text(Bindings::of(variables), meter).ok());
        if let Some(said) = said.as_deref().map(|said| said.trim())
            && !said.is_empty()
            && said.len() <= LONGEST_MESSAGE
            && !said.contains('\n')
        {
            return said.to_owned();
        }
        if self.message.is_empty() {
            format!("failed rule: {}", self.source)
        } else {
            self.message.clone()
        }
    }
}

/// Judges an object by the rules of its schema.
pub(super) fn object(root: &Node, object: &Object, old: Option<&Object>) -> Vec<Cause> {
    let mut judge = Judge::default();
    if root.validations.is_empty() {
        // Nothing speaks of the object as a whole: no need to make a value of it.
        for name in root.properties.keys() {
            judge.field(root, object, old, name);
        }
    } else {
        let value = Value::Object(object.as_map().clone());
        let old = old.map(|old| Value::Object(old.as_map().clone()));
        judge.walk(root, &value, old.as_ref(), &Path::Root);
    }
    judge.causes
}

/// What is wrong with one field of the object, by the rules at it and below.
pub(super) fn field(root: &Node, object: &Object, old: Option<&Object>, name: &str) -> Vec<Cause> {
    let mut judge = Judge::default();
    judge.field(root, object, old, name);
    judge.causes
}

struct Judge {
    left: u64,
    /// Whether the budget is spent: nothing more is judged then.
    over: bool,
    causes: Vec<Cause>,
}

impl Default for Judge {
    fn default() -> Self {
        Self {
            left: BUDGET,
            over: false,
            causes: Vec::new(),
        }
    }
}

impl Judge {
    fn field(&mut self, root: &Node, object: &Object, old: Option<&Object>, name: &str) {
        let Some(property) = root.properties.get(name) else {
            return;
        };
        if let Some(value) = object.get(name) {
            let old = old.and_then(|old| old.get(name));
            self.walk(property, value, old, &Path::Root.field(name));
        }
    }

    fn walk(&mut self, node: &Node, value: &Value, old: Option<&Value>, path: &Path<'_>) {
        if !node.ruled || self.over || value.is_null() || are_enough(&self.causes) {
            return;
        }
        if !node.validations.is_empty() {
            self.rules(node, value, old, path);
        }
        match value {
            Value::Object(fields) => {
                let old = |name: &str| old.and_then(|old| old.get(name));
                for (name, value) in fields {
                    match (node.properties.get(name), &node.additional) {
                        (Some(property), _) => {
                            self.walk(property, value, old(name), &path.field(name));
                        }
                        (None, Additional::Each(each)) => {
                            self.walk(each, value, old(name), &path.key(name));
                        }
                        (None, _) => {}
                    }
                }
            }
            Value::Array(items) => {
                let Some(each) = node.items.as_deref() else {
                    return;
                };
                let before = old.filter(|_| each.looks_back).and_then(Value::as_array);
                let before = Before::of(&node.list, before);
                for (index, item) in items.iter().enumerate() {
                    self.walk(each, item, before.of_item(item), &path.index(index));
                }
            }
            _ => {}
        }
    }

    fn rules(&mut self, node: &Node, value: &Value, old: Option<&Value>, path: &Path<'_>) {
        let old = old.filter(|old| !old.is_null());
        let variables = [cel::value(value), old.map_or(cel::Value::Null, cel::value)];
        for rule in &node.validations {
            if rule.transition && old.is_none() {
                continue;
            }
            let limit = COST_LIMIT.min(self.left);
            let mut meter = Meter::new(limit);
            let said = rule.program.holds(Bindings::of(&variables), &mut meter);
            let complaint = match said {
                Ok(true) => None,
                Ok(false) => Some(rule.words(&variables, &mut meter)),
                Err(EvaluationError::CostLimit) if limit < COST_LIMIT => {
                    self.over = true;
                    Some("validation failed due to running out of cost budget, no further validation rules will be run".to_owned())
                }
                Err(error @ EvaluationError::CostLimit) => {
                    self.over = true;
                    Some(format!(
                        "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {}",
                        rule.name()
                    ))
                }
                Err(error) => Some(format!("{error} evaluating rule: {}", rule.name())),
            };
            self.left = self.left.saturating_sub(meter.spent());
            if let Some(complaint) = complaint {
                let field = format!("{path}{}", rule.field);
                let field = field.strip_prefix('.').unwrap_or(&field);
                self.causes.push(Cause::by_rule(
                    rule.reason,
                    field,
                    kind_name(node.kind),
                    &complaint,
                ));
            }
            if self.over {
                return;
            }
        }
    }
}

/// The items of an old list-map by their keys, so that the one which a new item continues is found without a search.
struct Before<'a> {
    keys: &'a [String],
    items: HashMap<String, &'a Value>,
}

impl<'a> Before<'a> {
    fn of(list: &'a List, before: Option<&'a Vec<Value>>) -> Self {
        let keys = match list {
            List::Map(keys) => keys.as_slice(),
            List::Atomic | List::Set => &[],
        };
        let mut items = HashMap::new();
        for item in before.into_iter().flatten().filter(|_| !keys.is_empty()) {
            if let Some(key) = unique::key(item, keys) {
                items.entry(key.to_string()).or_insert(item);
            }
        }
        Self { keys, items }
    }

    fn of_item(&self, item: &Value) -> Option<&'a Value> {
        if self.items.is_empty() {
            return None;
        }
        let key = unique::key(item, self.keys)?;
        self.items.get(&key.to_string()).copied()
    }
}

/// In place of the value, which may be large, its type is shown.
fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Any | Kind::Object => "object",
        Kind::Array => "array",
        Kind::String => "string",
        Kind::Integer => "integer",
        Kind::Number => "number",
        Kind::Boolean => "boolean",
        Kind::IntOrString => "",
    }
}

/// Whether what is wrong with an object already keeps its rules from being judged: they may rely on its shape.
pub(super) fn are_blocked(causes: &[Cause]) -> bool {
    causes.iter().any(|cause| {
        matches!(
            cause.reason,
            Some(
                CauseReason::FieldValueRequired
                    | CauseReason::FieldValueTooLong
                    | CauseReason::FieldValueTooMany
                    | CauseReason::FieldValueTypeInvalid
            )
        )
    })
}

/// What is said of rules that were not judged.
pub(super) fn not_checked() -> Cause {
    Cause::invalid(
        "<nil>",
        "null",
        "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
    )
}
