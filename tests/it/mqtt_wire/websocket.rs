//! MQTT in the binary frames of a WebSocket (MQTT 5.0, section 6).

use futures::{SinkExt, StreamExt};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest, handshake::client::Request},
};

use super::wire::{PINGREQ, PUBLISH, SUBSCRIBE, bytes, connect, noted, start};
use crate::harness::{PATIENCE, gateway::Gateway};

/// Opens `/mqtt`, offering these subprotocols; what was chosen, or the status of a refusal.
async fn open(gateway: &Gateway, offered: Option<&str>) -> Result<(WebSocketStream<TcpStream>, Option<String>), u16> {
    let url = format!("{}/mqtt", gateway.url.replace("http://", "ws://"));
    let mut request: Request = url.into_client_request().expect("a request");
    if let Some(offered) = offered {
        request.headers_mut().insert("sec-websocket-protocol", offered.parse().expect("a header"));
    }
    let stream = TcpStream::connect(gateway.url.trim_start_matches("http://")).await.expect("a connection");
    match timeout(PATIENCE, client_async(request, stream)).await.expect("an answer in time") {
        Ok((stream, answer)) => {
            let chosen = answer.headers().get("sec-websocket-protocol");
            Ok((stream, chosen.map(|chosen| chosen.to_str().expect("a text").to_owned())))
        }
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(problem) => panic!("{problem}"),
    }
}

/// The bytes of the frames that come, until there are so many.
async fn read(socket: &mut WebSocketStream<TcpStream>, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < count {
        match timeout(PATIENCE, socket.next()).await.expect("a frame in time") {
            Some(Ok(Message::Binary(bytes))) => all.extend(bytes),
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("{other:?} after {all:x?}"),
        }
    }
    all
}

/// The gateway closes, whatever it says before.
async fn closed(socket: &mut WebSocketStream<TcpStream>) {
    while let Some(Ok(_)) = timeout(PATIENCE, socket.next()).await.expect("the end in time") {}
}

#[tokio::test]
async fn the_subprotocol_is_mqtt() {
    let gateway = start("");
    for offered in ["mqtt", "other, mqtt", "mqtt, mqttv3.1"] {
        let (_socket, chosen) = open(&gateway, Some(offered)).await.expect("101");
        assert_eq!(chosen.as_deref(), Some("mqtt"), "{offered}");
    }
    for offered in [None, Some("other"), Some("mqttv3.1")] {
        assert_eq!(open(&gateway, offered).await.map(|(_, chosen)| chosen).expect_err("no 101"), 400, "{offered:?}");
    }
}

#[tokio::test]
async fn packets_begin_anywhere_in_frames() {
    let gateway = start("");
    let (mut socket, _) = open(&gateway, Some("mqtt")).await.expect("101");
    for byte in connect(4, "pieces", 2, "") {
        socket.send(Message::binary(vec![byte])).await.expect("it is sent");
    }
    assert_eq!(read(&mut socket, 4).await, bytes("20 02 00 00"));
    let mut all = [noted(SUBSCRIBE, "0001 <ws> 00"), noted(PINGREQ, ""), noted(PUBLISH | 2, "<no> 0002 'x'")].concat();
    let rest = all.split_off(all.len() - 3);
    socket.send(Message::binary(all)).await.expect("it is sent");
    socket.send(Message::binary(Vec::new())).await.expect("it is sent");
    socket.send(Message::binary(rest)).await.expect("it is sent");
    let got = read(&mut socket, 5 + 2 + 4).await;
    for part in ["90 03 0001 00", "d0 00", "40 02 0002"].map(bytes) {
        assert!(got.windows(part.len()).any(|window| window == part), "{part:x?} in {got:x?}");
    }
    let large = vec![b'x'; 60_000];
    let publish = super::wire::packet(PUBLISH, [&bytes("<ws>")[..], &large].concat());
    for part in publish.chunks(7000) {
        socket.send(Message::binary(part.to_vec())).await.expect("it is sent");
    }
    assert_eq!(read(&mut socket, publish.len()).await, publish);
}

#[tokio::test]
async fn text_ends_the_connection() {
    let gateway = start("");
    let (mut socket, _) = open(&gateway, Some("mqtt")).await.expect("101");
    socket.send(Message::binary(connect(5, "text", 2, ""))).await.expect("it is sent");
    read(&mut socket, 16).await;
    socket.send(Message::text("\u{c}\0")).await.expect("it is sent");
    closed(&mut socket).await;
    let (mut socket, _) = open(&gateway, Some("mqtt")).await.expect("101");
    socket.send(Message::text("hello")).await.expect("it is sent");
    closed(&mut socket).await;
}

#[tokio::test]
async fn bad_packets_are_answered_as_over_tcp() {
    let gateway = start("");
    let (mut socket, _) = open(&gateway, Some("mqtt")).await.expect("101");
    socket.send(Message::binary(connect(5, "bad", 3, ""))).await.expect("it is sent");
    let got = read(&mut socket, 5).await;
    assert_eq!((got[0], got[3]), (0x20, 0x81), "{got:x?}");
    closed(&mut socket).await;
    let (mut socket, _) = open(&gateway, Some("mqtt")).await.expect("101");
    socket.send(Message::binary(connect(5, "bad", 2, ""))).await.expect("it is sent");
    read(&mut socket, 16).await;
    socket.send(Message::binary(noted(PINGREQ, "00"))).await.expect("it is sent");
    let got = read(&mut socket, 4).await;
    assert_eq!((got[0], got[2]), (0xE0, 0x81), "{got:x?}");
    closed(&mut socket).await;
}
