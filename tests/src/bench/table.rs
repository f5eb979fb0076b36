//! The one table that a run prints.

use std::fmt;

/// Rows of: what was measured, what we reached, what the others reached, the bar.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<[String; 4]>,
}

impl Table {
    pub(super) fn row(&mut self, measure: &str, ours: &str, beside: &str, bar: &str) {
        eprintln!("bench:   {measure}: {ours} {beside}");
        self.rows
            .push([measure, ours, beside, bar].map(str::to_owned));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["measure", "Koinon", "beside it", "bar"].map(str::to_owned);
        let width = |column: usize| {
            let rows = std::iter::once(&head).chain(&self.rows);
            rows.map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths = [0, 1, 2, 3].map(width);
        let line = |f: &mut fmt::Formatter<'_>, row: &[String; 4]| {
            let cells = row
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:width$}"));
            writeln!(f, "| {} |", cells.collect::<Vec<_>>().join(" | "))
        };
        line(f, &head)?;
        line(f, &widths.map(|width| "-".repeat(width)))?;
        self.rows.iter().try_for_each(|row| line(f, row))
    }
}
