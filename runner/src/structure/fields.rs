//! A tree of values read as what a schema wants. The invariant: a key that nobody asked for is an error, and so is a value of another
//! kind; every error names its line.

use super::yaml::{Node, Problem, Value};

/// The keys of a map that were not asked for yet.
pub(super) struct Fields {
    /// What the map is, for messages.
    what: &'static str,
    pub(super) line: usize,
    pairs: Vec<(String, usize, Node)>,
    known: Vec<&'static str>,
}

impl Fields {
    pub(super) fn of(node: Node, what: &'static str) -> Result<Self, Problem> {
        let line = node.line;
        match node.value {
            Value::Map(pairs) => Ok(Self {
                what,
                line,
                pairs,
                known: Vec::new(),
            }),
            // An empty block is as good as none.
            value if is_nothing(&value) => Ok(Self {
                what,
                line,
                pairs: Vec::new(),
                known: Vec::new(),
            }),
            _ => Err(Problem::new(line, format!("{what} must be a map"))),
        }
    }

    /// The value of a key, where there is one.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        let at = self.pairs.iter().position(|(own, ..)| own == key)?;
        let node = self.pairs.remove(at).2;
        (!is_nothing(&node.value)).then_some(node)
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>, Problem> {
        self.take(key).map(|node| text(node, key)).transpose()
    }

    pub(super) fn required(&mut self, key: &'static str) -> Result<String, Problem> {
        let found = self.text(key)?.filter(|text| !text.is_empty());
        found.ok_or_else(|| Problem::new(self.line, format!("{} needs {key:?}", self.what)))
    }

    pub(super) fn texts(&mut self, key: &'static str) -> Result<Vec<String>, Problem> {
        Ok(self.list_of_texts(key)?.unwrap_or_default())
    }

    /// As [`Fields::texts`], where an empty list is not the same as none.
    pub(super) fn list_of_texts(
        &mut self,
        key: &'static str,
    ) -> Result<Option<Vec<String>>, Problem> {
        let node = self.take(key);
        node.map(|node| texts(node, key)).transpose()
    }

    pub(super) fn list(&mut self, key: &'static str) -> Result<Vec<Node>, Problem> {
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(node) => list(node, key),
        }
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Result<Option<bool>, Problem> {
        let Some(node) = self.take(key) else {
            return Ok(None);
        };
        match &node.value {
            Value::Text(text, true) if text == "true" => Ok(Some(true)),
            Value::Text(text, true) if text == "false" => Ok(Some(false)),
            _ => Err(Problem::new(
                node.line,
                format!("{key:?} must be true or false"),
            )),
        }
    }

    pub(super) fn number(&mut self, key: &'static str) -> Result<Option<i64>, Problem> {
        let Some(node) = self.take(key) else {
            return Ok(None);
        };
        match &node.value {
            Value::Text(text, true) if text.parse::<i64>().is_ok() => Ok(text.parse().ok()),
            _ => Err(Problem::new(
                node.line,
                format!("{key:?} must be a whole number"),
            )),
        }
    }

    /// Nothing may be left.
    pub(super) fn done(self) -> Result<(), Problem> {
        match self.pairs.first() {
            None => Ok(()),
            Some((key, line, _)) => {
                let known = self.known.join(", ");
                let text = format!("{} has no key {key:?}: its keys are {known}", self.what);
                Err(Problem::new(*line, text))
            }
        }
    }
}

fn is_nothing(value: &Value) -> bool {
    matches!(value, Value::Text(text, true) if matches!(text.as_str(), "" | "~" | "null"))
}

pub(super) fn text(node: Node, key: &str) -> Result<String, Problem> {
    match node.value {
        Value::Text(text, _) => Ok(text),
        _ => Err(Problem::new(node.line, format!("{key:?} must be a text"))),
    }
}

pub(super) fn list(node: Node, key: &str) -> Result<Vec<Node>, Problem> {
    match node.value {
        Value::List(items) => Ok(items),
        _ => Err(Problem::new(node.line, format!("{key:?} must be a list"))),
    }
}

pub(super) fn texts(node: Node, key: &str) -> Result<Vec<String>, Problem> {
    let items = list(node, key)?;
    items.into_iter().map(|item| text(item, key)).collect()
}
