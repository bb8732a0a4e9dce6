//! An expression in CloudEvents SQL, and after a line break a text that an attribute of the event holds: it is evaluated or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshgate::cesql::Expression;
use meshgate_api::event::Event;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (expression, subject) = text.split_once('\n').unwrap_or((text, "x"));
    let event = Event {
        id: "1".into(),
        source: "/s".into(),
        kind: "com.acme.order".into(),
        subject: Some(subject.into()),
        ..Event::default()
    };
    if let Ok(expression) = Expression::compile(expression) {
        let once = expression.evaluate(&event);
        assert_eq!(once.error.is_none(), expression.evaluate(&event).error.is_none());
    }
});
