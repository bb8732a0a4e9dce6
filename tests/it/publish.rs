//! Publishing over HTTP, on memory: content modes, answers, fan-out.

use serde_json::{Value, json};

use crate::harness::{
    gateway::{Gateway, problem},
    sse::Stream,
};

const ROUTES: &str = r##"
connectors:
  memory: { kind: memory }
routes:
  - name: tap
    channel: "#"
    continue: true
    filters: [{ prefix: { type: com.example.copied } }]
    to: [{ connector: memory, topic: "copies/{channel}" }]
  - name: orders
    channel: "orders/{region}"
    filters: [{ any: [{ exact: { type: com.example.order } }, { not: { prefix: { source: /foreign } } }] }]
    to:
      - { connector: memory, topic: "orders.{region}", key: "{subject|}" }
      - { connector: memory, topic: "second.{region}" }
  - name: wrapped
    channel: "sensors/{device}/#"
    wrap: { type: com.example.reading, source: "/devices/{device}", datacontenttype: application/json }
    to: [{ connector: memory, topic: readings }]
  - { name: tenants, channel: tenants, to: [{ connector: memory, topic: "t-{tenant}" }] }
  - { name: rest, channel: "rest/#", to: [{ connector: memory, topic: "{channel}" }] }
"##;

async fn representation(request: reqwest::RequestBuilder) -> Value {
    let answer = request.header("prefer", "return=representation").send().await.expect("an answer");
    assert_eq!(answer.status(), 202);
    serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON")
}

#[tokio::test]
async fn answers_202_and_on_request_where_it_is_stored() {
    let gateway = Gateway::start(ROUTES);
    let answer = gateway.event("orders/eu", "1").body("x").send().await.expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.content_length()), (202, Some(0)));
    let stored = representation(gateway.event("orders/eu", "2").body("x")).await;
    assert_eq!(stored["events"][0]["id"], "2");
    assert_eq!(stored["events"][0]["route"], "orders");
    let topics: Vec<_> =
        stored["events"][0]["stored"].as_array().expect("a list").iter().map(|at| at["topic"].clone()).collect();
    assert_eq!(topics, ["orders.eu", "second.eu"]);
    assert!(stored["events"][0]["stored"][0]["position"].is_string());
}

#[tokio::test]
async fn takes_every_content_mode() {
    let gateway = Gateway::memory();
    let mut stream = Stream::open(&gateway, "modes").await;
    let url = gateway.channel_url("modes");
    let post = |kind: &str, body: &str| gateway.client.post(&url).header("content-type", kind).body(body.to_owned());
    let binary = gateway.event("modes", "bin").header("ce-subject", "caf%C3%A9").header("ce-n", "1");
    let structured =
        r#"{"specversion":"1.0","id":"str","source":"/s","type":"t","n":1,"b":true,"data":{"z": 1.0,"a":[1e2]}}"#;
    let batch = r#"[{"specversion":"1.0","id":"b1","source":"/s","type":"t"},{"specversion":"1.0","id":"b2","source":"/s","type":"t","data_base64":"AAE="}]"#;
    for request in [
        binary.header("content-type", "application/json").body("{\"k\":  1}"),
        post("application/cloudevents+json; charset=utf-8", structured),
        post("application/cloudevents-batch+json", batch),
        post("application/cloudevents-batch+json", "[]"),
        post("text/plain", "plain text"),
        gateway.client.post(&url),
    ] {
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap_or_default());
    }
    let events = stream.events(6).await;
    assert_eq!(events[0]["subject"], "café");
    assert_eq!((&events[0]["n"], &events[1]["n"], &events[1]["b"]), (&json!("1"), &json!(1), &json!(true)));
    assert_eq!((&events[0]["data"], &events[1]["data"]), (&json!({"k": 1}), &json!({"z": 1.0, "a": [100.0]})));
    assert_eq!((&events[2]["id"], &events[3]["data_base64"]), (&json!("b1"), &json!("AAE=")));
    assert_eq!(
        (&events[4]["type"], &events[4]["source"], &events[4]["data"]),
        (&json!("io.meshgate.raw"), &json!("/http"), &json!("plain text"))
    );
    assert!(events[5].get("data").is_none() && events[5].get("data_base64").is_none(), "no data: {}", events[5]);
}

#[tokio::test]
async fn json_data_is_carried_as_it_was_written() {
    let gateway = Gateway::memory();
    let mut stream = Stream::open(&gateway, "bytes").await;
    let data = "{ \"z\" : 1.000,\n\t\"a\":\"\\u00e9\" }";
    let request = gateway.event("bytes", "1").header("content-type", "application/json").body(data);
    assert_eq!(request.send().await.expect("an answer").status(), 202);
    let line = stream.block().await.and_then(|block| block.data).expect("an event");
    assert!(line.ends_with(&format!("\"data\":{}}}", data.replace('\n', " "))), "{line}");
}

#[tokio::test]
async fn wraps_what_is_no_event_as_its_route_says() {
    let gateway = Gateway::start(ROUTES);
    let mut stream = Stream::open(&gateway, "sensors/*/**").await;
    let answer =
        gateway.client.post(gateway.channel_url("sensors/dev%201/t")).body("21.5").send().await.expect("an answer");
    assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap_or_default());
    let event = stream.events(1).await.remove(0);
    assert_eq!(
        (&event["type"], &event["source"], &event["data"]),
        (&json!("com.example.reading"), &json!("/devices/dev%201"), &json!(21.5))
    );
}

#[tokio::test]
async fn refuses_what_no_route_takes_or_no_template_can_place() {
    let gateway = Gateway::start(ROUTES);
    assert_eq!(problem(gateway.event("nowhere", "1").send().await.expect("an answer")).await["status"], 404);
    let missing = problem(gateway.event("tenants", "1").send().await.expect("an answer")).await;
    assert_eq!((&missing["status"], &missing["id"]), (&json!(400), &json!("1")));
    assert!(missing["detail"].as_str().is_some_and(|detail| detail.contains("tenant")), "{missing}");
    let stored = representation(gateway.event("tenants", "1").header("ce-tenant", "acme")).await;
    assert_eq!(stored["events"][0]["stored"][0]["topic"], "t-acme");
}

#[tokio::test]
async fn a_batch_tells_the_fate_of_each_event() {
    let gateway = Gateway::start(ROUTES);
    let batch = r#"[{"specversion":"1.0","id":"good","source":"/s","type":"t","tenant":"a"},
                    {"specversion":"1.0","id":"no type","source":"/s","tenant":"a"},
                    {"specversion":"1.0","id":"no tenant","source":"/s","type":"t"}]"#;
    let request = gateway
        .client
        .post(gateway.channel_url("tenants"))
        .header("content-type", "application/cloudevents-batch+json");
    let problem = problem(request.body(batch).send().await.expect("an answer")).await;
    assert_eq!(problem["status"], 400);
    let fates: Vec<_> =
        problem["events"].as_array().expect("a list").iter().map(|fate| (&fate["id"], &fate["outcome"])).collect();
    assert_eq!(
        fates,
        [
            (&json!("good"), &json!("stored")),
            (&json!("no type"), &json!("rejected")),
            (&json!("no tenant"), &json!("rejected"))
        ]
    );
    assert!(problem["events"][1]["detail"].as_str().is_some_and(|detail| detail.contains("`type`")), "{problem}");
}

#[tokio::test]
async fn a_tap_gets_copies_and_the_search_goes_on() {
    let gateway = Gateway::start(&ROUTES.replace("channel: \"rest/#\"", "channel: \"#\""));
    let mut copies = Stream::open(&gateway, "copies/**").await;
    let request = gateway.client.post(gateway.channel_url("orders/eu")).header("ce-specversion", "1.0");
    let request = request.header("ce-id", "1").header("ce-source", "/s").header("ce-type", "com.example.copied");
    assert_eq!(representation(request).await["events"][0]["route"], "orders");
    assert_eq!(copies.ids(1).await, ["1"]);
}

#[tokio::test]
async fn posts_to_the_root_go_to_the_default_channel() {
    let listeners = r#"listeners: { http: { address: "127.0.0.1:0", default_channel: rest/d }, admin: { address: "127.0.0.1:0" } }"#;
    let gateway = Gateway::start(&format!("{listeners}\n{ROUTES}"));
    let mut stream = Stream::open(&gateway, "rest/d").await;
    let answer = gateway.client.post(&gateway.url).body("x").send().await.expect("an answer");
    assert_eq!(answer.status(), 202);
    stream.events(1).await;
    let none = Gateway::memory();
    assert_eq!(problem(none.client.post(&none.url).body("x").send().await.expect("an answer")).await["status"], 404);
}

#[tokio::test]
async fn one_event_always_fits_in_flight() {
    let gateway = Gateway::start(&format!("{ROUTES}\nlimits: {{ in_flight: 1KiB }}"));
    let answer = gateway.event("rest/a", "1").body(vec![b'x'; 1 << 20]).send().await.expect("an answer");
    assert_eq!(answer.status(), 202);
}

#[tokio::test]
async fn a_refused_body_ends_its_connection_only_if_it_is_long() {
    let gateway = Gateway::memory();
    for (length, connection) in [(1 << 10, None), (2 << 20, Some("close"))] {
        let answer = gateway.client.post(format!("{}/elsewhere", gateway.url)).body(vec![b'x'; length]);
        let answer = answer.send().await.expect("an answer");
        assert_eq!(
            answer.headers().get("connection").map(|value| value.to_str().expect("text")),
            connection,
            "{length}"
        );
        assert_eq!(problem(answer).await["status"], 404);
    }
}
