//! Reading as server-sent events, on memory.

use serde_json::json;

use crate::harness::{
    gateway::{Gateway, problem},
    sse::Stream,
    websocket::Socket,
};

#[tokio::test]
async fn begins_with_the_cursor_and_gives_one_after_each_event() {
    let gateway = Gateway::memory();
    let mut stream = Stream::try_open(&gateway, "a/b", None).await.expect("a stream");
    let first = stream.block().await.expect("a block");
    assert!(first.id.is_some() && first.data.is_none() && first.comment.is_none(), "{first:?}");
    for n in 0..5 {
        gateway.store("a/b", &n.to_string()).await;
    }
    assert_eq!(stream.ids(2).await, ["0", "1"]);
    let id = stream.last_id.clone();
    let mut resumed = Stream::try_open(&gateway, "a/b", id.as_deref()).await.expect("a stream");
    assert_eq!(resumed.ids(3).await, ["2", "3", "4"]);
    let mut again = Stream::try_open(&gateway, &format!("a/b?from=earliest&after={}", id.expect("an id")), None)
        .await
        .expect("a stream");
    assert_eq!(again.ids(3).await, ["2", "3", "4"]);
}

#[tokio::test]
async fn filters_channels() {
    let gateway = Gateway::memory();
    let mut streams = Vec::new();
    for filter in ["a/*", "a/**", "**", "a//b", "a/+", "?channel=a/*", "?channel=a//b", "a/%2A"] {
        streams.push((filter, Stream::open(&gateway, filter).await));
    }
    for (id, channel) in
        [("a", "a"), ("ab", "a/b"), ("a-b", "a//b"), ("x", "x"), ("star", "a/%2A"), ("end", "a/end"), ("end", "a//b")]
    {
        gateway.store(channel, id).await;
    }
    for (filter, stream) in &mut streams {
        let mut ids = stream.ids(1).await;
        while ids.last().is_some_and(|last| last != "end") && *filter != "a/%2A" {
            ids.extend(stream.ids(1).await);
        }
        let expected: &[&str] = match *filter {
            "a/*" | "a/+" | "?channel=a/*" => &["ab", "star", "end"],
            "a/**" => &["a", "ab", "a-b", "star", "end"],
            "**" => &["a", "ab", "a-b", "x", "star", "end"],
            "a/%2A" => &["star"],
            _ => &["a-b", "end"],
        };
        assert_eq!(ids, expected, "{filter}");
    }
}

#[tokio::test]
async fn from_limit_meta_and_no_cursors() {
    let gateway = Gateway::memory();
    for n in 0..4 {
        gateway.store("a/b", &n.to_string()).await;
    }
    let mut limited = Stream::open(&gateway, "a/b?from=earliest&limit=3").await;
    assert_eq!(limited.ids(3).await, ["0", "1", "2"]);
    assert_eq!(limited.event().await, None);
    let mut timed = Stream::open(&gateway, "a/b?from=2020-01-01T00:00:00+01:00&limit=1").await;
    assert_eq!(timed.ids(1).await, ["0"]);
    let mut meta = Stream::open(&gateway, "a/*?from=earliest&meta=true&limit=1").await;
    let event = meta.event().await.expect("an event");
    assert_eq!(event["meshgatechannel"], "a/b");
    assert_eq!(event["meshgatecursor"].as_str(), meta.last_id.as_deref());
    let again = gateway.client.post(gateway.channel_url("c")).header("content-type", "application/cloudevents+json");
    assert_eq!(again.body(event.to_string()).send().await.expect("an answer").status(), 202);
    let mut copy = Stream::open(&gateway, "c?from=earliest&limit=1").await;
    let copy = copy.event().await.expect("an event");
    assert!(copy.get("meshgatecursor").is_none() && copy.get("meshgatechannel").is_none(), "{copy}");
    let mut without = Stream::try_open(&gateway, "a/b?from=earliest&resume=no&limit=1", None).await.expect("a stream");
    while let Some(block) = without.block().await {
        assert_eq!(block.id, None);
    }
}

#[tokio::test]
async fn gone_is_410_with_where_to_go_on() {
    let small = r##"
connectors: { memory: { kind: memory, capacity: 4MiB } }
routes: [{ name: all, channel: "#", to: [{ connector: memory, topic: "{channel}" }] }]
"##;
    let gateway = Gateway::start(small);
    gateway.store("a", "first").await;
    let mut stream = Stream::open(&gateway, "a?from=earliest&limit=1").await;
    let start = stream.last_id.clone().expect("an id");
    assert_eq!(stream.ids(1).await, ["first"]);
    for n in 0..20 {
        let answer = gateway.event("a", &n.to_string()).body(vec![b'x'; 512 << 10]).send().await.expect("an answer");
        assert_eq!(answer.status(), 202);
    }
    let gone = Stream::try_open(&gateway, "a", Some(&start)).await.err().expect("no stream");
    assert_eq!(gone.status(), 410);
    let gone = problem(gone).await;
    let cursor = gone["cursor"].as_str().expect("a cursor");
    let mut resumed = Stream::try_open(&gateway, "a", Some(cursor)).await.expect("a stream");
    let mut ids = resumed.ids(1).await;
    while ids.last().is_some_and(|last| last != "19") {
        ids.extend(resumed.ids(1).await);
    }
    let restarted = gateway.kill_and_restart();
    let gone = Stream::try_open(&restarted, "a", resumed.last_id.as_deref()).await.err().expect("no stream");
    assert_eq!(gone.status(), 410, "a restart forgets");
}

#[tokio::test]
async fn refuses_what_is_wrong_for_good() {
    let gateway = Gateway::memory();
    let other = Stream::open(&gateway, "b").await.last_id.expect("an id");
    for (query, status, names) in [
        ("a?after=nonsense", 400, "cursor"),
        (&*format!("a?after={other}"), 400, "another channel filter"),
        ("a?from=yesterday", 400, "from=yesterday"),
        ("a?limit=0", 400, "limit=0"),
        ("a?meta=maybe", 400, "meta=maybe"),
        ("a?resume=perhaps", 400, "resume=perhaps"),
        ("a?group=g", 400, "group"),
        ("a?filter=type+%3D", 400, "filter"),
        ("a?wait=5s", 400, "`wait` is for pages"),
        ("a?frm=latest", 400, "`frm`"),
        ("a%2Fb", 400, "path segments"),
        ("a%zz", 400, "%zz"),
        ("a%FF", 400, "UTF-8"),
        ("$SYS/x", 400, "$"),
    ] {
        let refused = problem(gateway.client.get(gateway.channel_url(query)).send().await.expect("an answer")).await;
        assert_eq!(refused["status"], status, "{query}: {refused}");
        assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains(names)), "{query}: {refused}");
    }
    for (accept, status) in [("application/json", 406), ("text/html, */*;q=0.1", 200)] {
        let answer =
            gateway.client.get(gateway.channel_url("a")).header("accept", accept).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{accept}");
    }
    let none = Gateway::start(
        "connectors: { m: { kind: memory } }\nroutes: [{ name: a, channel: a/b, to: [{ connector: m, topic: t }] }]",
    );
    let refused = problem(none.client.get(none.channel_url("c/**")).send().await.expect("an answer")).await;
    assert_eq!(refused["status"], json!(404));
}

#[tokio::test]
async fn gives_only_what_its_filter_wants() {
    let gateway = Gateway::memory();
    let filter = "filter=amount+%3E+100+AND+subject+LIKE+'eu-%25'"; // amount > 100 AND subject LIKE 'eu-%'
    let mut stream = Stream::open(&gateway, &format!("a?{filter}")).await;
    let mut socket = Socket::open(&gateway, &format!("a?{filter}")).await;
    for (id, amount, subject) in
        [("1", "100", "eu-1"), ("2", "101", "eu-2"), ("3", "500", "us-1"), ("4", "200", "eu-3")]
    {
        let event = gateway.event("a", id).header("ce-amount", amount).header("ce-subject", subject);
        assert_eq!(event.send().await.expect("an answer").status(), 202);
    }
    gateway.store("a", "has no amount").await;
    let last = gateway.event("a", "5").header("ce-amount", "1000").header("ce-subject", "eu-9");
    assert_eq!(last.send().await.expect("an answer").status(), 202);
    assert_eq!(stream.ids(3).await, ["2", "4", "5"]);
    assert_eq!(socket.ids(3).await, ["2", "4", "5"]);
    let accept = "application/cloudevents-batch+json";
    let page = gateway.client.get(gateway.channel_url(&format!("a?{filter}&limit=2"))).header("accept", accept);
    let page = page.send().await.expect("an answer").text().await.expect("a body");
    let page: serde_json::Value = serde_json::from_str(&page).expect("a batch");
    assert_eq!((&page[0]["id"], &page[1]["id"], page.get(2)), (&json!("2"), &json!("4"), None));
    let bad = gateway.client.get(gateway.channel_url("a?filter=amount+%3E")).send().await.expect("an answer");
    assert_eq!(problem(bad).await["status"], 400);
}
