//! Which events a route takes, besides their channel: filter expressions over context attributes in their canonical text.

use meshgate_api::{
    Str,
    event::{Event, check_attribute_name},
};

use super::spec::FilterSpec;

mod refusal;

/// A filter expression. An attribute that the event does not have fits nothing.
#[derive(Clone, Debug)]
pub(super) enum Filter {
    Attributes(Comparison, Vec<(Str, Str)>),
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Comparison {
    Exact,
    Prefix,
    Suffix,
}

impl Filter {
    /// Reads an expression. `problem` takes each thing that is wrong: where below this expression (`.any[0].prefix`), and what.
    pub(super) fn compile(spec: &FilterSpec, problem: &mut dyn FnMut(String, String)) -> Self {
        match spec {
            FilterSpec::Exact(pairs) => Self::attributes(Comparison::Exact, pairs, problem),
            FilterSpec::Prefix(pairs) => Self::attributes(Comparison::Prefix, pairs, problem),
            FilterSpec::Suffix(pairs) => Self::attributes(Comparison::Suffix, pairs, problem),
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
    pub(super) fn holds(&self, event: &Event) -> bool {
        match self {
            Self::Attributes(by, pairs) => {
                pairs.iter().all(|(name, wanted)| event.attribute(name).is_some_and(|value| by.holds(&value, wanted)))
            }
            Self::All(filters) => filters.iter().all(|filter| filter.holds(event)),
            Self::Any(filters) => filters.iter().any(|filter| filter.holds(event)),
            Self::Not(filter) => !filter.holds(event),
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
