//! Wills: when they are published, and when they are not.

use std::time::{Duration, Instant};

use super::wire::{DISCONNECT, Wire, address, noted, sized, start};

/// A CONNECT with a will of QoS 1 to `will/{id}` and these further flags, properties, and properties of the will.
fn connect(version: u8, id: &str, flags: u8, properties: &str, of_will: &str) -> Vec<u8> {
    let [properties, of_will] = if version == 5 { [sized(properties), sized(of_will)] } else { Default::default() };
    let flags = flags | 0x0C;
    noted(0x10, &format!("<MQTT> {version:02x} {flags:02x} 0001 {properties} <{id}> {of_will} <will/{id}> <gone>"))
}

/// Who waits for wills.
async fn watcher(at: &str) -> Wire {
    let mut watcher = Wire::connect(at, 5, "watcher").await;
    watcher.subscribe("will/#", 2, "").await;
    watcher
}

async fn of(watcher: &mut Wire) -> String {
    let got = watcher.delivered().await;
    assert_eq!((&got.payload[..], got.qos), (&b"gone"[..], 1), "{got:?}");
    got.topic
}

#[tokio::test]
async fn it_is_published_whenever_a_connection_ends_otherwise_than_in_order() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut watcher = watcher(&at).await;
    for version in [4, 5] {
        let client = async |id: &str| Wire::let_in(&at, version, &connect(version, id, 2, "", "")).await.0;
        client("lost").await.vanish();
        assert_eq!(of(&mut watcher).await, "will/lost");
        let mut faulty = client("faulty").await;
        faulty.put(0xC0, "00").await;
        faulty.ended(0x81).await;
        assert_eq!(of(&mut watcher).await, "will/faulty");
        let mut silent = client("silent").await;
        silent.ended(0x8D).await;
        assert_eq!(of(&mut watcher).await, "will/silent");
        let mut taken = client("taken").await;
        let next = Wire::connect(&at, version, "taken").await;
        taken.ended(0x8E).await;
        assert_eq!(of(&mut watcher).await, "will/taken");
        next.disconnect().await;
        client("orderly").await.disconnect().await;
        watcher.nothing().await;
    }
    for (body, comes) in [("00", false), ("00 00", false), ("04", true), ("80", true), ("98 00", true)] {
        let (mut client, _) = Wire::let_in(&at, 5, &connect(5, "reason", 2, "", "")).await;
        client.put(DISCONNECT, body).await;
        client.closed().await;
        if comes {
            assert_eq!(of(&mut watcher).await, "will/reason", "{body}");
        }
        watcher.nothing().await;
    }
}

#[tokio::test]
async fn it_waits_for_its_delay_or_the_end_of_its_session() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut watcher = watcher(&at).await;
    let kept = "11 0000003c";
    let began = Instant::now();
    // The delay is longer than the session: it comes with the end of that.
    Wire::let_in(&at, 5, &connect(5, "session", 0, "11 00000002", "18 0000003c")).await.0.vanish();
    Wire::let_in(&at, 5, &connect(5, "delay", 0, kept, "18 00000002")).await.0.vanish();
    Wire::let_in(&at, 5, &connect(5, "none", 0, "", "18 0000003c")).await.0.vanish();
    assert_eq!(of(&mut watcher).await, "will/none", "its session has ended with its connection");
    let mut both = [of(&mut watcher).await, of(&mut watcher).await];
    both.sort();
    assert_eq!(both, ["will/delay", "will/session"]);
    assert!((1900..4500).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    // Who comes back in time has no will, and it does not come later.
    Wire::let_in(&at, 5, &connect(5, "back", 0, kept, "18 00000002")).await.0.vanish();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (client, welcome) = Wire::connect_with(&at, 5, "back", 0, kept).await;
    assert!(welcome.session_present);
    // A clean start ends the session: the will comes at once.
    Wire::let_in(&at, 5, &connect(5, "clean", 0, kept, "18 0000003c")).await.0.vanish();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (clean, _) = Wire::connect_with(&at, 5, "clean", 2, "").await;
    assert_eq!(of(&mut watcher).await, "will/clean");
    // A takeover within the delay, too, is a coming back.
    let (mut first, _) = Wire::let_in(&at, 5, &connect(5, "taken", 0, kept, "18 00000002")).await;
    let (second, _) = Wire::connect_with(&at, 5, "taken", 0, kept).await;
    first.ended(0x8E).await;
    tokio::time::sleep(Duration::from_millis(3000)).await;
    watcher.nothing().await;
    for client in [client, clean, second] {
        client.disconnect().await;
    }
    watcher.nothing().await;
}

#[tokio::test]
async fn it_is_as_its_client_has_left_it() {
    let gateway = start("");
    let at = address(&gateway).await;
    let mut watcher = watcher(&at).await;
    let properties = "0101 02 0000003c 03 <text/plain> 08 <answers> 09 <data> 26 <N> <1> 26 <A> <2> 26 <N> <3>";
    Wire::let_in(&at, 5, &connect(5, "props", 2, "", properties)).await.0.vanish();
    let got = watcher.delivered().await;
    let said = &got.properties;
    assert_eq!((said.number(0x01), said.text(0x03), said.text(0x08)), (Some(1), Some("text/plain"), Some("answers")));
    assert!(said.text(0x09) == Some("data") && said.number(0x02).is_some_and(|left| (50..=60).contains(&left)));
    let user: Vec<_> = said.0.iter().filter(|(name, _)| *name == 0x26).map(|(_, value)| value.clone()).collect();
    assert_eq!(user, ["<N> <1>", "<A> <2>", "<N> <3>"].map(super::wire::bytes));
    for (id, flags, is_retained) in [("kept", 0x22, true), ("not-kept", 0x02, false)] {
        Wire::let_in(&at, 4, &connect(4, id, flags, "", "")).await.0.vanish();
        assert!(!watcher.delivered().await.retain);
        let mut late = Wire::connect(&at, 5, "late").await;
        late.subscribe(&format!("will/{id}"), 0, "").await;
        if is_retained {
            assert!(late.delivered().await.retain);
        }
        late.nothing().await;
    }
}
