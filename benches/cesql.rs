//! What an expression of CloudEvents SQL costs one event. The first two have bounds to hold: 60 ns and 150 ns.

use std::hint::black_box;

use criterion::Criterion;
use meshgate::cesql::Expression;
use meshgate_api::{
    Str,
    event::{Event, Value},
};

const EXPRESSIONS: [(&str, &str); 6] = [
    ("equality", "type = 'com.acme.order'"),
    ("like-and-integer", "type LIKE 'com.acme.%' AND amount > 100"),
    ("text-as-integer", "count > 100"),
    ("in", "subject IN ('1', '2', '3', '42')"),
    ("like-anywhere", "source LIKE '%/warehouse/_/%'"),
    ("missing", "missing = 'a'"),
];

fn event() -> Event {
    let extension = |name, value| (Str::from_static(name), value);
    Event {
        id: Str::from_static("18c2f0a1b2c3d4e5-0-1234"),
        source: Str::from_static("/shops/berlin/warehouse/3/robots"),
        kind: Str::from_static("com.acme.order"),
        subject: Some(Str::from_static("42")),
        extensions: vec![
            extension("tenant", Value::String(Str::from_static("acme"))),
            extension("count", Value::String(Str::from_static("120"))),
            extension("amount", Value::Integer(120)),
        ],
        ..Event::default()
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let event = event();
    for (name, text) in EXPRESSIONS {
        let expression = Expression::compile(text).expect("an expression");
        assert_eq!(expression.holds(&event).ok(), (name != "missing").then_some(true), "{text}");
        criterion.bench_function(&format!("cesql/{name}"), |bencher| {
            bencher.iter(|| black_box(&expression).holds(black_box(&event)).is_ok_and(|holds| holds));
        });
    }
    criterion
        .bench_function("cesql/compile", |bencher| bencher.iter(|| Expression::compile(black_box(EXPRESSIONS[1].1))));
    criterion.final_summary();
}
