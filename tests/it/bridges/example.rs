//! `examples/bridge`, read out loud.

use std::io::BufRead;

use serde_json::{Value, json};

use crate::harness::{
    eventually,
    terminal::{Terminal, commands},
};

const FOLDER: &str = "examples/bridge";

/// What a stream that ends by itself prints, read by `curl`.
pub(super) fn events(terminal: &Terminal, command: &str) -> Vec<Value> {
    let (mut curl, out) = terminal.start(command);
    let lines = out.lines().map_while(Result::ok);
    let events =
        lines.filter_map(|line| Some(serde_json::from_str(line.strip_prefix("data: ")?).expect("JSON"))).collect();
    assert!(curl.wait().expect("it ends").success());
    events
}

#[tokio::test]
async fn the_readme_can_be_followed() {
    let mut terminal = Terminal::new(FOLDER);
    let mut seen = Vec::new();
    for command in commands(FOLDER) {
        if command.starts_with("eval ") {
            terminal.evaluate(&command);
        } else if command.starts_with("scripts/run serve") {
            terminal.serve(&command).await;
        } else if command.starts_with("curl -N") {
            seen.push(events(&terminal, &command));
        } else if command.ends_with("/status") {
            let at_rest = async || {
                let status: Value = serde_json::from_str(&terminal.run(&command)).expect("JSON");
                let subscription = status["subscriptions"][0].clone();
                (subscription["lag"] == 0).then_some(subscription)
            };
            let status = eventually("all is settled", at_rest).await;
            let counts = ["delivered", "filtered", "dead_lettered"].map(|name| status["events"][name].clone());
            assert_eq!(counts, [json!(100), json!(1), json!(1)], "{status}");
        } else {
            let printed = terminal.run(&command);
            let is_publish = command.starts_with("curl -i");
            assert!(!is_publish || printed.starts_with("HTTP/1.1 202"), "{command}: {printed}");
            let is_metrics = command.ends_with("/metrics");
            assert!(!is_metrics || printed.contains("meshgate_subscription_events_total{"), "{printed}");
        }
    }
    let [orders, letters] = &seen[..] else { panic!("two streams") };
    let numbers: Vec<_> = orders.iter().map(|order| order["data"]["order_id"].clone()).collect();
    assert_eq!(numbers, (0..100).map(Value::from).collect::<Vec<_>>());
    assert_eq!((&letters[0]["id"], &letters[0]["deadletterfrom"]), (&json!("2"), &json!("orders")));
}
