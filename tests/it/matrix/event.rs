//! The events that go through, and what they are to look like in JSON.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// Of every id here: not of those that the gateway gives.
const PREFIX: &str = "matrix ä€ ";

/// One event's data, and whether it has all attributes or only those that it must have.
pub struct Case {
    pub name: &'static str,
    pub media_type: Option<&'static str>,
    pub data: Option<Vec<u8>>,
    is_full: bool,
}

/// JSON whose spelling would not survive a JSON library, text, bytes, nothing, and much.
pub fn cases() -> Vec<Case> {
    let case = |name, media_type, data: Option<&[u8]>, is_full| Case {
        name,
        media_type,
        data: data.map(<[u8]>::to_vec),
        is_full,
    };
    let much: Vec<u8> = (0_u32..900 << 10).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    vec![
        case("json", Some("application/json"), Some(br#"{"order_id":  1.0, "a":[1e2, "\u00e4"]}"#), true),
        case("text", Some("text/plain; charset=utf-8"), Some("Zürich €\nsecond line".as_bytes()), true),
        case("binary", Some("application/octet-stream"), Some(&[0, 255, 1, 254, 10, 13]), false),
        case("empty", Some("text/plain"), Some(b""), true),
        case("none", None, None, false),
        case("900 KiB", Some("application/octet-stream"), Some(&much), true),
    ]
}

impl Case {
    pub fn id(&self, form: &str) -> String {
        format!("{PREFIX}{form} {}", self.name)
    }

    pub fn is_own(id: &str) -> bool {
        id.starts_with(PREFIX)
    }

    /// Attribute names and values but the media type.
    pub fn attributes(&self, form: &str) -> Vec<(&'static str, String)> {
        let mut all = vec![("specversion", "1.0".to_owned()), ("id", self.id(form))];
        all.extend(
            [("source", "/shop?a=%20"), ("type", "com.example.Zürich")].map(|(name, value)| (name, value.to_owned())),
        );
        if self.is_full {
            let optional = [
                ("subject", "order 1/€"),
                ("time", "2018-04-05T17:31:00.10+02:00"),
                ("dataschema", "urn:x:y"),
                ("city", "Zürich € \"1\" 100%"),
            ];
            all.extend(optional.map(|(name, value)| (name, value.to_owned())));
        }
        all
    }

    fn is_json(&self) -> bool {
        self.media_type == Some("application/json")
    }

    fn is_text(&self) -> bool {
        self.media_type.is_some_and(|media_type| media_type.starts_with("text/"))
    }

    /// As a structured event, its data spelled as it is.
    pub fn structured(&self, form: &str) -> String {
        let mut members: Vec<String> =
            self.attributes(form).iter().map(|(name, value)| format!("{}:{}", json!(name), json!(value))).collect();
        members.extend(self.media_type.map(|media_type| format!("\"datacontenttype\":{}", json!(media_type))));
        members.extend(self.data.as_ref().map(|data| {
            if self.is_json() {
                format!("\"data\":{}", String::from_utf8_lossy(data))
            } else if self.is_text() {
                format!("\"data\":{}", json!(String::from_utf8_lossy(data)))
            } else {
                format!("\"data_base64\":\"{}\"", STANDARD.encode(data))
            }
        }));
        format!("{{{}}}", members.join(","))
    }

    /// As readers get it.
    pub fn expected(&self, form: &str) -> Value {
        serde_json::from_str(&self.structured(form)).expect("JSON")
    }

    /// As readers get what has no attributes of its own: data and media type.
    pub fn expected_plain(&self) -> Value {
        let whole = self.expected("plain");
        json!({ "datacontenttype": whole["datacontenttype"], "data": whole["data"], "data_base64": whole["data_base64"] })
    }
}

impl Case {
    /// As readers get what has neither attributes nor a media type.
    pub fn expected_untyped(&self) -> Value {
        let data = STANDARD.encode(self.data.as_deref().unwrap_or_default());
        json!({ "datacontenttype": null, "data": null, "data_base64": data })
    }
}

/// What identifies a plain message, whose id the gateway gives: its data.
pub fn plain_id(event: &Value) -> String {
    let data = [&event["datacontenttype"], &event["data"], &event["data_base64"]].map(Value::to_string).concat();
    format!("plain {data}")
}
