use super::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn headers(pairs: &[(&'static str, &str)]) -> Headers {
    pairs.iter().map(|(name, value)| (Str::from_static(name), Bytes::copy_from_slice(value.as_bytes()))).collect()
}

#[test]
fn a_context_is_read_as_w3c_says() {
    let long = |more: &str| format!("{TRACE}-{SPAN}{more}");
    for (value, flags) in [
        (format!("00-{}", long("-01")), Some(1)),
        (format!("00-{}", long("-00")), Some(0)),
        (format!(" 00-{} ", long("-01")), Some(1)),
        // The flags that nobody knows yet do not travel on; `random` does.
        (format!("00-{}", long("-ff")), Some(3)),
        (format!("01-{}", long("-01")), Some(1)),
        (format!("cc-{}", long("-01-what-comes-one-day")), Some(1)),
        (format!("cc-{}", long("-01.what")), None),
        (format!("00-{}", long("-01-more")), None),
        (format!("00-{}", long("-01-")), None),
        (format!("ff-{}", long("-01")), None),
        (format!("00-{}", long("")), None),
        (format!("00-{}", long("-1")), None),
        (format!("00-{}", long("-0g")), None),
        (format!("00-{}", long("-01").to_uppercase()), None),
        (format!("00-{}-{SPAN}-01", "0".repeat(32)), None),
        (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
        (format!("00-{TRACE}ab-{}-01", &SPAN[2..]), None),
        (format!("00-+{}-{SPAN}-01", &TRACE[1..]), None),
        (format!("00-ä{}-{SPAN}-01", &TRACE[2..]), None),
        ("ä".repeat(30), None),
        (String::new(), None),
    ] {
        let context = read(&headers(&[("other", "x"), ("traceparent", &value)]));
        assert_eq!(context.as_ref().map(|context| context.trace_flags().to_u8()), flags, "{value:?}");
        if let Some(context) = context {
            assert_eq!((context.trace_id().to_string(), context.span_id().to_string()), (TRACE.into(), SPAN.into()));
            assert!(context.is_remote(), "{value:?}");
        }
    }
}

#[test]
fn two_parents_are_none() {
    let parent = format!("00-{TRACE}-{SPAN}-01");
    assert_eq!(read(&headers(&[("traceparent", &parent), ("traceparent", &parent)])), None);
}

#[test]
fn the_state_of_a_trace_is_one_list() {
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let state = |headers| read(&headers).map(|context| context.trace_state().header());
    let two = headers(&[("tracestate", "a=1"), ("traceparent", &parent), ("tracestate", "b=2,c=3")]);
    assert_eq!(state(two).as_deref(), Some("a=1,b=2,c=3"));
    let long = format!("a={}", "x".repeat(250));
    let three = [
        ("tracestate", &*long),
        ("traceparent", &*parent),
        ("tracestate", &*long.replace('a', "b")),
        ("tracestate", "c=3456789"),
    ];
    assert_eq!(state(headers(&three[..3])).map(|state| state.len()), Some(505));
    assert_eq!(state(headers(&three)).as_deref(), Some(""), "515 bytes");
    assert_eq!(state(headers(&[("tracestate", "no list"), ("traceparent", &parent)])).as_deref(), Some(""));
}

#[test]
fn what_travels_on_is_the_spans_own_context() {
    let span = SpanId::from_hex("00f067aa0ba902b7").expect("an id");
    let parent = format!("00-{TRACE}-{SPAN}-03");
    let arrived = headers(&[("tracestate", "a=1"), ("traceparent", &parent), ("x", "y"), ("tracestate", "b=2")]);
    let continued = read(&arrived).expect("a context");
    let continued = SpanContext::new(continued.trace_id(), span, continued.trace_flags(), false, TraceState::NONE);
    let mut goes_on = arrived;
    write(&mut goes_on, &continued);
    let own = format!("00-{TRACE}-00f067aa0ba902b7-03");
    assert_eq!(goes_on, headers(&[("tracestate", "a=1"), ("x", "y"), ("tracestate", "b=2"), ("traceparent", &own)]));

    // The state of a trace that could not be continued means nothing to another one.
    let mut goes_on = headers(&[("traceparent", "broken"), ("tracestate", "a=1"), ("x", "y")]);
    write(&mut goes_on, &continued);
    assert_eq!(goes_on, headers(&[("x", "y"), ("traceparent", &own)]));
}
