//! Why a filter does not let an event through, for a person.

use std::fmt::{self, Display, Formatter};

use meshgate_api::{Str, event::Event};

use super::{Comparison, Filter};

impl Filter {
    /// Why it does not hold; `None`: it does.
    pub(in crate::router) fn refusal(&self, event: &Event) -> Option<String> {
        match self {
            Self::Attributes(by, pairs) => pairs.iter().find_map(|pair| by.refusal(pair, event)),
            Self::Sql(expression) => match expression.holds(event) {
                Ok(true) => None,
                Ok(false) => Some(format!("`{expression}` is false")),
                Err(error) => Some(format!("`{expression}` errs: {error}")),
            },
            Self::All(filters) => filters.iter().find_map(|filter| filter.refusal(event)),
            Self::Any(filters) => {
                let refusals: Vec<_> = filters.iter().map(|filter| filter.refusal(event)).collect::<Option<_>>()?;
                Some(refusals.join("; and "))
            }
            Self::Not(filter) => filter.holds(event).then(|| format!("{filter} holds")),
        }
    }
}

impl Comparison {
    fn refusal(self, (name, wanted): &(Str, Str), event: &Event) -> Option<String> {
        let Some(value) = event.attribute(name) else {
            return Some(format!("the event has no {name} ({}: {wanted:?})", self.dialect()));
        };
        let differs = match self {
            Self::Exact => "is not",
            Self::Prefix => "does not begin with",
            Self::Suffix => "does not end with",
        };
        (!self.holds(&value, wanted)).then(|| format!("{name} {value:?} {differs} {wanted:?}"))
    }
}

/// As YAML writes it on one line.
impl Display for Filter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let list = |filters: &[Self]| filters.iter().map(Self::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Attributes(by, pairs) => {
                let pairs: Vec<_> = pairs.iter().map(|(name, wanted)| format!("{name}: {wanted:?}")).collect();
                write!(f, "{{{}: {{{}}}}}", by.dialect(), pairs.join(", "))
            }
            Self::Sql(expression) => write!(f, "{{sql: {:?}}}", expression.to_string()),
            Self::All(filters) => write!(f, "{{all: [{}]}}", list(filters)),
            Self::Any(filters) => write!(f, "{{any: [{}]}}", list(filters)),
            Self::Not(filter) => write!(f, "{{not: {filter}}}"),
        }
    }
}
