//! What is wrong with a configuration, and where.

use std::{cell::RefCell, collections::HashSet, fmt};

use super::Mark;

/// The path of a problem with a whole configuration.
const WHOLE: &str = ".";

/// Something that must be changed in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the configuration: `routes[2].to[0].topic`; `.` is the whole.
    pub path: String,
    /// Where in the text.
    pub mark: Mark,
    /// What is wrong, and what to change.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path == WHOLE { "the file" } else { &self.path };
        if self.mark == Mark::NOWHERE {
            return write!(f, "{path}: {}", self.message);
        }
        write!(f, "{}: {path}: {}", self.mark, self.message)
    }
}

/// All problems of one configuration. What follows from a problem with a path is no second one.
#[derive(Debug, Default)]
pub struct Problems(RefCell<Collected>);

#[derive(Debug, Default)]
struct Collected {
    problems: Vec<Problem>,
    paths: HashSet<String>,
}

impl Problems {
    /// Adds a problem, unless the path has one already.
    pub fn add(&self, path: impl Into<String>, mark: Mark, message: impl Into<String>) {
        let path = whole(path.into());
        if !self.0.borrow().paths.contains(&path) {
            self.add_another(path, mark, message);
        }
    }

    /// Adds a problem, whether the path has one already or not.
    pub fn add_another(&self, path: impl Into<String>, mark: Mark, message: impl Into<String>) {
        let path = whole(path.into());
        let mut collected = self.0.borrow_mut();
        collected.paths.insert(path.clone());
        collected.problems.push(Problem { path, mark, message: message.into() });
    }

    /// Takes a problem back that another one explains. The path still counts as one that has a problem.
    pub(super) fn withdraw(&self, path: &str, message: &str) {
        let problems = &mut self.0.borrow_mut().problems;
        // It is among the last, as both are of one map.
        if let Some(at) = problems.iter().rposition(|problem| problem.path == path && problem.message == message) {
            problems.remove(at);
        }
    }

    /// Whether `path`, or anything below it, has a problem.
    #[must_use]
    pub fn has_within(&self, path: &str) -> bool {
        let below = |known: &String| {
            known.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.0.borrow().paths.iter().any(below)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.borrow().problems.is_empty()
    }

    /// All of them, in the order of the text.
    #[must_use]
    pub fn into_sorted(self) -> Vec<Problem> {
        let mut problems = self.0.into_inner().problems;
        problems.sort_by_key(|problem| problem.mark);
        problems
    }
}

fn whole(path: String) -> String {
    if path.is_empty() { WHOLE.into() } else { path }
}
