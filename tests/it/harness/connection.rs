//! A connection that publishes one event after another and knows exactly when: HTTP/1.1 by hand.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// No answer is this late; what never answers fails the test.
const SILENCE: Duration = Duration::from_secs(30);
const HEAD_END: &[u8] = b"\r\n\r\n";

/// A kept-alive connection.
pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// What came back, and when.
pub struct Reply {
    pub status: u16,
    pub body: String,
    /// When the last byte of the request was written.
    pub sent: Instant,
    /// When the answer's head was there.
    pub answered: Instant,
}

impl Connection {
    /// Tries until somebody listens at `address`.
    pub async fn open(address: SocketAddr) -> Self {
        loop {
            if let Ok(stream) = TcpStream::connect(address).await {
                stream.set_nodelay(true).expect("a socket option");
                return Self { stream, unread: Vec::new() };
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends a whole request and reads the answer. An error: the connection broke before it was there.
    pub async fn ask(&mut self, request: &[u8]) -> io::Result<Reply> {
        self.stream.write_all(request).await?;
        let sent = Instant::now();
        let head_end = timeout(SILENCE, self.read_head()).await.expect("an answer comes")?;
        let answered = Instant::now();
        let head = String::from_utf8(self.unread.drain(..head_end).collect()).expect("a head in ASCII");
        let length = field(&head, "content-length").map_or(0, |length| length.parse().expect("a length"));
        while self.unread.len() < length {
            self.read_more().await?;
        }
        let body = String::from_utf8(self.unread.drain(..length).collect()).expect("a body in UTF-8");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Ok(Reply { status, body, sent, answered })
    }

    /// Where the head ends.
    async fn read_head(&mut self) -> io::Result<usize> {
        loop {
            if let Some(at) = self.unread.windows(HEAD_END.len()).position(|window| window == HEAD_END) {
                return Ok(at + HEAD_END.len());
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.unread).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.into_iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
