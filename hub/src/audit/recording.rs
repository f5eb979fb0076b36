//! The record of one thing that is done, from before it is done until its end, whatever that is.

use serde_json::Value;

use super::{Audit, Full, Happened, Outcome, Slot};
use crate::{auth::User, clock};

/// What is to be recorded of something that has begun.
///
/// Dropped before its end, as when the client goes away or an answer is lost, it is recorded as that: whoever closes the connection does
/// not escape.
#[derive(Debug, Default)]
pub struct Recording(Option<Begun>);

#[derive(Debug)]
struct Begun {
    audit: Audit,
    slot: Slot,
    happened: Box<Happened>,
}

impl Audit {
    /// Keeps a place for the record of what is about to be done. `change` says whether it changes anything.
    ///
    /// # Errors
    ///
    /// When there is none and changes may not go unrecorded.
    pub fn begin(&self, happened: Happened, change: bool) -> Result<Recording, Full> {
        let slot = self.reserve(change)?;
        Ok(Recording(Some(Begun {
            audit: self.clone(),
            slot,
            happened: Box::new(happened),
        })))
    }
}

impl Recording {
    /// Ends it with an HTTP status; `decision` is `allow` or `forbid`, if it came to that question.
    pub fn end(mut self, code: u16, decision: Option<&'static str>) {
        self.finish(Some(code), decision);
    }

    /// There is nothing to record after all.
    pub fn forget(mut self) -> Option<Happened> {
        self.0.take().map(|begun| *begun.happened)
    }

    /// It turned out who asks.
    pub fn is_by(&mut self, user: User) {
        if let Some(begun) = &mut self.0 {
            begun.happened.user = user;
        }
    }

    /// Adds the body, if there is room for it, or why there is none.
    pub fn with_body(mut self, body: Result<Value, &'static str>) -> Self {
        if let Some(Begun {
            audit,
            slot,
            happened,
        }) = &mut self.0
        {
            match body {
                Ok(value) if audit.make_room(slot, size(&value)) => happened.body = Some(value),
                Ok(_) => happened.unrecorded = Some("not recorded: too many wait"),
                Err(why) => happened.unrecorded = Some(why),
            }
        }
        self
    }

    fn finish(&mut self, code: Option<u16>, decision: Option<&'static str>) {
        if let Some(Begun {
            audit,
            slot,
            happened,
        }) = self.0.take()
        {
            let outcome = Outcome {
                code,
                decision,
                at: clock::now(),
            };
            audit.record(slot, happened.event(&outcome));
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // Whoever asked is told of a panic; of anything else nobody was told.
        let code = std::thread::panicking().then_some(500);
        self.finish(code, Some("allow"));
    }
}

/// What a tree takes in memory, about: a list of zeros takes many times what it takes as text.
fn size(value: &Value) -> usize {
    const NODE: usize = std::mem::size_of::<Value>();
    NODE + match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(size).sum(),
        // A name, and its part of the tree's nodes.
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| 2 * NODE + name.len() + size(value))
            .sum(),
        _ => 0,
    }
}
