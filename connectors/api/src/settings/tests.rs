use std::time::Duration;

use super::*;

/// What `read` makes of a map with one key, as text: the value or the problem.
fn reading<T: std::fmt::Debug>(node: Node, read: impl FnOnce(&mut Fields<'_>) -> Option<T>) -> String {
    match decode(&Node::map([("key", node)]), "at", read) {
        Ok(value) => format!("{value:?}"),
        Err(problems) => problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; "),
    }
}

#[test]
fn texts_are_taken_as_they_are_written() {
    for text in ["no", "1.0", "0x10", "true", "héllo", "2001-01-01"] {
        assert_eq!(
            reading(Node::plain(text), |fields| fields.text("key").required().map(str::to_owned)),
            format!("{text:?}")
        );
    }
    let nothing = |node| reading(node, |fields| fields.text("key").or("default").map(str::to_owned));
    assert_eq!(nothing(Node::plain("~")), r#""default""#);
    assert_eq!(nothing(Node::quoted("~")), r#""~""#);
    assert_eq!(nothing(Node::quoted("")), r#""""#);
    assert_eq!(nothing(Node::list([])), "1:1: at.key: expected text, found a list");
}

#[test]
fn booleans_are_true_or_false() {
    let cases = [
        (Node::plain("true"), "true"),
        (Node::plain("FALSE"), "false"),
        (Node::plain("yes"), "1:1: at.key: expected true or false, found `yes`"),
        (Node::quoted("true"), "1:1: at.key: expected true or false, found the text `true`"),
        (Node::plain("null"), "1:1: at.key: is missing"),
    ];
    for (node, expected) in cases {
        assert_eq!(reading(node, |fields| fields.boolean("key").required()), expected);
    }
}

#[test]
fn integers_keep_to_their_range() {
    let cases = [
        ("1", "1"),
        ("+7", "7"),
        ("100", "100"),
        ("0", "1:1: at.key: expected from 1 to 100, found `0`"),
        ("-5", "1:1: at.key: expected from 1 to 100, found `-5`"),
        ("99999999999999999999", "1:1: at.key: expected from 1 to 100, found `99999999999999999999`"),
        ("1.5", "1:1: at.key: expected a whole number, found `1.5`"),
        ("ten", "1:1: at.key: expected a whole number, found `ten`"),
    ];
    for (text, expected) in cases {
        assert_eq!(reading(Node::plain(text), |fields| fields.integer("key", 1_u16..=100).required()), expected);
    }
    let quoted = reading(Node::quoted("7"), |fields| fields.integer("key", 1..=100).required());
    assert_eq!(quoted, "1:1: at.key: expected a whole number, found the text `7`");
}

#[test]
fn sizes_have_units() {
    let form = "a size such as `64KiB`, `1MiB` or a number of bytes";
    let cases = [
        ("64KiB", "65536".to_owned()),
        ("1MiB", "1048576".to_owned()),
        ("70000", "70000".to_owned()),
        ("63KiB", "1:1: at.key: expected from 64KiB to 1GiB, found `63KiB`".to_owned()),
        ("2GiB", "1:1: at.key: expected from 64KiB to 1GiB, found `2GiB`".to_owned()),
        ("64KB", format!("1:1: at.key: expected {form}, found `64KB`")),
        ("1.5MiB", format!("1:1: at.key: expected {form}, found `1.5MiB`")),
        ("-1", format!("1:1: at.key: expected {form}, found `-1`")),
        ("99999999TiB", format!("1:1: at.key: expected {form}, found `99999999TiB`")),
        ("MiB", format!("1:1: at.key: expected {form}, found `MiB`")),
    ];
    for (text, expected) in cases {
        assert_eq!(reading(Node::plain(text), |fields| fields.size("key", 64 << 10..=1 << 30).required()), expected);
    }
}

#[test]
fn times_have_units() {
    let form = "a time such as `200ms`, `30s`, `5m` or `1h`";
    let cases = [
        ("200ms", "200ms".to_owned()),
        ("30s", "30s".to_owned()),
        ("5m", "300s".to_owned()),
        ("1h", "3600s".to_owned()),
        ("0s", "1:1: at.key: expected from 100ms to 1h, found `0s`".to_owned()),
        ("61m", "1:1: at.key: expected from 100ms to 1h, found `61m`".to_owned()),
        ("30", format!("1:1: at.key: expected {form}, found `30`")),
        ("30 s", format!("1:1: at.key: expected {form}, found `30 s`")),
        ("99999999999999h", format!("1:1: at.key: expected {form}, found `99999999999999h`")),
    ];
    let range = Duration::from_millis(100)..=Duration::from_secs(3600);
    for (text, expected) in cases {
        assert_eq!(reading(Node::plain(text), |fields| fields.duration("key", range.clone()).required()), expected);
    }
}

#[test]
fn every_problem_is_collected_in_the_order_of_the_text() {
    let at = |line, mut node: Node| {
        node.mark = Mark { line, column: 5 };
        node
    };
    let section = Node::map([("mode", Node::plain("loud")), ("names", Node::list([Node::plain("a"), Node::list([])]))]);
    let node = Node::map([("sized", at(3, Node::plain("big"))), ("part", section), ("extra", Node::plain("1"))]);
    let problems = decode(&node, "", |fields| {
        let sized = fields.size("size", 0..=10).or(1);
        let part = fields.section("part", |part| {
            let mode = part.choice("mode", &[("quiet", 1), ("silent", 2)]).or(1);
            let names = part.list_of_text("names").required();
            Some((mode?, names?.len()))
        });
        let part = part.optional();
        let missing = fields.text("address").required();
        Some((sized?, part?, missing?.to_owned()))
    });
    let problems: Vec<_> = problems.unwrap_err().iter().map(Problem::to_string).collect();
    assert_eq!(
        problems,
        [
            "1:1: part.mode: expected one of `quiet`, `silent`, found `loud`",
            "1:1: part.names[1]: expected text, found a list",
            "1:1: address: is missing",
            "1:1: sized: unknown key: did you mean `size`?",
            "1:1: extra: unknown key: known here is `size`, `part`, `address`",
        ]
    );
}

#[test]
fn a_misspelt_key_is_not_missing_too() {
    let node = Node::from(&[("adress", "a"), ("names", "n")]);
    let problems = decode(&node, "", |fields| {
        let address = fields.text("address").required();
        let size = fields.text("size").required();
        let names = fields.text("names").required();
        Some((address?.to_owned(), size?.to_owned(), names?.to_owned()))
    });
    let problems: Vec<_> = problems.unwrap_err().iter().map(Problem::to_string).collect();
    assert_eq!(problems, ["1:1: size: is missing", "1:1: adress: unknown key: did you mean `address`?"]);
}

#[test]
fn keys_of_the_users_own_are_all_read() {
    let node = Node::from(&[("compression.type", "lz4"), ("acks", "1"), ("linger.ms", "null")]);
    let problems = decode(&node, "properties", |fields| {
        fields.refuse_key("acks", "the gateway sets this");
        fields.all_texts().map(|texts| texts.len())
    });
    let problems: Vec<_> = problems.unwrap_err().iter().map(Problem::to_string).collect();
    assert_eq!(
        problems,
        ["1:1: properties.acks: the gateway sets this", "1:1: properties.linger.ms: expected text, found nothing"]
    );
    let texts = decode(&Node::from(&[("a", "1"), ("b", "x")]), "", |fields| Some(fields.all_texts()?.len()));
    assert_eq!(texts, Ok(2));
}

#[test]
fn what_is_not_built_says_so() {
    let text = reading(Node::plain("1"), |fields| {
        fields.not_built_yet("key", "MQTT listener");
        fields.not_built_yet("absent", "such thing");
        Some(())
    });
    assert_eq!(text, "1:1: at.key: not built yet: this version has no MQTT listener");
}

#[test]
fn a_path_is_located_as_far_as_it_goes() {
    let place = |line: usize, mut node: Node| {
        node.mark = Mark { line, column: 1 };
        node
    };
    let properties =
        place(4, Node::map([("linger.ms", place(5, Node::plain("1"))), ("linger", place(6, Node::plain("2")))]));
    let list = place(2, Node::list([place(3, Node::map([("properties", properties)]))]));
    let tree = Node::map([("to", list)]);
    let cases = [
        ("", 1),
        ("nowhere", 1),
        ("to", 2),
        ("to[0]", 3),
        ("to[1].x", 2),
        ("to[x]", 2),
        ("to[0].properties.linger.ms", 5),
        ("to[0].properties.linger", 6),
        ("to[0].properties.lingers", 4),
    ];
    for (path, line) in cases {
        assert_eq!(tree.locate(path).line, line, "{path}");
    }
}

#[test]
fn values_are_never_shown_by_debug_nor_filled_in_ones_by_messages() {
    let secret = Scalar { text: "hunter2".into(), plain: true, template: Some("${PASSWORD}".into()) };
    let node = Node::map([("password", Node::from(Value::Scalar(secret)))]);
    assert_eq!(format!("{node:?}"), r#"{"password": …}"#);
    let problem = decode(&node, "", |fields| fields.boolean("password").required()).unwrap_err();
    assert_eq!(problem[0].message, "expected true or false, found what `${PASSWORD}` gives");
}

#[test]
fn settings_are_the_same_wherever_and_however_they_were_written() {
    let written =
        || Node::map([("brokers", Node::list([Node::plain("a"), Node::plain("b")])), ("n", Node::plain("1"))]);
    let mut elsewhere =
        Node::map([("n", Node::plain("1")), ("brokers", Node::list([Node::plain("a"), Node::plain("b")]))]);
    elsewhere.mark = Mark { line: 7, column: 3 };
    let filled = Scalar { text: "1".into(), plain: true, template: Some("${N}".into()) };
    let filled = Node::map([
        ("n", Value::Scalar(filled).into()),
        ("brokers", elsewhere.get("brokers").cloned().expect("it is there")),
    ]);
    for same in [written(), elsewhere, filled] {
        assert!(written().means(&same) && same.means(&written()));
    }
    for other in [
        Node::map([("brokers", Node::list([Node::plain("b"), Node::plain("a")])), ("n", Node::plain("1"))]),
        Node::map([("brokers", Node::list([Node::plain("a"), Node::plain("b")])), ("n", Node::quoted("1"))]),
        Node::map([("brokers", Node::list([Node::plain("a"), Node::plain("b")])), ("m", Node::plain("1"))]),
        Node::map([("brokers", Node::list([Node::plain("a")])), ("n", Node::plain("1"))]),
        Node::from(&[("n", "1")]),
        Node::plain("1"),
    ] {
        assert!(!written().means(&other) && !other.means(&written()));
    }
}
