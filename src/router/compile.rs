//! From the configured routes to compiled ones, collecting every problem on the way.

use std::{borrow::Cow, collections::HashSet};

use meshgate_api::{
    Str,
    event::{Event, check_attribute_name},
};

use super::{
    Problem,
    filter::Filter,
    index::Index,
    mould::Mould,
    pattern::Pattern,
    route::{Destination, Key, Route},
    spec::{ConnectorSpec, DestinationSpec, RouteSpec},
    template::Template,
    topic::Topic,
};

pub(super) fn routes(specs: &[RouteSpec], connectors: &[ConnectorSpec]) -> Result<Vec<Route>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut names = HashSet::new();
    let mut routes: Vec<Route> = Vec::with_capacity(specs.len());
    for (number, spec) in specs.iter().enumerate() {
        let mut compiling = Compiling { spec, connectors, path: format!("routes[{number}]"), problems: &mut problems };
        if !names.insert(&spec.name) {
            compiling.problem("name", format!("another route is called `{}`: names are unique", spec.name));
        }
        routes.extend(compiling.route());
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(routes)
}

/// Marks the routes that an earlier one takes wholly.
pub(super) fn cover(routes: &mut [Route], index: &Index) {
    for number in 0..routes.len() {
        let pattern = &routes[number].pattern;
        let mut earlier = index.covering(pattern.shape()).take_while(|earlier| *earlier < number);
        routes[number].covered = earlier.any(|at| routes[at].takes_all() && routes[at].pattern.covers(pattern));
    }
}

/// One route while it is compiled.
struct Compiling<'a> {
    spec: &'a RouteSpec,
    connectors: &'a [ConnectorSpec],
    path: String,
    problems: &'a mut Vec<Problem>,
}

impl Compiling<'_> {
    /// Anything may be missing in the route if there were problems.
    fn route(&mut self) -> Option<Route> {
        let spec = self.spec;
        if spec.name.is_empty() {
            self.problem("name", "a route needs a name".to_owned());
        }
        let pattern = match Pattern::parse(&spec.channel) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                self.problem("channel", error.to_string());
                None
            }
        };
        let filters = self.filters();
        let wrap = self.wrap(pattern.as_ref());
        let numbers = 0..spec.to.len();
        let destinations: Vec<_> = numbers.filter_map(|at| self.destination(at, pattern.as_ref())).collect();
        let read = self.read();
        Some(Route {
            name: spec.name.as_str().into(),
            pattern: pattern?,
            filters,
            wrap,
            destinations,
            tap: spec.tap,
            read,
            covered: false,
        })
    }

    fn filters(&mut self) -> Vec<Filter> {
        let specs = &self.spec.filters;
        Filter::list_of(specs, &mut |path, message| self.problem(&format!("filters{path}"), message))
    }

    fn wrap(&mut self, pattern: Option<&Pattern>) -> Vec<(Str, Template)> {
        let mut wrap = Vec::with_capacity(self.spec.wrap.len());
        for (name, text) in &self.spec.wrap {
            let place = format!("wrap.{name}");
            if let Err(error) = check_attribute_name(name) {
                self.problem(&place, error.to_string());
            }
            if name == "specversion" {
                self.problem(&place, "is always 1.0".to_owned());
            }
            let Some(template) = self.template(&place, text, pattern) else { continue };
            if let Some(value) = template.literal() {
                self.constant(&place, name, value);
            }
            wrap.push((name.as_str().into(), if name == "source" { template.into_uri() } else { template }));
        }
        wrap
    }

    /// What a wrapped event always gets must be valid.
    fn constant(&mut self, place: &str, name: &str, value: &str) {
        if value.is_empty() {
            return self.problem(place, "must not be empty".to_owned());
        }
        let mut event = Event { id: "0".into(), source: "/".into(), kind: "t".into(), ..Event::default() };
        event.set(name, value.into());
        if let Err(error) = event.check()
            && check_attribute_name(name).is_ok()
        {
            self.problem(place, error.to_string());
        }
    }

    fn destination(&mut self, at: usize, pattern: Option<&Pattern>) -> Option<Destination> {
        let to = &self.spec.to[at];
        let connector = self.connectors.iter().position(|connector| connector.name == to.connector);
        if connector.is_none() {
            self.problem(&format!("to[{at}].connector"), format!("no connector is called `{}`", to.connector));
        }
        let known = connector.map(|number| &self.connectors[number]);
        let topic = self.topic(&format!("to[{at}].topic"), to, pattern, known);
        let key = self.key(&format!("to[{at}].key"), to, pattern, known);
        Some(Destination {
            connector: connector?,
            topic: topic?,
            key,
            mode: to.mode,
            order: to.order,
            options: to.options.clone(),
            required: self.is_required(to),
        })
    }

    fn topic(
        &mut self,
        place: &str,
        to: &DestinationSpec,
        pattern: Option<&Pattern>,
        connector: Option<&ConnectorSpec>,
    ) -> Option<Topic> {
        if to.topic.is_empty() {
            self.problem(place, "a destination needs a topic".to_owned());
            return None;
        }
        let template = self.template(place, &to.topic, pattern)?;
        let connector = connector?;
        let naming = if self.is_required(to) { connector.topic_naming } else { connector.optional_topic_naming };
        match Topic::new(template, pattern?, naming, connector.reserved.clone()) {
            Ok(topic) => Some(topic),
            Err(error) => {
                self.problem(place, error);
                None
            }
        }
    }

    fn key(
        &mut self,
        place: &str,
        to: &DestinationSpec,
        pattern: Option<&Pattern>,
        connector: Option<&ConnectorSpec>,
    ) -> Option<Key> {
        let text = to.key.as_ref()?;
        if let Some(connector) = connector
            && !connector.capabilities.keys
        {
            self.problem(place, format!("the connector `{}` has no keys", connector.name));
        }
        let template = self.template(place, text, pattern)?;
        match Mould::new(&template, pattern?, |key| Ok(Cow::Borrowed(key))) {
            Ok(mould) => Some(Key { template, mould }),
            Err(error) => {
                self.problem(place, error);
                None
            }
        }
    }

    /// The destination that subscribers read: the one that says so, else the first required one.
    fn read(&mut self) -> Option<usize> {
        let to = &self.spec.to;
        let mut chosen = None;
        for (at, destination) in to.iter().enumerate().filter(|(_, destination)| destination.read) {
            let complaint = if self.spec.tap {
                Some("subscribers never read a tap")
            } else if !self.is_required(destination) {
                Some("subscribers read only a required destination")
            } else if chosen.is_some() {
                Some("subscribers read one destination of a route")
            } else {
                None
            };
            match complaint {
                Some(complaint) => self.problem(&format!("to[{at}].read"), complaint.to_owned()),
                None => chosen = Some(at),
            }
        }
        let first = to.iter().position(|destination| self.is_required(destination));
        if to.is_empty() {
            self.problem("to", "a route needs at least one destination".to_owned());
        } else if first.is_none() && !self.spec.tap {
            self.problem(
                "to",
                "at least one destination must be required, or the route a tap (`continue: true`)".to_owned(),
            );
        }
        chosen.or(first).filter(|_| !self.spec.tap)
    }

    fn is_required(&self, destination: &DestinationSpec) -> bool {
        destination.required.unwrap_or(!self.spec.tap)
    }

    fn template(&mut self, place: &str, text: &str, pattern: Option<&Pattern>) -> Option<Template> {
        match Template::parse(text, pattern) {
            Ok(template) => Some(template),
            Err(errors) => {
                errors.into_iter().for_each(|error| self.problem(place, error));
                None
            }
        }
    }

    fn problem(&mut self, place: &str, message: String) {
        self.problems.push(Problem { path: format!("{}.{place}", self.path), message });
    }
}

#[cfg(test)]
mod tests;
