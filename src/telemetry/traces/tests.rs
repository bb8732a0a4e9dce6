use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use meshgate_api::{event::Event, outcome::Rejection};
use opentelemetry::trace::{SpanContext, TraceFlags};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Sampler, SpanData, SpanExporter, SpanProcessor},
};

use super::{environment::Batches, *};
use crate::publish::Refused;

/// Hands on every span as it ends.
#[derive(Debug)]
struct Ended(SyncSender<SpanData>);

impl SpanProcessor for Ended {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.send(span).expect("the test listens");
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

fn traces() -> (Traces, Receiver<SpanData>) {
    let (ended, spans) = sync_channel(10);
    let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
    let provider = SdkTracerProvider::builder().with_sampler(sampler).with_span_processor(Ended(ended)).build();
    (Traces::over(provider), spans)
}

fn message(id: &str, parent: Option<&str>) -> Message {
    let event = Event { id: id.into(), source: "/s".into(), kind: "t".into(), ..Event::default() };
    let headers = parent.map(|parent| ("traceparent".into(), parent.to_owned().into())).into_iter().collect();
    Message { channel: Some("a".into()), event: Box::new(event), headers, wrapped: false }
}

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

fn parents(submissions: &[Submission]) -> Vec<SpanContext> {
    let headers = submissions.iter().map(|submission| &submission.as_ref().expect("an event").headers);
    headers.map(|headers| context::read(headers).expect("a context")).collect()
}

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    span.attributes.iter().find(|pair| pair.key.as_str() == name).map(|pair| pair.value.to_string())
}

#[test]
fn without_a_collector_nothing_changes() {
    let submission: Submission = Ok(Arc::new(message("1", Some(SAMPLED))));
    let mut submissions = [submission.clone()];
    let spans = Traces::default().open(Listener::Http, &mut submissions);
    let same =
        submissions[0].as_ref().is_ok_and(|message| Arc::ptr_eq(message, submission.as_ref().expect("an event")));
    assert!(same && spans.0.is_empty());
}

#[test]
fn each_event_travels_on_with_the_context_of_its_span() {
    let (traces, ended) = traces();
    let mut submissions = [Some(SAMPLED), None, Some(UNSAMPLED)].map(|parent| Ok(Arc::new(message("1", parent))));
    let spans = traces.open(Listener::Http, &mut submissions);
    let [continued, begun, unsampled] = &parents(&submissions)[..] else { panic!("three events") };
    let ids = |context: &SpanContext| (context.trace_id(), context.span_id());
    assert_eq!(format!("00-{}-{}-00", unsampled.trace_id(), unsampled.span_id()), UNSAMPLED, "as it came");

    drop(spans);
    let spans: Vec<_> = ended.try_iter().collect();
    let found: Vec<_> = spans.iter().map(|span| ids(&span.span_context)).collect();
    assert_eq!(found, [ids(continued), ids(begun)], "none for the event whose trace is not sampled");
    assert_eq!(continued.trace_id(), unsampled.trace_id());
    assert_eq!((spans[0].parent_span_id, spans[0].parent_span_is_remote), (unsampled.span_id(), true));
    assert_ne!(begun.trace_id(), continued.trace_id());
    assert_eq!(begun.trace_flags(), TraceFlags::SAMPLED);
}

#[test]
fn what_could_not_be_read_has_a_span_of_what_is_known() {
    let (traces, ended) = traces();
    let event = Event { id: "7".into(), ..Event::default() };
    let known = Arc::new(Message { event: Box::new(event), ..message("", Some(SAMPLED)) });
    let refused = Refused { known, outcome: Outcome::rejected(Rejection::BadEvent, "it has no type") };
    let router = Router::compile(&[], &[]).expect("no routes");
    let spans = traces.open(Listener::Http, &mut [Err(refused.clone())]);
    spans.close(&router, &[refused.into()]);
    let span = ended.try_recv().expect("a span");
    assert_eq!(span.name, "publish");
    assert_eq!(span.status, Status::error("it has no type"));
    let names = ["cloudevents.event_id", "messaging.destination.name", "meshgate.outcome", "cloudevents.event_type"];
    assert_eq!(
        names.map(|name| attribute(&span, name)),
        [Some("7".into()), Some("a".into()), Some("rejected".into()), None]
    );
    assert_eq!(span.parent_span_id.to_string(), "b7ad6b7169203331");
}

#[test]
fn long_texts_are_cut() {
    let (traces, ended) = traces();
    drop(traces.open(Listener::Http, &mut [Ok(Arc::new(message(&format!("a{}", "ä".repeat(10_000)), None)))]));
    let id = attribute(&ended.try_recv().expect("a span"), "cloudevents.event_id");
    assert_eq!(id.map(|id| id.len()), Some(1023), "whole characters");
}

/// Takes nothing until it is let go.
#[derive(Debug)]
struct Stuck(std::sync::Mutex<Receiver<()>>);

impl SpanExporter for Stuck {
    async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().expect("no holder panics").recv().ok();
        Ok(())
    }
}

#[test]
fn what_the_queue_has_no_room_for_is_counted() {
    let dropped = EventCounter::default();
    let (go, waits) = sync_channel(1);
    let batches = Batches { queue: 3, most: 3, delay: Duration::from_secs(1) };
    let room = Room::new(batches.queue, dropped.clone());
    let queue = Queue::new(Stuck(waits.into()), room.clone(), batches);
    let traces = Traces::over(SdkTracerProvider::builder().with_span_processor(queue).build());
    for _ in 0..10 {
        drop(traces.open(Listener::Http, &mut [Ok(Arc::new(message("1", None)))]));
    }
    assert_eq!(dropped.get(), 7);
    room.leave(2);
    for _ in 0..3 {
        drop(traces.open(Listener::Http, &mut [Ok(Arc::new(message("1", None)))]));
    }
    assert_eq!(dropped.get(), 8);
    drop(go);
}
