//! Structured events and batches, and bodies that no one here reads.

use super::{
    Case,
    wire::{EVENT, post},
};

/// The required members of an event.
const MEMBERS: &str = r#""specversion":"1.0","id":"bad","source":"/bad","type":"bad""#;
const DEPTH: usize = 100_000;

fn post_as(media_type: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    post(format!("content-type: {media_type}\r\n"), body)
}

fn structured(body: impl AsRef<[u8]>) -> Vec<u8> {
    post_as("application/cloudevents+json", body)
}

pub(super) fn cases() -> Vec<Case> {
    [broken(), members(), nested(), batches(), unsupported()].into_iter().flatten().collect()
}

/// What is no JSON object.
fn broken() -> Vec<Case> {
    let event = format!("{{{MEMBERS}}}");
    let with_bad_utf8 = [b"{", MEMBERS.as_bytes(), b",\"x\":\"\xFF\"}"].concat();
    let bodies: [(&str, Vec<u8>, &str); 14] = [
        ("no body", b"".to_vec(), "EOF while parsing a value"),
        ("truncated", event.as_bytes()[..event.len() - 1].to_vec(), "EOF while parsing an object"),
        ("truncated in a string", event.as_bytes()[..20].to_vec(), "EOF while parsing a string"),
        ("trailing text", format!("{event} x").into(), "trailing characters"),
        ("two objects", format!("{event}{event}").into(), "trailing characters"),
        ("a trailing comma", format!("{{{MEMBERS},}}").into(), "trailing comma"),
        ("single quotes", b"{'id':'bad'}".to_vec(), "key must be a string"),
        ("a byte-order mark", format!("\u{feff}{event}").into(), "expected value at line 1 column 1"),
        ("UTF-16", b"\xFF\xFE{\0}\0".to_vec(), "no UTF-8 after byte 0"),
        ("wrong UTF-8", with_bad_utf8, "no UTF-8 after byte"),
        ("a raw line break in a string", format!("{{{MEMBERS},\"x\":\"a\nb\"}}").into(), "control character"),
        ("an array", b"[]".to_vec(), "expected a JSON object"),
        ("null", b"null".to_vec(), "expected a JSON object"),
        ("a string", b"\"event\"".to_vec(), "expected a JSON object"),
    ];
    bodies.into_iter().map(|(name, body, says)| Case::refused(format!("structured: {name}"), structured(body), 400, says)).collect()
}

/// Objects with wrong members.
fn members() -> Vec<Case> {
    let whole = [
        ("{}", "`specversion` is missing"),
        (r#"{"specversion":"1.0","source":"/bad","type":"bad"}"#, "`id` is missing"),
        (r#"{"specversion":"1.0","id":null,"source":"/bad","type":"bad"}"#, "`id` is missing"),
        (r#"{"specversion":"1.0","id":1,"source":"/bad","type":"bad"}"#, "`id` must be a string"),
        (r#"{"specversion":1.0,"id":"bad","source":"/bad","type":"bad"}"#, "`specversion` must be a string"),
        (r#"{"specversion":"0.3","id":"bad"}"#, "`specversion` must be \"1.0\""),
        (r#"{"specversion":"1.0","id":"bad","source":"/bad","type":"io.meshgate.ack"}"#, "`type` must not begin with io.meshgate."),
    ];
    let more = [
        (r#""id":"again""#, "`id` is given more than once"),
        (r#""x":"a","x":null"#, "`x` is given more than once"),
        (r#""data":1,"data":2"#, "`data` is given more than once"),
        (r#""data":1,"data_base64":"AA==""#, "`data_base64` must not stand beside `data`"),
        (r#""data_base64":"A""#, "`data_base64` must be a string in base64"),
        (r#""data_base64":"A A=""#, "`data_base64` must be a string in base64"),
        (r#""data_base64":17"#, "`data_base64` must be a string in base64"),
        (r#""x":2147483648"#, "`x` must be a string, a boolean or an integer of 32 bits"),
        (r#""x":1.5"#, "`x` must be a string, a boolean or an integer of 32 bits"),
        (r#""x":{}"#, "`x` must be a string, a boolean or an integer"),
        (r#""x":["a"]"#, "`x` must be a string, a boolean or an integer"),
        (r#""X":"a""#, "`X` is no attribute name"),
        (r#""my_x":"a""#, "`my_x` is no attribute name"),
        (r#""":"a""#, "`` is no attribute name"),
        (r#""x":"\ud800""#, "`x` holds an escape that is no Unicode character"),
        (r#""x":"a\u0000""#, "`x` must not hold control characters"),
        (r#""subject":"""#, "`subject` must not be empty"),
        (r#""time":"yesterday""#, "`time` must be an RFC 3339 timestamp"),
        (r#""dataschema":"order.json""#, "`dataschema` must be an absolute URI"),
        (r#""datacontenttype":"json""#, "`datacontenttype` must be a media type"),
        (r#""datacontenttype":"text/plain","data":"\udc00""#, "`data` holds an escape that is no Unicode character"),
        (r#""data":NaN"#, "expected value"),
        (r#""data":01"#, "invalid number"),
        (r#""data":"#, "expected value"),
    ];
    let whole = whole.into_iter().map(|(text, says)| (text.to_owned(), says));
    let all = whole.chain(more.into_iter().map(|(text, says)| (format!("{{{MEMBERS},{text}}}"), says)));
    all.map(|(text, says)| Case::refused(format!("structured: {text}"), structured(&text), 400, says)).collect()
}

/// What would overflow the stack of a parser that recurses.
fn nested() -> Vec<Case> {
    let (open, close) = ("[".repeat(DEPTH), "]".repeat(DEPTH));
    let member = |name: &str, value: &str| format!("{{{MEMBERS},\"{name}\":{value}}}");
    vec![
        Case::refused("a deep array", structured(&open), 400, "expected a JSON object"),
        Case::refused("deep objects", structured("{\"a\":".repeat(DEPTH)), 400, "EOF while parsing"),
        Case::refused("a deep batch", post_as("application/cloudevents-batch+json", &open), 400, "EOF while parsing"),
        Case::refused("a deep attribute", structured(member("x", &format!("{open}{close}"))), 400, "attributes have no structure"),
        Case::refused("deep data, cut off", structured(member("data", &open)), 400, "expected value"),
        Case::stored("deep data", structured(member("data", &format!("{open}{close}")))),
    ]
}

fn batches() -> Vec<Case> {
    let batch = |body: String| post_as("application/cloudevents-batch+json", body);
    let event = format!("{{{MEMBERS}}}");
    let refused = [
        (String::new(), "EOF while parsing a value"),
        ("{}".into(), "expected a sequence"),
        (event.clone(), "expected a sequence"),
        ("null".into(), "expected a sequence"),
        (format!("[{event}"), "EOF while parsing a list"),
        (format!("[{event},]"), "trailing comma"),
        (format!("[{event}]]"), "trailing characters"),
        (format!("[[{event}]]"), "expected a JSON object"),
        ("[17]".into(), "expected a JSON object"),
        (format!("[{}]", ["17"; 2_000].join(",")), "more than 1000 elements of the batch are no events"),
    ];
    let mut cases: Vec<_> = refused
        .into_iter()
        .map(|(body, says)| Case::refused(format!("batch: {body:.60}"), batch(body), 400, says))
        .collect();
    for (bad, says) in [("{}", "`specversion` is missing"), ("null", "expected a JSON object")] {
        let one_of_three = batch(format!("[{event},{bad},{event}]"));
        cases.push(Case { stores: 2, ..Case::refused(format!("batch: {bad} between two events"), one_of_three, 400, says) });
    }
    cases
}

fn unsupported() -> Vec<Case> {
    let event = format!("{{{MEMBERS}}}");
    let formats = [
        "application/cloudevents+xml",
        "application/cloudevents",
        "application/cloudevents-batch+xml",
        "application/cloudevents+json; charset=utf-16",
        "application/cloudevents+json;charset=\"iso-8859-1\"",
    ];
    let encodings = ["gzip", "br", "identity, gzip", "identity\r\ncontent-encoding: gzip"];
    let formats = formats.into_iter().map(|format| Case::refused(format, post_as(format, &event), 415, "cloudevents"));
    let encodings = encodings.into_iter().map(|encoding| {
        let request = post(format!("{EVENT}content-encoding: {encoding}\r\n"), "\x1F\u{8B}");
        Case::refused(format!("content-encoding: {}", encoding.escape_debug()), request, 415, "is not read")
    });
    formats.chain(encodings).collect()
}
