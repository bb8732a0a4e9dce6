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
