//! What is wrong with a configuration, and where.

use std::{cell::RefCell, collections::HashSet, fmt};

use super::Mark;

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
        write!(f, "{}: {}: {}", self.mark, self.path, self.message)
    }
}

/// All problems of one configuration. A path has at most one: the first is the cause of those that would follow.
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
        let mut path = path.into();
        if path.is_empty() {
            path.push('.');
        }
        let mut collected = self.0.borrow_mut();
        if collected.paths.insert(path.clone()) {
            collected.problems.push(Problem { path, mark, message: message.into() });
        }
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
