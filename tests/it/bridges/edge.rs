//! `examples/edge`, read out loud.

use serde_json::{Value, json};

use super::example::events;
use crate::harness::{
    eventually,
    terminal::{Terminal, commands},
};

const FOLDER: &str = "examples/edge";

/// What the README shows below a command, up to the next text.
fn is_shown(printed: &str) -> bool {
    let readme = std::fs::read_to_string(format!("{FOLDER}/README.md")).expect("the README");
    readme.contains(&format!("```\n{}\n```", printed.trim()))
}

#[tokio::test]
async fn the_readme_can_be_followed() {
    let (mut terminal, mut seen, mut printed) = (Terminal::new(FOLDER), Vec::new(), Vec::new());
    for command in commands(FOLDER) {
        if command.starts_with("eval ") {
            terminal.evaluate(&command);
        } else if command.starts_with("scripts/run serve") {
            terminal.serve(&command).await;
        } else if command.starts_with("curl -N") {
            seen.push(events(&terminal, &command));
        } else if command.ends_with("/status") {
            let is_reading = async || {
                let status: Value = serde_json::from_str(&terminal.run(&command)).expect("JSON");
                (status["subscriptions"][0]["state"] == "reading").then_some(())
            };
            eventually("the subscription reads", is_reading).await;
        } else {
            printed.push((terminal.run(&command), command));
        }
    }
    devices(&printed, &seen[0]);
    hall(&seen[1..]);
}

/// Those that speak to the gateway itself.
fn devices(printed: &[(String, String)], readings: &[Value]) {
    let of =
        |what: &'static str| printed.iter().filter(move |(_, command)| command.contains(what)).map(|(out, _)| &**out);
    let [first, second, third] = of("device.py").collect::<Vec<_>>()[..] else { panic!("three times a device") };
    assert!(is_shown(first), "{first}");
    assert!(is_shown(second), "{second}");
    assert!(third.contains("its session goes on") && third.ends_with("config {\"every\": \"9s\"}\n"), "{third}");
    assert!(of("mosquitto_sub").all(is_shown), "{printed:#?}");
    assert!(of("curl -i").all(|out| out.starts_with("HTTP/1.1 202")), "{printed:#?}");
    assert!(of("timeout").eq(["not acknowledged\n"]), "{printed:#?}");
    let expected = [71, 72, 73].map(|celsius| json!({ "celsius": celsius }));
    assert!(readings.iter().map(|event| &event["data"]).eq(&expected), "{readings:?}");
    let attributes = |event: &Value| ["source", "type", "subject"].map(|name| event[name].clone());
    let shown = ["/devices/press-7", "com.example.device.readings", "press-7"].map(Value::from);
    assert!(readings.iter().all(|event| attributes(event) == shown), "{readings:?}");
}

/// Those that speak to a broker of their own.
fn hall(seen: &[Vec<Value>]) {
    let [before, after] = seen else { panic!("two streams") };
    let readings: Vec<_> = before.iter().chain(&after[2..]).map(|event| (&event["subject"], &event["data"])).collect();
    let of = |device: &str, celsius: u32| (json!(device), json!({ "celsius": celsius }));
    let expected = [of("oven-1", 240), of("oven-2", 250), of("oven-1", 241)];
    assert_eq!(readings, expected.iter().map(|(device, data)| (device, data)).collect::<Vec<_>>());
    assert!(before.iter().all(|event| event["type"] == "com.example.reading"), "{before:?}");
}
