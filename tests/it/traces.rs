//! Trace spans by OTLP: what a collector gets, and what becomes of publishes when there is none.

use std::process::Stdio;

use axum::http::StatusCode;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse},
    trace::v1::span::SpanKind,
};
use serde_json::json;

use crate::{
    harness::{
        collector::{Collected, Collector},
        eventually,
        gateway::{Gateway, MEMORY, meshgate},
        websocket::Socket,
    },
    kafka,
};

const PARENT: &str = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
/// Spans leave at once.
const AT_ONCE: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "20");

/// In front of memory, with a route that is named `all` and one that refuses.
fn gateway(collector: &Collector, variables: &[(&str, &str)]) -> Gateway {
    let routes = r#"
connectors:
  memory: { kind: memory }
routes:
  - { name: orders, channel: "orders/{region}", filters: [{ exact: { type: com.example.test } }], to: [{ connector: memory, topic: "{channel}" }] }
"#;
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url);
    Gateway::start_with(routes, &[&[endpoint, AT_ONCE], variables].concat())
}

async fn dropped(gateway: &Gateway) -> u64 {
    let metrics = gateway.ask_admin("/metrics").await.text().await.expect("a body");
    let line = metrics.lines().find_map(|line| line.strip_prefix("meshgate_trace_spans_dropped_total "));
    line.expect("it is counted").parse().expect("a number")
}

#[tokio::test]
async fn a_publish_is_a_span_of_its_requests_trace() {
    let collector = Collector::start().await;
    let variables = [
        ("OTEL_SERVICE_NAME", "mesh"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=other"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20secret"),
    ];
    let gateway = gateway(&collector, &variables);
    let request = gateway.event("orders/eu", "1").header("ce-subject", "k").body("data");
    let request = request.header("traceparent", format!("00-{PARENT}-01")).header("tracestate", "a=1");
    assert_eq!(request.send().await.expect("an answer").status(), 202);

    let spans = collector.spans(1).await;
    let [span] = &spans[..] else { panic!("one span: {spans:?}") };
    assert_eq!(span.parent(), PARENT);
    assert_eq!((&*span.span.name, span.span.kind()), ("publish orders/{region}", SpanKind::Producer));
    assert_eq!((span.error(), &*span.span.trace_state), (None, "a=1"));
    assert!(span.span.start_time_unix_nano <= span.span.end_time_unix_nano);
    for (name, value) in [
        ("messaging.system", "meshgate"),
        ("messaging.operation.type", "send"),
        ("messaging.operation.name", "publish"),
        ("messaging.destination.name", "orders/eu"),
        ("messaging.destination.template", "orders/{region}"),
        ("messaging.message.body.size", "4"),
        ("cloudevents.event_id", "1"),
        ("cloudevents.event_source", "/test"),
        ("cloudevents.event_type", "com.example.test"),
        ("cloudevents.event_subject", "k"),
        ("meshgate.listener", "http"),
        ("meshgate.route", "orders"),
        ("meshgate.outcome", "stored"),
    ] {
        assert_eq!(span.attribute(name).as_deref(), Some(value), "{name}");
    }
    for (name, value) in [
        ("service.name", "mesh"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("deployment.environment.name", "test"),
        ("telemetry.sdk.name", "opentelemetry"),
    ] {
        assert_eq!(span.resource(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(span.headers["authorization"], "Bearer secret");
}

#[tokio::test]
async fn what_is_not_stored_is_an_error() {
    let collector = Collector::start().await;
    let gateway = gateway(&collector, &[]);
    let traced = |channel: &str, id: &str| {
        gateway.event(channel, id).header("traceparent", format!("00-{PARENT}-01")).body("data")
    };
    let statuses = [
        traced("nowhere", "no route").send().await.expect("an answer").status(),
        traced("orders/eu", "no event").header("ce-time", "now").send().await.expect("an answer").status(),
    ];
    assert_eq!(statuses, [404, 400]);
    let spans = collector.spans(2).await;
    let said = |span: &Collected| {
        let id = span.attribute("cloudevents.event_id");
        (
            id,
            span.attribute("messaging.destination.name"),
            span.attribute("error.type"),
            span.attribute("meshgate.route"),
        )
    };
    let rejected =
        |id: &str, channel: &str| (Some(id.to_owned()), Some(channel.to_owned()), Some("rejected".to_owned()), None);
    assert_eq!(said(&spans[0]), rejected("no route", "nowhere"));
    assert_eq!(said(&spans[1]), rejected("no event", "orders/eu"));
    let errors: Vec<_> = spans.iter().map(|span| span.error().unwrap_or_default()).collect();
    assert!(errors[0].contains("no route has a channel pattern"), "{errors:?}");
    assert!(errors[1].contains("time"), "{errors:?}");
    assert!(spans.iter().all(|span| span.parent() == PARENT && span.span.name == "publish"), "{spans:?}");
}

#[tokio::test]
async fn each_event_of_a_batch_and_of_a_connection_has_a_span() {
    let collector = Collector::start().await;
    let gateway = gateway(&collector, &[]);
    let event = |id: &str, kind: &str| json!({ "specversion": "1.0", "id": id, "source": "/test", "type": kind });
    let batch = json!([event("1", "com.example.test"), event("2", "other"), event("3", "com.example.test")]);
    let request = gateway.client.post(gateway.channel_url("orders/eu")).body(batch.to_string());
    let request = request.header("content-type", "application/cloudevents-batch+json");
    let request = request.header("traceparent", format!("00-{PARENT}-01"));
    assert_eq!(request.send().await.expect("an answer").status(), 404);

    let spans = collector.spans(3).await;
    let fates: Vec<_> = spans.iter().filter_map(|span| span.attribute("meshgate.outcome")).collect();
    assert_eq!(fates, ["stored", "rejected", "stored"]);
    assert!(spans.iter().all(|span| span.parent() == PARENT), "{spans:?}");

    let mut socket = Socket::open(&gateway, "orders/eu?role=publish").await;
    socket.send(&event("4", "com.example.test")).await;
    let spans = collector.spans(4).await;
    assert_eq!(spans[3].attribute("meshgate.listener").as_deref(), Some("websocket"));
    assert_eq!(spans[3].span.parent_span_id, [0; 0], "a trace of its own: {spans:?}");
}

#[tokio::test]
async fn the_span_travels_on_to_readers_of_kafka() {
    let collector = Collector::start().await;
    let topic = crate::harness::kafka::topic("traced", 1);
    let endpoint = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &*format!("{}/v1/traces", collector.url));
    let gateway =
        kafka::gateway_of(&format!("channel: a, to: [{{ connector: kafka, topic: {topic} }}]"), &[endpoint, AT_ONCE])
            .await;
    for (id, flags) in [("sampled", "01"), ("not", "00")] {
        let request = gateway.event("a", id).header("traceparent", format!("00-{PARENT}-{flags}"));
        let request = request.header("tracestate", "a=1,b=2").body("data");
        assert_eq!(request.send().await.expect("an answer").status(), 202);
    }
    gateway.store("a", "new").await;

    let spans = collector.spans(2).await;
    let ids: Vec<_> = spans.iter().filter_map(|span| span.attribute("cloudevents.event_id")).collect();
    assert_eq!(ids, ["sampled", "new"], "none for the event whose trace is not sampled");
    let records = kafka::read(&topic, 3);
    let context = |at: usize| (records[at].header("traceparent"), records[at].header("tracestate"));
    let own = |span: &Collected| format!("00-{}-01", span.context());
    assert_eq!(context(0), (Some(&*own(&spans[0])), Some("a=1,b=2")));
    assert_eq!(context(1), (Some(&*format!("00-{PARENT}-00")), Some("a=1,b=2")), "as it came");
    assert_eq!(context(2), (Some(&*own(&spans[1])), None));
}

#[tokio::test]
async fn without_a_collector_publishes_are_answered_and_losses_counted() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", closed.local_addr().expect("an address"));
    drop(closed);
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*url),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"), // meanwhile the queue is full
        ("OTEL_BSP_MAX_QUEUE_SIZE", "5"),
        AT_ONCE,
    ];
    let gateway = Gateway::start_with(MEMORY, &variables);
    for number in 0..100 {
        gateway.store("a", &number.to_string()).await;
    }
    eventually("all are lost", async || (dropped(&gateway).await == 100).then_some(())).await;
}

#[tokio::test]
async fn a_collector_that_asks_for_patience_gets_the_spans_later() {
    let collector = Collector::start().await;
    let nothing = ExportTraceServiceResponse::default;
    collector.answer([(StatusCode::SERVICE_UNAVAILABLE, nothing()), (StatusCode::TOO_MANY_REQUESTS, nothing())]);
    let gateway = gateway(&collector, &[]);
    gateway.store("orders/eu", "1").await;
    assert_eq!(collector.spans(1).await.len(), 1);
    assert_eq!((collector.posts(), dropped(&gateway).await), (3, 0));
}

#[tokio::test]
async fn what_a_collector_refuses_is_counted() {
    let collector = Collector::start().await;
    let partial = ExportTracePartialSuccess { rejected_spans: 1, error_message: "too many".into() };
    let partial = ExportTraceServiceResponse { partial_success: Some(partial) };
    collector.answer([(StatusCode::BAD_REQUEST, ExportTraceServiceResponse::default()), (StatusCode::OK, partial)]);
    let gateway = gateway(&collector, &[]);
    for (id, lost) in [("1", 1), ("2", 2), ("3", 2)] {
        gateway.store("orders/eu", id).await;
        eventually("it is sent", async || (collector.posts().to_string() == id).then_some(())).await;
        eventually("it is counted", async || (dropped(&gateway).await == lost).then_some(())).await;
    }
}

#[tokio::test]
async fn what_waits_is_sent_before_the_end() {
    let collector = Collector::start().await;
    let mut gateway = gateway(&collector, &[("OTEL_BSP_SCHEDULE_DELAY", "3600000")]);
    gateway.store("orders/eu", "1").await;
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await.code(), Some(0));
    assert_eq!(collector.spans(1).await.len(), 1);
}

#[tokio::test]
async fn the_end_does_not_wait_for_a_collector_beyond_its_grace() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*url), ("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000")];
    let mut gateway = Gateway::start_with(&format!("{MEMORY}\nshutdown: {{ grace: 1s }}"), &variables);
    gateway.store("a", "1").await;
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await.code(), Some(0));
}

#[test]
fn what_cannot_be_exported_to_ends_the_start() {
    // An address of nobody: whatever is taken for good, the gateway does not stay.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("meshgate.yaml");
    let nowhere = r#"listeners: { http: { address: "192.0.2.1:1" }, admin: { address: "192.0.2.1:2" } }"#;
    std::fs::write(&file, format!("{nowhere}{MEMORY}")).expect("a file");
    for (name, value, says) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc: only `http/protobuf` is built"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://collector", "TLS is not built"),
    ] {
        let mut command = meshgate();
        command.arg("--config").arg(&file);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318").env(name, value);
        let done = command.stdout(Stdio::null()).output().expect("the binary starts");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(78), "{said}");
        assert!(said.contains(says), "{said}");
    }
}
