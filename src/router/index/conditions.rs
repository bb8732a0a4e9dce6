//! What filters ask for that can be looked up.

use meshgate_api::Str;

use super::cut::Cut;
use crate::router::filter::{Comparison, Filter};

/// A piece of an attribute has this text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Condition<'a> {
    pub(super) attribute: &'a Str,
    pub(super) cut: Cut,
    pub(super) text: &'a Str,
}

/// All of them hold; by attribute, one of each.
pub(super) type Conditions<'a> = Vec<Condition<'a>>;

/// What passes all the filters meets at least one of these.
///
/// Where an `exact` must hold, those of them that must; else what an `any` lets through, if all of it can be looked up; else the
/// longest `prefix` or `suffix`, so that few different questions are asked; else nothing, which everything meets.
pub(super) fn alternatives(filters: &[Filter]) -> Vec<Conditions<'_>> {
    let (mut exact, mut partial, mut choices) = (Conditions::new(), Conditions::new(), Vec::new());
    let mut filters: Vec<&Filter> = filters.iter().collect();
    while let Some(filter) = filters.pop() {
        match filter {
            Filter::Attributes(by, pairs) => {
                let place = if let Comparison::Exact = by { &mut exact } else { &mut partial };
                place.extend(pairs.iter().map(|pair| condition(*by, pair)));
            }
            Filter::All(all) => filters.extend(all),
            Filter::Any(any) => choices.push(any),
            _ => {}
        }
    }
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

fn condition(by: Comparison, (attribute, text): &(Str, Str)) -> Condition<'_> {
    let cut = match by {
        Comparison::Exact => Cut::Whole,
        Comparison::Prefix => Cut::First(text.len()),
        Comparison::Suffix => Cut::Last(text.len()),
    };
    Condition { attribute, cut, text }
}
