//! `examples/edge`, read out loud.

use serde_json::{Value, json};

use super::example::events;
use crate::harness::{
    eventually,
    terminal::{Terminal, commands},
};

const FOLDER: &str = "examples/edge";

#[tokio::test]
async fn the_readme_can_be_followed() {
    let (mut terminal, mut seen) = (Terminal::new(FOLDER), Vec::new());
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
            terminal.run(&command);
        }
    }
    let [before, after] = &seen[..] else { panic!("two streams") };
    let readings: Vec<_> = before.iter().chain(&after[2..]).map(|event| (&event["subject"], &event["data"])).collect();
    let of = |device: &str, celsius: u32| (json!(device), json!({ "celsius": celsius }));
    let expected = [of("press-7", 71), of("oven-2", 240), of("press-7", 72)];
    assert_eq!(readings, expected.iter().map(|(device, data)| (device, data)).collect::<Vec<_>>());
    assert!(before.iter().all(|event| event["type"] == "com.example.reading"), "{before:?}");
}
