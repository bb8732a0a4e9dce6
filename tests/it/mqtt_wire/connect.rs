//! CONNECT, CONNACK, keep alive, DISCONNECT, takeover.

use std::time::{Duration, Instant};

use super::wire::{
    CONNACK, DISCONNECT, PINGREQ, PUBLISH, Properties, QUIET, SUBACK, SUBSCRIBE, Wire, address, bytes, connect, noted,
    packet, start,
};

#[tokio::test]
async fn what_is_there_is_said_and_what_was_not_asked_for_is_not() {
    let gateway = start("");
    let at = address(&gateway).await;
    let (_client, welcome) = Wire::connect_with(&at, 5, "a", 2, "").await;
    let said = welcome.properties;
    assert_eq!((said.number(0x21), said.number(0x27), said.number(0x22)), (Some(1024), Some(64 << 10), Some(10)));
    assert!(!welcome.session_present);
    // Neither an identifier, nor response information, nor an authentication method, nor another keep alive; all is available.
    assert_eq!(said.0.len(), 3, "{said:?}");
    let (_client, welcome) = Wire::connect_with(&at, 5, "b", 2, "1901 1700 26 <n> <v> 26 <n> <w>").await;
    assert_eq!(welcome.properties.get(0x1A), None, "response information is not told");
    let mut old = Wire::open(&at).await;
    old.send(connect(4, "c", 2, "")).await;
    old.expect(CONNACK, "00 00").await;
}

#[tokio::test]
async fn identifiers_of_every_sort_are_taken() {
    let gateway = start("");
    let at = address(&gateway).await;
    let long = "x".repeat(60_000);
    for id in ["a", "0123456789abcdefghijklmnopqrstuvwxyzABC", "ä/+#$", "\u{feff}bom", &long] {
        for version in [4, 5] {
            let (client, welcome) = Wire::connect_with(&at, version, id, 2, "").await;
            assert_eq!(welcome.properties.get(0x12), None, "it has one");
            client.disconnect().await;
        }
    }
    let mut names = Vec::new();
    for flags in [0, 2] {
        let (client, welcome) = Wire::connect_with(&at, 5, "", flags, "").await;
        names.push(welcome.properties.text(0x12).expect("an assigned identifier").to_owned());
        client.disconnect().await;
    }
    assert_ne!(names[0], names[1]);
    let one = Wire::connect(&at, 4, "").await;
    let mut other = Wire::connect(&at, 4, "").await;
    other.ping().await;
    one.disconnect().await; // it was not taken over
    // An assigned identifier is as good as another.
    let (mut client, welcome) = Wire::connect_with(&at, 5, "", 0, "11 0000003c").await;
    client.subscribe("assigned", 1, "").await;
    let name = welcome.properties.text(0x12).expect("an assigned identifier").to_owned();
    client.disconnect().await;
    let (_client, welcome) = Wire::connect_with(&at, 5, &name, 0, "11 0000003c").await;
    assert!(welcome.session_present && welcome.properties.get(0x12).is_none());
}

#[tokio::test]
async fn users_and_passwords_are_read() {
    let gateway = start("");
    let at = address(&gateway).await;
    for (version, body) in [
        (4, "<MQTT> 04 c2 0000 <a> <user> 0003 00ff00"),
        (4, "<MQTT> 04 82 0000 <a> <user>"),
        (5, "<MQTT> 05 c2 0000 00 <a> <user> 0003 00ff00"),
        (5, "<MQTT> 05 42 0000 00 <a> <password>"),
    ] {
        Wire::let_in(&at, version, &noted(0x10, body)).await.0.disconnect().await;
    }
}

#[tokio::test]
async fn a_connect_comes_in_any_pieces_and_what_follows_it_need_not_wait() {
    let gateway = start("");
    let at = address(&gateway).await;
    for version in [4, 5] {
        let mut client = Wire::open(&at).await;
        client.version = version;
        for byte in connect(version, "pieces", 2, "") {
            client.send([byte]).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(client.next().await.expect("a CONNACK").first, CONNACK);
        client.ping().await;
        let mut client = Wire::open(&at).await;
        client.version = version;
        let subscribe = if version == 5 { "0001 00 <early> 00" } else { "0001 <early> 00" };
        let publish = if version == 5 { "<early> 00 'x'" } else { "<early> 'x'" };
        let all = [connect(version, "early", 2, ""), noted(SUBSCRIBE, subscribe), noted(PINGREQ, "")].concat();
        client.send(all).await;
        assert_eq!(client.next().await.expect("a CONNACK").first, CONNACK);
        let mut kinds = [client.next().await.expect("a packet").first, client.next().await.expect("a packet").first];
        kinds.sort_unstable();
        assert_eq!(kinds, [SUBACK, 0xD0]);
        client.put(PUBLISH, publish).await;
        assert_eq!(client.delivered().await.payload, b"x");
    }
}

#[tokio::test]
async fn a_session_is_there_or_it_is_not() {
    let gateway = start("");
    let at = address(&gateway).await;
    for (version, kept) in [(4, ""), (5, "11 0000003c")] {
        let id = format!("session-{version}");
        let (client, welcome) = Wire::connect_with(&at, version, &id, 0, kept).await;
        assert!(!welcome.session_present, "there was none");
        client.disconnect().await;
        let (client, welcome) = Wire::connect_with(&at, version, &id, 0, kept).await;
        assert!(welcome.session_present, "it was kept");
        client.disconnect().await;
        let (client, welcome) = Wire::connect_with(&at, version, &id, 2, "").await;
        assert!(!welcome.session_present, "a clean one has no past");
        client.disconnect().await;
        let (_, welcome) = Wire::connect_with(&at, version, &id, 0, kept).await;
        assert!(!welcome.session_present, "a clean one has no future");
    }
}

#[tokio::test]
async fn a_session_lasts_as_long_as_its_client_says() {
    let gateway = start("");
    let at = address(&gateway).await;
    let present = async |id: &str| Wire::connect_with(&at, 5, id, 0, "").await.1.session_present;
    let (client, _) = Wire::connect_with(&at, 5, "none", 0, "").await;
    client.vanish();
    let (client, _) = Wire::connect_with(&at, 5, "short", 0, "11 00000001").await;
    client.vanish();
    let (client, _) = Wire::connect_with(&at, 5, "ever", 0, "11 ffffffff").await;
    client.vanish();
    let (mut client, _) = Wire::connect_with(&at, 5, "less", 0, "11 0000003c").await;
    client.put(DISCONNECT, "00 05 11 00000000").await;
    client.closed().await;
    let (mut client, _) = Wire::connect_with(&at, 5, "more", 0, "11 00000001").await;
    client.put(DISCONNECT, "00 05 11 0000003c").await;
    client.closed().await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(!present("none").await && !present("short").await && !present("less").await);
    assert!(present("ever").await && present("more").await);
}

#[tokio::test]
async fn silence_ends_a_connection_after_one_and_a_half_times_its_keep_alive() {
    let gateway = start("");
    let at = address(&gateway).await;
    for version in [4, 5] {
        let more = if version == 5 { "00" } else { "" };
        let keep_alive =
            |id: &str, seconds: u8| noted(0x10, &format!("<MQTT> {version:02x} 02 00{seconds:02x} {more} <{id}>"));
        let (mut silent, _) = Wire::let_in(&at, version, &keep_alive("silent", 1)).await;
        let (mut heard, _) = Wire::let_in(&at, version, &keep_alive("heard", 1)).await;
        let (mut free, _) = Wire::let_in(&at, version, &keep_alive("free", 0)).await;
        let (mut trickling, _) = Wire::let_in(&at, version, &keep_alive("trickling", 1)).await;
        trickling.send([0x30, 0x7F]).await;
        let begun = Instant::now();
        let mut pinged = Instant::now();
        let end = tokio::spawn(async move {
            silent.ended(0x8D).await;
            begun.elapsed()
        });
        while begun.elapsed() < Duration::from_millis(3000) {
            if pinged.elapsed() > Duration::from_millis(700) {
                heard.ping().await;
                pinged = Instant::now();
            }
            tokio::io::AsyncWriteExt::write_all(trickling.stream(), b"x").await.ok();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let took = end.await.expect("no panic");
        assert!((Duration::from_millis(1400)..Duration::from_millis(2500)).contains(&took), "{took:?}");
        free.ping().await;
        heard.ping().await;
        assert_ne!(trickling.next().await.map(|got| got.first), Some(0xD0), "part of a packet is no packet");
    }
}

#[tokio::test]
async fn who_connects_again_takes_over() {
    let gateway = start("");
    let at = address(&gateway).await;
    for (first, second) in [(4, 4), (4, 5), (5, 4), (5, 5)] {
        let mut one = Wire::connect(&at, first, "taken").await;
        one.ping().await;
        let mut other = Wire::connect(&at, second, "taken").await;
        one.ended(0x8E).await;
        other.ping().await;
        other.disconnect().await;
    }
    let mut last = Wire::connect(&at, 5, "many").await;
    for _ in 0..20 {
        let next = Wire::connect(&at, 5, "many").await;
        last.ended(0x8E).await;
        last = next;
    }
    last.ping().await;
}

#[tokio::test]
async fn a_client_that_takes_little_is_sent_little() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut client = Wire::open(&at).await;
    client.send(connect(5, "tiny", 2, "27 00000006")).await;
    client.expect(CONNACK, "00 95 00").await; // its CONNACK would have more bytes than that
    client.closed().await;
    let mut client = Wire::open(&at).await;
    client.send(connect(5, "none", 2, "27 00000003")).await;
    client.closed().await;
    let (mut client, _) = Wire::connect_with(&at, 5, "small", 2, "27 00000014").await;
    client.put(PUBLISH | 2, "<$a> 0001 00").await;
    client.expect(0x40, "0001 90").await; // without a reason string
    client.put(PINGREQ, "00").await;
    client.expect(DISCONNECT, "81 00").await;
    client.closed().await;
}

#[tokio::test]
async fn problems_are_told_to_those_who_ask_for_it() {
    let gateway = start("");
    let at = address(&gateway).await;
    for (more, told) in [("", true), ("1701", true), ("1700", false)] {
        let (mut client, _) = Wire::connect_with(&at, 5, "problems", 2, more).await;
        client.put(PUBLISH | 2, "<$SYS/x> 0001 00").await;
        let ack = client.next().await.expect("a PUBACK");
        assert_eq!((ack.first, &ack.body[..3]), (0x40, &[0, 1, 0x90][..]));
        assert_eq!(ack.body.len() > 4, told, "{ack:?}");
        client.put(SUBSCRIBE, "0002 00 <$SYS/#> 00").await;
        let ack = client.next().await.expect("a SUBACK");
        let (properties, size) = Properties::read(&ack.body[2..]);
        assert_eq!((ack.first, properties.text(0x1F).is_some(), &ack.body[2 + size..]), (SUBACK, told, &[0x8F][..]));
    }
}

#[tokio::test]
async fn a_disconnect_of_the_client_ends_it_without_a_word() {
    let gateway = start("");
    let at = address(&gateway).await;
    for body in ["", "00", "00 00", "04", "04 00", "80 00", "81", "98 00", "00 04 1f <a>", "00 07 26 <a> <b>"] {
        let mut client = Wire::connect(&at, 5, "leaving").await;
        client.send([noted(DISCONNECT, body), noted(PINGREQ, "")].concat()).await;
        client.closed().await;
    }
    Wire::connect(&at, 4, "leaving").await.disconnect().await;
}

#[tokio::test]
async fn the_largest_packet_that_is_taken_is_taken() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut client = Wire::connect(&at, 5, "large").await;
    let body = [&bytes("<large> 0001 00")[..], &vec![b'x'; (64 << 10) - 4 - 10]].concat();
    let whole = packet(PUBLISH | 2, body);
    assert_eq!(whole.len(), 64 << 10);
    client.send(&whole).await;
    client.expect(0x40, "0001").await;
    tokio::time::sleep(QUIET).await;
    client.ping().await;
}
