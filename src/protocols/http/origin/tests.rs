use axum::http::Request;

use super::*;

/// A request for `target` with these headers.
fn request(target: &str, headers: &[(&str, &str)]) -> Parts {
    let request = Request::get(target);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(()).expect("a request").into_parts().0
}

fn listed() -> Vec<String> {
    ["https://app.example", "http://localhost:3000"].map(str::to_owned).into()
}

#[test]
fn whose_page_it_is() {
    let page = |origin: &'static str| Some(Origin::Listed(HeaderValue::from_static(origin)));
    for (origin, host, expected) in [
        ("https://app.example", "gw.example", page("https://app.example")),
        ("http://localhost:3000", "localhost:8080", page("http://localhost:3000")),
        ("http://gw.example", "gw.example", Some(Origin::Own)),
        ("http://gw.example", "GW.example:80", Some(Origin::Own)),
        ("https://gw.example", "gw.example:443", Some(Origin::Own)),
        ("https://gw.example", "gw.example", Some(Origin::Own)),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", Some(Origin::Own)),
        ("http://[::1]:8080", "[::1]:8080", Some(Origin::Own)),
        ("http://127.0.0.1:8081", "127.0.0.1:8080", None),
        ("http://gw.example", "gw.example:443", None),
        ("http://evil.example", "gw.example", None),
        ("https://app.example.evil.example", "gw.example", None),
        ("https://app.example:444", "gw.example", None),
        ("http://app.example", "gw.example", None),
        ("HTTPS://app.example", "gw.example", None),
        ("https://gw.example/", "gw.example", None),
        ("file://gw.example", "gw.example", None),
        ("gw.example", "gw.example", None),
        ("null", "gw.example", None),
        ("", "gw.example", None),
        ("https://", "", None),
    ] {
        let origin_of = Origin::of(&request("/channels/a", &[("origin", origin), ("host", host)]), &listed());
        assert_eq!(origin_of.ok(), expected, "{origin} at {host}");
    }
}

#[test]
fn http_2_names_its_host_in_the_target() {
    let own = request("http://gw.example:8080/channels/a", &[("origin", "http://gw.example:8080")]);
    assert_eq!(Origin::of(&own, &[]).ok(), Some(Origin::Own));
    let other = request("http://gw.example:8080/channels/a", &[("origin", "http://b.example"), ("host", "b.example")]);
    assert_eq!(Origin::of(&other, &[]).ok(), None, "the target counts");
}

#[test]
fn null_must_be_listed_and_two_are_none() {
    let null = request("/", &[("origin", "null"), ("host", "a")]);
    assert!(Origin::of(&null, &["null".into()]).is_ok() && Origin::of(&null, &listed()).is_err());
    let two = request("/", &[("origin", "https://app.example"), ("origin", "http://a"), ("host", "a")]);
    assert!(Origin::of(&two, &listed()).is_err());
    assert_eq!(Origin::of(&request("/", &[("host", "a")]), &[]).ok(), Some(Origin::None));
}
