//! Values with their places.

use std::fmt;

/// A place in a text: line and column, both from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Mark {
    /// Where a text begins.
    pub const START: Self = Self { line: 1, column: 1 };
    /// No place: there is no text.
    pub const NOWHERE: Self = Self { line: 0, column: 0 };
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it was written. `Debug` shows its shape only: any value may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Node {
    /// What was written.
    pub value: Value,
    /// Where it begins.
    pub mark: Mark,
}

/// What was written. Scalars keep their text: whoever reads one decides its type, so that the text `1.0` stays just that.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// A single value.
    Scalar(Scalar),
    /// Values in order.
    List(Vec<Node>),
    /// Keys, each once, with their values in order.
    Map(Vec<Entry>),
}

/// A single value.
#[derive(Clone, PartialEq, Eq)]
pub struct Scalar {
    /// Its text.
    pub text: String,
    /// Without quotes: it may be read as nothing, a boolean or a number too.
    pub plain: bool,
    /// Its text in the file, if something was filled in there: messages show this and never the text.
    pub template: Option<String>,
}

/// One key of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key begins.
    pub mark: Mark,
    /// The value.
    pub node: Node,
}

impl Node {
    /// A value written without quotes, at the start of the text.
    pub fn plain(text: impl Into<String>) -> Self {
        Value::Scalar(Scalar { text: text.into(), plain: true, template: None }).into()
    }

    /// A text written in quotes, at the start of the text.
    pub fn quoted(text: impl Into<String>) -> Self {
        Value::Scalar(Scalar { text: text.into(), plain: false, template: None }).into()
    }

    /// A list at the start of the text.
    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Value::List(items.into_iter().collect()).into()
    }

    /// A map at the start of the text.
    pub fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        let entry = |(key, node): (K, Self)| Entry { key: key.into(), mark: Mark::START, node };
        Value::Map(entries.into_iter().map(entry).collect()).into()
    }

    /// Where the value at `path` begins (`routes[2].to[0].topic`); if there is none, the nearest value around it.
    #[must_use]
    pub fn locate(&self, path: &str) -> Mark {
        self.step(path).map_or(self.mark, |(node, rest)| node.locate(rest))
    }

    /// Whether both hold the same values; where they stand, the order of keys and how a value came about do not count.
    #[must_use]
    pub fn means(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Scalar(one), Value::Scalar(other)) => one.text == other.text && one.plain == other.plain,
            (Value::List(one), Value::List(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.means(other))
            }
            (Value::Map(one), Value::Map(other)) => {
                let has =
                    |entry: &Entry| other.iter().any(|each| each.key == entry.key && entry.node.means(&each.node));
                one.len() == other.len() && one.iter().all(has)
            }
            _ => false,
        }
    }

    /// The value of a key, if this is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node),
            Value::Scalar(_) | Value::List(_) => None,
        }
    }

    /// The value under the first step of `path`, and the steps after it.
    fn step<'p>(&self, path: &'p str) -> Option<(&Self, &'p str)> {
        match &self.value {
            Value::Scalar(_) => None,
            Value::List(items) => {
                let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
                Some((items.get(index.parse::<usize>().ok()?)?, rest))
            }
            // A key may hold dots itself: the longest one that fits is meant.
            Value::Map(entries) => {
                let path = path.strip_prefix('.').unwrap_or(path);
                let fits = |entry: &&Entry| {
                    path.strip_prefix(&entry.key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
                };
                let entry = entries.iter().filter(fits).max_by_key(|entry| entry.key.len())?;
                Some((&entry.node, &path[entry.key.len()..]))
            }
        }
    }

    /// Whether nothing was written: `~`, `null` or a key without a value.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.plain && matches!(&*scalar.text, "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What it is, for a message: its text only if the file shows it.
    pub(super) fn described(&self) -> String {
        match &self.value {
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a map".into(),
            Value::Scalar(_) if self.is_null() => "nothing".into(),
            Value::Scalar(Scalar { text, plain, template }) => match (plain, template) {
                (true, None) => format!("`{}`", shortened(text)),
                (false, None) => format!("the text `{}`", shortened(text)),
                (true, Some(template)) => format!("what `{}` gives", shortened(template)),
                (false, Some(template)) => format!("the text that `{}` gives", shortened(template)),
            },
        }
    }
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        Self { value, mark: Mark::START }
    }
}

/// A map of values without quotes.
impl<const N: usize> From<&[(&str, &str); N]> for Node {
    fn from(entries: &[(&str, &str); N]) -> Self {
        Self::map(entries.iter().map(|(key, text)| (*key, Self::plain(*text))))
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(scalar) => scalar.fmt(f),
            Self::List(items) => f.debug_list().entries(items).finish(),
            Self::Map(entries) => f.debug_map().entries(entries.iter().map(|entry| (&entry.key, &entry.node))).finish(),
        }
    }
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// On one line, and no longer than a message bears.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut short: String = text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}
