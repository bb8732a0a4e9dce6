//! A problem with the file that it is in.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use meshgate_api::settings::{Mark, Problem};

/// A problem of a configuration file: `file:line:column: path: message`; without a file to look into just `file: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Where in the file, and what.
    pub problem: Problem,
}

impl Issue {
    /// A problem of `file`.
    #[must_use]
    pub fn new(file: &Path, problem: Problem) -> Self {
        Self { file: file.into(), problem }
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        if self.problem.mark == Mark::NOWHERE {
            return write!(f, "{file}: {}", self.problem.message);
        }
        write!(f, "{file}:{}", self.problem)
    }
}
