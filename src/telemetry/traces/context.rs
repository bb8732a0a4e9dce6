//! W3C Trace Context (level 1, and the random flag of level 2) in the transport headers of a message.

use bytes::Bytes;
use meshgate_api::{Str, message::Headers};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// `sampled` and `random`: the flags that travel on.
const KNOWN_FLAGS: u8 = 0b11;
/// Bytes of a state that everyone keeps.
const STATE: usize = 512;

/// The context that a message arrived with; without one that can be read, a trace begins here.
pub(super) fn read(headers: &Headers) -> Option<SpanContext> {
    let mut parents = values(headers, TRACEPARENT);
    match (parents.next().and_then(parse), parents.next()) {
        (Some((trace, span, flags)), None) => Some(SpanContext::new(trace, span, flags, true, state(headers))),
        _ => None,
    }
}

/// Lets `context` travel on in place of the one that the message arrived with. The state is the trace's, and stays; where another trace
/// begins, it goes.
pub(super) fn write(headers: &mut Headers, context: &SpanContext) {
    let is_continued = read(headers).is_some_and(|arrived| arrived.trace_id() == context.trace_id());
    headers.retain(|(name, _)| name != TRACEPARENT && (is_continued || name != TRACESTATE));
    let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags());
    let text = format!("00-{trace}-{span}-{flags:02x}");
    headers.push((Str::from_static(TRACEPARENT), Bytes::from(text)));
}

fn values<'a>(headers: &'a Headers, name: &'static str) -> impl Iterator<Item = &'a str> {
    headers
        .iter()
        .filter(move |(known, _)| known == name)
        .map(|(_, value)| std::str::from_utf8(value).unwrap_or_default()) // an empty one cannot be read either
}

/// `version "-" trace-id "-" parent-id "-" trace-flags`, all in lower-case hexadecimal; a later version may say more behind it.
fn parse(text: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let text = text.trim_ascii();
    let (known, more) = text.split_at_checked(55)?;
    let mut fields = known.split('-');
    let mut field = |digits: usize| {
        let is_hex = |field: &&str| field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        fields.next().filter(|field| field.len() == digits).filter(is_hex)
    };
    let (version, trace, span, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
    let may_end_here = more.is_empty() || (version != "00" && more.starts_with('-'));
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()? & KNOWN_FLAGS);
    let is_valid = version != "ff" && trace != TraceId::INVALID && span != SpanId::INVALID;
    (may_end_here && is_valid).then_some((trace, span, flags))
}

/// What cannot be read, or is longer than must be kept, is not kept with the span; the header travels on all the same.
fn state(headers: &Headers) -> TraceState {
    let all = values(headers, TRACESTATE).collect::<Vec<_>>().join(",");
    if all.len() > STATE { TraceState::NONE } else { all.parse().unwrap_or_default() }
}

#[cfg(test)]
mod tests;
