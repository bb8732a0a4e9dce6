use std::{path::Path, sync::Arc};

use meshgate_api::{
    connector::{Capabilities, Configured, Connector, Context, KeptHeaders, Kind},
    settings::Fields,
    topic::TopicNaming,
};

use super::*;

mod bad;
mod good;
mod schema;
mod shipped;

/// A connector kind with a required, an optional and a free setting. `other` has no groups, `brief` keeps nothing.
#[derive(Debug)]
struct Fake(&'static str);

#[derive(Debug)]
struct Settings {
    #[expect(dead_code, reason = "it is there to be seen by `Debug`")]
    password: String,
}

impl Kind for Fake {
    fn name(&self) -> &'static str {
        self.0
    }

    fn capabilities(&self) -> Capabilities {
        let (groups, durable) = (self.0 != "other", self.0 != "brief");
        Capabilities {
            replay: true,
            replay_by_time: true,
            groups,
            groups_by_time: true,
            headers: KeptHeaders::All,
            keys: true,
            durable,
        }
    }

    fn topic_naming(&self) -> TopicNaming {
        |topic| Ok(topic.into())
    }

    fn configure(&self, fields: &mut Fields<'_>) -> Option<Box<dyn Configured>> {
        let url = fields.text("url").required();
        let capacity = fields.size("capacity", 1 << 10..=1 << 30).or(1 << 20);
        let properties = fields.section("properties", |properties| {
            properties.refuse_key("acks", "the gateway sets `acks`");
            properties.all_texts()
        });
        let properties = properties.or(Vec::new());
        url?;
        capacity?;
        let password =
            properties?.iter().find(|(name, _)| *name == "password").map_or("", |(_, value)| value).to_owned();
        Some(Box::new(Settings { password }))
    }
}

impl Configured for Settings {
    fn connect(self: Box<Self>, _context: Context) -> Result<Arc<dyn Connector>, String> {
        Err("a connector for tests is never connected".into())
    }
}

const KINDS: [&dyn Kind; 3] = [&Fake("fake"), &Fake("other"), &Fake("brief")];

fn parsed(text: &str) -> Result<Config, Vec<String>> {
    let environment = |name: &str| match name {
        "PORT" => Some("8081".into()),
        "FLAG" => Some("false".into()),
        "EMPTY" => Some("".into()),
        "INJECTION" => Some("x, required: false }".into()),
        "WORD" => Some("word".into()),
        _ => None,
    };
    parse(text, Path::new("file.yaml"), &KINDS, &environment)
        .map_err(|issues| issues.iter().map(|issue| issue.to_string().replacen("file.yaml:", "", 1)).collect())
}

/// Around the part that a test is about: a connector and a route.
const CONNECTORS: &str = "connectors: { one: { kind: fake, url: x } }\n";
const ROUTES: &str = "routes: [{ channel: '#', to: [{ connector: one, topic: t }] }]\n";
