//! Places as editors count them (Language Server Protocol 3.17, "Text Documents" and "Position").
//!
//! Invariant: every offset that comes out lies on a character boundary of the text, whatever position goes in.

/// A line and a UTF-16 code unit in it, both counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line; `\n`, `\r\n` and `\r` end one.
    pub line: u32,
    /// The code unit.
    pub character: u32,
}

/// An index of the lines of a text.
#[derive(Clone, Debug)]
pub struct Positions<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Positions<'t> {
    /// Looks for the lines of a text.
    #[must_use]
    pub fn of(text: &'t str) -> Self {
        let bytes = text.as_bytes();
        let ends = bytes.iter().enumerate().filter(|&(at, byte)| {
            *byte == b'\n' || (*byte == b'\r' && bytes.get(at + 1) != Some(&b'\n'))
        });
        let starts = std::iter::once(0)
            .chain(ends.map(|(at, _)| at + 1))
            .collect();
        Self { text, starts }
    }

    /// Where a byte is; what is beyond the end counts as the end, what is inside a character as its start.
    #[must_use]
    pub fn position(&self, offset: usize) -> Position {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.starts.partition_point(|start| *start <= offset) - 1;
        let before = &self.text[self.starts[line]..offset];
        Position {
            line: number(line),
            character: number(before.chars().map(char::len_utf16).sum()),
        }
    }

    /// Which byte is there; a place beyond the end of a line is its end, one inside a character that character.
    #[must_use]
    pub fn offset(&self, position: Position) -> usize {
        let line = usize::try_from(position.line).unwrap_or(usize::MAX);
        let Some(&start) = self.starts.get(line) else {
            return self.text.len();
        };
        let end = self.starts.get(line + 1).copied();
        let line = self.text[start..end.unwrap_or(self.text.len())].trim_end_matches(['\r', '\n']);
        let mut units = 0;
        for (at, character) in line.char_indices() {
            units += number(character.len_utf16());
            if units > position.character {
                return start + at;
            }
        }
        start + line.len()
    }
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u32, character: u32) -> Position {
        Position { line, character }
    }

    #[test]
    fn characters_are_counted_as_utf_16_and_three_line_ends_are_known() {
        let text = "a😀b\r\nß\rc\n";
        let positions = Positions::of(text);
        let places = [
            (0, 0, 0),
            (1, 0, 1),
            (5, 0, 3),
            (6, 0, 4),
            (8, 1, 0),
            (10, 1, 1),
            (11, 2, 0),
            (13, 3, 0),
        ];
        for (offset, line, character) in places {
            assert_eq!(positions.position(offset), at(line, character), "{offset}");
            assert_eq!(positions.offset(at(line, character)), offset);
        }
    }

    #[test]
    fn places_that_are_none_are_the_nearest_ones() {
        let positions = Positions::of("a😀b\r\nß");
        assert_eq!(
            positions.offset(at(0, 2)),
            1,
            "between the halves of a pair"
        );
        assert_eq!(positions.offset(at(0, 99)), 6, "before the line end");
        assert_eq!(positions.offset(at(9, 0)), 10);
        assert_eq!(positions.position(3), at(0, 1));
        assert_eq!(positions.position(99), at(1, 1));
        assert_eq!(Positions::of("").offset(at(0, 7)), 0);
    }
}
