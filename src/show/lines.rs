//! Cuts the output of a step into lines. The invariant: what waits for its line end is bounded, so that a gigabyte without a
//! newline (runner drill D24) is shown in pieces.

/// A line is cut after this many bytes.
const LONGEST: usize = 8 << 10;

/// The lines of one stream.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: String,
}

impl Lines {
    /// Takes more text and hands out complete lines. A carriage return ends a line too: progress bars of programs become
    /// lines that way.
    pub(super) fn push(&mut self, text: &str, mut line: impl FnMut(&str)) {
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(['\n', '\r']);
            let piece = &rest[..end.unwrap_or(rest.len())];
            self.append(piece, &mut line);
            let Some(end) = end else { return };
            let crlf = rest[end..].starts_with("\r\n");
            if crlf || rest.as_bytes()[end] == b'\n' || !self.partial.is_empty() {
                line(&std::mem::take(&mut self.partial));
            }
            rest = &rest[end + if crlf { 2 } else { 1 }..];
        }
    }

    fn append(&mut self, mut piece: &str, line: &mut impl FnMut(&str)) {
        while self.partial.len() + piece.len() > LONGEST {
            let mut cut = LONGEST.saturating_sub(self.partial.len());
            while !piece.is_char_boundary(cut) {
                cut -= 1;
            }
            // No room for even one character: the line is full.
            self.partial.push_str(&piece[..cut]);
            line(&std::mem::take(&mut self.partial));
            piece = &piece[cut..];
        }
        self.partial.push_str(piece);
    }

    /// Hands out what has no line end.
    pub(super) fn finish(&mut self, mut line: impl FnMut(&str)) {
        if !self.partial.is_empty() {
            line(&std::mem::take(&mut self.partial));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(texts: &[&str]) -> Vec<String> {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        for text in texts {
            lines.push(text, |line| out.push(line.to_owned()));
        }
        lines.finish(|line| out.push(line.to_owned()));
        out
    }

    #[test]
    fn lines_end_at_newlines_and_carriage_returns() {
        assert_eq!(
            cut(&["a", "b\nc\r", "d\r\ne\n\nf"]),
            ["ab", "c", "d", "e", "", "f"]
        );
        assert_eq!(cut(&["10%\r20%\r\n"]), ["10%", "20%"]);
        assert_eq!(cut(&[]), [""; 0]);
    }

    #[test]
    fn d24_a_line_without_an_end_is_cut() {
        let long = "ß".repeat(LONGEST);
        let out = cut(&["x", &long]);
        assert!(out.iter().all(|line| line.len() <= LONGEST));
        assert_eq!(out.concat(), format!("x{long}"));
    }
}
