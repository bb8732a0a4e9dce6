//! Which topics a reader wants, and what a broker lets a topic be called.

use std::{borrow::Cow, fmt};

use crate::Str;

/// Turns a rendered topic into a name that the broker takes, or says why it never can (too long, empty, a forbidden character).
pub type TopicNaming = for<'a> fn(&'a str) -> Result<Cow<'a, str>, String>;

/// The topics that one reader wants: some by name, some by pattern. Topics that appear later are joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicSet {
    /// These, whether they exist yet or not.
    pub names: Vec<Str>,
    /// All that fit one of these and do not begin with `__`.
    pub patterns: Vec<TopicPattern>,
}

impl TopicSet {
    /// One topic by its name.
    pub fn one(name: impl Into<Str>) -> Self {
        Self { names: vec![name.into()], patterns: Vec::new() }
    }

    /// Whether `topic` is wanted.
    #[must_use]
    pub fn contains(&self, topic: &str) -> bool {
        self.names.iter().any(|name| name == topic)
            || (!topic.starts_with("__") && self.patterns.iter().any(|pattern| pattern.matches(topic)))
    }
}

/// What the readers of a connector want, and how many of them want the same.
#[derive(Debug, Default)]
pub struct Interests(Vec<(TopicSet, usize)>);

impl Interests {
    /// One more wants this.
    pub fn add(&mut self, topics: &TopicSet) {
        match self.0.iter_mut().find(|(known, _)| known == topics) {
            Some((_, readers)) => *readers += 1,
            None => self.0.push((topics.clone(), 1)),
        }
    }

    /// One of them does not any more.
    pub fn remove(&mut self, topics: &TopicSet) {
        if let Some(at) = self.0.iter().position(|(known, _)| known == topics) {
            self.0[at].1 -= 1;
            if self.0[at].1 == 0 {
                self.0.swap_remove(at);
            }
        }
    }

    /// Whether somebody wants `topic`.
    #[must_use]
    pub fn contain(&self, topic: &str) -> bool {
        self.0.iter().any(|(topics, _)| topics.contains(topic))
    }

    /// Everything that is wanted, some of it perhaps twice.
    #[must_use]
    pub fn all(&self) -> TopicSet {
        let mut all = TopicSet::default();
        for (topics, _) in &self.0 {
            all.names.extend_from_slice(&topics.names);
            all.patterns.extend_from_slice(&topics.patterns);
        }
        all
    }
}

/// A topic template with its placeholders as holes, each of which any text fits, the empty one too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicPattern {
    /// What is before the first hole, between holes, and after the last: at least two.
    literals: Vec<Str>,
    /// A topic that does not fit, whatever it is called.
    except: Option<Str>,
}

impl TopicPattern {
    /// The texts around the holes, in order: `["orders.", ""]` is `orders.` and then anything. `None` without a hole.
    #[must_use]
    pub fn new(literals: Vec<Str>) -> Option<Self> {
        (literals.len() >= 2).then_some(Self { literals, except: None })
    }

    /// The same, without this topic.
    #[must_use]
    pub fn without(self, topic: Str) -> Self {
        Self { except: Some(topic), ..self }
    }

    /// What all topics that fit begin with.
    #[must_use]
    pub fn beginning(&self) -> &str {
        self.literals.first().map_or("", |first| first)
    }

    /// Whether `topic` fits.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        let [first, middle @ .., last] = &self.literals[..] else { return false };
        let Some(mut rest) = topic.strip_prefix(&**first) else { return false };
        for literal in middle {
            match rest.find(&**literal) {
                Some(at) => rest = &rest[at + literal.len()..],
                None => return false,
            }
        }
        rest.ends_with(&**last) && self.except.as_deref() != Some(topic)
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.literals.join("*"))
    }
}
