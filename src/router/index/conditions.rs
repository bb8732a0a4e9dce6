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
    pub(super) asked: Asked,
    pub(super) text: &'a str,
}

/// What is asked of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Asked {
    /// This piece of it.
    Piece(Cut),
    /// Whether it is missing. The text is empty then.
    Absence,
}

/// All of them hold.
pub(super) type Conditions<'a> = Vec<Condition<'a>>;

/// Attributes that every event has.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

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
        all.into_iter().partition(|each| each.asked == Asked::Piece(Cut::Whole));
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

/// On what one of the comparisons errs that are looked up: its attribute is missing, and what is asked before it holds.
pub(super) fn errors(filters: &[Filter]) -> Vec<Conditions<'_>> {
    let mut errors = Vec::new();
    add_errors(filters, &mut Conditions::new(), &mut errors);
    errors
}

/// `held` is what holds where these filters are asked, and afterwards where the next are.
fn add_errors<'a>(filters: &'a [Filter], held: &mut Conditions<'a>, errors: &mut Vec<Conditions<'a>>) {
    for filter in filters {
        match filter {
            Filter::Attributes(by, pairs) => held.extend(pairs.iter().map(|pair| Condition::new(*by, pair))),
            Filter::Sql(expression) => {
                for (attribute, fact) in expression.facts() {
                    if !REQUIRED.contains(&attribute) {
                        let absence = Condition { attribute, asked: Asked::Absence, text: "" };
                        errors.push([&[absence], &held[..]].concat());
                    }
                    held.push(Condition::of((attribute, fact)));
                }
            }
            Filter::All(more) => add_errors(more, held, errors),
            Filter::Any(any) => any.iter().for_each(|filter| {
                add_errors(std::slice::from_ref(filter), &mut held.clone(), errors);
            }),
            Filter::Not(_) => {}
        }
    }
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
        Self { attribute, asked: Asked::Piece(cut), text }
    }

    fn of((attribute, fact): (&'a str, Fact<'a>)) -> Self {
        let (cut, text) = match fact {
            Fact::Is(text) => (Cut::Whole, text),
            Fact::BeginsWith(text) => (Cut::First(text.len()), text),
        };
        Self { attribute, asked: Asked::Piece(cut), text }
    }
}
