use super::*;

fn frame(kind: &str, data: &str) -> Bytes {
    format!(r#"{{"specversion":"1.0","id":"1","source":"/c","type":"{kind}","data":{data}}}"#).into()
}

#[test]
fn settles() {
    let cases = [
        ("ack", r#"{"deliverytags":[1,"2"]}"#, vec![1, 2], Verdict::Ack),
        ("nack", r#"{"deliverytags":[7]}"#, vec![7], Verdict::Nack(None)),
        ("nack", r#"{"deliverytags":[7],"after":"5s"}"#, vec![7], Verdict::Nack(Some(Duration::from_secs(5)))),
        ("reject", r#"{"deliverytags":[7]}"#, vec![7], Verdict::Reject(String::new())),
        ("reject", r#"{"deliverytags":[7],"reason":"no"}"#, vec![7], Verdict::Reject("no".into())),
    ];
    for (kind, data, tags, verdict) in cases {
        let decoded = decode(&frame(&format!("io.meshgate.{kind}"), data));
        assert_eq!(decoded, Ok(Frame::Settling(Settling { id: "1".into(), tags, verdict })), "{kind} {data}");
    }
}

#[test]
fn says_what_is_wrong_with_a_settling() {
    let cases = [
        ("ack", "{}", "missing field `deliverytags`"),
        ("ack", "7", "must be {\"deliverytags\": […]}"),
        ("ack", r#"{"deliverytags":[1],"after":"5s"}"#, "`after` is for a nack"),
        ("ack", r#"{"deliverytags":["x"]}"#, "`x` is no delivery tag"),
        ("nack", r#"{"deliverytags":[1],"after":"soon"}"#, "`after: soon`"),
        ("nack", r#"{"deliverytags":[1],"reason":"no"}"#, "`reason` for a reject"),
        ("reject", r#"{"deliverytags":[-1]}"#, "deliverytags"),
        ("ack", r#"{"deliverytags":[1],"tags":[2]}"#, "unknown field `tags`"),
    ];
    for (kind, data, expected) in cases {
        let error = decode(&frame(&format!("io.meshgate.{kind}"), data)).expect_err(data);
        assert!(error.detail.contains(expected), "{kind} {data}: {}", error.detail);
        assert_eq!(error.id.as_deref(), Some("1"));
    }
}

#[test]
fn other_types_of_the_gateway_are_refused() {
    for kind in ["io.meshgate.receipt", "io.meshgate.error", "io.meshgate.acks"] {
        assert!(decode(&frame(kind, "{}")).is_err(), "{kind}");
    }
    assert!(matches!(decode(&frame("io.meshgate.raw", "{}")), Ok(Frame::Event(_))));
}
