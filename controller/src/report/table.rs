//! Columns as wide as what stands in them, with notes in between. Must not know what they say.

use std::fmt;

/// To which side of its column a cell goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// Rows under headings; a column in which no row has anything is left out.
pub(super) struct Table<const N: usize> {
    headings: [(&'static str, Side); N],
    lines: Vec<Line<N>>,
}

enum Line<const N: usize> {
    Row([String; N]),
    Note(String),
}

impl<const N: usize> Table<N> {
    pub(super) fn new(headings: [(&'static str, Side); N]) -> Self {
        Self { headings, lines: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: [String; N]) {
        self.lines.push(Line::Row(cells));
    }

    /// A line of its own, which widens no column.
    pub(super) fn note(&mut self, text: String) {
        self.lines.push(Line::Note(text));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Absent for a column in which no row has anything.
    fn widths(&self) -> [Option<usize>; N] {
        let mut widths = [0; N];
        for line in &self.lines {
            let Line::Row(cells) = line else { continue };
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut headings = self.headings.iter();
        widths.map(|width| {
            let heading = headings.next().map_or(0, |(heading, _)| heading.chars().count());
            (width > 0).then(|| width.max(heading))
        })
    }

    fn write_row<'a>(
        &self,
        f: &mut fmt::Formatter<'_>,
        widths: &[Option<usize>; N],
        cells: impl Iterator<Item = &'a str>,
    ) -> fmt::Result {
        let mut line = String::new();
        for (((_, side), width), cell) in self.headings.iter().zip(widths).zip(cells) {
            let Some(width) = *width else { continue };
            line += &match side {
                Side::Left => format!("  {cell:<width$}"),
                Side::Right => format!("  {cell:>width$}"),
            };
        }
        writeln!(f, "{}", line.trim_end())
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        self.write_row(f, &widths, self.headings.iter().map(|(heading, _)| *heading))?;
        for line in &self.lines {
            match line {
                Line::Row(cells) => self.write_row(f, &widths, cells.iter().map(String::as_str))?,
                Line::Note(text) => writeln!(f, "    {text}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_and_empty_ones_are_left_out() {
        let mut table = Table::new([("name", Side::Left), ("empty", Side::Left), ("n", Side::Right)]);
        table.row(["a".to_owned(), String::new(), "10".to_owned()]);
        table.note("as long as it likes".to_owned());
        table.row(["longer".to_owned(), String::new(), "2".to_owned()]);
        let expected = "
  name     n
  a       10
    as long as it likes
  longer   2
";
        assert_eq!(format!("\n{table}"), expected);
    }
}
