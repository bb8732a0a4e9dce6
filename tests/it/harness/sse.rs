//! A reader of server-sent events that keeps what it saw.

use std::collections::VecDeque;

use reqwest::{Client, Response};
use serde_json::Value;

use super::{PATIENCE, gateway::Gateway};

/// One open stream.
pub struct Stream {
    answer: Response,
    unread: Vec<u8>,
    blocks: VecDeque<Block>,
    /// The last `id:` of a whole block.
    pub last_id: Option<String>,
}

/// What stands between two empty lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    pub id: Option<String>,
    pub data: Option<String>,
    pub retry: Option<String>,
    pub comment: Option<String>,
}

impl Stream {
    /// Opens `filter_and_query` and insists on a stream; its first block has been read.
    pub async fn open(gateway: &Gateway, filter_and_query: &str) -> Self {
        let mut stream = Self::try_open(gateway, filter_and_query, None).await.expect("a stream");
        stream.block().await.expect("a first block");
        stream
    }

    /// Opens a stream; `Err` is an answer other than 200.
    pub async fn try_open(
        gateway: &Gateway,
        filter_and_query: &str,
        last_event_id: Option<&str>,
    ) -> Result<Self, Response> {
        let url = gateway.channel_url(filter_and_query);
        Self::request(&gateway.client, &url, last_event_id).await.expect("an answer")
    }

    /// Asks for a stream; `Ok(Err(_))` is an answer other than 200, `Err(_)` no answer.
    pub async fn request(
        client: &Client,
        url: &str,
        last_event_id: Option<&str>,
    ) -> reqwest::Result<Result<Self, Response>> {
        let mut request = client.get(url);
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let answer = request.send().await?;
        if answer.status() != 200 {
            return Ok(Err(answer));
        }
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Ok(Ok(Self { answer, unread: Vec::new(), blocks: VecDeque::new(), last_id: None }))
    }

    /// The next block; `None` at the end of the stream.
    pub async fn block(&mut self) -> Option<Block> {
        loop {
            if let Some(block) = self.blocks.pop_front() {
                if let Some(id) = &block.id {
                    self.last_id = Some(id.clone());
                }
                return Some(block);
            }
            let chunk =
                tokio::time::timeout(PATIENCE, self.answer.chunk()).await.expect("something comes in time").ok()??;
            self.unread.extend_from_slice(&chunk);
            while let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let text = String::from_utf8(self.unread.drain(..end + 2).collect()).expect("UTF-8");
                self.blocks.push_back(parse(&text));
            }
        }
    }

    /// The next event; `None` at the end of the stream. Comments do not make it wait for ever.
    pub async fn event(&mut self) -> Option<Value> {
        let next = async {
            loop {
                if let Some(data) = self.block().await?.data {
                    return Some(serde_json::from_str(&data).expect("an event is JSON"));
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("an event comes in time")
    }

    /// So many events.
    pub async fn events(&mut self, count: usize) -> Vec<Value> {
        let mut events = Vec::new();
        while events.len() < count {
            let event = self.event().await;
            events.push(event.unwrap_or_else(|| panic!("the stream ended after {} of {count} events", events.len())));
        }
        events
    }

    /// The ids of so many events.
    pub async fn ids(&mut self, count: usize) -> Vec<String> {
        self.events(count).await.iter().map(|event| event["id"].as_str().expect("an id").to_owned()).collect()
    }
}

fn parse(text: &str) -> Block {
    let mut block = Block::default();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (field, value) = line.split_once(':').expect("a field");
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        let slot = match field {
            "id" => &mut block.id,
            "data" => &mut block.data,
            "retry" => &mut block.retry,
            "" => &mut block.comment,
            other => panic!("unexpected field {other}"),
        };
        assert!(slot.replace(value).is_none(), "a field twice in {text:?}");
    }
    block
}
