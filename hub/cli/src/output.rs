//! Tables as kubectl prints them, and JSON for scripts.

use std::io::{ErrorKind, Write as _};

use clap::ValueEnum;
use serde::Serialize;

use crate::error::{Error, Result};

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Aligned columns.
    #[default]
    Table,
    /// JSON, for scripts.
    Json,
}

/// Rows under a header.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Begins a table with its header.
    pub(crate) fn new(header: &[&str]) -> Self {
        Self {
            rows: vec![header.iter().map(|&cell| cell.to_owned()).collect()],
        }
    }

    /// Adds a row; an empty cell shows as `<none>`, as kubectl does it.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(
            N,
            self.rows[0].len(),
            "a row has as many cells as the header"
        );
        self.rows.push(
            cells
                .into_iter()
                .map(|cell| {
                    if cell.is_empty() {
                        "<none>".to_owned()
                    } else {
                        on_one_line(cell)
                    }
                })
                .collect(),
        );
    }

    /// Writes the table with columns three blanks apart and nothing after the last one.
    pub(crate) fn render(&self) -> String {
        let width = |column: usize| {
            self.rows
                .iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.rows[0].len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}   "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// Prints the table, or a sentence when it has no row.
    pub(crate) fn print(&self, when_empty: &str) -> Result<()> {
        if self.rows.len() == 1 {
            eprintln!("{when_empty}");
            Ok(())
        } else {
            write(&self.render())
        }
    }
}

/// A text without line breaks, and without anything else that a terminal would obey: what others wrote is shown, like
/// an expression of a placement.
pub(crate) fn on_one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let parts = text.split(char::is_control).map(str::trim);
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}

/// Prints a line.
pub(crate) fn line(text: &str) -> Result<()> {
    write(&format!("{text}\n"))
}

/// Prints text. A reader that has seen enough, like `head`, is no failure.
pub(crate) fn write(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::caused("cannot print", error))
        }
        _ => Ok(()),
    }
}

/// Prints a value as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::caused("cannot write JSON", error))?;
    line(&text)
}

/// Prints objects as a Kubernetes list, so that tools made for `kubectl -o json` read it.
pub(crate) fn json_list(items: &[impl Serialize]) -> Result<()> {
    json(&serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_end_without_blanks() {
        let mut table = Table::new(&["NAME", "ACCEPTED", "AGE"]);
        table.row(["east".into(), "true".into(), "5m".into()]);
        table.row(["a-long-name".into(), String::new(), "12d".into()]);
        assert_eq!(
            table.render(),
            "NAME          ACCEPTED   AGE\n\
             east          true       5m\n\
             a-long-name   <none>     12d\n"
        );
    }

    /// A second line would be taken for a row, and an escape sequence for an order.
    #[test]
    fn a_cell_stays_on_its_line() {
        let mut table = Table::new(&["NAME", "REASON"]);
        table.row(["east".into(), "a ==\n  1 &&\r\n\tb\u{1b}[2J".into()]);
        assert_eq!(table.render(), "NAME   REASON\neast   a == 1 && b [2J\n");
    }

    #[test]
    fn width_is_counted_in_characters() {
        let mut table = Table::new(&["NAME", "X"]);
        table.row(["Αθήνα".into(), "1".into()]);
        assert_eq!(table.render(), "NAME    X\nΑθήνα   1\n");
    }
}
