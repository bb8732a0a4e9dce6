//! What the routes cost: finding an event's destination, finding whose event a record is, and beginning to read. The last route is the
//! one that fits; of ten, of ten thousand, of a hundred thousand.

use std::{borrow::Cow, hint::black_box, sync::OnceLock, time::Instant, time::SystemTime};

use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use meshgate::router::{
    ChannelFilter, Router,
    spec::{ConnectorSpec, DestinationSpec, FilterSpec, RouteSpec},
};
use meshgate_api::{
    Str,
    connector::{Capabilities, KeptHeaders, Record},
    event::Event,
    message::Message,
    position::{Place, Position},
};

const SIZES: [usize; 3] = [10, 10_000, 100_000];
/// Of the only connector.
const CONNECTOR: usize = 0;

/// How routes differ from one another.
#[derive(Clone, Copy, Debug)]
enum Differ {
    /// One channel pattern; each asks for its own type.
    Type,
    /// One channel pattern; each asks for a type and a source, which it shares with others.
    TypeAndSource,
    /// The same in CloudEvents SQL.
    Sql,
    /// Literal levels, captures, `+` and `#`; no filters.
    Channel,
}

impl Differ {
    const ALL: [(&str, Self); 4] = [
        ("type", Self::Type),
        ("type-and-source", Self::TypeAndSource),
        ("sql", Self::Sql),
        ("channel", Self::Channel),
    ];

    fn channel(self, number: usize) -> String {
        let Self::Channel = self else { return "orders/{region}/#".to_owned() };
        match number % 4 {
            0 => format!("shop-{number}/{{region}}/{{order}}"),
            1 => format!("{{region}}/shop-{number}/+"),
            2 => format!("+/+/shop-{number}/#"),
            _ => format!("shops/all/shop-{number}/{{order}}/#"),
        }
    }

    fn attributes(self, number: usize) -> Vec<(&'static str, String)> {
        match self {
            Self::Type => vec![("type", format!("com.acme.t{number}"))],
            Self::TypeAndSource | Self::Sql => {
                vec![("type", format!("com.acme.t{}", number / 100)), ("source", format!("/s{}", number % 100))]
            }
            Self::Channel => vec![],
        }
    }

    fn route(self, number: usize) -> RouteSpec {
        let asked = self.attributes(number);
        let filter = if let Self::Sql = self {
            let terms: Vec<_> = asked.iter().map(|(name, value)| format!("{name} = '{value}'")).collect();
            FilterSpec::Sql(terms.join(" AND "))
        } else {
            FilterSpec::Exact(asked.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
        };
        let to = DestinationSpec {
            connector: "main".to_owned(),
            topic: format!("topic-{number}.{{type}}"),
            key: Some("{subject|}".to_owned()),
            ..DestinationSpec::default()
        };
        RouteSpec {
            name: format!("route-{number}"),
            channel: self.channel(number),
            filters: if asked.is_empty() { vec![] } else { vec![filter] },
            to: vec![to],
            ..RouteSpec::default()
        }
    }

    /// The message that only the route of this number takes.
    fn message(self, number: usize) -> Message {
        let channel = self.channel(number).replace("{region}", "eu").replace("{order}", "7");
        let mut event = Event {
            id: Str::from_static("18c2f0a1b2c3d4e5-0-1234"),
            source: Str::from_static("/yardstick"),
            kind: Str::from_static("com.example.order.created"),
            datacontenttype: Some(Str::from_static("text/plain")),
            data: Some(Bytes::from_static(&[b'x'; 400])),
            ..Event::default()
        };
        for (name, value) in self.attributes(number) {
            event.set(name, value.into());
        }
        Message { channel: Some(channel.replace(['+', '#'], "x").into()), event: Box::new(event), ..Message::default() }
    }
}

/// As many routes as that; says how long it takes to compile them, which is too long to be done often.
#[expect(clippy::print_stdout, reason = "a bench speaks to who runs it")]
fn router(differ: Differ, routes: usize) -> Router {
    let capabilities = Capabilities {
        replay: true,
        replay_by_time: true,
        groups: true,
        groups_by_time: true,
        headers: KeptHeaders::All,
        keys: true,
        durable: true,
    };
    let connector = ConnectorSpec {
        name: "main".to_owned(),
        capabilities,
        topic_naming: |topic| Ok(Cow::Borrowed(topic)),
        optional_topic_naming: |topic| Ok(Cow::Borrowed(topic)),
        reserved: None,
    };
    let specs: Vec<RouteSpec> = (0..routes).map(|number| differ.route(number)).collect();
    let begun = Instant::now();
    let router = Router::compile(&specs, &[connector]).unwrap_or_else(|problems| panic!("{problems:?}"));
    println!("compile/{differ:?}/{routes}-routes: {:?}", begun.elapsed());
    router
}

fn record(message: Message, topic: String) -> Record {
    let topic = Str::from(topic);
    Record {
        message,
        position: Position { topic: topic.clone(), partition: 0, place: Place::offset(1) },
        topic,
        next: Place::offset(2),
        key: None,
        time: SystemTime::UNIX_EPOCH,
        note: OnceLock::new(),
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for ((name, differ), routes) in Differ::ALL.into_iter().flat_map(|differ| SIZES.map(|size| (differ, size))) {
        let router = router(differ, routes);
        let last = routes - 1;
        let published = differ.message(last);
        assert_eq!(router.route(published.clone()).expect("a route").route, last);
        criterion.bench_function(&format!("route/{name}/{routes}-routes"), |bencher| {
            bencher.iter_batched(|| published.clone(), |message| router.route(message), BatchSize::SmallInput);
        });
        let own = record(published.clone(), format!("topic-{last}.{}", published.event.kind));
        let native = record(Message { channel: None, ..published.clone() }, own.topic.to_string());
        for (whose, record) in [("published", &own), ("native", &native)] {
            assert_eq!(router.owner(CONNECTOR, record).expect("an owner").route, last);
            criterion.bench_function(&format!("owner/{whose}/{name}/{routes}-routes"), |bencher| {
                bencher.iter(|| router.owner(CONNECTOR, black_box(record)));
            });
        }
        if let Differ::Channel = differ {
            let filter = ChannelFilter::parse(published.channel.expect("a channel")).expect("a filter");
            criterion.bench_function(&format!("plan/{name}/{routes}-routes"), |bencher| {
                bencher.iter(|| router.plan([black_box(&filter)]));
            });
        }
    }
    criterion.final_summary();
}
