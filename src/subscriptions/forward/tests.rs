use super::*;

fn headers(all: &[(&str, &str)]) -> Headers {
    all.iter().map(|(name, value)| ((*name).into(), Bytes::copy_from_slice(value.as_bytes()))).collect()
}

#[test]
fn each_forwarding_counts_up_to_eight() {
    let mut now = headers(&[("traceparent", "00-1"), ("x", "1"), ("x", "2")]);
    for hop in 1..=8 {
        now = next_hop(&now).expect("it may go on");
        let hop = hop.to_string();
        assert_eq!(now, headers(&[("traceparent", "00-1"), ("x", "1"), ("x", "2"), ("meshgate-hops", &hop)]));
    }
    assert_eq!(next_hop(&now), None);
}

#[test]
fn a_count_that_is_none_counts_nothing() {
    for value in ["", "x", "12", "-1", "0"] {
        let next = next_hop(&headers(&[("meshgate-hops", value)]));
        assert_eq!(next, Some(headers(&[("meshgate-hops", "1")])), "{value}");
    }
    assert_eq!(next_hop(&headers(&[("meshgate-hops", "9")])), None);
    assert_eq!(next_hop(&headers(&[("meshgate-hops", "2"), ("meshgate-hops", "8")])), None);
}

#[test]
fn a_reason_is_one_that_an_attribute_may_be() {
    assert_eq!(&*reason("a\nb\u{7f}c"), "a b c");
    let long = reason(&"ä".repeat(2000));
    assert!(long.len() <= MAX_REASON && long.len() > MAX_REASON - 2);
}
