use meshgate_api::settings::{Node, decode};

use super::{KafkaConfig, check_broker, check_property};

#[test]
fn properties_are_checked_one_by_one() {
    let table = [
        ("compression.type", "lz4", Ok(())),
        ("linger.ms", "0", Ok(())),
        ("allow.auto.create.topics", "true", Ok(())),
        ("compression.type", "gzipp", Err("Invalid value")),
        ("linger.ms", "soon", Err("Invalid value")),
        ("lingers.ms", "1", Err("No such configuration property")),
        ("acks", "1", Err("the gateway sets this")),
        ("request.required.acks", "1", Err("the gateway sets this")),
        ("enable.auto.commit", "true", Err("the gateway sets this")),
        ("partitioner", "random", Err("the gateway sets this")),
        ("dr_msg_cb", "x", Err("the gateway sets this")),
        ("plugin.library.paths", "evil", Err("plug-ins")),
    ];
    for (name, value, expected) in table {
        match (check_property(name, value), expected) {
            (Ok(()), Ok(())) => {}
            (Err(problem), Err(expected)) => assert!(problem.contains(expected), "{name}: {problem}"),
            (found, _) => panic!("{name}={value}: {found:?}"),
        }
    }
}

#[test]
fn every_problem_stands_at_its_key() {
    let text = Node::plain;
    let node = Node::map([
        ("brokers", Node::list([text("localhost:9092"), text("localhost")])),
        (
            "properties",
            Node::from(&[("acks", "1"), ("linger.ms", "5"), ("lingers", "5"), ("sasl.mechanisms", "hush, 1")]),
        ),
        ("topics", text("x")),
    ]);
    let read = |node: &Node| decode(node, "connectors.k", KafkaConfig::read);
    let problems: Vec<_> = read(&node).expect_err("problems").iter().map(ToString::to_string).collect();
    for path in ["k.brokers: ", "k.properties.acks: ", "k.properties.lingers: ", "k.topics: "] {
        assert!(problems.iter().any(|problem| problem.contains(path)), "{path} in {problems:#?}");
    }
    assert!(
        problems.iter().all(|problem| !problem.contains("linger.ms: ") && !problem.contains("hush")),
        "{problems:#?}"
    );

    let sound = Node::map([
        ("brokers", Node::list([text("a:1"), text("b:2")])),
        ("properties", Node::from(&[("linger.ms", "5")])),
    ]);
    let config = read(&sound).expect("no problem");
    assert_eq!(
        (config.brokers, config.properties),
        (vec!["a:1".into(), "b:2".into()], vec![("linger.ms".into(), "5".into())])
    );
    for nothing in [Node::map([("brokers", Node::list([]))]), Node::from(&[])] {
        assert_eq!(read(&nothing).expect_err("a broker is needed").len(), 1);
    }
}

#[test]
fn brokers_are_host_and_port() {
    for good in ["localhost:9092", "10.0.0.1:1", "[::1]:9092", "kafka-0.kafka.svc:65535"] {
        assert_eq!(check_broker(good), Ok(()), "{good}");
    }
    for bad in
        ["localhost", "localhost:", ":9092", "localhost:0", "localhost:65536", "::1:9092", "http://a:1", "a:1,b:2", ""]
    {
        assert!(check_broker(bad).is_err(), "{bad}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let config = KafkaConfig {
        brokers: vec!["localhost:9092".into()],
        properties: vec![("sasl.password".into(), "hush".into())],
    };
    let text = format!("{config:?}");
    assert!(text.contains("sasl.password") && !text.contains("hush"), "{text}");
}
