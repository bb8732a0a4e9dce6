//! Patterns by their levels. What stands for a pattern is its leaf.

use foldhash::HashMap;
use meshgate_api::Str;
use smallvec::SmallVec;

use crate::router::shape::{Level, Shape};

#[derive(Debug)]
pub(super) struct Tree<T> {
    /// The first is the root.
    nodes: Vec<Node<T>>,
}

#[derive(Debug)]
struct Node<T> {
    literals: HashMap<Str, usize>,
    any: Option<usize>,
    /// Of the pattern that ends here.
    closed: Option<Box<T>>,
    /// Of the pattern that ends here with `#`.
    open: Option<Box<T>>,
}

pub(super) type Leaves<'t, T> = SmallVec<[&'t T; 4]>;

/// Where levels lead: mostly to one node that literals lead to and one that wildcards do.
type Places = SmallVec<[usize; 4]>;

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literals: HashMap::default(), any: None, closed: None, open: None }
    }
}

impl<T: Default> Tree<T> {
    /// The leaf of a pattern, made where it is new.
    pub(super) fn leaf(&mut self, pattern: &Shape) -> &mut T {
        let mut at = 0;
        for level in pattern.levels() {
            let fresh = self.nodes.len();
            let node = &mut self.nodes[at];
            at = match level {
                Level::Literal(text) => *node.literals.entry(text.clone()).or_insert(fresh),
                Level::Any => *node.any.get_or_insert(fresh),
            };
            if at == fresh {
                self.nodes.push(Node::default());
            }
        }
        let node = &mut self.nodes[at];
        let leaf = if pattern.is_open() { &mut node.open } else { &mut node.closed };
        leaf.get_or_insert_default()
    }
}

impl<T> Tree<T> {
    /// The patterns that match a channel.
    pub(super) fn matching(&self, channel: &str) -> Leaves<'_, T> {
        let (mut leaves, ends) = self.walk(channel.split('/').map(Some), false);
        leaves.extend(self.closed(&ends));
        leaves
    }

    /// The patterns that match every channel of a pattern.
    pub(super) fn covering(&self, pattern: &Shape) -> Leaves<'_, T> {
        // `#` is `+/#`: a channel has at least one level
        let levels = if pattern.levels().is_empty() { &[Level::Any] } else { pattern.levels() };
        let (mut leaves, ends) = self.walk(levels.iter().map(Level::literal), false);
        if !pattern.is_open() {
            leaves.extend(self.closed(&ends));
        }
        leaves
    }

    /// The patterns that have channels in common with a filter.
    pub(super) fn meeting(&self, filter: &Shape) -> Leaves<'_, T> {
        let (mut leaves, mut ends) = self.walk(filter.levels().iter().map(Level::literal), true);
        leaves.extend(self.closed(&ends));
        while filter.is_open()
            && let Some(end) = ends.pop()
        {
            let node = &self.nodes[end];
            let below = node.literals.values().copied().chain(node.any);
            for child in below {
                leaves.extend(self.nodes[child].open.as_deref());
                leaves.extend(self.nodes[child].closed.as_deref());
                ends.push(child);
            }
        }
        leaves
    }

    /// Down the tree: the open leaves on the way, and where it ends. A level that is no text leads to `+`, and where
    /// `any_is_each`, to each literal, too.
    fn walk<'l>(&self, levels: impl Iterator<Item = Option<&'l str>>, any_is_each: bool) -> (Leaves<'_, T>, Places) {
        let mut leaves: Leaves<'_, T> = self.nodes[0].open.as_deref().into_iter().collect();
        let mut places = Places::from_elem(0, 1);
        for level in levels {
            let mut next = Places::new();
            for &place in &places {
                let node = &self.nodes[place];
                next.extend(node.any);
                match level {
                    Some(text) => next.extend(node.literals.get(text).copied()),
                    None if any_is_each => next.extend(node.literals.values().copied()),
                    None => {}
                }
            }
            leaves.extend(next.iter().filter_map(|&place| self.nodes[place].open.as_deref()));
            places = next;
        }
        (leaves, places)
    }

    fn closed(&self, places: &[usize]) -> impl Iterator<Item = &T> {
        places.iter().filter_map(|&place| self.nodes[place].closed.as_deref())
    }
}
