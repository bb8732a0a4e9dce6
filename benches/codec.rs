//! What one event costs between its text and its parts: a request decoded, JSON for a subscriber, a cursor.

use std::{hint::black_box, sync::Arc};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use criterion::{Criterion, Throughput};
use meshgate::codec::http::{Decoded, decode};
use meshgate_api::{
    Str,
    cursor::Cursor,
    json,
    message::Message,
    position::{Place, Position},
};

/// The size of the events that `scripts/bench` publishes, in bytes of their data.
const DATA_BYTES: usize = 400;
const CHANNEL: &str = "orders/eu";

/// A request in binary mode, with the attributes of `scripts/bench`.
fn binary_request() -> (HeaderMap, Bytes) {
    let headers = [
        ("host", "127.0.0.1:8080"),
        ("ce-specversion", "1.0"),
        ("ce-id", "18c2f0a1b2c3d4e5-0-1234"),
        ("ce-type", "com.example.order.created"),
        ("ce-source", "/yardstick"),
        ("ce-time", "2026-01-01T00:00:00Z"),
        ("content-type", "text/plain"),
        ("content-length", "400"),
    ];
    (header_map(&headers), Bytes::from(vec![b'x'; DATA_BYTES]))
}

/// The same event in structured mode.
fn structured_request() -> (HeaderMap, Bytes) {
    let (headers, body) = binary_request();
    let mut text = Vec::new();
    json::encode_into(&decode_one(&headers, &body).event, &[], &mut text);
    (header_map(&[("content-type", "application/cloudevents+json")]), text.into())
}

fn header_map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    headers.iter().map(pair).collect()
}

fn decode_one(headers: &HeaderMap, body: &Bytes) -> Arc<Message> {
    match decode(headers, body.clone(), CHANNEL) {
        Ok(Decoded::One(message)) => message,
        other => panic!("the request holds one event, not {other:?}"),
    }
}

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(1));
    for (mode, (headers, body)) in [("binary", binary_request()), ("structured", structured_request())] {
        group.bench_function(mode, |bencher| bencher.iter(|| decode_one(black_box(&headers), black_box(&body))));
    }
    group.finish();
}

fn subscriber_json(criterion: &mut Criterion) {
    let (headers, body) = binary_request();
    let event = decode_one(&headers, &body).event.clone();
    let mut text = Vec::new();
    criterion.bench_function("encode/json", |bencher| {
        bencher.iter(|| {
            text.clear();
            json::encode_into(black_box(&event), &[], &mut text);
            text.len()
        });
    });
}

fn cursors(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cursor");
    for partitions in [1, 12] {
        let cursor = cursor_over(partitions);
        let (mut text, mut scratch) = (String::new(), Vec::new());
        group.bench_function(format!("encode/{partitions}-partitions"), |bencher| {
            bencher.iter(|| {
                black_box(&cursor).encode_into(&mut text, &mut scratch);
                text.len()
            });
        });
    }
    group.finish();
}

fn cursor_over(partitions: u32) -> Cursor {
    let mut cursor = Cursor::new("orders/+");
    let positions = cursor.positions_mut(&Str::from_static("orders-kafka"));
    for partition in 0..partitions {
        let place = Place::offset(1_234_567 + u64::from(partition));
        positions.set(Position { topic: Str::from_static("orders.eu"), partition, place });
    }
    cursor
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    requests(&mut criterion);
    subscriber_json(&mut criterion);
    cursors(&mut criterion);
    criterion.final_summary();
}
