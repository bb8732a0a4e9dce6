//! One entry of `connectors`.

use meshgate_api::{
    connector::{Capabilities, Configured, KeptHeaders, Kind, Options},
    settings::{Fields, Problems},
    topic::TopicNaming,
};

use crate::{config::Connector, router::spec::ConnectorSpec};

/// A connector that routes may name, even if something in it was refused.
pub(super) struct Draft<'k> {
    pub(super) spec: ConnectorSpec,
    kind: Option<&'k dyn Kind>,
    configured: Option<Box<dyn Configured>>,
}

impl Draft<'_> {
    /// The connector, if nothing in it was refused.
    pub(super) fn finish(self) -> Option<Connector> {
        Some(Connector { spec: self.spec, kind: self.kind?.name(), configured: self.configured? })
    }
}

/// Reads what a destination says to the connector of this name alone. That there is none is told elsewhere: then what any kind has is no
/// mistake of the destination.
pub(super) fn options(
    connector: &str,
    fields: &mut Fields<'_>,
    drafts: &[Draft<'_>],
    kinds: &[&dyn Kind],
) -> Option<Options> {
    match drafts.iter().find(|draft| draft.spec.name == connector).and_then(|draft| draft.kind) {
        Some(kind) => kind.destination(fields),
        None => {
            kinds.iter().for_each(|kind| drop(kind.destination(fields)));
            None
        }
    }
}

pub(super) fn draft<'k>(
    name: &str,
    fields: &mut Fields<'_>,
    kinds: &[&'k dyn Kind],
    problems: &Problems,
) -> Option<Draft<'k>> {
    if !is_name(name) {
        fields.refuse("a connector's name is 1 to 64 letters, digits, `-`, `_` and `.`");
    }
    let wanted = fields.text("kind").required();
    let Some(kind) = kinds.iter().find(|kind| Some(kind.name()) == wanted) else {
        if let Some(wanted) = wanted {
            fields.refuse_value("kind", no_kind(wanted, kinds));
        }
        fields.accept_unknown();
        return Some(Draft { spec: unknown(name), kind: None, configured: None });
    };
    let configured = kind.configure(fields);
    if configured.is_none() && problems.is_empty() {
        fields.refuse(format!("connectors of kind `{}` do not take these settings", kind.name()));
    }
    let can = kind.capabilities();
    let capabilities = configured.as_ref().map_or(can, |configured| configured.capabilities(can));
    let (topic_naming, optional_topic_naming) = (kind.topic_naming(), kind.optional_topic_naming());
    let spec = ConnectorSpec { name: name.into(), capabilities, topic_naming, optional_topic_naming, reserved: None };
    Some(Draft { spec, kind: Some(*kind), configured })
}

/// Names stand in cursors, metrics and sources.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn no_kind(wanted: &str, kinds: &[&dyn Kind]) -> String {
    let known = kinds.iter().map(|kind| format!("`{}`", kind.name())).collect::<Vec<_>>().join(" and ");
    format!("unknown kind `{wanted}`: this program has {known}")
}

/// A connector of a kind that is not there: nothing is held against the routes that name it.
fn unknown(name: &str) -> ConnectorSpec {
    let capabilities = Capabilities {
        replay: true,
        replay_by_time: true,
        groups: true,
        groups_by_time: true,
        headers: KeptHeaders::All,
        keys: true,
        durable: true,
    };
    let any: TopicNaming = |topic| Ok(topic.into());
    ConnectorSpec { name: name.into(), capabilities, topic_naming: any, optional_topic_naming: any, reserved: None }
}
