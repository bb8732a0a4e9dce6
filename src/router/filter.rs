//! Which events a route takes, besides their channel: filter expressions over context attributes.
//!
//! The simple dialects compare attributes in their canonical text; `sql` is CloudEvents SQL, where they have their types.

use meshgate_api::{
    Str,
    event::{Event, check_attribute_name},
};

use super::spec::FilterSpec;
use crate::cesql::{self, Expression, Type};

mod refusal;

/// A filter expression. An attribute that the event does not have fits nothing.
#[derive(Clone, Debug)]
pub enum Filter {
    /// Every attribute compares so with its text.
    Attributes(Comparison, Vec<(Str, Str)>),
    /// CloudEvents SQL. Where it errs, it does not hold.
    Sql(Box<Expression>),
    /// All hold.
    All(Vec<Filter>),
    /// At least one holds.
    Any(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
}

/// How an attribute compares with a text.
#[derive(Clone, Copy, Debug)]
pub enum Comparison {
    /// It is the text.
    Exact,
    /// It begins with the text.
    Prefix,
    /// It ends with the text.
    Suffix,
}

impl Filter {
    /// A filter in CloudEvents SQL.
    ///
    /// # Errors
    ///
    /// What is wrong with the text, with its column: syntax, a function that does not exist, or a value that is never a Boolean.
    pub fn sql(text: &str) -> Result<Self, String> {
        let expression = Expression::compile(text)
            .map_err(|error| format!("column {} of the expression: {}", error.column, error.message))?;
        match expression.returns() {
            None | Some(Type::Boolean) => Ok(Self::Sql(Box::new(expression))),
            Some(other) => Err(cesql::Error::NotBoolean(other).to_string()),
        }
    }

    /// Reads expressions that all must hold. `problem` takes each thing that is wrong: where in the list (`[1].any[0].prefix`), and what.
    pub fn list_of(specs: &[FilterSpec], problem: &mut dyn FnMut(String, String)) -> Vec<Self> {
        let compile = |(at, spec)| Self::compile(spec, &mut |path, message| problem(format!("[{at}]{path}"), message));
        specs.iter().enumerate().map(compile).collect()
    }

    /// Reads an expression. `problem` takes each thing that is wrong: where below this expression (`.any[0].prefix`), and what.
    pub(super) fn compile(spec: &FilterSpec, problem: &mut dyn FnMut(String, String)) -> Self {
        match spec {
            FilterSpec::Exact(pairs) => Self::attributes(Comparison::Exact, pairs, problem),
            FilterSpec::Prefix(pairs) => Self::attributes(Comparison::Prefix, pairs, problem),
            FilterSpec::Suffix(pairs) => Self::attributes(Comparison::Suffix, pairs, problem),
            FilterSpec::Sql(text) => Self::sql(text).unwrap_or_else(|message| {
                problem(".sql".to_owned(), message);
                Self::Any(Vec::new())
            }),
            FilterSpec::All(specs) => Self::All(Self::list("all", specs, problem)),
            FilterSpec::Any(specs) => Self::Any(Self::list("any", specs, problem)),
            FilterSpec::Not(spec) => {
                Self::Not(Box::new(Self::compile(spec, &mut |path, message| problem(format!(".not{path}"), message))))
            }
        }
    }

    fn list(name: &str, specs: &[FilterSpec], problem: &mut dyn FnMut(String, String)) -> Vec<Self> {
        if specs.is_empty() {
            problem(format!(".{name}"), "needs at least one expression".to_owned());
        }
        let compile =
            |(at, spec)| Self::compile(spec, &mut |path, message| problem(format!(".{name}[{at}]{path}"), message));
        specs.iter().enumerate().map(compile).collect()
    }

    fn attributes(by: Comparison, pairs: &[(String, String)], problem: &mut dyn FnMut(String, String)) -> Self {
        let dialect = by.dialect();
        if pairs.is_empty() {
            problem(format!(".{dialect}"), "needs at least one attribute".to_owned());
        }
        for (name, value) in pairs {
            if let Err(error) = check_attribute_name(name) {
                problem(format!(".{dialect}.{name}"), error.to_string());
            }
            if value.is_empty() {
                problem(format!(".{dialect}.{name}"), "must not be empty".to_owned());
            }
        }
        Self::Attributes(by, pairs.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect())
    }

    /// Whether it lets an event through.
    #[must_use]
    pub fn holds(&self, event: &Event) -> bool {
        self.judge(event, &mut |_| ())
    }

    /// Whether it lets an event through; `erred` takes the error of every `sql` in it that was asked and erred.
    pub fn judge(&self, event: &Event, erred: &mut dyn FnMut(cesql::Error<'_>)) -> bool {
        match self {
            Self::Attributes(by, pairs) => {
                pairs.iter().all(|(name, wanted)| event.attribute(name).is_some_and(|value| by.holds(&value, wanted)))
            }
            Self::Sql(expression) => expression.holds(event).unwrap_or_else(|error| {
                erred(error);
                false
            }),
            Self::All(filters) => filters.iter().all(|filter| filter.judge(event, erred)),
            Self::Any(filters) => filters.iter().any(|filter| filter.judge(event, erred)),
            Self::Not(filter) => !filter.judge(event, erred),
        }
    }
}

impl Comparison {
    fn dialect(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Prefix => "prefix",
            Self::Suffix => "suffix",
        }
    }

    fn holds(self, value: &str, wanted: &str) -> bool {
        match self {
            Self::Exact => value == wanted,
            Self::Prefix => value.starts_with(wanted),
            Self::Suffix => value.ends_with(wanted),
        }
    }
}

#[cfg(test)]
mod tests;
