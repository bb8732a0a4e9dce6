//! What the routes cost one event: finding its destination, and finding whose event a record is. The last route is the one that fits.

use std::{fmt::Write, hint::black_box, path::Path, sync::OnceLock, time::SystemTime};

use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use meshgate::{config, registry, router::Router};
use meshgate_api::{
    Str,
    connector::Record,
    event::Event,
    message::Message,
    position::{Place, Position},
};

/// Of the only connector.
const CONNECTOR: usize = 0;

/// As many routes as that, the last for the channels `orders/…`.
fn router(routes: usize) -> Router {
    let mut text = String::from("connectors: { main: { kind: memory } }\nroutes:\n");
    let others = (1..routes).map(|number| format!("other-{number}"));
    for name in others.chain(["orders".to_owned()]) {
        let to = format!("[{{ connector: main, topic: \"{name}.{{region}}\", key: \"{{subject|}}\" }}]");
        writeln!(text, "  - {{ name: {name}, channel: \"{name}/{{region}}\", to: {to} }}").expect("a string takes all");
    }
    let config = config::parse(&text, Path::new("bench.yaml"), &registry::kinds(), &|_| None);
    config.unwrap_or_else(|issues| panic!("{issues:?}")).router
}

fn message(channel: Option<&'static str>) -> Message {
    let event = Event {
        id: Str::from_static("18c2f0a1b2c3d4e5-0-1234"),
        source: Str::from_static("/yardstick"),
        kind: Str::from_static("com.example.order.created"),
        datacontenttype: Some(Str::from_static("text/plain")),
        data: Some(Bytes::from_static(&[b'x'; 400])),
        ..Event::default()
    };
    Message { channel: channel.map(Str::from_static), event, ..Message::default() }
}

fn record(message: Message) -> Record {
    let topic = Str::from_static("orders.eu");
    Record {
        message: message.into(),
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
    let published = message(Some("orders/eu"));
    let (own, native) = (record(published.clone()), record(message(None)));
    for routes in [10, 100] {
        let router = router(routes);
        assert!(router.route(published.clone()).is_ok());
        assert!([&own, &native].iter().all(|record| router.owner(CONNECTOR, record).is_some()));
        criterion.bench_function(&format!("route/{routes}-routes"), |bencher| {
            bencher.iter_batched(|| published.clone(), |message| router.route(message), BatchSize::SmallInput);
        });
        criterion.bench_function(&format!("owner/published/{routes}-routes"), |bencher| {
            bencher.iter(|| router.owner(CONNECTOR, black_box(&own)));
        });
        criterion.bench_function(&format!("owner/native/{routes}-routes"), |bencher| {
            bencher.iter(|| router.owner(CONNECTOR, black_box(&native)));
        });
    }
    criterion.final_summary();
}
