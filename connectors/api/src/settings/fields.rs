//! The keys of one map, while they are read.

use std::{fmt, ops::RangeInclusive, time::Duration};

use super::{
    Entry, Mark, Node, Problem, Problems, Scalar, Value,
    quantity::{duration, show_duration, show_size, size},
    suggestion::{nearest, quoted, suggestion},
};

const MISSING: &str = "is missing";

/// The keys of one map, while they are read. A key that was not asked for by the end is unknown; a key without a value counts as
/// not written.
pub struct Fields<'a> {
    entries: &'a [Entry],
    mark: Mark,
    path: String,
    problems: &'a Problems,
    known: Vec<&'static str>,
    /// Every key is allowed.
    open: bool,
}

/// What reading one key has found.
#[must_use]
pub struct Reading<'f, T> {
    fields: &'f Fields<'f>,
    key: &'static str,
    found: Found<T>,
}

enum Found<T> {
    Value(T),
    Nothing,
    /// A problem, already collected.
    Wrong,
}

/// Reads one map by itself. `path` is where it stands: `connectors.scratch`.
pub fn decode<T>(node: &Node, path: &str, read: impl FnOnce(&mut Fields<'_>) -> Option<T>) -> Result<T, Vec<Problem>> {
    let problems = Problems::default();
    match Fields::read(node, path, &problems, read) {
        Some(value) if problems.is_empty() => Ok(value),
        _ => Err(problems.into_sorted()),
    }
}

impl<'a> Fields<'a> {
    /// Has `read` read a map, and refuses the keys that it did not ask for.
    pub fn read<T>(
        node: &'a Node,
        path: impl Into<String>,
        problems: &'a Problems,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        let path = path.into();
        let Value::Map(entries) = &node.value else {
            problems.add(path, node.mark, expected("a map", node));
            return None;
        };
        let mut fields = Self { entries, mark: node.mark, path, problems, known: Vec::new(), open: false };
        let value = read(&mut fields);
        fields.refuse_unknown();
        value
    }

    /// A text. What looks like a number or a boolean is taken as it is written.
    pub fn text(&mut self, key: &'static str) -> Reading<'_, &'a str> {
        self.parsed(key, "text", Some)
    }

    /// A text that `parse` makes something of; `form` says how such a text looks.
    pub fn parsed<T>(
        &mut self,
        key: &'static str,
        form: &str,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Reading<'_, T> {
        self.scalar(key, form, |scalar| parse(&scalar.text))
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Reading<'_, T> {
        let words = quoted(&choices.iter().map(|(word, _)| *word).collect::<Vec<_>>());
        let form = if choices.len() == 1 { words } else { format!("one of {words}") };
        self.parsed(key, &form, |text| choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value))
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &'static str) -> Reading<'_, bool> {
        self.scalar(key, "true or false", |scalar| match &*scalar.text {
            "true" | "True" | "TRUE" if scalar.plain => Some(true),
            "false" | "False" | "FALSE" if scalar.plain => Some(false),
            _ => None,
        })
    }

    /// A whole number within `range`.
    pub fn integer<T>(&mut self, key: &'static str, range: RangeInclusive<T>) -> Reading<'_, T>
    where
        T: TryFrom<i64> + PartialOrd + fmt::Display,
    {
        // One that no `i64` holds is out of any range.
        let number = |scalar: &Scalar| match (scalar.plain, scalar.text.parse::<i128>()) {
            (true, Ok(number)) => Some(i64::try_from(number).ok().and_then(|number| T::try_from(number).ok())),
            _ => None,
        };
        self.within(key, "a whole number", range, T::to_string, number)
    }

    /// Bytes within `range`: `64KiB`, `1MiB`, or just their number.
    pub fn size(&mut self, key: &'static str, range: RangeInclusive<usize>) -> Reading<'_, usize> {
        let form = "a size such as `64KiB`, `1MiB` or a number of bytes";
        self.within(key, form, range, show_size, |scalar| size(&scalar.text).map(Some))
    }

    /// A time within `range`: `200ms`, `30s`, `5m`, `1h`.
    pub fn duration(&mut self, key: &'static str, range: RangeInclusive<Duration>) -> Reading<'_, Duration> {
        let form = "a time such as `200ms`, `30s`, `5m` or `1h`";
        self.within(key, form, range, show_duration, |scalar| duration(&scalar.text).map(Some))
    }

    /// Texts in order.
    pub fn list_of_text(&mut self, key: &'static str) -> Reading<'_, Vec<&'a str>> {
        self.items(key, |item, path, problems| text_of(item, path, problems))
    }

    /// Texts in order, each one that `parse` makes something of; `form` says how such a text looks.
    pub fn list_of<T>(
        &mut self,
        key: &'static str,
        form: &str,
        parse: impl Fn(&'a str) -> Option<T>,
    ) -> Reading<'_, Vec<T>> {
        self.items(key, |item, path, problems| {
            let parsed = parse(text_of(item, path.clone(), problems)?);
            if parsed.is_none() {
                problems.add(path, item.mark, expected(form, item));
            }
            parsed
        })
    }

    /// Maps in order, each read by `read`.
    pub fn list<T>(&mut self, key: &'static str, mut read: impl FnMut(&mut Self) -> Option<T>) -> Reading<'_, Vec<T>> {
        self.items(key, |item, path, problems| Fields::read(item, path, problems, &mut read))
    }

    /// A map with keys of its own.
    pub fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> Option<T>) -> Reading<'_, T> {
        let found = match self.get(key) {
            Some(node) => Fields::read(node, self.path_of(key), self.problems, read).into(),
            None => Found::Nothing,
        };
        self.reading(key, found)
    }

    /// Every key of this map with its text: the keys are the user's own.
    pub fn all_texts(&mut self) -> Option<Vec<(&'a str, &'a str)>> {
        self.all(|name, node, path, problems| Some((name, text_of(node, path, problems)?)))
    }

    /// Every key of this map with its map, each read by `read`: the keys are the user's own.
    pub fn all_sections<T>(&mut self, mut read: impl FnMut(&'a str, &mut Self) -> Option<T>) -> Option<Vec<T>> {
        self.all(|name, node, path, problems| Fields::read(node, path, problems, |fields| read(name, fields)))
    }

    /// Where the map stands: `routes[2].to[0]`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The key of a map that has just one.
    #[must_use]
    pub fn only_key(&self) -> Option<&'a str> {
        match self.entries {
            [entry] => Some(&entry.key),
            _ => None,
        }
    }

    /// Refuses a key that the specification has and this version does not build; `what` it would be.
    pub fn not_built_yet(&mut self, key: &'static str, what: &str) {
        self.refuse_key(key, format!("not built yet: this version has no {what}"));
    }

    /// Accepts all keys that were not asked for: nothing is known of them.
    pub fn accept_unknown(&mut self) {
        self.open = true;
    }

    /// Collects a problem with the value of `key`.
    pub fn refuse_value(&self, key: &str, message: impl Into<String>) {
        let mark = self.entry(key).map_or(self.mark, |entry| entry.node.mark);
        self.problems.add(self.path_of(key), mark, message);
    }

    /// Collects a problem with `key` itself, if it is there.
    pub fn refuse_key(&self, key: &str, message: impl Into<String>) {
        if let Some(entry) = self.entry(key) {
            self.problems.add(self.path_of(key), entry.mark, message);
        }
    }

    /// Collects a problem with the whole map.
    pub fn refuse(&self, message: impl Into<String>) {
        self.problems.add(&*self.path, self.mark, message);
    }

    fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) }
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        self.entry(key).map(|entry| &entry.node).filter(|node| !node.is_null())
    }

    fn reading<T>(&self, key: &'static str, found: Found<T>) -> Reading<'_, T> {
        Reading { fields: self, key, found }
    }

    fn scalar<T>(
        &mut self,
        key: &'static str,
        form: &str,
        read: impl FnOnce(&'a Scalar) -> Option<T>,
    ) -> Reading<'_, T> {
        let Some(node) = self.get(key) else { return self.reading(key, Found::Nothing) };
        let value = match &node.value {
            Value::Scalar(scalar) => read(scalar),
            Value::List(_) | Value::Map(_) => None,
        };
        if value.is_none() {
            self.refuse_value(key, expected(form, node));
        }
        self.reading(key, value.into())
    }

    /// `read` gives `Some(None)` for what has the right form and cannot be in `range`.
    fn within<T: PartialOrd>(
        &mut self,
        key: &'static str,
        form: &str,
        range: RangeInclusive<T>,
        show: impl Fn(&T) -> String,
        read: impl FnOnce(&'a Scalar) -> Option<Option<T>>,
    ) -> Reading<'_, T> {
        let found = match self.scalar(key, form, read).found {
            Found::Value(value) => value.filter(|value| range.contains(value)).into(),
            Found::Nothing => Found::Nothing,
            Found::Wrong => Found::Wrong,
        };
        if let (Found::Wrong, Some(entry)) = (&found, self.entry(key)) {
            let (least, most) = (show(range.start()), show(range.end()));
            self.refuse_value(key, expected(&format!("from {least} to {most}"), &entry.node));
        }
        self.reading(key, found)
    }

    fn items<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&'a Node, String, &'a Problems) -> Option<T>,
    ) -> Reading<'_, Vec<T>> {
        let found = match self.get(key) {
            None => Found::Nothing,
            Some(Node { value: Value::List(items), .. }) => {
                let path = self.path_of(key);
                let read = |(index, item)| read(item, format!("{path}[{index}]"), self.problems);
                every(items.iter().enumerate().map(read)).into()
            }
            Some(node) => {
                self.refuse_value(key, expected("a list", node));
                Found::Wrong
            }
        };
        self.reading(key, found)
    }

    fn all<T>(&mut self, mut read: impl FnMut(&'a str, &'a Node, String, &'a Problems) -> Option<T>) -> Option<Vec<T>> {
        self.open = true;
        every(self.entries.iter().map(|entry| read(&entry.key, &entry.node, self.path_of(&entry.key), self.problems)))
    }

    fn refuse_unknown(&self) {
        let unknown = |entry: &&Entry| !self.open && !self.known.contains(&&*entry.key);
        for Entry { key, .. } in self.entries.iter().filter(unknown) {
            if let Some(meant) = nearest(key, &self.known) {
                self.problems.withdraw(&self.path_of(meant), MISSING);
            }
            self.refuse_key(key, format!("unknown key: {}", suggestion(key, &self.known)));
        }
    }
}

impl<T> Reading<'_, T> {
    /// The value, or `default` where there is none; `None` after a problem.
    #[must_use]
    pub fn or(self, default: T) -> Option<T> {
        match self.found {
            Found::Value(value) => Some(value),
            Found::Nothing => Some(default),
            Found::Wrong => None,
        }
    }

    /// The value; that there is none is a problem. `None` after a problem.
    #[must_use]
    pub fn required(self) -> Option<T> {
        if let Found::Nothing = self.found {
            self.fields.refuse_value(self.key, MISSING);
        }
        self.optional()
    }

    /// The value, if there is one; `None` also after a problem.
    #[must_use]
    pub fn optional(self) -> Option<T> {
        match self.found {
            Found::Value(value) => Some(value),
            Found::Nothing | Found::Wrong => None,
        }
    }
}

impl<T> From<Option<T>> for Found<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Wrong, Self::Value)
    }
}

fn text_of<'a>(node: &'a Node, path: String, problems: &Problems) -> Option<&'a str> {
    match &node.value {
        Value::Scalar(scalar) if !node.is_null() => Some(&scalar.text),
        _ => {
            problems.add(path, node.mark, expected("text", node));
            None
        }
    }
}

/// All of them, or none if one is none; all are asked for in any case.
fn every<T>(values: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let values: Vec<_> = values.collect();
    values.into_iter().collect()
}

fn expected(form: &str, found: &Node) -> String {
    format!("expected {form}, found {}", found.described())
}
