use super::*;

#[test]
fn tells_json_from_text_from_bytes() {
    for (media_type, json, text) in [
        ("application/json", true, false),
        ("Application/JSON; charset=utf-8", true, false),
        ("text/json", true, true),
        ("application/vnd.acme.order+json;v=2", true, false),
        ("application/cloudevents+JSON", true, false),
        ("application/jsonl", false, false),
        ("application/json-patch", false, false),
        ("text/plain", false, true),
        ("TEXT/csv ; header=present", false, true),
        ("application/xml", false, true),
        ("image/svg+xml", false, true),
        ("application/yaml", false, true),
        ("application/x-www-form-urlencoded", false, true),
        ("application/octet-stream", false, false),
        ("json", false, false),
        ("", false, false),
    ] {
        assert_eq!((is_json(media_type), is_text(media_type)), (json, text), "{media_type}");
    }
}

#[test]
fn charset_decides_whether_text_keeps_its_bytes() {
    for (media_type, ascii, other) in [
        ("text/plain", true, true),
        ("text/plain; charset=UTF-8", true, true),
        ("text/plain;charset=\"utf-8\"", true, true),
        ("text/plain; format=flowed; Charset=us-ascii", true, false),
        ("text/plain; charset=iso-8859-1", true, false),
        ("application/json; charset=utf-16", false, false),
        ("text/plain; charset", true, true),
    ] {
        assert_eq!((charset_holds(media_type, "a"), charset_holds(media_type, "ä")), (ascii, other), "{media_type}");
    }
}

#[test]
fn knows_event_formats() {
    for (media_type, format) in [
        ("application/cloudevents+json", true),
        ("Application/CloudEvents-batch+json; charset=utf-8", true),
        ("application/cloudevents", true),
        ("application/cloudevent", false),
        ("application/json", false),
        ("application/cloudevenß", false),
    ] {
        assert_eq!(is_event_format(media_type), format, "{media_type}");
    }
}
