use axum::http::HeaderValue;

use super::*;

#[test]
fn the_form_that_is_liked_best_is_chosen() {
    let (stream, page) = (Some(Form::Stream), Some(Form::Page));
    let batch = "application/cloudevents-batch+json";
    for (accept, expected) in [
        ("*/*".to_owned(), stream),
        ("text/event-stream".into(), stream),
        ("Text/Event-Stream; charset=utf-8".into(), stream),
        ("text/*".into(), stream),
        (batch.into(), page),
        (batch.to_uppercase(), page),
        ("application/*".into(), page),
        (format!("{batch}, text/event-stream"), stream),
        (format!("{batch}, */*"), stream),
        (format!("{batch}, */*;q=0.9"), page),
        (format!("{batch};q=0.5, text/event-stream;q=0.501"), stream),
        (format!("{batch};q=0.5, text/event-stream; q=0.499"), page),
        ("text/event-stream;q=0, */*".into(), page),
        ("text/event-stream;Q=0.000, */*;q=0.001".into(), page),
        ("text/html, */*;q=0.1".into(), stream),
        (format!("text/*;q=0.2, text/event-stream;q=0.1, {batch};q=0.15"), page),
        ("application/json".into(), None),
        ("text/event-stream;q=0".into(), None),
        ("*/*; q=0.0".into(), None),
        ("*/*;q=2".into(), None),
        ("*/*;q=0.1234".into(), None),
        ("*/*;q=0.+1".into(), None),
        ("*/*;q=-1".into(), None),
        ("text/event-streams".into(), None),
        ("*".into(), None),
        (String::new(), None),
    ] {
        let headers = [(header::ACCEPT, HeaderValue::from_str(&accept).expect("a header"))].into_iter().collect();
        assert_eq!(form(&headers).ok(), expected, "{accept}");
    }
    assert_eq!(form(&HeaderMap::new()).ok(), stream, "whoever does not say");
}

#[test]
fn several_headers_are_one_list() {
    let mut headers = HeaderMap::new();
    headers.append(header::ACCEPT, HeaderValue::from_static("text/event-stream;q=0.5"));
    headers.append(header::ACCEPT, HeaderValue::from_static("application/cloudevents-batch+json"));
    assert_eq!(form(&headers).ok(), Some(Form::Page));
}
