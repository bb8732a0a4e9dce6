//! Another configuration while everything goes on.

use std::{cell::Cell, fmt::Write, fs, os::unix::fs::symlink};

use serde_json::{Value, json};

use crate::harness::{
    eventually,
    gateway::{Gateway, MEMORY, problem},
    sse::Stream,
    websocket::Socket,
};

/// Each channel on a topic of the same name, in one memory connector.
fn routes(channels: &[&str]) -> String {
    let mut text = String::from("connectors: { memory: { kind: memory } }\nroutes:\n");
    for channel in channels {
        let to = "[{ connector: memory, topic: \"{channel}\" }]";
        writeln!(text, "  - {{ name: \"{channel}\", channel: \"{channel}\", to: {to} }}").expect("a string takes all");
    }
    text
}

async fn status(gateway: &Gateway) -> Value {
    let text = gateway.ask_admin("/status").await.text().await.expect("a body");
    serde_json::from_str(&text).expect("JSON")
}

/// Waits until so many configurations were taken over.
async fn taken_over(gateway: &Gateway, edition: u64) -> Value {
    let what = format!("edition {edition}");
    eventually(&what, async || Some(status(gateway).await).filter(|status| status["edition"] == edition)).await
}

async fn answer_to(gateway: &Gateway, channel: &str) -> u16 {
    gateway.event(channel, "1").body("x").send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn a_changed_file_is_taken_over_and_drops_no_connection() {
    let gateway = Gateway::start(&routes(&["a", "b"]));
    let mut stream = Stream::open(&gateway, "a").await;
    gateway.store("a", "before").await;
    gateway.store("b", "before").await;
    assert_eq!(answer_to(&gateway, "c").await, 404);
    assert_eq!(status(&gateway).await["reload"], Value::Null);
    gateway.rewrite(&routes(&["c", "a"]));
    let now = taken_over(&gateway, 1).await;
    assert_eq!((&now["reload"]["outcome"], &now["reload"]["problems"]), (&"taken over".into(), &Value::Array(vec![])));
    assert!(now["reload"]["time"].is_string());
    gateway.store("a", "after").await;
    assert_eq!((answer_to(&gateway, "b").await, answer_to(&gateway, "c").await), (404, 202));
    assert_eq!(stream.ids(2).await, ["before", "after"], "the stream goes on, and so does the memory connector");
    let now = status(&gateway).await;
    let stored: Vec<_> = now["routes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|route| (&route["name"], &route["published"]["stored"]))
        .collect();
    assert_eq!(stored, [(&"c".into(), &1.into()), (&"a".into(), &2.into())], "a route keeps its counts");
    let metrics = gateway.ask_admin("/metrics").await.text().await.expect("a body");
    assert!(metrics.contains(r#"route="a""#) && !metrics.contains(r#"route="b""#), "{metrics}");
}

#[tokio::test]
async fn a_hangup_reloads_at_once() {
    let gateway = Gateway::start(&routes(&["a"]));
    gateway.signal("HUP");
    taken_over(&gateway, 1).await;
    gateway.store("a", "1").await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_shown() {
    let gateway = Gateway::start(&routes(&["a"]));
    for (bad, place, says) in [
        ("connectors: {\n", ":3:1: the file: ", "invalid YAML"),
        (&*routes(&["a", "b/#/c"]), ":5:31: routes[1].channel: ", "`#`"),
        (
            &*MEMORY.replace("{ kind: memory }", "{ kind: memory, capacity: 1 }"),
            ":4:37: connectors.memory.capacity: ",
            "expected",
        ),
        (
            &*format!(
                "listeners: {{ http: {{ address: \"127.0.0.1:1\" }}, admin: {{ address: \"127.0.0.1:0\" }} }}{MEMORY}"
            ),
            ":2:31: listeners.http.address: ",
            "needs a restart",
        ),
        (
            &*format!("{MEMORY}limits: {{ ring: 1MiB, cursor: 1KiB, topics: 7 }}"),
            ":7:17: limits.ring: ",
            "needs a restart",
        ),
        (&*format!("{MEMORY}state: {{ connector: memory, topic: t }}"), ": state: ", "needs a restart"),
        (&*format!("{MEMORY}auth: []"), ":7:1: auth: ", "not built yet"),
    ] {
        gateway.rewrite(bad);
        let shown = eventually(says, async || {
            let status = status(&gateway).await;
            let problems = status["reload"]["problems"].as_array()?;
            problems
                .iter()
                .any(|problem| problem.as_str().is_some_and(|text| text.contains(place) && text.contains(says)))
                .then_some(status)
        })
        .await;
        assert_eq!((&shown["reload"]["outcome"], &shown["edition"]), (&"refused".into(), &0.into()), "{says}");
        gateway.store("a", "1").await;
    }
    gateway.rewrite(&routes(&["b"]));
    taken_over(&gateway, 1).await;
    assert_eq!((answer_to(&gateway, "a").await, answer_to(&gateway, "b").await), (404, 202));
}

#[tokio::test]
async fn a_file_that_is_filled_in_is_watched_too() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("secrets")).expect("a folder");
    let secret = folder.path().join("secrets/channel");
    fs::write(&secret, "a\n").expect("a file");
    let listeners = "listeners: { http: { address: \"127.0.0.1:0\", default_channel: \"${file:secrets/channel}\" }, admin: { address: \"127.0.0.1:0\" } }";
    let gateway = Gateway::start_in(folder, &format!("{listeners}{MEMORY}"));
    let mut stream = Stream::open(&gateway, "**?meta=true").await;
    fs::write(&secret, "b").expect("a file");
    taken_over(&gateway, 1).await;
    assert_eq!(gateway.client.post(&gateway.url).body("x").send().await.expect("an answer").status(), 202);
    assert_eq!(stream.events(1).await[0]["meshgatechannel"], "b");
    fs::write(&secret, "no/#/channel").expect("a file");
    eventually("refused", async || (status(&gateway).await["reload"]["outcome"] == "refused").then_some(())).await;
    fs::remove_file(&secret).expect("it is there");
    eventually("shown as missing", async || {
        status(&gateway).await["reload"]["problems"][0].as_str()?.contains("cannot read the file").then_some(())
    })
    .await;
    fs::write(&secret, "c").expect("a file");
    taken_over(&gateway, 2).await;
}

/// Kubernetes mounts a ConfigMap as links into `..data`, which is a link itself, and is swapped for another.
#[tokio::test]
async fn a_swapped_symbolic_link_is_seen() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let listeners = "listeners: { http: { address: \"127.0.0.1:0\" }, admin: { address: \"127.0.0.1:0\" } }\n";
    for (version, channel) in [("..2026_1", "a"), ("..2026_2", "b")] {
        fs::create_dir(at(version)).expect("a folder");
        fs::write(at(version).join("meshgate.yaml"), format!("{listeners}{}", routes(&[channel]))).expect("a file");
    }
    symlink("..2026_1", at("..data")).expect("a link");
    symlink("..data/meshgate.yaml", at("meshgate.yaml")).expect("a link");
    let (new, data) = (at("..data_tmp"), at("..data"));
    let gateway = Gateway::run(folder, None);
    gateway.store("a", "1").await;
    symlink("..2026_2", &new).expect("a link");
    fs::rename(&new, &data).expect("it can be swapped");
    taken_over(&gateway, 1).await;
    gateway.store("b", "1").await;
}

#[tokio::test]
async fn a_connector_with_other_settings_is_replaced_and_one_that_is_gone_is_closed() {
    let two = |capacity: &str| {
        format!(
            "connectors: {{ one: {{ kind: memory }}, two: {{ capacity: {capacity}, kind: memory }} }}\nroutes:\n  \
             - {{ channel: one, to: [{{ connector: one, topic: t }}] }}\n  - {{ channel: two, to: [{{ connector: two, topic: t }}] }}\n"
        )
    };
    let gateway = Gateway::start(&two("4MiB"));
    let figures = async |number: usize| {
        let status = status(&gateway).await;
        let figures = &status["connectors"][number]["figures"];
        (figures["records"].as_u64(), figures["capacity_bytes"].as_u64())
    };
    gateway.store("one", "1").await;
    gateway.store("two", "1").await;
    gateway.rewrite(&two("8MiB"));
    taken_over(&gateway, 1).await;
    assert_eq!((figures(0).await.0, figures(1).await), (Some(1), (Some(0), Some(8 << 20))));
    gateway.rewrite(
        "connectors: { one: { kind: memory } }\nroutes: [{ channel: one, to: [{ connector: one, topic: t }] }]",
    );
    let now = taken_over(&gateway, 2).await;
    assert_eq!(now["connectors"].as_array().map(Vec::len), Some(1));
    assert_eq!(problem(gateway.event("two", "1").send().await.expect("an answer")).await["status"], 404);
    let metrics = gateway.ask_admin("/metrics").await.text().await.expect("a body");
    assert!(!metrics.contains(r#"connector="two""#), "{metrics}");
}

#[tokio::test]
async fn a_connector_of_another_kind_shows_its_own_figures() {
    let of = |kind: &str| {
        format!(
            "connectors: {{ c: {{ kind: {kind} }} }}\nroutes: [{{ channel: a, to: [{{ connector: c, topic: t }}] }}]"
        )
    };
    let gateway = Gateway::start(&of("memory"));
    let metrics = async || gateway.ask_admin("/metrics").await.text().await.expect("a body");
    let (before, after) = (r#"{connector="c",figure="records"}"#, r#"{connector="c",figure="topics"}"#);
    assert!(metrics().await.contains(before));
    gateway.rewrite(&of(r#"kafka, brokers: ["127.0.0.1:1"]"#));
    taken_over(&gateway, 1).await;
    let metrics = metrics().await;
    assert!(!metrics.contains(before) && metrics.contains(after), "{metrics}");
}

#[tokio::test]
async fn standing_reads_join_new_routes_and_leave_old_ones() {
    let gateway = Gateway::start(&routes(&["a", "old"]));
    gateway.store("old", "before").await;
    let (mut all, mut old) = (Stream::open(&gateway, "**").await, Stream::open(&gateway, "old").await);
    gateway.store("old", "1").await;
    assert_eq!((all.ids(1).await, old.ids(1).await), (vec!["1".to_owned()], vec!["1".to_owned()]));
    gateway.rewrite(&routes(&["new", "a"]));
    taken_over(&gateway, 1).await;
    for (channel, id) in [("new", "2"), ("a", "3")] {
        gateway.store(channel, id).await;
    }
    assert_eq!(all.ids(2).await, ["2", "3"]);
    gateway.rewrite(&routes(&["old"]));
    taken_over(&gateway, 2).await;
    gateway.store("old", "4").await;
    assert_eq!((all.ids(1).await, old.ids(1).await), (vec!["4".to_owned()], vec!["4".to_owned()]));
    let cursor = all.last_id.expect("a cursor");
    gateway.store("old", "5").await;
    let mut again = Stream::try_open(&gateway, "**", Some(&cursor)).await.expect("a stream");
    assert_eq!(again.ids(1).await, ["5"], "the cursor goes on where the stream was");
}

#[tokio::test]
async fn a_standing_read_goes_on_with_the_connector_that_replaces_another() {
    let with = |capacity: &str| MEMORY.replace("kind: memory", &format!("kind: memory, capacity: {capacity}"));
    let gateway = Gateway::start(&with("4MiB"));
    let mut stream = Stream::open(&gateway, "a").await;
    gateway.store("a", "1").await;
    assert_eq!(stream.ids(1).await, ["1"]);
    gateway.rewrite(&with("8MiB"));
    taken_over(&gateway, 1).await;
    gateway.store("a", "2").await;
    assert_eq!(stream.ids(1).await, ["2"]);
}

#[tokio::test]
async fn members_of_a_group_go_over_to_new_routes_and_confirm_across_it() {
    let gateway = Gateway::start(&routes(&["a/1", "b"]));
    let mut member = Socket::open(&gateway, "a/**?group=g").await;
    gateway.store("a/1", "confirmed later").await;
    gateway.store("a/1", "never confirmed").await;
    let first = member.event().await;
    let given_up = member.event().await;
    assert_eq!(given_up["id"], "never confirmed");
    gateway.rewrite(&routes(&["a/1", "b", "c"]));
    taken_over(&gateway, 1).await;
    member.settle("ack", json!({ "deliverytags": [first["deliverytag"]] })).await;
    gateway.store("a/1", "after").await;
    assert_eq!(member.event().await["id"], "after", "topics that stay are not interrupted");

    gateway.rewrite(&routes(&["a/1", "a/2"]));
    taken_over(&gateway, 2).await;
    gateway.store("a/2", "elsewhere").await;
    let mut rest = member.ids(3).await;
    rest.sort_unstable();
    assert_eq!(
        rest,
        ["after", "elsewhere", "never confirmed"],
        "what is not confirmed comes again, and from new topics all"
    );
    member.settle("ack", json!({ "deliverytags": [given_up["deliverytag"]] })).await;
    member.settle("ack", json!({ "deliverytags": ["no tag"] })).await;
    assert_eq!(member.answer().await.3, "rejected");
    let delivered = status(&gateway).await["routes"][0]["delivered"].take();
    assert_eq!(delivered["confirmed"], 1, "what comes again was not confirmed, and is not counted: {delivered}");
}

#[tokio::test]
async fn many_routes_are_taken_over_while_events_are_published_and_none_is_lost() {
    let many = |first: &str| {
        let mut channels = vec![first.to_owned()];
        channels.extend((0..10_000).map(|number| format!("other/{number}")));
        routes(&channels.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let gateway = Gateway::start(&many("+"));
    let mut stream = Stream::open(&gateway, "a").await;
    let done = Cell::new(false);
    let published = async {
        let mut published = 0;
        while !done.get() {
            gateway.store("a", &published.to_string()).await;
            published += 1;
        }
        published
    };
    let reloaded = async {
        for (edition, first) in [(1, "a"), (2, "#")] {
            gateway.rewrite(&many(first));
            taken_over(&gateway, edition).await;
        }
        done.set(true);
    };
    let (published, ()) = tokio::join!(published, reloaded);
    let expected: Vec<_> = (0..published).map(|number| number.to_string()).collect();
    assert_eq!(stream.ids(published).await, expected);
}

/// `c` on the topic `t` of the memory connector `one` or `two`.
fn either(connector: &str) -> String {
    format!(
        "connectors: {{ one: {{ kind: memory }}, two: {{ kind: memory }} }}\n\
         routes: [{{ name: c, channel: c, to: [{{ connector: {connector}, topic: t }}] }}]\n"
    )
}

#[tokio::test]
async fn nothing_is_lost_to_a_standing_reader_while_its_channel_moves() {
    let gateway = Gateway::start(&either("one"));
    let mut reader = Stream::open(&gateway, "c").await;
    let stored = Cell::new(0);
    let publishing = async {
        loop {
            gateway.store("c", &stored.get().to_string()).await;
            stored.set(stored.get() + 1);
        }
    };
    let moving = async {
        for edition in 1..=6 {
            gateway.rewrite(&either(if edition % 2 == 1 { "two" } else { "one" }));
            taken_over(&gateway, edition).await;
        }
    };
    tokio::select! { () = publishing => {}, () = moving => {} }
    let mut ids = Vec::new();
    while ids.len() < stored.get() {
        ids.extend(reader.ids(1).await);
    }
    let stored = (0..stored.get()).map(|id| id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids.len(), stored.len());
    assert_eq!(ids, stored);
}

#[tokio::test]
async fn a_slow_reader_gets_all_of_what_its_channel_leaves() {
    const BEFORE: usize = 300;
    let gateway = Gateway::start(&either("one"));
    let mut reader = Stream::open(&gateway, "c").await; // and reads no further, while the connection's buffers fill up
    let large = |id: String| gateway.event("c", &id).body(vec![b'x'; 32 << 10]).send();
    for id in 0..BEFORE {
        assert_eq!(large(id.to_string()).await.expect("an answer").status(), 202);
    }
    gateway.rewrite(&either("two"));
    taken_over(&gateway, 1).await;
    for id in BEFORE..BEFORE + 10 {
        assert_eq!(large(id.to_string()).await.expect("an answer").status(), 202);
    }
    assert_eq!(reader.ids(BEFORE + 10).await, (0..BEFORE + 10).map(|id| id.to_string()).collect::<Vec<_>>());
}
