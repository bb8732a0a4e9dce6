//! The quickstart, with its own programs: the seed case on a topic of the test, and the README read out loud.

use std::{fs, io::BufRead};

use serde_json::{Value, json};

use crate::harness::{
    eventually,
    gateway::Gateway,
    kafka::{bootstrap, python, topic},
    sse::Stream,
    terminal::{Terminal, commands},
};

const FOLDER: &str = "examples/quickstart";

/// The quickstart's configuration, on free ports, with another topic.
fn configuration(topic: &str) -> String {
    let text = fs::read_to_string(format!("{FOLDER}/meshgate.yaml")).expect("the quickstart's configuration");
    let kafka = bootstrap();
    let changes = [
        ("127.0.0.1:8080", "127.0.0.1:0".to_owned()),
        ("127.0.0.1:9090", "127.0.0.1:0".to_owned()),
        ("${KAFKA_BOOTSTRAP:-localhost:9092}", kafka),
        ("topic: orders,", format!("topic: {topic},")),
    ];
    changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{FOLDER}/meshgate.yaml has {from}");
        text.replace(from, to)
    })
}

fn order(order_id: usize) -> Value {
    json!({ "order_id": order_id, "status": "CREATED" })
}

#[tokio::test]
async fn orders_of_a_plain_producer_are_events_in_full_and_in_order() {
    let topic = topic("orders", 1);
    let gateway = Gateway::start(&configuration(&topic));
    eventually("ready", async || (gateway.ask_admin("/readyz").await.status() == 200).then_some(())).await;
    let mut live = Stream::open(&gateway, "orders").await;
    let said = python(&[&format!("{FOLDER}/produce_orders.py"), "--count", "100", "--topic", &topic]);
    assert_eq!(said.trim(), format!("sent 100 orders to {topic}"));
    let mut earliest = Stream::open(&gateway, "orders?from=earliest").await;
    for (way, stream) in [("live", &mut live), ("from=earliest", &mut earliest)] {
        for (order_id, event) in stream.events(100).await.iter().enumerate() {
            assert_eq!(event["data"], order(order_id), "{way}");
            assert_eq!(event["specversion"], "1.0");
            assert_eq!(
                (&event["id"], &event["source"]),
                (&json!(format!("0:{order_id}")), &json!(format!("/orders-kafka/{topic}")))
            );
            assert_eq!(
                (&event["type"], &event["datacontenttype"]),
                (&json!("com.example.order"), &json!("application/json"))
            );
        }
    }
}

#[tokio::test]
async fn orders_over_http_are_json_for_a_plain_consumer() {
    let topic = topic("orders", 1);
    let gateway = Gateway::start(&configuration(&topic));
    eventually("ready", async || (gateway.ask_admin("/readyz").await.status() == 200).then_some(())).await;
    let kinds = ["plain", "binary", "structured"];
    for order_id in 0..30 {
        let order = order(order_id).to_string();
        let url = gateway.channel_url("orders");
        let request = match kinds[order_id % 3] {
            "plain" => gateway.client.post(url).header("content-type", "application/json").body(order),
            "binary" => gateway.event("orders", "1").header("content-type", "application/json").body(order),
            _ => {
                let event = format!(r#"{{"specversion":"1.0","id":"1","source":"/shop","type":"t","data":{order}}}"#);
                gateway.client.post(url).header("content-type", "application/cloudevents+json").body(event)
            }
        };
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap_or_default());
    }
    let program = format!("{FOLDER}/consume_orders.py");
    let said = python(&[&program, "--topic", &topic, "--from-beginning", "--count", "30"]);
    let expected: Vec<_> = (0..30).map(|order_id| format!("{{'order_id': {order_id}, 'status': 'CREATED'}}")).collect();
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn the_readme_can_be_followed() {
    let mut terminal = Terminal::new(FOLDER);
    let mut said = Vec::new();
    for command in commands(FOLDER) {
        if command.starts_with("eval ") {
            terminal.evaluate(&command);
        } else if command.starts_with("scripts/run serve") {
            terminal.serve(&command).await;
        } else if command.starts_with("curl -N") {
            let (mut curl, out) = terminal.start(&command);
            let events = out.lines().map_while(Result::ok).filter(|line| line.starts_with("data: ")).take(102);
            let events: Vec<Value> = events.map(|line| serde_json::from_str(&line[6..]).expect("JSON")).collect();
            curl.kill().expect("it can be killed");
            curl.wait().expect("it ends");
            let orders: Vec<Value> = events.iter().map(|event| event["data"].clone()).collect();
            assert_eq!(orders, [1000, 1001].into_iter().chain(0..100).map(order).collect::<Vec<_>>());
        } else {
            said.push((terminal.run(&command), command));
        }
    }
    let statuses: Vec<_> =
        said.iter().filter(|(_, command)| command.starts_with("curl")).map(|(out, _)| status(out)).collect();
    assert!(matches!(statuses[..], [202, 202, 503 | 504]), "{said:#?}");
    let consumed = said.iter().find(|(_, command)| command.contains("consume_orders.py")).map(|(out, _)| &**out);
    assert_eq!(consumed, Some("{'order_id': 1000, 'status': 'CREATED'}\n"));
    let produced = said.iter().find(|(_, command)| command.contains("produce_orders.py")).map(|(out, _)| &**out);
    assert_eq!(produced, Some("sent 100 orders to orders\n"));
}

/// Of what `curl -i` prints.
fn status(printed: &str) -> u16 {
    printed.split_whitespace().nth(1).and_then(|status| status.parse().ok()).expect("a status line")
}
