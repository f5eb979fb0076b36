//! Evaluation: one step per node, each paid for before it is done.

use std::{mem, sync::Arc};

use kube_cel::cel::objects::{Key, KeyRef, OptionalValue, Value};

use super::{
    Bindings, EvaluationError, Meter, cost,
    function::no_overload,
    node::{Access, Element, Fold, Node, Operator},
    operator, value,
};

type Result<T = Value> = std::result::Result<T, EvaluationError>;

pub(super) struct Evaluator<'a, 'm> {
    bindings: Bindings<'a>,
    meter: &'m mut Meter,
    /// Variables of the comprehensions that are under way, outermost first.
    locals: Vec<Value>,
}

impl<'a, 'm> Evaluator<'a, 'm> {
    pub(super) fn new(bindings: Bindings<'a>, meter: &'m mut Meter) -> Self {
        Self {
            bindings,
            meter,
            locals: Vec::new(),
        }
    }

    pub(super) fn evaluate(&mut self, node: &Node) -> Result {
        match node {
            Node::Literal(value) => Ok(value.clone()),
            Node::Variable(place) => {
                self.meter.charge(1)?;
                Ok(self.bindings.variables[*place].clone())
            }
            Node::Local(place) => {
                self.meter.charge(1)?;
                Ok(self.locals[*place].clone())
            }
            Node::Select {
                operand,
                field,
                access,
            } => self.select(operand, field, *access),
            Node::Index {
                operand,
                index,
                access,
            } => self.index(operand, index, *access),
            Node::List(elements) => self.list(elements),
            Node::Map(entries) => self.map(entries),
            Node::Junction { decisive, sides } => self.junction(*decisive, sides),
            Node::Not(operand) => match self.evaluate(operand)? {
                Value::Bool(value) => Ok(Value::Bool(!value)),
                _ => Err(no_overload()),
            },
            Node::NotStrictlyFalse(operand) => match self.evaluate(operand) {
                Err(EvaluationError::CostLimit) => Err(EvaluationError::CostLimit),
                Ok(Value::Bool(value)) => Ok(Value::Bool(value)),
                _ => Ok(Value::Bool(true)),
            },
            Node::Negate(operand) => operator::negate(self.evaluate(operand)?),
            Node::Conditional(parts) => match self.evaluate(&parts[0])? {
                Value::Bool(true) => self.evaluate(&parts[1]),
                Value::Bool(false) => self.evaluate(&parts[2]),
                _ => Err(no_overload()),
            },
            Node::Binary(operator, sides) => self.binary(*operator, sides),
            Node::Fold(fold) => self.fold(fold),
            Node::Call {
                function,
                arguments,
            } => {
                let arguments = arguments
                    .iter()
                    .map(|argument| self.evaluate(argument))
                    .collect::<Result<Vec<_>>>()?;
                function.call(&arguments, self.bindings.host, self.meter)
            }
        }
    }

    /// `&&` and `||` are commutative about errors: the side that decides wins over one that errs.
    fn junction(&mut self, decisive: bool, sides: &[Node; 2]) -> Result {
        let left = self.evaluate(&sides[0]);
        match left {
            Ok(Value::Bool(value)) if value == decisive => return left,
            Err(EvaluationError::CostLimit) => return left,
            _ => {}
        }
        match (left, self.evaluate(&sides[1])) {
            (_, Err(EvaluationError::CostLimit)) => Err(EvaluationError::CostLimit),
            (_, Ok(Value::Bool(value))) if value == decisive => Ok(Value::Bool(value)),
            (Ok(Value::Bool(_)), Ok(Value::Bool(value))) => Ok(Value::Bool(value)),
            (Err(error), _) | (_, Err(error)) => Err(error),
            _ => Err(no_overload()),
        }
    }

    fn binary(&mut self, operator: Operator, sides: &[Node; 2]) -> Result {
        self.meter.charge(1)?;
        if operator == Operator::Add
            && let Node::Local(place) = sides[0]
            && place + 2 == self.locals.len()
            && let Value::List(_) = self.locals[place]
        {
            return self.append(place, &sides[1]);
        }
        let left = self.evaluate(&sides[0])?;
        let right = self.evaluate(&sides[1])?;
        operator::apply(operator, left, right, self.meter)
    }

    /// Adds to the list that the innermost comprehension builds without copying it: nobody reads it before the sum
    /// replaces it.
    fn append(&mut self, place: usize, side: &Node) -> Result {
        let right = self.evaluate(side)?;
        let (Value::List(more), Value::List(_)) = (&right, &self.locals[place]) else {
            return Err(no_overload());
        };
        self.meter.charge(more.len() as u64)?;
        let Value::List(mut list) = mem::replace(&mut self.locals[place], Value::Null) else {
            return Err(no_overload());
        };
        Arc::make_mut(&mut list).extend(more.iter().cloned());
        Ok(Value::List(list))
    }

    fn select(&mut self, operand: &Node, field: &Key, access: Access) -> Result {
        self.meter.charge(1)?;
        let operand = self.evaluate(operand)?;
        match optional(&operand) {
            Some(None) if access == Access::Test => return Ok(Value::Bool(false)),
            Some(None) => return Ok(absent()),
            Some(Some(inner)) => {
                let found = get(inner, field);
                return Ok(match access {
                    Access::Test => Value::Bool(found.is_some()),
                    Access::Get | Access::Optional => present(found),
                });
            }
            None => {}
        }
        let Value::Map(fields) = &operand else {
            return Err(no_overload());
        };
        let found = fields.map.get(field);
        match access {
            Access::Test => Ok(Value::Bool(found.is_some())),
            Access::Optional => Ok(present(found.cloned())),
            Access::Get => found
                .cloned()
                .ok_or_else(|| EvaluationError::Failed(format!("no such key: {field}"))),
        }
    }

    fn index(&mut self, operand: &Node, index: &Node, access: Access) -> Result {
        self.meter.charge(1)?;
        let operand = self.evaluate(operand)?;
        let index = self.evaluate(index)?;
        match optional(&operand) {
            Some(None) => return Ok(absent()),
            Some(Some(inner)) => return Ok(present(element(inner, &index).ok())),
            None => {}
        }
        match (access, element(&operand, &index)) {
            (Access::Optional, found) => Ok(present(found.ok())),
            (_, found) => found,
        }
    }

    fn list(&mut self, elements: &[Element]) -> Result {
        self.meter.charge(cost::LIST)?;
        let mut list = Vec::with_capacity(elements.len());
        for element in elements {
            list.extend(self.element(element)?);
        }
        Ok(Value::List(Arc::new(list)))
    }

    fn map(&mut self, entries: &[(Node, Element)]) -> Result {
        self.meter.charge(cost::MAP)?;
        let mut map = Vec::with_capacity(entries.len());
        for (key, element) in entries {
            let key: Key = self
                .evaluate(key)?
                .try_into()
                .map_err(|_| EvaluationError::Failed("unsupported key type".to_owned()))?;
            if let Some(value) = self.element(element)? {
                map.push((key, value));
            }
        }
        Ok(value::map(map))
    }

    fn element(&mut self, element: &Element) -> Result<Option<Value>> {
        let value = self.evaluate(&element.node)?;
        if !element.optional {
            return Ok(Some(value));
        }
        optional(&value)
            .map(Option::<&Value>::cloned)
            .ok_or_else(no_overload)
    }

    fn fold(&mut self, fold: &Fold) -> Result {
        self.meter.charge(1)?;
        let items = match self.evaluate(&fold.range)? {
            Value::List(items) => items,
            Value::Map(fields) => {
                // In order: the same input must take the same steps every time.
                self.meter.charge(fields.map.len() as u64)?;
                let mut keys: Vec<&Key> = fields.map.keys().collect();
                keys.sort_unstable();
                Arc::new(keys.into_iter().map(Value::from).collect())
            }
            _ => return Err(no_overload()),
        };
        let init = self.evaluate(&fold.init)?;
        debug_assert_eq!(self.locals.len(), fold.slot, "slots follow the nesting");
        self.locals.extend([init, Value::Null]);
        let result = self.run(fold, &items);
        self.locals.truncate(fold.slot);
        result
    }

    fn run(&mut self, fold: &Fold, items: &[Value]) -> Result {
        for item in items {
            self.meter.charge(1)?;
            match self.evaluate(&fold.condition)? {
                Value::Bool(true) => {}
                _ => break,
            }
            self.locals[fold.slot + 1] = item.clone();
            match self.evaluate(&fold.step) {
                Ok(accumulated) => self.locals[fold.slot] = accumulated,
                Err(EvaluationError::CostLimit) => return Err(EvaluationError::CostLimit),
                Err(error) => return self.after_error(fold, items, error),
            }
        }
        self.evaluate(&fold.result)
    }

    /// `all` and `exists` go on after an element that errs: one that decides still wins.
    fn after_error(&mut self, fold: &Fold, items: &[Value], error: EvaluationError) -> Result {
        let Node::Junction { decisive, sides } = &fold.step else {
            return Err(error);
        };
        for item in items {
            self.meter.charge(1)?;
            self.locals[fold.slot + 1] = item.clone();
            match self.evaluate(&sides[1]) {
                Err(EvaluationError::CostLimit) => return Err(EvaluationError::CostLimit),
                Ok(Value::Bool(value)) if value == *decisive => return Ok(Value::Bool(value)),
                _ => {}
            }
        }
        Err(error)
    }
}

/// What an optional value holds; the outer `None` is for any other value.
fn optional(value: &Value) -> Option<Option<&Value>> {
    match value {
        Value::Opaque(_) => <&OptionalValue>::try_from(value)
            .ok()
            .map(OptionalValue::value),
        _ => None,
    }
}

fn absent() -> Value {
    Value::Opaque(Arc::new(OptionalValue::none()))
}

fn present(value: Option<Value>) -> Value {
    match value {
        Some(value) => Value::Opaque(Arc::new(OptionalValue::of(value))),
        None => absent(),
    }
}

fn get(value: &Value, field: &Key) -> Option<Value> {
    match value {
        Value::Map(fields) => fields.map.get(field).cloned(),
        _ => None,
    }
}

fn element(container: &Value, index: &Value) -> Result {
    match container {
        Value::Map(fields) => {
            let key = KeyRef::try_from(index).map_err(|_| no_overload())?;
            fields
                .get(&key)
                .cloned()
                .ok_or_else(|| EvaluationError::Failed(format!("no such key: {}", shown(index))))
        }
        Value::List(items) => {
            let place = match index {
                Value::Int(place) => usize::try_from(*place).ok(),
                Value::UInt(place) => usize::try_from(*place).ok(),
                _ => return Err(no_overload()),
            };
            place
                .and_then(|place| items.get(place).cloned())
                .ok_or_else(|| {
                    EvaluationError::Failed(format!("index out of bounds: {}", shown(index)))
                })
        }
        _ => Err(no_overload()),
    }
}

fn shown(index: &Value) -> String {
    match index {
        Value::String(text) => text.chars().take(100).collect(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        _ => String::new(),
    }
}
