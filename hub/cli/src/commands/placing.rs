//! The engine of the hub on the hub's objects, or on files: explain, what-if, survive, simulate.
//!
//! Nothing is written anywhere, and nothing is seen that the caller may not read.

pub(crate) mod explain;
pub(crate) mod simulate;
pub(crate) mod survive;
pub(crate) mod what_if;

mod scene;

use koinon_machinery::placement::{Difference, Impact, Standing, State};

use crate::output::Table;

/// Exit code for an answer that a pipeline should stop at: a placement would not be satisfied.
pub(crate) const UNSATISFIED: u8 = 3;

/// One row for each difference.
fn differences(table: &mut Table, value: &str, all: &[Difference]) {
    for one in all {
        table.row([
            value.to_owned(),
            format!("{}/{}", one.namespace, one.placement),
            effect(one.impact).to_owned(),
            names(one.leaves()),
            names(one.joins()),
            headline(&one.after),
        ]);
    }
}

fn effect(impact: Impact) -> &'static str {
    match impact {
        Impact::Breaks => "breaks",
        Impact::Misconfigured => "misconfigured",
        Impact::Unsatisfied => "unsatisfied",
        Impact::LeftAlone => "left alone",
        Impact::MovesAll => "moves all",
        Impact::Moves => "moves",
        Impact::Loses => "loses",
        Impact::Gains => "gains",
        Impact::Recovers => "recovers",
    }
}

/// The first line of what is said: a mistake in an expression is shown with its source below.
fn headline(standing: &Standing) -> String {
    let mut lines = standing.message.lines();
    lines.next().unwrap_or_default().to_owned()
}

fn state(standing: &Standing) -> &'static str {
    match standing.state {
        State::Satisfied => "satisfied",
        State::Unsatisfied => "unsatisfied",
        State::Misconfigured => "misconfigured",
        State::Untouched => "left alone",
    }
}

/// Names for a cell: all of a few, the first of many.
fn names<'a>(all: impl Iterator<Item = &'a String>) -> String {
    const SHOWN: usize = 5;
    let all: Vec<&str> = all.map(String::as_str).collect();
    let shown = all[..all.len().min(SHOWN)].join(",");
    match all.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}

/// Placements that make each other move for ever have no one answer; that is said beside the one that is given.
fn warn_if(restless: bool) {
    if restless {
        eprintln!(
            "warning: some placements move each other without end; this is one of several answers"
        );
    }
}
