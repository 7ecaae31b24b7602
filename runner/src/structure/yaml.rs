//! YAML, and with it JSON, as a tree whose every value knows its line. The invariant: bounded: a document has a limit in bytes, depth
//! and values, those that aliases repeat included, so a small file cannot become a large one.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

/// The largest document, in bytes.
pub const MAX_DOCUMENT: usize = 4 << 20;
/// The deepest nesting.
const DEEPEST: usize = 64;
/// The most values.
const MOST: usize = 200_000;

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text}")]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub text: String,
}

impl Problem {
    pub(super) fn new(line: usize, text: impl Into<String>) -> Self {
        Self {
            line,
            text: text.into(),
        }
    }
}

/// A value and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A text, and whether it was written plainly, so that it may mean a number or nothing.
    Text(String, bool),
    List(Vec<Node>),
    /// In order; no key is there twice.
    Map(Vec<(String, usize, Node)>),
}

impl Value {
    fn count(&self) -> usize {
        1 + match self {
            Self::Text(..) => 0,
            Self::List(items) => items.iter().map(|item| item.value.count()).sum(),
            Self::Map(pairs) => pairs.iter().map(|(.., item)| 1 + item.value.count()).sum(),
        }
    }

    fn depth(&self) -> usize {
        1 + match self {
            Self::Text(..) => 0,
            Self::List(items) => items.iter().map(|i| i.value.depth()).max().unwrap_or(0),
            Self::Map(pairs) => pairs
                .iter()
                .map(|(.., i)| i.value.depth())
                .max()
                .unwrap_or(0),
        }
    }
}

/// Reads the only document of a text.
pub(super) fn read(text: &str) -> Result<Node, Problem> {
    if text.len() > MAX_DOCUMENT {
        let most = MAX_DOCUMENT >> 20;
        return Err(Problem::new(
            1,
            format!("the file is larger than {most} MiB"),
        ));
    }
    let mut reader = Reader {
        events: Parser::new_from_str(text),
        anchors: HashMap::new(),
        values: 0,
    };
    let document = reader.document()?;
    match reader.next()? {
        (Event::StreamEnd, _) => Ok(document),
        (_, span) => Err(Problem::new(span.start.line(), "a second document")),
    }
}

struct Reader<'t> {
    events: Parser<'t, saphyr_parser::StrInput<'t>>,
    anchors: HashMap<usize, Node>,
    values: usize,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), Problem> {
        match self.events.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(Problem::new(error.marker().line(), error.info())),
            None => Err(Problem::new(1, "the file ends early")),
        }
    }

    fn document(&mut self) -> Result<Node, Problem> {
        loop {
            match self.next()? {
                (Event::StreamStart | Event::Nothing, _) => {}
                (Event::DocumentStart(_), _) => break,
                (_, span) => return Err(Problem::new(span.start.line(), "the file is empty")),
            }
        }
        let (event, span) = self.next()?;
        let node = self.node(event, span, 0)?;
        match self.next()? {
            (Event::DocumentEnd, _) => Ok(node),
            (_, span) => Err(Problem::new(span.start.line(), "more than one value")),
        }
    }

    fn count(&mut self, line: usize, values: usize) -> Result<(), Problem> {
        self.values += values;
        match self.values > MOST {
            true => Err(Problem::new(line, format!("more than {MOST} values"))),
            false => Ok(()),
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Problem> {
        let line = span.start.line();
        let too_deep = || Problem::new(line, format!("more than {DEEPEST} levels"));
        if depth > DEEPEST {
            return Err(too_deep());
        }
        self.count(line, 1)?;
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, scalar(&text, style, tag.as_deref()))
            }
            Event::SequenceStart(anchor, _) => (anchor, self.list(depth)?),
            Event::MappingStart(anchor, _) => (anchor, self.map(depth)?),
            Event::Alias(anchor) => {
                let meant = self.anchors.get(&anchor).map(|node| node.value.clone());
                let meant = meant.ok_or_else(|| Problem::new(line, "an alias of nothing"))?;
                if depth + meant.depth() > DEEPEST {
                    return Err(too_deep());
                }
                self.count(line, meant.count())?;
                (0, meant)
            }
            _ => return Err(Problem::new(line, "a value is missing")),
        };
        let node = Node { line, value };
        if anchor != 0 {
            self.count(line, node.value.count())?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value, Problem> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Problem> {
        let mut pairs: Vec<(String, usize, Node)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let line = span.start.line();
            let key = match event {
                Event::MappingEnd => return Ok(Value::Map(pairs)),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(Problem::new(line, "a key that is no text")),
            };
            if let Some((_, before, _)) = pairs.iter().find(|(own, ..)| *own == key) {
                let text = format!("the key {key:?} is there already, in line {before}");
                return Err(Problem::new(line, text));
            }
            self.count(line, 1)?;
            let (event, span) = self.next()?;
            pairs.push((key, line, self.node(event, span, depth + 1)?));
        }
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
    Value::Text(text.to_owned(), style == ScalarStyle::Plain && !is_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        read(text).expect_err(text).to_string()
    }

    #[test]
    fn json_is_read_as_yaml_is() {
        let yaml = read("a:\n  - 1\n  - x y\n").unwrap();
        let json = read("{\"a\": [1, \"x y\"]}").unwrap();
        let texts = |node: &Node| match &node.value {
            Value::Map(pairs) => match &pairs[0].2.value {
                Value::List(items) => items
                    .iter()
                    .map(|item| match &item.value {
                        Value::Text(text, _) => text.clone(),
                        other => panic!("{other:?}"),
                    })
                    .collect::<Vec<_>>(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        assert_eq!(texts(&yaml), texts(&json));
        assert_eq!(texts(&yaml), ["1", "x y"]);
    }

    #[test]
    fn aliases_repeat_values_and_cannot_multiply_them_without_end() {
        let repeated = read("a: &x [1, 2]\nb: *x\n").unwrap();
        let Value::Map(pairs) = repeated.value else {
            panic!("no map")
        };
        assert_eq!(pairs[0].2.value, pairs[1].2.value);
        // Nine levels of nine aliases each: the "billion laughs".
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let below = format!("*a{}, ", level - 1).repeat(9);
            bomb += &format!("a{level}: &a{level} [{}]\n", below.trim_end_matches(", "));
        }
        let before = std::time::Instant::now();
        assert!(
            problem(&bomb).contains("more than 200000 values"),
            "{}",
            problem(&bomb)
        );
        assert!(before.elapsed().as_secs() < 5);
    }

    #[test]
    fn what_is_no_document_is_said_with_its_line() {
        assert!(problem("a: 1\nb: [1\n").starts_with("line "));
        assert_eq!(
            problem("a: 1\nb: 2\na: 3\n"),
            "line 3: the key \"a\" is there already, in line 1"
        );
        assert!(problem("a: 1\n---\nb: 2\n").contains("second document"));
        assert!(problem("").contains("empty"));
        assert!(problem("a: *nothing\n").starts_with("line 1"));
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert!(problem(&deep).contains("64 levels"), "{}", problem(&deep));
        assert!(problem(&"x".repeat(MAX_DOCUMENT + 1)).contains("4 MiB"));
    }
}
