//! WebSockets (section 7 of the contract), on memory.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{
    gateway::Gateway,
    sse::Stream,
    websocket::{Frame, Socket, event},
};

const RECEIPT: &str = "io.meshgate.receipt";
const ERROR: &str = "io.meshgate.error";
/// Less than the gateway lets pass between two pings: whatever comes meanwhile was not woken by one.
const BETWEEN_PINGS: Duration = Duration::from_secs(20);

#[tokio::test]
async fn answers_every_frame_in_its_order() {
    let gateway = Gateway::start(
        r##"
connectors:
  memory: { kind: memory }
routes:
  - { name: some, channel: "some/#", to: [{ connector: memory, topic: "{channel}" }] }
"##,
    );
    let mut reader = Stream::open(&gateway, "some/where").await;
    let mut socket = Socket::open(&gateway, "some/where?role=publish").await;
    for n in 0..500 {
        socket.send(&event(&n.to_string())).await;
    }
    for n in 0..500_u64 {
        let expected = (RECEIPT.to_owned(), Value::from(n.to_string()), n + 1, "stored".to_owned());
        assert_eq!(socket.answer().await, expected);
    }
    let ids: Vec<_> = (0..500).map(|n| n.to_string()).collect();
    assert_eq!(reader.ids(500).await, ids);
    let mut nowhere = Socket::open(&gateway, "else?role=publish").await;
    nowhere.send(&event("lost")).await;
    assert_eq!(nowhere.answer().await, (ERROR.into(), "lost".into(), 1, "rejected".into()));
}

#[tokio::test]
async fn bad_frames_are_answered_and_the_connection_goes_on() {
    let gateway = Gateway::memory();
    let mut socket = Socket::open(&gateway, "a?role=publish").await;
    let reserved = json!({ "specversion": "1.0", "id": "r", "source": "/s", "type": "io.meshgate.receipt" });
    let cases = [
        ("no JSON".to_owned(), Value::Null, "JSON"),
        ("[]".to_owned(), Value::Null, "JSON"),
        (String::new(), Value::Null, "JSON"),
        (r#"{"specversion":"1.0","id":"x","type":"t"}"#.to_owned(), "x".into(), "`source` is missing"),
        (r#"{"specversion":"0.3","id":"x","source":"/s","type":"t"}"#.to_owned(), "x".into(), "specversion"),
        (reserved.to_string(), "r".into(), "must not begin with io.meshgate."),
    ];
    for (n, (text, subject, says)) in cases.iter().enumerate() {
        socket.send_raw(Message::text(text.clone())).await;
        let answer = socket.event().await;
        assert_eq!((&answer["type"], &answer["subject"]), (&ERROR.into(), subject), "{text}: {answer}");
        assert_eq!(answer["data"]["n"], n as u64 + 1);
        assert!(answer["data"]["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{text}: {answer}");
    }
    socket.settle("ack", json!({ "deliverytags": [1] })).await;
    assert_eq!(socket.answer().await, (ERROR.into(), "settling".into(), 7, "rejected".into()));
    socket.send(&event("good")).await;
    assert_eq!(socket.answer().await, (RECEIPT.into(), "good".into(), 8, "stored".into()));
}

#[tokio::test]
async fn bytes_are_wrapped_unless_json_was_agreed_on() {
    let gateway = Gateway::memory();
    let mut reader = Stream::open(&gateway, "a").await;
    let mut plain = Socket::open(&gateway, "a?role=publish").await;
    plain.send_raw(Message::binary(vec![0, 1, 255])).await;
    assert_eq!(plain.answer().await.0, RECEIPT);
    let wrapped = reader.event().await.expect("an event");
    assert_eq!((&wrapped["source"], &wrapped["type"]), (&"/ws".into(), &"io.meshgate.raw".into()));
    assert_eq!(wrapped["data_base64"], "AAH/");
    let protocols = [("sec-websocket-protocol", "soap, cloudevents.json")];
    let mut agreed = Socket::try_open(&gateway, "a?role=publish", &protocols).await.expect("101");
    assert_eq!(agreed.answer.headers()["sec-websocket-protocol"], "cloudevents.json");
    agreed.send_raw(Message::binary(vec![0, 1, 255])).await;
    assert_eq!(agreed.answer().await.0, ERROR);
}

#[tokio::test]
async fn subscribes_as_every_reader_does() {
    let gateway = Gateway::memory();
    for n in 0..3 {
        gateway.store("a/b", &n.to_string()).await;
    }
    let mut early = Socket::open(&gateway, "a/*?from=earliest&limit=3&meta=true").await;
    let mut cursor = String::new();
    for n in 0..3 {
        let event = early.event().await;
        assert_eq!((&event["id"], &event["meshgatechannel"]), (&n.to_string().into(), &"a/b".into()));
        if n == 1 {
            cursor = event["meshgatecursor"].as_str().expect("a cursor").to_owned();
        }
    }
    assert_eq!(early.next().await, Frame::Close(1000, "as many events as `limit` says".into()));
    let mut resumed = Socket::open(&gateway, &format!("a/*?after={cursor}")).await;
    assert_eq!(resumed.ids(1).await, ["2"]);
    let mut both = Socket::open(&gateway, "a/b?role=both").await;
    both.send(&event("own")).await;
    assert_eq!(both.answer().await.0, RECEIPT);
    assert_eq!(both.ids(1).await, ["own"]);
    assert_eq!(resumed.ids(1).await, ["own"]);
    resumed.send(&event("refused")).await;
    assert_eq!(resumed.answer().await, (ERROR.into(), "refused".into(), 1, "rejected".into()));
}

#[tokio::test]
async fn what_is_wrong_for_good_is_refused_with_a_status() {
    let gateway = Gateway::memory();
    type Headers = &'static [(&'static str, &'static str)];
    let cases: [(&str, Headers, u16, &str); 12] = [
        ("a/*?role=publish", &[], 400, "wildcards"),
        ("a/**?role=both", &[], 400, "wildcards"),
        ("a?role=read", &[], 400, "use subscribe, publish or both"),
        ("a?group=", &[], 400, "`group=`"),
        ("a?group=g&after=x", &[], 400, "its own position"),
        ("a?role=publish&group=g", &[], 400, "reads nothing"),
        ("a?ack=auto", &[], 400, "`ack` is about the events of a group"),
        ("a?ack=maybe&group=g", &[], 400, "use manual or auto"),
        ("a?after=x", &[], 400, "cursor"),
        ("a?rolle=publish", &[], 400, "`rolle` is not known here: did you mean `role`?"),
        ("a", &[("sec-websocket-version", "8")], 426, "must be 13"),
        ("a", &[("sec-websocket-key", "c2hvcnQ=")], 400, "16 bytes"),
    ];
    for (channel, headers, status, says) in cases {
        let (answered, problem) = Socket::try_open(&gateway, channel, headers).await.err().expect(channel);
        assert_eq!(answered, status, "{channel}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{channel}: {problem}");
    }
}

#[tokio::test]
async fn closes_say_why() {
    let mut gateway = Gateway::memory();
    let mut large = Socket::open(&gateway, "a?role=publish").await;
    large.send_raw(Message::text("x".repeat((1 << 20) + 1))).await;
    assert!(matches!(large.next().await, Frame::Close(1009, _)));
    let mut standing = Socket::open(&gateway, "a").await;
    let mut publishing = Socket::open(&gateway, "a?role=publish").await;
    publishing.send(&event("last")).await;
    assert_eq!(publishing.answer().await.0, RECEIPT);
    assert_eq!(standing.ids(1).await, ["last"]);
    gateway.signal("TERM");
    assert!(matches!(standing.next().await, Frame::Close(1001, _)));
    assert!(matches!(publishing.next().await, Frame::Close(1001, _)));
    assert!(gateway.ended().await.success());
}

#[tokio::test]
async fn who_offers_only_unknown_subprotocols_is_told_so() {
    let gateway = Gateway::memory();
    let mut stream = TcpStream::connect(gateway.url.trim_start_matches("http://")).await.expect("a connection");
    let request = "GET /channels/a HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, upgrade\r\nupgrade: WebSocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   sec-websocket-protocol: soap, wamp\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("it can be sent");
    let mut answer = Vec::new();
    let close = [0x03, 0xEA]; // 1002
    while !answer.windows(2).any(|window| window == close) {
        assert_ne!(stream.read_buf(&mut answer).await.expect("an answer"), 0, "{}", String::from_utf8_lossy(&answer));
    }
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 101 ") && !text.contains("sec-websocket-protocol"), "{text}");
    assert!(text.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{text}");
}

/// Publishes events `0` to `count`, each with its own key.
async fn publish(gateway: &Gateway, count: usize) {
    let mut socket = Socket::open(gateway, "a?role=publish").await;
    for n in 0..count {
        let mut event = event(&n.to_string());
        event["partitionkey"] = n.to_string().into();
        socket.send(&event).await;
        assert_eq!(socket.answer().await.0, RECEIPT);
    }
}

#[tokio::test]
async fn members_of_a_group_share_and_confirm() {
    const EVENTS: usize = 40;
    let gateway = Gateway::memory();
    let mut first = Socket::open(&gateway, "a?group=g").await;
    let mut second = Socket::open(&gateway, "a?group=g").await;
    let mut alone = Socket::open(&gateway, "a?group=h&filter=id='7'").await;
    publish(&gateway, EVENTS).await;
    assert_eq!(alone.ids(1).await, ["7"], "another group gets its own");
    let mut got = Vec::new();
    while got.len() < EVENTS {
        let event = tokio::select! {
            event = first.event() => event,
            event = second.event() => event,
        };
        got.push(event["id"].as_str().expect("an id").parse::<usize>().expect("a number"));
    }
    got.sort_unstable();
    assert_eq!(got, (0..EVENTS).collect::<Vec<_>>(), "each goes to one member");
    drop((first, second)); // nothing was confirmed
    let mut third = Socket::open(&gateway, "a?group=g").await;
    let mut again = Vec::new();
    for _ in 0..EVENTS {
        let event = third.event().await;
        again.push(event["id"].as_str().expect("an id").parse::<usize>().expect("a number"));
        third.settle("ack", json!({ "deliverytags": [event["deliverytag"]] })).await;
    }
    again.sort_unstable();
    assert_eq!(again, (0..EVENTS).collect::<Vec<_>>(), "all come again");
    third.settle("ack", json!({ "deliverytags": ["1"] })).await;
    assert_eq!(third.answer().await.3, "rejected", "a tag counts once");
    drop(third);
    let mut fourth = Socket::open(&gateway, "a?group=g").await;
    gateway.store("a", "new").await;
    assert_eq!(fourth.ids(1).await, ["new"], "what was confirmed does not come again");
}

#[tokio::test]
async fn a_member_gives_back_rejects_and_is_bounded() {
    let gateway = Gateway::start(&format!("{}\nlimits: {{ max_in_flight: 3 }}", crate::harness::gateway::MEMORY));
    let mut member = Socket::open(&gateway, "a?group=g").await;
    publish(&gateway, 5).await;
    let mut tags = Vec::new();
    for _ in 0..3 {
        tags.push(member.event().await["deliverytag"].clone());
    }
    // Three are open: the answer to a nonsense comes before a fourth event can.
    member.settle("ack", json!({ "deliverytags": [99] })).await;
    assert_eq!(member.answer().await.3, "rejected");
    member.settle("nack", json!({ "deliverytags": [tags[0]], "after": "100ms" })).await;
    member.settle("reject", json!({ "deliverytags": [tags[1]], "reason": "no" })).await;
    member.settle("ack", json!({ "deliverytags": [tags[2]] })).await;
    let mut ids = member.ids(3).await;
    ids.sort_unstable();
    assert_eq!(ids, ["0", "3", "4"], "the one that was given back, and those that had not come yet");
    let status = gateway.ask_admin("/status").await.text().await.expect("a body");
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["groups"][0]["members"], 1, "{status}");
    assert_eq!(status["routes"][0]["delivered"]["rejected"], 1, "{status}");
}

#[tokio::test]
async fn confirms_by_itself_only_when_asked() {
    let gateway = Gateway::memory();
    let mut member = Socket::open(&gateway, "a?group=g&ack=auto").await;
    publish(&gateway, 3).await;
    for _ in 0..3 {
        assert!(member.event().await.get("deliverytag").is_none());
    }
    drop(member);
    let mut next = Socket::open(&gateway, "a?group=g").await;
    gateway.store("a", "new").await;
    assert_eq!(next.ids(1).await, ["new"]);
}

#[tokio::test]
async fn confirming_by_itself_goes_on_as_soon_as_all_is_written() {
    let gateway = Gateway::start(&format!("{}\nlimits: {{ max_in_flight: 3 }}", crate::harness::gateway::MEMORY));
    publish(&gateway, 20).await;
    let mut member = Socket::open(&gateway, "a?group=g&ack=auto&from=earliest").await;
    let ids = tokio::time::timeout(BETWEEN_PINGS, member.ids(20)).await.expect("nothing waits for a ping");
    assert_eq!(ids, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_member_takes_no_more_than_it_may_send() {
    const EVENTS: usize = 20;
    let gateway = Gateway::start(&format!("{}\nlimits: {{ max_in_flight: 3 }}", crate::harness::gateway::MEMORY));
    publish(&gateway, EVENTS).await;
    for (group, limit, count) in [("full", "", 3), ("limited", "&limit=1", 1)] {
        let mut silent = Socket::open(&gateway, &format!("a?group={group}&from=earliest{limit}")).await;
        let mut got = silent.ids(count).await;
        let mut other = Socket::open(&gateway, &format!("a?group={group}")).await;
        while got.len() < EVENTS {
            let event =
                tokio::time::timeout(BETWEEN_PINGS, other.event()).await.expect("nobody keeps what it cannot send");
            other.settle("ack", json!({ "deliverytags": [event["deliverytag"]] })).await;
            got.push(event["id"].as_str().expect("an id").to_owned());
        }
        got.sort_unstable_by_key(|id| id.parse::<usize>().expect("a number"));
        assert_eq!(got, (0..EVENTS).map(|n| n.to_string()).collect::<Vec<_>>(), "{group}");
    }
}
