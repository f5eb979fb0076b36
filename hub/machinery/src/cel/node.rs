//! A program in the form in which it is evaluated: names are resolved to places.

use kube_cel::cel::objects::{Key, Value};

use super::function::Function;

#[derive(Debug)]
pub(super) enum Node {
    Literal(Value),
    /// A variable of the environment, by its place.
    Variable(usize),
    /// A variable of a comprehension, by its place on the stack.
    Local(usize),
    Select {
        operand: Box<Node>,
        field: Key,
        access: Access,
    },
    Index {
        operand: Box<Node>,
        index: Box<Node>,
        access: Access,
    },
    List(Vec<Element>),
    Map(Vec<(Node, Element)>),
    Junction {
        /// The value that decides: `true` for `||`, `false` for `&&`.
        decisive: bool,
        sides: Box<[Node; 2]>,
    },
    Not(Box<Node>),
    /// An error counts as true: so that `exists` goes on past elements that err.
    NotStrictlyFalse(Box<Node>),
    Negate(Box<Node>),
    Conditional(Box<[Node; 3]>),
    Binary(Operator, Box<[Node; 2]>),
    Fold(Box<Fold>),
    Call {
        function: Function,
        /// The receiver, if there is one, first.
        arguments: Vec<Node>,
    },
}

/// How a field or an element is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Get,
    /// `has(x.field)`
    Test,
    /// `x.?field`, `x[?index]`
    Optional,
}

/// Part of a literal; an optional one may be absent.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) node: Node,
    pub(super) optional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Equals,
    NotEquals,
    Less,
    LessEquals,
    Greater,
    GreaterEquals,
    In,
}

/// A comprehension: what the macros `all`, `exists`, `exists_one`, `map` and `filter` become. Its accumulator is the
/// local at `slot`, its element the one after.
#[derive(Debug)]
pub(super) struct Fold {
    pub(super) slot: usize,
    pub(super) range: Node,
    pub(super) init: Node,
    pub(super) condition: Node,
    pub(super) step: Node,
    pub(super) result: Node,
}
