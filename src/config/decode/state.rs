//! `state`

use meshgate_api::settings::{Fields, Node, Problems};

use super::connectors;
use crate::{config::State, router::spec::ConnectorSpec};

pub(super) fn state(fields: &mut Fields<'_>) -> Option<Option<State>> {
    let connector = fields.text("connector").required().map(str::to_owned);
    let topic = fields.text("topic").required().map(str::to_owned);
    fields.not_built_yet("queue", "queue for devices that are away");
    Some(Some(State { connector: connector?.into(), topic: topic?.into() }))
}

/// Has the connector's name for the topic, and keeps that topic from the routes.
pub(super) fn reserve(
    state: &mut State,
    drafts: &[connectors::Draft<'_>],
    specs: &mut [ConnectorSpec],
    tree: &Node,
    problems: &Problems,
) {
    let refuse = |path: &str, message: String| problems.add(path.to_owned(), tree.locate(path), message);
    let Some(spec) = specs.iter_mut().find(|spec| *spec.name == *state.connector) else {
        let names = drafts.iter().map(|draft| format!("`{}`", draft.spec.name)).collect::<Vec<_>>().join(", ");
        return refuse("state.connector", format!("no connector is called `{}`: there are {names}", state.connector));
    };
    if !spec.capabilities.replay {
        let message = format!("the connector `{}` keeps nothing that could be read again: name another", spec.name);
        return refuse("state.connector", message);
    }
    match (spec.topic_naming)(&state.topic) {
        Ok(name) => state.topic = name.as_ref().into(),
        Err(problem) => return refuse("state.topic", problem),
    }
    spec.reserved = Some(state.topic.clone());
}
