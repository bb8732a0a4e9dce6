//! A collector of trace spans: OTLP over HTTP, on a free port.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, status::StatusCode as Fate},
};
use prost::Message;

use super::eventually;

/// What gateways have sent. Answers 200 unless it was told otherwise.
#[derive(Clone)]
pub struct Collector {
    /// `http://HOST:PORT`
    pub url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    spans: Vec<Collected>,
    answers: VecDeque<(StatusCode, ExportTraceServiceResponse)>,
    posts: usize,
}

/// A span and what came with it.
#[derive(Clone, Debug)]
pub struct Collected {
    pub span: Span,
    pub resource: Vec<KeyValue>,
    pub headers: HeaderMap,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let collector = Self { url, state: Arc::default() };
        let taking = collector.clone();
        let take = async move |headers: HeaderMap, body: Bytes| taking.take(&headers, &body);
        let resources = Router::new().route("/v1/traces", post(take));
        tokio::spawn(async move { axum::serve(listener, resources).await.expect("it serves") });
        collector
    }

    fn take(&self, headers: &HeaderMap, body: &Bytes) -> Response {
        assert_eq!(headers[CONTENT_TYPE], "application/x-protobuf");
        let mut state = self.state.lock().expect("no holder panics");
        state.posts += 1;
        let (status, answer) = state.answers.pop_front().unwrap_or_default();
        if status.is_success() {
            let request = ExportTraceServiceRequest::decode(body.clone()).expect("OTLP");
            for of in request.resource_spans {
                let resource = of.resource.map(|resource| resource.attributes).unwrap_or_default();
                let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
                let collected =
                    spans.map(|span| Collected { span, resource: resource.clone(), headers: headers.clone() });
                state.spans.extend(collected);
            }
        }
        (status, answer.encode_to_vec()).into_response()
    }

    /// The next posts are answered so, each once.
    pub fn answer(&self, answers: impl IntoIterator<Item = (StatusCode, ExportTraceServiceResponse)>) {
        self.state.lock().expect("no holder panics").answers.extend(answers);
    }

    /// So many posts have come.
    pub fn posts(&self) -> usize {
        self.state.lock().expect("no holder panics").posts
    }

    /// Waits for at least so many spans; all of them.
    pub async fn spans(&self, count: usize) -> Vec<Collected> {
        let ask = async || {
            let spans = &self.state.lock().expect("no holder panics").spans;
            (spans.len() >= count).then(|| spans.clone())
        };
        eventually(&format!("{count} spans"), ask).await
    }
}

impl Collected {
    /// The value of an attribute of the span, as text.
    pub fn attribute(&self, name: &str) -> Option<String> {
        value(&self.span.attributes, name)
    }

    /// The value of an attribute of who sent it, as text.
    pub fn resource(&self, name: &str) -> Option<String> {
        value(&self.resource, name)
    }

    /// `trace-id "-" id`, as a `traceparent` has them.
    pub fn context(&self) -> String {
        format!("{}-{}", hex(&self.span.trace_id), hex(&self.span.span_id))
    }

    /// `trace-id "-" id` of its parent.
    pub fn parent(&self) -> String {
        format!("{}-{}", hex(&self.span.trace_id), hex(&self.span.parent_span_id))
    }

    /// Why it is an error, if it is one.
    pub fn error(&self) -> Option<&str> {
        let status = self.span.status.as_ref()?;
        (status.code() == Fate::Error).then_some(&*status.message)
    }
}

fn value(attributes: &[KeyValue], name: &str) -> Option<String> {
    let pair = attributes.iter().find(|pair| pair.key == name)?;
    match pair.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("`{name}` is neither a text nor a number: {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
