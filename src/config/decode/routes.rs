//! One entry of `routes` → [`RouteSpec`].
//!
//! An entry with problems keeps its place, with nothing where a value was refused: so the router can judge the others.

use meshgate_api::{
    connector::{ContentMode, Options, Order},
    settings::Fields,
};

use crate::router::spec::{DestinationSpec, FilterSpec, RouteSpec};

/// Reads what a destination of the connector of this name says to it alone.
pub(super) type ReadOptions<'a> = dyn Fn(&str, &mut Fields<'_>) -> Option<Options> + 'a;

pub(super) fn route(fields: &mut Fields<'_>, options: &ReadOptions<'_>) -> Option<RouteSpec> {
    let name = fields.text("name").optional();
    let channel = fields.text("channel").required();
    Some(RouteSpec {
        name: name.or(channel).unwrap_or(fields.path()).to_owned(),
        channel: channel.unwrap_or_default().to_owned(),
        filters: fields.list("filters", filter).optional().unwrap_or_default(),
        wrap: fields.section("wrap", attributes).optional().unwrap_or_default(),
        to: fields.list("to", |fields| destination(fields, options)).required().unwrap_or_default(),
        tap: fields.boolean("continue").optional().unwrap_or(false),
    })
}

fn destination(fields: &mut Fields<'_>, options: &ReadOptions<'_>) -> Option<DestinationSpec> {
    let modes = [("binary", ContentMode::Binary), ("structured", ContentMode::Structured), ("raw", ContentMode::Raw)];
    let connector = fields.text("connector").required().unwrap_or_default();
    Some(DestinationSpec {
        connector: connector.to_owned(),
        topic: fields.text("topic").required().unwrap_or_default().to_owned(),
        key: fields.text("key").optional().map(str::to_owned),
        mode: fields.choice("mode", &modes).optional().unwrap_or_default(),
        order: fields.choice("order", &[("none", Order::Free)]).optional().unwrap_or_default(),
        required: fields.boolean("required").optional(),
        read: fields.boolean("read").optional().unwrap_or(false),
        options: options(connector, fields),
    })
}

const DIALECTS: &str = "`exact`, `prefix`, `suffix`, `sql`, `all`, `any`, `not`";

pub(super) fn filter(fields: &mut Fields<'_>) -> Option<FilterSpec> {
    match fields.only_key() {
        Some("exact") => fields.section("exact", attributes).required().map(FilterSpec::Exact),
        Some("prefix") => fields.section("prefix", attributes).required().map(FilterSpec::Prefix),
        Some("suffix") => fields.section("suffix", attributes).required().map(FilterSpec::Suffix),
        Some("sql") => fields.text("sql").required().map(|text| FilterSpec::Sql(text.to_owned())),
        Some("all") => fields.list("all", filter).required().map(FilterSpec::All),
        Some("any") => fields.list("any", filter).required().map(FilterSpec::Any),
        Some("not") => fields.section("not", filter).required().map(|filter| FilterSpec::Not(Box::new(filter))),
        other => {
            let problem = match other {
                Some(unknown) => format!("`{unknown}` is no filter dialect: use {DIALECTS}"),
                None => format!("expected just one of {DIALECTS}; several go into `all`"),
            };
            fields.refuse(problem);
            fields.accept_unknown();
            None
        }
    }
}

/// Attribute names, each with a text.
fn attributes(fields: &mut Fields<'_>) -> Option<Vec<(String, String)>> {
    let attributes = fields.all_texts()?;
    Some(attributes.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

#[cfg(test)]
mod tests;
