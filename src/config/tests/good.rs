//! Configurations without mistakes, and what becomes of them.

use std::{fs, time::Duration};

use meshgate_api::connector;

use super::*;

/// The configuration with `more` in it.
fn with(more: &str) -> Config {
    parsed(&format!("{CONNECTORS}{ROUTES}{more}")).expect("a good configuration")
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = with("listeners:\nlimits: { ring: }\n");
    assert_eq!(config.http, HttpListener::default());
    assert_eq!(config.admin, AdminListener { address: "127.0.0.1:9090".into() });
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.shutdown, Shutdown { delay: Duration::ZERO, grace: Duration::from_secs(25) });
    assert_eq!((&*config.connectors[0].spec.name, config.connectors[0].kind), ("one", "fake"));
    assert_eq!(&**config.router.routes()[0].name(), "#");
}

#[test]
fn what_is_given_is_kept() {
    let config = with(
        "
listeners:
  http:
    address: '[::1]:0'
    max_body: 64KiB
    default_channel: a/b
    origins: ['http://localhost:3000', 'https://[::1]', 'https://app.example']
  admin: { address: localhost:9 }
limits:
  { publish_timeout: 500ms, in_flight: 1MiB, ring: 2MiB, readers: 3, reader_memory: 4MiB, topics: 5, cursor: 6KiB,
    connections: 7, header_timeout: 8s, body_timeout: 9s, max_in_flight: 10, sessions: 12, retained: 13, settled_window: 11 }
shutdown: { delay: 1s, grace: 1m }
",
    );
    let http = HttpListener {
        address: "[::1]:0".into(),
        max_body: 64 << 10,
        default_channel: Some("a/b".into()),
        origins: ["http://localhost:3000", "https://[::1]", "https://app.example"].map(Into::into).into(),
    };
    assert_eq!(config.http, http);
    assert_eq!(config.admin.address, "localhost:9");
    let limits = Limits {
        connectors: connector::Limits {
            publish_timeout: Duration::from_millis(500),
            in_flight: 1 << 20,
            max_body: 64 << 10,
            ring: 2 << 20,
            readers: 3,
            reader_memory: 4 << 20,
            topics: 5,
            settled_window: 11,
        },
        cursor: 6 << 10,
        connections: 7,
        header_timeout: Duration::from_secs(8),
        body_timeout: Duration::from_secs(9),
        max_in_flight: 10,
        sessions: 12,
        retained: 13,
    };
    assert_eq!(config.limits, limits);
    assert_eq!(config.shutdown, Shutdown { delay: Duration::from_secs(1), grace: Duration::from_secs(60) });
}

#[test]
fn subscriptions_have_defaults_and_keep_what_is_given() {
    let config = with(
        "
subscriptions:
  - { name: plain, channel: 'a/#', sink: 'channel:b/c:d' }
  - { name: full, channel: c, filters: [{ exact: { type: t } }, { sql: 'TRUE' }], sink: channel:d, from: 2026-01-31T12:00:00Z,
      retry: { attempts: 3, initial: 1s, max: 1s }, dead_letter: dead, concurrency: 2 }
  - { name: late, channel: c, sink: channel:d, from: latest }
",
    );
    let [plain, full, late] = &config.subscriptions[..] else { panic!("three") };
    assert_eq!((&*plain.name, plain.channel.as_str(), plain.sink.as_str()), ("plain", "a/#", "b/c:d"));
    assert_eq!((plain.filters.len(), &plain.dead_letter, plain.concurrency), (0, &None, 16));
    let default = Retry { attempts: None, initial: Duration::from_millis(200), max: Duration::from_secs(30) };
    assert_eq!(plain.retry, default);
    assert!(matches!((&plain.from, &late.from), (Start::Earliest, Start::Latest)));
    let noon = std::time::UNIX_EPOCH + Duration::from_secs(1_769_860_800);
    assert!(matches!(&full.from, Start::At(time) if *time == noon), "{:?}", full.from);
    let second = Duration::from_secs(1);
    assert_eq!(full.retry, Retry { attempts: Some(3), initial: second, max: second });
    let dead_letter = full.dead_letter.as_ref().map(|channel| channel.as_str());
    assert_eq!((full.filters.len(), dead_letter, full.concurrency), (2, Some("dead"), 2));
}

#[test]
fn dead_letters_that_a_process_keeps_are_warned_of() {
    let routes = "routes: [{ channel: lasting, to: [{ connector: one, topic: t }] }, { channel: '#', to: [{ connector: brief, topic: t }] }]\n";
    let connectors = "connectors: { one: { kind: fake, url: x }, brief: { kind: brief, url: x } }\n";
    let more = "subscriptions:
- { name: a, channel: lasting, sink: channel:b, dead_letter: dead }
- { name: b, channel: lasting, sink: channel:b, dead_letter: other/lasting }
- { name: c, channel: b, sink: channel:c, dead_letter: lasting }
";
    let config = parsed(&format!("{connectors}{routes}{more}")).expect("a good configuration");
    let places: Vec<_> = config.warnings.iter().map(|warning| (&*warning.path, warning.mark.line)).collect();
    assert_eq!(places, [("subscriptions[0].dead_letter", 4), ("subscriptions[1].dead_letter", 5)]);
    assert!(config.warnings[0].message.contains("`brief`"), "{:?}", config.warnings);
}

#[test]
fn values_are_filled_in() {
    let cases = [
        ("127.0.0.1:${PORT}", "127.0.0.1:8081"),
        ("127.0.0.1:${PORT:-1}", "127.0.0.1:8081"),
        ("127.0.0.1:${UNSET:-1}", "127.0.0.1:1"),
        ("127.0.0.1:${EMPTY:-1}", "127.0.0.1:1"),
        ("'${UNSET:-localhost}${EMPTY}:${PORT}'", "localhost:8081"),
        ("${EMPTY}", "127.0.0.1:8080"),
    ];
    for (written, expected) in cases {
        assert_eq!(with(&format!("listeners:\n  http:\n    address: {written}\n")).http.address, expected, "{written}");
    }
}

#[test]
fn a_filled_in_value_is_typed_again_and_brings_no_yaml() {
    let route = |required: &str| {
        let destination = "  - connector: one\n    topic: t\n    required: ";
        parsed(&format!("{CONNECTORS}routes:\n- channel: a\n  to:\n{destination}{required}\n"))
    };
    assert!(route("${UNSET:-true}").is_ok());
    // It is a boolean, and false: so no destination is required.
    assert_eq!(route("${FLAG}").unwrap_err().len(), 1);
    let channel = with("listeners:\n  http:\n    default_channel: ${INJECTION}$${X}$y\n").http.default_channel;
    assert_eq!(channel.as_deref(), Some("x, required: false }${X}$y"));
}

#[test]
fn files_are_filled_in_from_the_folder_of_the_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases = [("a/b", "a/b"), ("a/b\n", "a/b"), ("a/b\r\n", "a/b"), ("a${PORT}", "a${PORT}")];
    for (written, expected) in cases {
        fs::write(folder.path().join("channel"), written).expect("a file");
        let file = folder.path().join("file.yaml");
        let more = "listeners:\n  http: { default_channel: '${file:channel}' }\n";
        fs::write(&file, format!("{CONNECTORS}{ROUTES}{more}")).expect("a file");
        let config = load(&file, &KINDS, &|_| None).expect("a good configuration");
        assert_eq!(config.http.default_channel.as_deref(), Some(expected));
    }
}

#[test]
fn files_that_were_read_are_known_with_what_they_held() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("secrets")).expect("a folder");
    fs::write(at("secrets/channel"), "a").expect("a file");
    let more = "listeners:\n  http: { default_channel: '${file:secrets/channel}' }\n";
    fs::write(at("file.yaml"), format!("{CONNECTORS}{ROUTES}{more}")).expect("a file");
    let now = || read(&at("file.yaml"), &KINDS, &|_| None).0;
    let mut files = now();
    assert!(files.folders().is_superset(&[folder.path().to_owned(), at("secrets")].into()));
    fs::write(at("other"), "x").expect("a file");
    assert!(!files.have_changed(), "another file does not count");
    fs::write(at("secrets/channel"), "b").expect("a file");
    assert!(files.have_changed());
    let mut files = now();
    fs::remove_file(at("secrets/channel")).expect("it is there");
    assert!(files.have_changed());
    let mut files = now();
    assert!(!files.have_changed(), "it is still missing");
    fs::write(at("secrets/channel"), "b").expect("a file");
    assert!(files.have_changed());
}

#[test]
fn a_file_that_is_no_text_is_an_issue() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file.yaml");
    let issue = || load(&file, &KINDS, &|_| None).unwrap_err()[0].to_string().replace(&*file.to_string_lossy(), "file");
    assert_eq!(issue(), "file: cannot be read: No such file or directory (os error 2)");
    fs::write(&file, b"a: 1\nb\xC3\xA9: \xFF\n").expect("a file");
    assert_eq!(issue(), "file:2:5: the file: expected UTF-8 text, found other bytes");
    fs::File::create(&file).and_then(|file| file.set_len((64 << 20) + 1)).expect("a file");
    assert_eq!(issue(), "file: cannot be read: it is longer than 64MiB");
}

#[test]
fn aliases_are_copies_and_line_ends_are_free() {
    let text = "\u{feff}connectors:\r\n  one: &same { kind: fake, url: x }\r\n  two: *same\r\nroutes: []\r\n";
    let config = parsed(text).expect("a good configuration");
    assert_eq!(config.connectors.iter().map(|connector| &*connector.spec.name).collect::<Vec<_>>(), ["one", "two"]);
}

#[test]
fn no_secret_is_seen_in_debug() {
    let text = "connectors:\n  one: { kind: fake, url: x, properties: { password: hunter2 } }\nroutes: []\n";
    let config = parsed(text).expect("a good configuration");
    assert!(
        format!("{:?}", config.connectors[0].configured).contains("hunter2"),
        "the fake connector hides nothing itself"
    );
    assert!(!format!("{config:?}").contains("hunter2"));
}

mod arbitrary {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in any::<String>()) {
            prop_assert!(parsed(&text).is_err_and(|issues| !issues.is_empty()));
        }

        /// Pieces that the grammar knows get further than characters do.
        #[test]
        fn any_yaml_is_read_without_a_panic(pieces in prop::collection::vec(piece(), 0..40)) {
            if let Err(issues) = parsed(&pieces.concat()) {
                prop_assert!(!issues.is_empty());
            }
        }
    }

    fn piece() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "\n",
            "\n  ",
            "\n    ",
            "- ",
            ": ",
            ":",
            "? ",
            "{",
            "}",
            "[",
            "]",
            ", ",
            "'",
            "\"",
            "|",
            ">-",
            "&a ",
            "*a",
            "!t ",
            "%TAG ",
            "---\n",
            "...\n",
            "#",
            " ",
            "\t",
            "\r\n",
            "~",
            "<<",
            "\\",
            "\u{feff}",
            "é",
            "\0",
            "${",
            "${PORT}",
            "$${",
            "}",
            "${file:",
            "x",
            "listeners: ",
            "http: ",
            "address: ",
            "connectors: ",
            "one: ",
            "kind: ",
            "fake",
            "routes: ",
            "channel: ",
            "a/#",
            "to: ",
            "topic: ",
            "limits: ",
            "ring: ",
            "1MiB",
            "filters: ",
            "exact: ",
            "not: ",
            "properties: ",
            "wrap: ",
            CONNECTORS,
            ROUTES,
        ])
    }
}
