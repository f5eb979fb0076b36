//! Lines that say what is being done and how long it took.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

/// Tells the story of one command, with the time since it began.
#[derive(Debug)]
pub(super) struct Say {
    began: Instant,
}

impl Say {
    pub(super) fn new(title: &str) -> Self {
        println!("{title}");
        Self {
            began: Instant::now(),
        }
    }

    /// A line about something that has just come true.
    pub(super) fn line(&self, text: &str) {
        println!("  {:>6.1} s  {text}", self.began.elapsed().as_secs_f64());
    }

    /// Does something, and says how long it took. On a terminal the line is there
    /// from the beginning.
    pub(super) async fn step<T>(
        &self,
        what: &str,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let terminal = std::io::stdout().is_terminal();
        if terminal {
            print!("            {what} …");
            let _ = std::io::stdout().flush(); // a lost line is no reason to stop
        }
        let began = Instant::now();
        let done = work.await;
        if terminal {
            print!("\r\x1b[K");
        }
        match &done {
            Ok(_) => self.line(&format!("{what}{}", took(began.elapsed()))),
            Err(_) => self.line(&format!("{what}: failed")),
        }
        done
    }
}

fn took(time: Duration) -> String {
    if time < Duration::from_millis(100) {
        String::new()
    } else {
        format!(" ({:.1} s)", time.as_secs_f64())
    }
}

/// An aligned table; the first row is the head.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        format!("  {}\n", cells.join("   ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            vec!["CLUSTER".to_owned(), "RUNS".to_owned()],
            vec!["standby-2".to_owned(), "✓".to_owned()],
        ];
        assert_eq!(table(&rows), "  CLUSTER     RUNS\n  standby-2   ✓\n");
    }
}
