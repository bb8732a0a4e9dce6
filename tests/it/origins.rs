//! Which web pages may use the HTTP listener, as a browser asks.

use reqwest::{Method, Response, header::HeaderMap};

use crate::harness::{
    gateway::{Gateway, problem},
    page::Page,
};

const PAGE: &str = "https://app.example";

fn start() -> Gateway {
    Gateway::start(
        r##"
listeners:
  http: { address: "127.0.0.1:0", origins: ["https://app.example", "http://localhost:3000"] }
  admin: { address: "127.0.0.1:0" }
connectors: { memory: { kind: memory } }
routes: [{ name: all, channel: "a/#", to: [{ connector: memory, topic: "{channel}" }] }]
"##,
    )
}

async fn send(gateway: &Gateway, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let request = gateway.client.request(method, format!("{}{path}", gateway.url));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.expect("an answer")
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
}

#[tokio::test]
async fn other_pages_are_refused_before_anything_happens() {
    let gateway = start();
    for origin in ["https://evil.example", "null", "http://app.example", "https://app.example:444"] {
        for (method, path) in [
            (Method::POST, "/channels/a/b"),
            (Method::GET, "/channels/a/b"),
            (Method::OPTIONS, "/channels/a/b"),
            (Method::GET, "/nothing"),
        ] {
            let headers = [("origin", origin), ("access-control-request-method", "POST")];
            let refused = send(&gateway, method.clone(), path, &headers).await;
            assert!(!refused.headers().contains_key("access-control-allow-origin"));
            assert_eq!(text(refused.headers(), "vary"), "origin");
            let refused = problem(refused).await;
            assert_eq!(refused["status"], 403, "{method} {path} of {origin}: {refused}");
            assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("listeners.http.origins")));
        }
        let websocket = [
            ("origin", origin),
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ];
        assert_eq!(send(&gateway, Method::GET, "/channels/a/b", &websocket).await.status(), 403, "{origin}");
    }
    assert!(Page::read(&gateway, "a/**").await.events.is_empty());
}

#[tokio::test]
async fn listed_pages_may_read_every_answer() {
    let gateway = start();
    let own = gateway.url.clone();
    for (method, path, more, status) in [
        (Method::POST, "/channels/a/b", ("content-type", "text/plain"), 202),
        (Method::POST, "/channels/c", ("content-type", "text/plain"), 404),
        (Method::POST, "/channels/a/b?x=1", ("content-type", "text/plain"), 400),
        (Method::DELETE, "/channels/a/b", ("accept", "*/*"), 405),
        (Method::OPTIONS, "/channels/a/b", ("accept", "*/*"), 405),
        (Method::GET, "/nothing", ("accept", "*/*"), 404),
        (Method::GET, "/channels/a/b", ("accept", "text/html"), 406),
        (Method::GET, "/channels/a/b?limit=1&from=earliest", ("accept", "text/event-stream"), 200),
        (Method::GET, "/channels/a/b", ("accept", "application/cloudevents-batch+json"), 200),
    ] {
        for origin in [PAGE, "http://localhost:3000"] {
            let answer = send(&gateway, method.clone(), path, &[("origin", origin), more]).await;
            assert_eq!(answer.status(), status, "{method} {path}");
            let headers = answer.headers();
            assert_eq!(text(headers, "access-control-allow-origin"), origin);
            assert_eq!(text(headers, "vary"), "origin");
            let exposed = text(headers, "access-control-expose-headers");
            for name in ["meshgate-cursor", "link", "meshgate-end", "retry-after", "location"] {
                assert!(exposed.split(", ").any(|exposed| exposed == name), "{name} in {exposed}");
            }
        }
        for headers in [&[("origin", &*own), more][..], &[more]] {
            let answer = send(&gateway, method.clone(), path, headers).await;
            assert_eq!(answer.status(), status, "the host's own page, or no page: {method} {path}");
            assert!(!answer.headers().contains_key("access-control-allow-origin"));
        }
    }
}

#[tokio::test]
async fn a_browser_may_ask_first() {
    let gateway = start();
    let asked = "ce-id, ce-source, ce-specversion, ce-type, content-type, last-event-id";
    let headers =
        [("origin", PAGE), ("access-control-request-method", "POST"), ("access-control-request-headers", asked)];
    for path in ["/channels/a/b", "/", "/channels?channel=a", "/openapi.json"] {
        let answer = send(&gateway, Method::OPTIONS, path, &headers).await;
        assert_eq!(answer.status(), 204, "{path}");
        let headers = answer.headers();
        assert_eq!(text(headers, "access-control-allow-origin"), PAGE);
        assert_eq!(text(headers, "access-control-allow-methods"), "GET, HEAD, POST");
        assert_eq!(text(headers, "access-control-allow-headers"), asked);
        assert!(text(headers, "vary").contains("origin"));
    }
    let answer = send(&gateway, Method::OPTIONS, "/channels/a", &headers[..2]).await;
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("access-control-allow-headers")), (204, false));
}

#[tokio::test]
async fn without_a_list_only_the_host_itself_is_served() {
    let gateway = Gateway::memory();
    assert_eq!(send(&gateway, Method::POST, "/channels/a", &[("origin", PAGE)]).await.status(), 403);
    let answer = send(&gateway, Method::POST, "/channels/a", &[("origin", &gateway.url)]).await;
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("vary")), (202, false));
}
