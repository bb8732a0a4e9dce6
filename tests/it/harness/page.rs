//! A reader of pages.

use reqwest::{Response, header::HeaderMap};
use serde_json::Value;

use super::gateway::Gateway;

/// One page.
#[derive(Debug)]
pub struct Page {
    pub events: Vec<Value>,
    /// Bytes of the body.
    pub size: usize,
    /// `meshgate-cursor`
    pub cursor: Option<String>,
    /// The URL reference of `Link: <…>; rel="next"`.
    pub next: Option<String>,
    /// `meshgate-end: true`
    pub is_end: bool,
}

impl Page {
    /// Asks for `filter_and_query` and insists on a page.
    pub async fn read(gateway: &Gateway, filter_and_query: &str) -> Self {
        Self::of(ask(gateway, &gateway.channel_url(filter_and_query)).await).await
    }

    /// The page behind this one, as its `Link` says.
    pub async fn following(&self, gateway: &Gateway) -> Self {
        let next = self.next.as_deref().expect("a link");
        Self::of(ask(gateway, &format!("{}{next}", gateway.url)).await).await
    }

    /// Follows the links until a page says that nothing is left; all pages, this one first.
    pub async fn until_the_end(self, gateway: &Gateway) -> Vec<Self> {
        let mut pages = vec![self];
        while let Some(last) = pages.last().filter(|last| !last.is_end) {
            let next = last.following(gateway).await;
            pages.push(next);
        }
        pages
    }

    pub async fn of(answer: Response) -> Self {
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.text().await.expect("a body");
        assert_eq!(status, 200, "{body}");
        assert_eq!(headers["content-type"], "application/cloudevents-batch+json");
        let link = text(&headers, "link").map(|link| {
            let next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
            next.unwrap_or_else(|| panic!("not the next page's link: {link}")).to_owned()
        });
        let end = text(&headers, "meshgate-end");
        assert!(end.as_deref().is_none_or(|end| end == "true"), "{end:?}");
        Self {
            events: serde_json::from_str(&body).expect("a batch"),
            size: body.len(),
            cursor: text(&headers, "meshgate-cursor"),
            next: link,
            is_end: end.is_some(),
        }
    }

    pub fn ids(&self) -> Vec<&str> {
        self.events.iter().map(|event| event["id"].as_str().expect("an id")).collect()
    }
}

/// Asks for a page, whatever the answer.
pub async fn ask(gateway: &Gateway, url: &str) -> Response {
    let request = gateway.client.get(url).header("accept", "application/cloudevents-batch+json");
    request.send().await.expect("an answer")
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| value.to_str().expect("ASCII").to_owned())
}
