//! `POST /explain?channel=…`: what would become of this publish, as JSON. Nothing is sent.

use std::sync::Arc;

use axum::{
    body::to_bytes,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::Admin;
use crate::{
    explain::Setting,
    protocols::http::{Problem, query},
};

pub(super) async fn explain(State(admin): State<Arc<Admin>>, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let channel = query::only(&head.uri, "channel")?;
    let snapshot = admin.gateway.now();
    let max_body = snapshot.http.max_body;
    let body = to_bytes(body, max_body).await.map_err(|problem| {
        let detail = format!("the body could not be read, or is larger than `max_body`, {max_body} bytes: {problem}");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    })?;
    let connectors = snapshot.connectors.iter().map(|connector| &*connector.name).collect();
    let setting = Setting { router: &snapshot.router, connectors, max_body };
    let explanation = setting.explain(&head.headers, body, &channel).json();
    Ok(([(header::CONTENT_TYPE, "application/json")], format!("{explanation}\n")).into_response())
}
