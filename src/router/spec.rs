//! Routes as the configuration writes them: plain data, nothing checked yet.

use meshgate_api::{
    Str,
    connector::{Capabilities, ContentMode, Options, Order},
    topic::TopicNaming,
};

/// One entry of `routes`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteSpec {
    /// Unique among the routes.
    pub name: String,
    /// The channel pattern.
    pub channel: String,
    /// All must hold.
    pub filters: Vec<FilterSpec>,
    /// Attributes that a wrapped event gets: name and template.
    pub wrap: Vec<(String, String)>,
    /// Where the event goes.
    pub to: Vec<DestinationSpec>,
    /// `continue`: a tap, after which the search goes on.
    pub tap: bool,
}

/// One entry of a route's `to`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DestinationSpec {
    /// The connector's name.
    pub connector: String,
    /// The topic's template.
    pub topic: String,
    /// The key's template.
    pub key: Option<String>,
    /// How the event becomes a record.
    pub mode: ContentMode,
    /// Which events keep their order.
    pub order: Order,
    /// Whether the publish waits for it. Default: yes, in a tap no.
    pub required: Option<bool>,
    /// Subscribers read this destination instead of the first required one.
    pub read: bool,
    /// What it says to its connector alone.
    pub options: Option<Options>,
}

/// One filter expression: the dialects of the CloudEvents Subscriptions API.
#[derive(Clone, Debug, PartialEq)]
pub enum FilterSpec {
    /// Each attribute has this value.
    Exact(Vec<(String, String)>),
    /// Each attribute begins so.
    Prefix(Vec<(String, String)>),
    /// Each attribute ends so.
    Suffix(Vec<(String, String)>),
    /// This expression of CloudEvents SQL holds.
    Sql(String),
    /// All hold.
    All(Vec<FilterSpec>),
    /// At least one holds.
    Any(Vec<FilterSpec>),
    /// It does not hold.
    Not(Box<FilterSpec>),
}

/// What routes need to know of a configured connector. Its number is its place in the list that the router is compiled with.
#[derive(Clone, Debug)]
pub struct ConnectorSpec {
    /// The connector's name.
    pub name: String,
    /// What its kind can do.
    pub capabilities: Capabilities,
    /// What its broker lets a topic be called.
    pub topic_naming: TopicNaming,
    /// The same for destinations that are not required.
    pub optional_topic_naming: TopicNaming,
    /// A topic that is the gateway's own: no route may have it.
    pub reserved: Option<Str>,
}
