//! `listeners`

use std::net::{Ipv4Addr, SocketAddr};

use axum::http::Uri;
use meshgate_api::settings::Fields;

use super::{GIB, KIB, MIB};
use crate::{
    config::{AdminListener, HttpListener, MqttListener},
    router::Channel,
};

#[derive(Debug, Default)]
pub(super) struct Listeners {
    pub(super) http: HttpListener,
    pub(super) mqtt: Option<MqttListener>,
    pub(super) admin: AdminListener,
}

pub(super) fn listeners(fields: &mut Fields<'_>) -> Option<Listeners> {
    let http = fields.section("http", http).or(HttpListener::default());
    let mqtt = fields.section("mqtt", |fields| mqtt(fields).map(Some)).or(None);
    let admin = fields.section("admin", admin).or(AdminListener::default());
    let all = Listeners { http: http?, mqtt: mqtt?, admin: admin? };
    let mqtt = all.mqtt.as_ref().map(|mqtt| ("mqtt", "MQTT", &mqtt.address));
    let named: Vec<_> = [Some(("http", "HTTP", &all.http.address)), mqtt, Some(("admin", "admin", &all.admin.address))]
        .into_iter()
        .flatten()
        .collect();
    for (at, (key, _, address)) in named.iter().enumerate() {
        if let Some((_, before, other)) = named[..at].iter().find(|(_, _, other)| collide(other, address)) {
            let message =
                format!("`address` is {address}, which the {before} listener has with {other}: use another port");
            fields.refuse_value(key, message);
        }
    }
    Some(all)
}

fn mqtt(fields: &mut Fields<'_>) -> Option<MqttListener> {
    let default = MqttListener::default();
    let address = address(fields).or(default.address);
    let max_packet = fields.size("max_packet", KIB..=256 * MIB).or(default.max_packet);
    let words = [("close", false), ("ack", true)];
    let acknowledge_rejected = fields.choice("rejected_v3", &words).or(default.acknowledge_rejected);
    fields.not_built_yet("tls", "TLS");
    Some(MqttListener { address: address?, max_packet: max_packet?, acknowledge_rejected: acknowledge_rejected? })
}

fn http(fields: &mut Fields<'_>) -> Option<HttpListener> {
    let default = HttpListener::default();
    let address = address(fields).or(default.address);
    let max_body = fields.size("max_body", 64 * KIB..=GIB).or(default.max_body);
    let default_channel = fields.text("default_channel").optional();
    if let Some(Err(error)) = default_channel.map(Channel::check) {
        fields.refuse_value("default_channel", error.to_string());
    }
    let form = "an origin as browsers write it, such as `https://app.example` or `http://localhost:3000`";
    let origins = fields.list_of("origins", form, |text| is_origin(text).then(|| text.to_owned())).or(Vec::new());
    fields.not_built_yet("tls", "TLS");
    Some(HttpListener {
        address: address?,
        max_body: max_body?,
        default_channel: default_channel.map(str::to_owned),
        origins: origins?,
    })
}

/// Whether a browser could write `text` as an origin: scheme, host and a port that is not the scheme's own (RFC 6454, section 6.2), or
/// `null` for pages that have none.
fn is_origin(text: &str) -> bool {
    if text == "null" {
        return true;
    }
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return false };
    let own_port = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let port = authority.port_u16();
    let port_text = port.map(|port| format!(":{port}")).unwrap_or_default();
    let written = format!("{scheme}://{}{port_text}", authority.host().to_ascii_lowercase());
    text == written && (port.is_none() || port != own_port)
}

fn admin(fields: &mut Fields<'_>) -> Option<AdminListener> {
    let address = address(fields).or(AdminListener::default().address);
    fields.not_built_yet("tls", "TLS");
    Some(AdminListener { address: address? })
}

fn address<'f>(fields: &'f mut Fields<'_>) -> meshgate_api::settings::Reading<'f, String> {
    let form = "a host and a port such as `127.0.0.1:8080`, `localhost:8080` or `[::]:8080`";
    fields.parsed("address", form, |text| is_address(text).then(|| text.to_owned()))
}

/// Whether `text` is an IP address or a host's name, and a port. The name is looked up only when the listener is bound.
fn is_address(text: &str) -> bool {
    let is_named = |(host, port): (&str, &str)| {
        host.contains(|c: char| c.is_ascii_alphabetic())
            && host.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
            && port.parse::<u16>().is_ok()
    };
    text.parse::<SocketAddr>().is_ok() || text.split_once(':').is_some_and(is_named)
}

/// Whether two addresses have the same port on the same host. Port 0 is any free one.
fn collide(one: &str, other: &str) -> bool {
    let parsed = |address: &str| {
        let local = address.strip_prefix("localhost:").map(|port| format!("{}:{port}", Ipv4Addr::LOCALHOST));
        local.as_deref().unwrap_or(address).parse::<SocketAddr>()
    };
    match (parsed(one), parsed(other)) {
        (Ok(one), Ok(other)) => {
            let same_host = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
            one.port() == other.port() && one.port() != 0 && same_host
        }
        // Only binding will tell where a name leads.
        _ => one == other && !one.ends_with(":0"),
    }
}
