use meshgate_api::settings::{Node, decode};

use super::*;

fn read(keys: &[(&'static str, &str)]) -> Result<MqttConfig, String> {
    let node = Node::map(keys.iter().map(|(key, value)| (*key, Node::plain(*value))));
    decode(&node, "connectors.plant", MqttConfig::read).map_err(|problems| format!("{problems:?}"))
}

#[test]
fn addresses_are_read() {
    let table = [
        ("mqtt://localhost:1884", Some(("localhost", 1884, false))),
        ("mqtt://broker.example", Some(("broker.example", 1883, false))),
        ("mqtts://broker.example", Some(("broker.example", 8883, true))),
        ("mqtt://[::1]:1884", Some(("[::1]", 1884, false))),
        ("mqtt://[::1]", Some(("[::1]", 1883, false))),
        ("mqtt://::1", None),
        ("mqtt://localhost:0", None),
        ("mqtt://localhost:x", None),
        ("mqtt://user:password@localhost:1883", None),
        ("mqtt://localhost:1883/path", None),
        ("tcp://localhost:1883", None),
        ("localhost:1883", None),
        ("mqtt://", None),
    ];
    for (url, expected) in table {
        let found = parse_url(url).map(|found| (found.host, found.port, found.is_tls));
        let found = found.as_ref().map(|(host, port, is_tls)| (host.as_str(), *port, *is_tls));
        assert_eq!(found, expected, "{url}");
    }
}

#[test]
fn what_is_left_out_has_its_default() {
    assert_eq!(read(&[("url", "mqtt://localhost")]), Ok(MqttConfig::new("localhost", 1883)));
}

#[test]
fn every_problem_is_told() {
    let table: [(&[(&str, &str)], &str); 6] = [
        (&[], "is missing"),
        (&[("url", "localhost")], "expected `mqtt://host:port`"),
        (&[("url", "mqtt://h"), ("version", "3")], "one of `5`, `4`"),
        (&[("url", "mqtt://h"), ("password", "x")], "needs a `username`"),
        (&[("url", "mqtt://h"), ("client_id", "a\0")], "1 to 65535 bytes"),
        (&[("url", "mqtt://h"), ("session", "0s")], "from 1s"),
    ];
    for (keys, expected) in table {
        let problems = read(keys).expect_err(expected);
        assert!(problems.contains(expected), "{keys:?}: {problems}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let config = read(&[("url", "mqtt://h"), ("username", "u"), ("password", "hush")]).expect("sound");
    assert!(!format!("{config:?}").contains("hush"));
}
