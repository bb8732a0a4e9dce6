//! `cloudevents-sdk` reads what is written here, and writes what is read here.

use ::cloudevents::{AttributesReader, Data, Event as SdkEvent};

use super::*;

fn ascii_events() -> impl Strategy<Value = Event> {
    let datas = prop_oneof![
        Just((None, None)),
        Just((Some("application/json"), Some("{\"b\":[1,2.5,null],\"a\":\"x\"}"))),
        Just((Some("application/vnd.acme+json"), Some("\"text\""))),
        Just((Some("text/plain"), Some("a \"quoted\" text"))),
        Just((Some("application/octet-stream"), Some("\u{1}bytes"))),
    ];
    let extensions = proptest::collection::btree_map("[a-z0-9]{13,15}", values(), 0..5);
    ("[ -~]{1,9}", proptest::option::of("[ -~]{1,9}"), extensions, datas).prop_map(
        |(id, subject, extensions, (media_type, data))| Event {
            id: id.into(),
            subject: subject.map(Into::into),
            time: Some("2018-04-05T17:31:00Z".into()),
            extensions: extensions.into_iter().map(|(name, value)| (name.into(), value)).collect(),
            datacontenttype: media_type.map(Into::into),
            data: data.map(bytes),
            ..bare()
        },
    )
}

/// The data, whichever way the other crate keeps it; JSON with its members in order.
fn plain(data: Option<&Data>) -> Option<Vec<u8>> {
    data.map(|data| Vec::try_from(data.clone()).expect("JSON is written"))
}

/// As serde_json writes it.
fn reordered(event: &Event) -> Option<Vec<u8>> {
    let data = event.data.as_ref()?;
    match &event.datacontenttype {
        Some(media_type) if crate::media::is_json(media_type) => {
            let json: serde_json::Value = serde_json::from_slice(data).expect("is JSON");
            Some(json.to_string().into_bytes())
        }
        _ => Some(data.to_vec()),
    }
}

proptest! {
    #[test]
    fn it_reads_what_is_written_here(event in ascii_events()) {
        let theirs: SdkEvent = serde_json::from_str(&encoded(&event)).expect("it reads the event");
        prop_assert_eq!(theirs.id(), &*event.id);
        prop_assert_eq!(theirs.source(), &*event.source);
        prop_assert_eq!(theirs.ty(), &*event.kind);
        prop_assert_eq!(theirs.subject(), event.subject.as_deref());
        prop_assert_eq!(theirs.datacontenttype(), event.datacontenttype.as_deref());
        prop_assert_eq!(theirs.iter_extensions().count(), event.extensions.len());
        for (name, value) in &event.extensions {
            let theirs = theirs.extension(name).map(ToString::to_string);
            prop_assert_eq!(theirs.as_deref(), Some(&*value.canonical()));
        }
        prop_assert_eq!(plain(theirs.data()), reordered(&event));
    }

    #[test]
    fn what_it_writes_is_read_here(event in ascii_events()) {
        let theirs = SdkEvent::try_from(event.clone()).expect("it takes the event");
        let text = serde_json::to_string(&theirs).expect("it writes the event");
        let mut read = decode(&bytes(&text)).expect("is read");
        read.extensions.sort_by(|(one, _), (other, _)| one.as_bytes().cmp(other.as_bytes()));
        prop_assert!(read.time.take().is_some_and(|time| time.starts_with("2018-04-05T17:31:00")));
        prop_assert_eq!(*read, Event { time: None, ..event });
    }
}
