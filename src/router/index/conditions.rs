//! What filters ask for that can be looked up.

use meshgate_api::Str;

use super::cut::Cut;
use crate::{
    cesql::Fact,
    router::filter::{Comparison, Filter},
};

/// A piece of an attribute has this text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Condition<'a> {
    pub(super) attribute: &'a str,
    pub(super) cut: Cut,
    pub(super) text: &'a str,
}

/// All of them hold; by attribute, one of each.
pub(super) type Conditions<'a> = Vec<Condition<'a>>;

/// What passes all the filters meets at least one of these.
///
/// Where attributes must have a value, those that must; else what an `any` lets through, if all of it can be looked up; else the
/// longest beginning or end that one must have, so that few different questions are asked; else nothing, which everything meets.
pub(super) fn alternatives(filters: &[Filter]) -> Vec<Conditions<'_>> {
    let (mut all, mut choices) = (Conditions::new(), Vec::new());
    let mut filters: Vec<&Filter> = filters.iter().collect();
    while let Some(filter) = filters.pop() {
        match filter {
            Filter::Attributes(by, pairs) => all.extend(pairs.iter().map(|pair| Condition::new(*by, pair))),
            Filter::Sql(expression) => all.extend(expression.facts().into_iter().map(Condition::of)),
            Filter::All(more) => filters.extend(more),
            Filter::Any(any) => choices.push(any),
            Filter::Not(_) => {}
        }
    }
    let (mut exact, partial): (Conditions<'_>, Conditions<'_>) =
        all.into_iter().partition(|each| each.cut == Cut::Whole);
    if !exact.is_empty() {
        exact.sort_by_key(|condition| condition.attribute);
        exact.dedup_by_key(|condition| condition.attribute);
        return vec![exact];
    }
    if let Some(choice) = choices.into_iter().find_map(|any| choice(any)) {
        return choice;
    }
    vec![partial.into_iter().max_by_key(|condition| condition.text.len()).into_iter().collect()]
}

fn choice(any: &[Filter]) -> Option<Vec<Conditions<'_>>> {
    let each: Vec<_> = any.iter().flat_map(|filter| alternatives(std::slice::from_ref(filter))).collect();
    each.iter().all(|conditions| !conditions.is_empty()).then_some(each)
}

impl<'a> Condition<'a> {
    fn new(by: Comparison, (attribute, text): &'a (Str, Str)) -> Self {
        let cut = match by {
            Comparison::Exact => Cut::Whole,
            Comparison::Prefix => Cut::First(text.len()),
            Comparison::Suffix => Cut::Last(text.len()),
        };
        Self { attribute, cut, text }
    }

    fn of((attribute, fact): (&'a str, Fact<'a>)) -> Self {
        match fact {
            Fact::Is(text) => Self { attribute, cut: Cut::Whole, text },
            Fact::BeginsWith(text) => Self { attribute, cut: Cut::First(text.len()), text },
        }
    }
}
