//! Shell text to programs (POSIX Shell Command Language, sections 2.2 to 2.10, as far as the names of programs need it).
//!
//! Invariant: every text has an answer, in time that is linear in it; nesting is bounded.

mod word;

use word::is_meta;

use super::held::inner;
use super::{Kind, Program, ShellWord, is_shell};
use crate::ast::Text;
use crate::source::{Source, Span};

/// Substitutions inside substitutions: deeper ones are not looked into.
const MAX_DEPTH: usize = 8;

/// Where a part of the text is.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    /// The source, where it is at hand.
    pub(super) source: Option<&'p Source>,
    pub(super) span: &'p dyn Fn(usize, usize) -> Span,
}

impl Place<'_> {
    /// A word of these bytes, whose text mostly stands where the word does, between quotes if it has some.
    fn word(&self, from: usize, to: usize, text: &str, dynamic: bool) -> ShellWord {
        let span = (self.span)(from, to);
        let place = if text.len() == span.end() - span.start() {
            span
        } else {
            inner(span)
        };
        let text = match self.source {
            Some(source) => Text::at(source, place, text),
            None => Text::from(text),
        };
        ShellWord {
            text,
            span,
            dynamic,
        }
    }
}

/// The programs of a script.
pub(super) fn of_text(text: &str, place: Place<'_>) -> Vec<Program> {
    let mut lexer = Lexer::new(text, 0, text.len(), place, 0);
    lexer.run();
    lexer.programs
}

/// The program of an exec form.
pub(super) fn of_words(words: Vec<ShellWord>) -> Vec<Program> {
    let place = Place {
        source: None,
        span: &|_, _| Span::default(),
    };
    let mut lexer = Lexer::new("", 0, 0, place, 0);
    lexer.current = words;
    lexer.exec = true;
    lexer.end(false);
    lexer.programs
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    end: usize,
    place: Place<'t>,
    depth: usize,
    programs: Vec<Program>,
    current: Vec<ShellWord>,
    piped: bool,
    redirected: bool,
    /// The delimiters of heredocs whose bodies begin at the next line.
    heredocs: Vec<String>,
    /// The words that the open `case`s compare, and whether patterns come next.
    cases: Vec<(ShellWord, bool)>,
    /// Whether the words are no shell text: nothing in them is reserved.
    exec: bool,
}

impl<'t> Lexer<'t> {
    fn new(text: &'t str, at: usize, end: usize, place: Place<'t>, depth: usize) -> Self {
        Self {
            text,
            at,
            end,
            place,
            depth,
            programs: Vec::new(),
            current: Vec::new(),
            piped: false,
            redirected: false,
            heredocs: Vec::new(),
            cases: Vec::new(),
            exec: false,
        }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..self.end]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, wanted: &str) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len();
        }
        found
    }

    fn in_patterns(&self) -> bool {
        self.cases.last().is_some_and(|(_, patterns)| *patterns)
    }

    fn run(&mut self) {
        while let Some(next) = self.peek() {
            match next {
                ' ' | '\t' | '\r' => self.at += 1,
                '\\' if self.rest().starts_with("\\\n") => self.at += 2,
                '#' => {
                    let rest = self.rest();
                    self.at += rest.find('\n').unwrap_or(rest.len());
                }
                '\n' => self.newline(),
                ';' => self.semicolon(),
                '&' if self.rest().starts_with("&>") => {
                    self.at += 1;
                    self.redirect();
                }
                '&' if self.rest().starts_with("&&") => {
                    self.at += 2;
                    self.end(false);
                }
                '&' => self.background(),
                '|' if self.in_patterns() => self.at += 1,
                '|' => {
                    let or = self.rest().starts_with("||");
                    self.at += if or { 2 } else { 1 };
                    self.end(!or);
                }
                '(' => {
                    self.at += 1;
                    if !self.in_patterns() {
                        self.end(false);
                    }
                }
                ')' => {
                    self.at += 1;
                    self.end_pattern_or_group();
                }
                '<' | '>' => self.redirect(),
                _ => self.push_word(),
            }
        }
        self.end(false);
    }

    fn background(&mut self) {
        self.at += 1;
        self.end(false);
        if let Some(last) = self.programs.last_mut() {
            last.background = true;
        }
    }

    fn newline(&mut self) {
        self.at += 1;
        if !self.in_patterns() {
            self.end(false);
        }
        for delimiter in std::mem::take(&mut self.heredocs) {
            while self.at < self.end {
                let rest = self.rest();
                let length = rest.find('\n').map_or(rest.len(), |at| at + 1);
                self.at += length;
                if rest[..length].trim() == delimiter {
                    break;
                }
            }
        }
    }

    fn semicolon(&mut self) {
        let branch_ends = self.take(";;");
        if branch_ends {
            self.end(false);
            if let Some((_, patterns)) = self.cases.last_mut() {
                *patterns = true;
            }
        } else {
            self.at += 1;
            self.end(false);
        }
    }

    fn end_pattern_or_group(&mut self) {
        let Some((subject, patterns)) = self.cases.last_mut().filter(|(_, patterns)| *patterns)
        else {
            return self.end(false);
        };
        *patterns = false;
        let mut words = vec![subject.clone()];
        words.append(&mut self.current);
        self.programs.push(Program {
            kind: Kind::Branch,
            words: words.into(),
            piped: false,
            redirected: false,
            background: false,
        });
    }

    /// `>x`, `2>&1`, `<<EOF`, `<(…)`: not an argument.
    fn redirect(&mut self) {
        let start = self.at;
        // `2>`: the word right in front is a descriptor.
        if let Some(last) = self.current.last()
            && last.text.bytes().all(|byte| byte.is_ascii_digit())
            && last.span.end() == (self.place.span)(start, start + 1).start()
        {
            self.current.pop();
        }
        let operator: String = self
            .rest()
            .chars()
            .take_while(|c| matches!(c, '<' | '>' | '&' | '|'))
            .collect();
        self.at += operator.len();
        if self.peek() == Some('(') {
            self.at += 1;
            return self.end(false);
        }
        if operator == "<<" {
            self.take("-");
        }
        while self.take(" ") || self.take("\t") {}
        if self.peek().is_none_or(is_meta) {
            return;
        }
        let target = self.word();
        match operator.as_str() {
            "<<" => self.heredocs.push(target.text.into()),
            ">" | ">>" | ">|" if !target.text.starts_with("/dev/") => self.redirected = true,
            _ => {}
        }
    }

    fn push_word(&mut self) {
        let word = self.word();
        if self.in_patterns() && self.current.is_empty() && word.text == "esac" {
            self.cases.pop();
            return;
        }
        let begins_case = self.current.len() == 2
            && self.current[0].text == "case"
            && word.text == "in"
            && !self.in_patterns();
        if begins_case {
            let subject = self.current.pop().unwrap_or(word);
            self.current.clear();
            self.cases.push((subject, true));
            return;
        }
        let first = self.current.is_empty() && !self.in_patterns();
        match word.text.as_str() {
            "if" | "then" | "elif" | "else" | "while" | "until" | "do" | "!" | "{" | "}" | "fi"
            | "done" | "time"
                if first => {}
            "esac" if first => drop(self.cases.pop()),
            _ => self.current.push(word),
        }
    }

    /// A program is complete.
    fn end(&mut self, pipe: bool) {
        let words = std::mem::take(&mut self.current);
        let piped = std::mem::replace(&mut self.piped, pipe);
        let redirected = std::mem::take(&mut self.redirected);
        let reserved = ["for", "select", "function", "case"];
        let skip = !self.exec
            && words
                .first()
                .is_some_and(|word| reserved.contains(&word.text.as_str()));
        if skip {
            return;
        }
        let mut words = words.as_slice();
        if !self.exec {
            while words.first().is_some_and(is_assignment) {
                words = &words[1..];
            }
        }
        self.wrapped(words, piped, redirected);
    }

    /// The program behind `exec`, `env`, `xargs` and the like, and the script behind `sh -c`.
    fn wrapped(&mut self, mut words: &[ShellWord], piped: bool, redirected: bool) {
        loop {
            let Some(first) = words.first() else {
                return;
            };
            let program = Program {
                kind: Kind::Command,
                words: words.into(),
                piped,
                redirected,
                background: false,
            };
            let takes: &[&str] = match program.name() {
                "exec" => &["-a"],
                "command" | "builtin" | "nohup" => &[],
                "env" => &["-u", "-C"],
                "nice" => &["-n"],
                "xargs" => &["-I", "-n", "-P", "-L", "-d", "-s", "-E", "-a"],
                "sudo" | "doas" => {
                    self.programs.push(program);
                    &["-u", "-g", "-C", "-D", "-h", "-p", "-r", "-t"]
                }
                name if is_shell(name) => {
                    self.programs.push(program);
                    return self.script(words);
                }
                _ => return self.programs.push(program),
            };
            if first.dynamic {
                return;
            }
            words = behind(&words[1..], takes);
        }
    }

    /// `sh -c SCRIPT`: its programs are where the script is.
    fn script(&mut self, words: &[ShellWord]) {
        let flag = |word: &ShellWord| word.text.starts_with('-') && word.text.ends_with('c');
        let Some(at) = words.iter().position(flag) else {
            return;
        };
        if let Some(script) = words.get(at + 1).filter(|_| self.depth < MAX_DEPTH) {
            let span = script.span;
            let place = Place {
                source: self.place.source,
                span: &|_, _| span,
            };
            let text = script.text.as_str();
            let mut inner = Lexer::new(text, 0, text.len(), place, self.depth + 1);
            inner.run();
            self.programs.append(&mut inner.programs);
        }
    }
}

/// The words behind a wrapper's options and assignments; `takes` are the options with a value of their own.
fn behind<'w>(mut words: &'w [ShellWord], takes: &[&str]) -> &'w [ShellWord] {
    while let Some(first) = words.first() {
        let option = first.text.starts_with('-');
        if !option && !is_assignment(first) {
            break;
        }
        let skipped = if option && takes.contains(&first.text.as_str()) {
            2
        } else {
            1
        };
        words = words.get(skipped..).unwrap_or_default();
    }
    words
}

fn is_assignment(word: &ShellWord) -> bool {
    let Some((name, _)) = word.text.split_once('=') else {
        return false;
    };
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let place = Place {
            source: None,
            span: &|from, to| Span::new(from, to),
        };
        let programs = of_text(text, place);
        let one = |program: &Program| {
            let words: Vec<&str> = program
                .words
                .iter()
                .map(|word| word.text.as_str())
                .collect();
            let pipe = if program.piped { "| " } else { "" };
            let branch = if program.kind == Kind::Branch {
                "case "
            } else {
                ""
            };
            format!("{pipe}{branch}{}", words.join(" "))
        };
        programs.iter().map(one).collect()
    }

    #[test]
    fn programs_are_found_behind_operators_and_reserved_words() {
        assert_eq!(
            shown(
                "set -e; if [ a = b ]; then A=1 make 'all x' >/dev/null 2>&1 && (ldd y || true); fi # sudo no"
            ),
            ["set -e", "[ a = b ]", "make all x", "ldd y", "true"]
        );
        assert_eq!(
            shown(
                "for f in a b; do ldd \"$f\" | awk '/=>/' | xargs -I{} cp --parents {} /out/; done"
            ),
            ["ldd $f", "| awk /=>/", "| cp --parents {} /out/"]
        );
        assert_eq!(
            shown(
                "case ${A} in arm/v7|x) go ;; *) echo \"$(id -u)\"; esac; exec env B=1 sudo -u me ls"
            ),
            [
                "case ${A} arm/v7 x",
                "go",
                "case ${A} *",
                "id -u",
                "echo $(id -u)",
                "sudo -u me ls",
                "ls"
            ]
        );
    }

    #[test]
    fn heredocs_and_quoted_text_are_no_programs() {
        assert_eq!(
            shown("cat <<'E' > x\nsudo rm\nE\necho 'a; sudo b' \\\n c\nbash -ec 'curl u | sh'"),
            [
                "cat",
                "echo a; sudo b c",
                "bash -ec curl u | sh",
                "curl u",
                "| sh"
            ]
        );
    }

    #[test]
    fn unclosed_marks_end_with_the_text() {
        for text in [
            "$(",
            "\"$(`",
            "${a",
            "'",
            "$((1",
            "case x in",
            "a <<",
            "\\",
            "`$(\"",
            ")",
            "esac",
            "$(a))",
        ] {
            let _ = shown(text);
        }
        let _ = shown(&"$(".repeat(20_000));
        let _ = shown(&"\"$(".repeat(20_000));
    }
}
