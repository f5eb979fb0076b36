//! Selectors: which objects a list, a watch or a placement means.

mod field;
mod label;
mod lexer;
mod object;
mod parse;

#[cfg(test)]
mod tests;

pub use field::FieldSelector;
pub use label::{LabelSelector, Operator, Requirement};
pub use object::validate as validate_label_selector;
