//! `GET /openapi.json`.

use serde_json::Value;

use crate::harness::{
    gateway::{Gateway, problem},
    kafka::python,
};

const ROUTES: &str = r##"
listeners:
  http: { address: "127.0.0.1:0", default_channel: orders/eu, max_body: 2MiB }
  admin: { address: "127.0.0.1:0" }
connectors: { memory: { kind: memory } }
routes:
  - { name: copies, channel: "#", continue: true, to: [{ connector: memory, topic: copies }] }
  - { name: orders, channel: "orders/{region}", to: [{ connector: memory, topic: "{channel}" }] }
  - { name: the rest, channel: "rest/+/#", to: [{ connector: memory, topic: "{channel}" }] }
"##;

async fn description(gateway: &Gateway) -> Value {
    let answer = gateway.client.get(format!("{}/openapi.json", gateway.url)).send().await.expect("an answer");
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"application/json".parse().expect(""))
    );
    serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON")
}

#[tokio::test]
async fn it_says_what_is_served_now() {
    let described = description(&Gateway::start(ROUTES)).await;
    assert_eq!(described["openapi"], "3.1.0");
    let parameters = &described["components"]["parameters"];
    for name in ["Channel", "ChannelQuery", "Filter", "FilterQuery"] {
        let text = parameters[name]["description"].as_str().expect("a text");
        for said in
            ["`orders/{region}` (route orders)", "`rest/+/#` (route the rest)", "(route copies, which gets a copy)"]
        {
            assert!(text.contains(said), "{said} in {text}");
        }
        assert_eq!(parameters[name]["examples"]["orders"]["value"], "orders/region");
        assert_eq!(parameters[name]["examples"]["the_rest"]["value"], "rest/any/rest");
    }
    assert!(
        described["components"]["requestBodies"]["Events"]["description"]
            .as_str()
            .is_some_and(|text| text.contains("2097152"))
    );
    assert!(described["paths"]["/"]["post"]["description"].as_str().is_some_and(|text| text.contains("`orders/eu`")));

    let memory = Gateway::memory();
    assert!(description(&memory).await["paths"].get("/").is_none(), "no default channel");
    for (request, status) in [
        (memory.client.get(format!("{}/openapi.json?x=1", memory.url)), 400),
        (memory.client.post(format!("{}/openapi.json", memory.url)), 405),
    ] {
        assert_eq!(problem(request.send().await.expect("an answer")).await["status"], status);
    }
}

#[tokio::test]
async fn it_is_valid() {
    for configuration in [ROUTES, crate::harness::gateway::MEMORY] {
        let described = description(&Gateway::start(configuration)).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("openapi.json");
        std::fs::write(&file, described.to_string()).expect("a file");
        python(&["-m", "openapi_spec_validator", "--schema", "3.1", file.to_str().expect("UTF-8")]);
    }
}
