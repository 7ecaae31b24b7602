//! Standard output: data, and only data. The invariant: a reader that went away (EPIPE) ends the program quietly and anything
//! else that cannot be written is an error; neither is ever a panic.

use std::io::{self, ErrorKind, Write as _};

use serde::Serialize;

use crate::failure::{Failure, Kind};

/// Writes text as it is.
///
/// # Errors
/// When it cannot be written; see [`written`] for a reader that went away.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Writes a value as indented JSON and a newline.
///
/// # Errors
/// As [`print()`].
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::failed(format!("write JSON: {error}")))?;
    text.push('\n');
    print(&text)
}

/// `rbuild images | head -1` has all it wants: that is success without a word.
fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::silent(0)),
        Err(error) => Err(Failure::new(
            Kind::Failed,
            anyhow::Error::new(error).context("write to standard output"),
        )),
    }
}

/// Columns of a table, aligned, two spaces between them, no spaces at the ends of lines.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A size in powers of 1000, as Docker and Podman show it.
pub(crate) fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64;
    let mut unit = 0;
    value /= 1000.0;
    // 999.5 would be shown as 1000.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = if value < 9.995 {
        2
    } else {
        usize::from(value < 99.95)
    };
    format!("{value:.decimals$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f45_a_reader_that_went_away_is_a_quiet_success_and_a_full_disk_is_not() {
        let quiet = written(Err(ErrorKind::BrokenPipe.into())).unwrap_err();
        assert_eq!((quiet.code(), quiet.text().as_str()), (0, ""));
        let full = written(Err(io::Error::from_raw_os_error(28))).unwrap_err();
        assert_eq!(full.code(), 1);
        assert!(full.text().contains("No space left"), "{}", full.text());
    }

    #[test]
    fn sizes_have_three_digits() {
        let sizes = [0, 999, 1000, 1234, 99_940, 999_499, 999_500, 5_000_000_000];
        let shown = [
            "0 B", "999 B", "1.00 kB", "1.23 kB", "99.9 kB", "999 kB", "1.00 MB", "5.00 GB",
        ];
        assert_eq!(sizes.map(human_size), shown);
    }

    #[test]
    fn tables_are_aligned_without_trailing_spaces() {
        let rows = [
            vec!["A".into(), "BB".into()],
            vec!["ccc".into(), String::new()],
        ];
        assert_eq!(table(&rows), "A    BB\nccc\n");
    }
}
