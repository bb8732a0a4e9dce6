//! A WebSocket client.

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        handshake::client::{Request, Response},
    },
};

use super::{PATIENCE, gateway::Gateway};

/// An open connection.
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
    /// What the gateway has answered the handshake.
    pub answer: Response,
}

/// What came.
#[derive(Debug, PartialEq)]
pub enum Frame {
    Event(Value),
    /// The code and reason of a close.
    Close(u16, String),
    /// The connection has ended without one.
    End,
}

/// A structured event.
pub fn event(id: &str) -> Value {
    json!({ "specversion": "1.0", "id": id, "source": "/test", "type": "com.example.test", "data": id })
}

impl Socket {
    /// Opens `channel`, which may have queries; insists on 101.
    pub async fn open(gateway: &Gateway, channel: &str) -> Self {
        Self::try_open(gateway, channel, &[]).await.expect("101")
    }

    /// With further headers; or the answer's status and body.
    pub async fn try_open(
        gateway: &Gateway,
        channel: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, (u16, Value)> {
        let url = gateway.channel_url(channel).replace("http://", "ws://");
        let mut request: Request = url.into_client_request().expect("a request");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header"));
        }
        let stream = TcpStream::connect(gateway.url.trim_start_matches("http://")).await.expect("a connection");
        match timeout(PATIENCE, client_async(request, stream)).await.expect("an answer in time") {
            Ok((stream, answer)) => Ok(Self { stream, answer }),
            Err(Error::Http(answer)) => {
                let body = answer.body().as_deref().unwrap_or_default();
                Err((answer.status().as_u16(), serde_json::from_slice(body).unwrap_or_default()))
            }
            Err(problem) => panic!("{problem}"),
        }
    }

    /// At a gateway that may not be there; `None`: no 101.
    pub async fn connect(url: &str, channel: &str) -> Option<Self> {
        let stream = TcpStream::connect(url.trim_start_matches("http://")).await.ok()?;
        let request = format!("{}/channels/{channel}", url.replace("http://", "ws://"));
        let opened = timeout(PATIENCE, client_async(request, stream)).await.ok()?;
        opened.ok().map(|(stream, answer)| Self { stream, answer })
    }

    /// False: the connection is broken.
    pub async fn try_send(&mut self, event: &Value) -> bool {
        self.stream.send(Message::text(event.to_string())).await.is_ok()
    }

    pub async fn send(&mut self, event: &Value) {
        self.send_raw(Message::text(event.to_string())).await;
    }

    pub async fn send_raw(&mut self, message: Message) {
        self.stream.send(message).await.expect("it can be sent");
    }

    /// Settles deliveries: `kind` is ack, nack or reject.
    pub async fn settle(&mut self, kind: &str, data: Value) {
        let mut settling = event("settling");
        settling["type"] = format!("io.meshgate.{kind}").into();
        settling["data"] = data;
        self.send(&settling).await;
    }

    /// The next frame; pings are answered by the way.
    pub async fn next(&mut self) -> Frame {
        loop {
            let frame = timeout(PATIENCE, self.stream.next()).await.expect("a frame in time");
            match frame {
                Some(Ok(Message::Text(text))) => return Frame::Event(serde_json::from_str(&text).expect("JSON")),
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Frame::Close(frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(Message::Close(None))) | Some(Err(_)) | None => return Frame::End,
                Some(Ok(_)) => {}
            }
        }
    }

    pub async fn event(&mut self) -> Value {
        match self.next().await {
            Frame::Event(event) => event,
            other => panic!("an event, not {other:?}"),
        }
    }

    /// The `id`s of the next events.
    pub async fn ids(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.event().await["id"].as_str().expect("an id").to_owned());
        }
        ids
    }

    /// The next answer: its type, subject, number and outcome.
    pub async fn answer(&mut self) -> (String, Value, u64, String) {
        let answer = self.event().await;
        assert_eq!(answer["source"], "/meshgate", "{answer}");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let data = &answer["data"];
        (
            text(&answer["type"]),
            answer["subject"].clone(),
            data["n"].as_u64().expect("a number"),
            text(&data["outcome"]),
        )
    }
}
