//! YAML text → [`Node`]s: one document, no tags, text keys, each once. Aliases are copies; depth and total size are bounded, so
//! that no short text grows into a large tree.

use std::collections::HashMap;

use meshgate_api::settings::{Entry, Mark, Node, Problems, Scalar, Value};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

/// Levels of lists and maps within each other.
const DEEPEST: usize = 64;
/// Values of the whole tree, aliases resolved: 100,000 routes have some fourteen each.
const MOST_NODES: usize = 2_000_000;

/// Reads `text`. What breaks the tree ends the reading with one problem; keys given twice are all found.
pub(super) fn parse(text: &str, problems: &Problems) -> Option<Node> {
    let mut tree = Tree { problems, open: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None };
    let parsed = Parser::new_from_str(text).try_for_each(|event| {
        let (event, span) = event.map_err(|error| (mark(error.marker()), format!("invalid YAML: {}", error.info())))?;
        tree.take(event, mark(&span.start))
    });
    match (parsed, tree.root) {
        (Err((mark, message)), _) => problems.add(".", mark, message),
        (Ok(()), Some(root)) if !root.is_null() => return Some(root),
        (Ok(()), _) => problems.add(".", Mark::START, "is empty: it needs at least `connectors` and `routes`"),
    }
    None
}

struct Tree<'p> {
    problems: &'p Problems,
    /// The lists and maps that are not closed yet, the outermost first.
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    root: Option<Node>,
}

/// A list or map that is not closed yet.
struct Open {
    mark: Mark,
    anchor: usize,
    /// [`Tree::nodes`] before it.
    nodes_before: usize,
    children: Children,
}

enum Children {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, places: HashMap<String, Mark>, key: Option<(String, Mark)> },
}

#[derive(Clone)]
struct Anchored {
    node: Node,
    size: usize,
}

/// Where and why the tree is broken.
type Broken = (Mark, String);

impl Tree<'_> {
    fn take(&mut self, event: Event<'_>, mark: Mark) -> Result<(), Broken> {
        match event {
            Event::Scalar(_, _, _, Some(_)) | Event::SequenceStart(_, Some(_)) | Event::MappingStart(_, Some(_)) => {
                Err((mark, "tags such as `!!str` are not supported: write a text in quotes".into()))
            }
            Event::Scalar(text, style, anchor, None) => {
                let plain = style == ScalarStyle::Plain;
                let scalar = Scalar { text: text.into_owned(), plain, template: None };
                self.count(1, mark)?;
                self.add(Node { value: Value::Scalar(scalar), mark }, anchor, 1)
            }
            Event::SequenceStart(anchor, None) => self.open(anchor, mark, Children::List(Vec::new())),
            Event::MappingStart(anchor, None) => {
                self.open(anchor, mark, Children::Map { entries: Vec::new(), places: HashMap::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => {
                let anchored = self.anchors.get(&anchor).cloned();
                let Anchored { node, size } =
                    anchored.ok_or((mark, "an alias cannot stand within its own anchor".into()))?;
                self.count(size, mark)?;
                self.add(node, 0, size)
            }
            Event::DocumentStart(_) if self.root.is_some() => {
                Err((mark, "only one YAML document is read: take out `---` and what follows".into()))
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    fn count(&mut self, nodes: usize, mark: Mark) -> Result<(), Broken> {
        self.nodes += nodes;
        if self.nodes > MOST_NODES {
            return Err((mark, format!("has more than {MOST_NODES} values, aliases resolved")));
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, mark: Mark, children: Children) -> Result<(), Broken> {
        if self.open.len() == DEEPEST {
            return Err((mark, format!("lists and maps are nested more than {DEEPEST} deep")));
        }
        self.open.push(Open { mark, anchor, nodes_before: self.nodes, children });
        self.count(1, mark)
    }

    fn close(&mut self) -> Result<(), Broken> {
        let Some(Open { mark, anchor, nodes_before, children }) = self.open.pop() else { return Ok(()) };
        let value = match children {
            Children::List(items) => Value::List(items),
            Children::Map { entries, .. } => Value::Map(entries),
        };
        self.add(Node { value, mark }, anchor, self.nodes - nodes_before)
    }

    /// Puts a whole node where it belongs.
    fn add(&mut self, node: Node, anchor: usize, size: usize) -> Result<(), Broken> {
        // The parser numbers anchors from 1.
        if anchor > 0 {
            self.anchors.insert(anchor, Anchored { node: node.clone(), size });
        }
        match self.open.last_mut().map(|open| &mut open.children) {
            None => self.root = Some(node),
            Some(Children::List(items)) => items.push(node),
            Some(Children::Map { key: key @ None, .. }) => match node.value {
                Value::Scalar(Scalar { text, .. }) => *key = Some((text, node.mark)),
                Value::List(_) | Value::Map(_) => return Err((node.mark, "a key must be a text".into())),
            },
            Some(Children::Map { entries, places, key: key @ Some(_) }) => {
                let Some((key, mark)) = key.take() else { return Ok(()) };
                match places.get(&key) {
                    Some(first) => {
                        let message = format!("the key is given twice: first in line {}", first.line);
                        self.problems.add(self.path_of(&key), mark, message);
                    }
                    None => {
                        places.insert(key.clone(), mark);
                        entries.push(Entry { key, mark, node });
                    }
                }
            }
        }
        Ok(())
    }

    /// The path of `key` in the innermost map.
    fn path_of(&self, key: &str) -> String {
        let mut path = String::new();
        for open in &self.open {
            match &open.children {
                Children::List(items) => path += &format!("[{}]", items.len()),
                Children::Map { key: Some((key, _)), .. } => path = joined(path, key),
                Children::Map { key: None, .. } => {}
            }
        }
        joined(path, key)
    }
}

fn joined(path: String, key: &str) -> String {
    if path.is_empty() { key.into() } else { path + "." + key }
}

fn mark(marker: &Marker) -> Mark {
    Mark { line: marker.line(), column: marker.col() + 1 }
}
