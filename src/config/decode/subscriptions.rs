//! `subscriptions`: each entry by itself, then all of them together with the routes.

use std::{
    collections::{HashSet, VecDeque},
    ops::RangeInclusive,
    time::Duration,
};

use meshgate_api::{
    connector::Start,
    event::parse_timestamp,
    settings::{Fields, Node, Problem, Problems},
};

use super::routes;
use crate::{
    config::{Retry, Subscription},
    router::{Channel, ChannelFilter, Filter, Router, spec::ConnectorSpec},
};

const TIMES: &str = "`latest`, `earliest` or an RFC 3339 time such as `2026-01-31T12:00:00Z`";
/// Bytes of the longest name: groups have it at brokers.
const MAX_NAME: usize = 200;
/// What the times of `retry` may be.
const RESTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);

/// An entry with its path; `None` after a problem.
pub(super) type Draft = (String, Option<Subscription>);

pub(super) fn draft(fields: &mut Fields<'_>, tree: &Node, problems: &Problems) -> Option<Draft> {
    let refuse = |path: String, message: String| {
        let mark = tree.locate(&path);
        problems.add(path, mark, message);
    };
    let subscription = subscription(fields, refuse);
    Some((fields.path().to_owned(), subscription))
}

fn subscription(fields: &mut Fields<'_>, refuse: impl Fn(String, String)) -> Option<Subscription> {
    let form = format!("1 to {MAX_NAME} bytes without control characters");
    let name = fields.parsed("name", &form, |text| is_name(text).then(|| text.to_owned())).required();
    let channel = fields.text("channel").required();
    let channel = checked(fields, "channel", channel, |text| ChannelFilter::parse(text));
    let specs = fields.list("filters", routes::filter).or(Vec::new());
    let place = format!("{}.filters", fields.path());
    let filters =
        specs.map(|specs| Filter::list_of(&specs, &mut |path, message| refuse(format!("{place}{path}"), message)));
    let sink = sink(fields);
    let from = fields.parsed("from", TIMES, start).or(Start::Earliest);
    let retry = fields.section("retry", retry).or(Retry::default());
    let given = fields.text("dead_letter").optional();
    let dead_letter = given.map(|text| checked(fields, "dead_letter", Some(text), |text| Channel::parse(text)));
    let concurrency = fields.integer("concurrency", 1..=1024).or(Subscription::CONCURRENCY);
    for key in ["mode", "headers", "timeout", "sign"] {
        fields.not_built_yet(key, "webhooks");
    }
    Some(Subscription {
        name: name?.into(),
        channel: channel?,
        filters: filters?,
        sink: sink?,
        from: from?,
        retry: retry?,
        dead_letter: match dead_letter {
            Some(channel) => Some(channel?),
            None => None,
        },
        concurrency: concurrency?,
    })
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.contains(char::is_control)
}

fn checked<T, E: ToString>(
    fields: &Fields<'_>,
    key: &str,
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    parse(text?).map_err(|error| fields.refuse_value(key, error.to_string())).ok()
}

fn sink(fields: &mut Fields<'_>) -> Option<Channel> {
    let text = fields.text("sink").required()?;
    if text.starts_with("https://") || text.starts_with("http://") {
        fields.refuse_value("sink", "not built yet: this version has no webhooks");
        return None;
    }
    let Some(channel) = text.strip_prefix("channel:") else {
        fields.refuse_value("sink", format!("`{text}` is no sink: write `channel:NAME`"));
        return None;
    };
    checked(fields, "sink", Some(channel), |text| Channel::parse(text))
}

fn start(text: &str) -> Option<Start> {
    match text {
        "latest" => Some(Start::Latest),
        "earliest" => Some(Start::Earliest),
        _ => parse_timestamp(text).map(|time| Start::At(time.into())),
    }
}

fn retry(fields: &mut Fields<'_>) -> Option<Retry> {
    let default = Retry::default();
    let attempts = fields.integer("attempts", 1..=1_000_000).optional();
    let initial = fields.duration("initial", RESTS).or(default.initial)?;
    let max = fields.duration("max", RESTS).or(default.max)?;
    if initial > max {
        fields.refuse_value("initial", format!("must not be longer than `max`, which is {max:?}"));
    }
    Some(Retry { attempts, initial, max })
}

/// What is wrong with the whole: names given twice, filters that read nothing or without groups, sinks that lead back.
pub(super) fn check(drafts: &[Draft], router: &Router, connectors: &[ConnectorSpec], tree: &Node, problems: &Problems) {
    let refuse = |path: &str, key: &str, message: String| {
        let path = format!("{path}.{key}");
        let mark = tree.locate(&path);
        problems.add(path, mark, message);
    };
    let mut names = HashSet::new();
    for (path, each) in good(drafts) {
        if !names.insert(&each.name) {
            refuse(path, "name", format!("another subscription is called `{}`: names are unique", each.name));
        }
        if each.retry.attempts.is_some() && each.dead_letter.is_none() {
            let message =
                "without `dead_letter` an event is tried for ever: name a channel for those that are given up";
            refuse(path, "retry.attempts", message.to_owned());
        }
        let dead_letter = each.dead_letter.as_ref().map(|channel| ("dead_letter", channel));
        for (key, channel) in [("sink", &each.sink)].into_iter().chain(dead_letter) {
            if each.channel.matches(channel.as_str()) {
                let message = format!("leads back: `{}` is one of the channels that are read here", channel.as_str());
                refuse(path, key, message);
            }
        }
        if let Some(channel) = each.dead_letter.as_ref().filter(|channel| router.takers(channel).next().is_none()) {
            let message =
                format!("no route's channel pattern matches `{}`: dead letters could not be stored", channel.as_str());
            refuse(path, "dead_letter", message);
        }
        match router.plan([&each.channel]) {
            None => refuse(path, "channel", "no route's channel pattern overlaps it: nothing would be read".to_owned()),
            Some(plan) => {
                let by_time = matches!(each.from, Start::At(_));
                for ConnectorSpec { name, capabilities, .. } in plan.iter().map(|source| &connectors[source.connector])
                {
                    if !capabilities.groups {
                        let message = format!("is read from the connector `{name}`, whose kind has no groups");
                        refuse(path, "channel", message);
                    } else if by_time && !capabilities.groups_by_time {
                        let message =
                            format!("is read from the connector `{name}`, where no group can begin at a time");
                        refuse(path, "from", message);
                    }
                }
            }
        }
    }
    for (path, names) in circles(drafts) {
        let message = format!(
            "leads back: every event would come here again over {names}; where one of them has `filters`, it may be meant so"
        );
        refuse(path, "sink", message);
    }
}

/// What is good and may surprise: dead letters that do not outlive the process.
pub(super) fn warnings(drafts: &[Draft], router: &Router, connectors: &[ConnectorSpec], tree: &Node) -> Vec<Problem> {
    let warning = |(path, each): (&str, &Subscription)| {
        let routes = router.takers(each.dead_letter.as_ref()?);
        let mut required = routes.flat_map(|route| route.destinations()).filter(|destination| destination.required());
        let lost = required.find(|to| !connectors[to.connector()].capabilities.durable)?;
        let path = format!("{path}.dead_letter");
        let name = &connectors[lost.connector()].name;
        let message =
            format!("dead letters are kept by the connector `{name}`, which forgets them when the gateway ends");
        Some(Problem { mark: tree.locate(&path), path, message })
    };
    good(drafts).filter_map(warning).collect()
}

fn good(drafts: &[Draft]) -> impl Iterator<Item = (&str, &Subscription)> {
    drafts.iter().filter_map(|(path, each)| Some((path.as_str(), each.as_ref()?)))
}

/// The subscriptions whose every event comes back to them over others, and over which. Where one of them filters, the hops that an event
/// carries must tell.
fn circles(drafts: &[Draft]) -> Vec<(&str, String)> {
    let all: Vec<_> = good(drafts).filter(|(_, each)| each.filters.is_empty()).collect();
    let next_of = |(at, (_, each)): (usize, &(&str, &Subscription))| {
        let takes = |(other, (_, next)): &(usize, &(&str, &Subscription))| {
            *other != at && next.channel.matches(each.sink.as_str())
        };
        all.iter().enumerate().filter(takes).map(|(other, _)| other).collect::<Vec<_>>()
    };
    let nexts: Vec<_> = all.iter().enumerate().map(next_of).collect();
    let way = |start: usize| {
        // Breadth first: whence each was reached.
        let mut whence = vec![None; all.len()];
        let mut queue = VecDeque::from([start]);
        while let Some(at) = queue.pop_front() {
            for next in nexts[at].iter().copied() {
                if whence[next].is_none() {
                    whence[next] = Some(at);
                    queue.push_back(next);
                }
            }
        }
        let mut way = VecDeque::new();
        let mut at = whence[start]?;
        while at != start {
            way.push_front(format!("`{}`", all[at].1.name));
            at = whence[at]?;
        }
        Some((all[start].0, Vec::from(way).join(", ")))
    };
    (0..all.len()).filter_map(way).collect()
}
