//! Mosquitto's clients, and web pages.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
};

use reqwest::{Response, header::HeaderMap};
use tokio::task::spawn_blocking;

use super::{LISTENERS, everything};
use crate::harness::{
    gateway::{Gateway, problem},
    kafka::{fresh_name, run},
};

/// One of Mosquitto's clients, at the gateway's MQTT listener. What it prints comes a line at a time.
fn mosquitto(gateway: &Gateway, program: &str, arguments: &[&str]) -> Command {
    let (host, port) = gateway.mqtt.as_deref().and_then(|at| at.rsplit_once(':')).expect("an MQTT listener");
    let mut command = Command::new("stdbuf");
    command.args(["-oL", program, "-h", host, "-p", port]).args(arguments);
    command
}

fn publish(gateway: &Gateway, arguments: &[&str]) {
    run(&mut mosquitto(gateway, "mosquitto_pub", arguments));
}

/// A `mosquitto_sub` that listens: with `-d` it tells when it does.
struct Listener {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// What a session that goes on has had for it before it subscribed.
    earlier: VecDeque<String>,
}

const MESSAGE: &str = "MESSAGE ";

impl Listener {
    fn start(gateway: &Gateway, arguments: &[&str]) -> Self {
        let mut command = mosquitto(gateway, "mosquitto_sub", &["-d", "-W", "40", "-F", "MESSAGE %q %r %t %p"]);
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().expect("mosquitto_sub runs");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let before = lines.by_ref().map_while(Result::ok).take_while(|line| !line.starts_with("Subscribed"));
        let earlier = before.filter_map(|line| line.strip_prefix(MESSAGE).map(str::to_owned)).collect();
        Self { child, lines, earlier }
    }

    /// Its next message: QoS, RETAIN, topic, payload.
    fn next(&mut self) -> String {
        let mut lines = self.lines.by_ref().map_while(Result::ok);
        let later = || lines.find_map(|line| line.strip_prefix(MESSAGE).map(str::to_owned));
        self.earlier.pop_front().or_else(later).expect("a message")
    }

    /// It goes away, with a DISCONNECT or without.
    fn end(mut self, signal: &str) {
        run(Command::new("kill").args(["-s", signal, &self.child.id().to_string()]));
        self.child.wait().expect("it ends");
    }
}

/// `mosquitto_pub`, `mosquitto_sub` and `mosquitto_rr`, in both versions.
fn mosquitto_clients(gateway: &Gateway, version: &str) {
    let base = fresh_name(&format!("memory/plain/{version}"));
    let of = |name: &str| format!("{base}/{name}");
    let everything = of("#");
    let id = fresh_name("listener");
    let mut session = vec!["-V", version, "-i", &id, "-c", "-q", "2", "-t", &everything];
    if version == "5" {
        session.extend(["-x", "3600"]);
    }
    let mut listener = Listener::start(gateway, &session);
    for qos in ["0", "1", "2"] {
        publish(gateway, &["-V", version, "-q", qos, "-t", &of("a"), "-m", "21.5"]);
        assert_eq!(listener.next(), format!("{qos} 0 {base}/a 21.5"));
    }
    // Its session goes on, after an end in order and after another.
    for signal in ["INT", "KILL"] {
        listener.end(signal);
        publish(gateway, &["-V", version, "-q", "1", "-t", &of("a"), "-m", signal]);
        listener = Listener::start(gateway, &session);
        assert_eq!(listener.next(), format!("1 0 {base}/a {signal}"));
    }
    publish(gateway, &["-V", version, "-q", "1", "-r", "-t", &of("config"), "-m", "interval=5"]);
    assert_eq!(listener.next(), format!("1 0 {base}/config interval=5"));
    let mut late = Listener::start(gateway, &["-V", version, "-q", "1", "-t", &of("+")]);
    assert_eq!(late.next(), format!("1 1 {base}/config interval=5"));
    late.end("INT");
    let (gone, elsewhere) = (of("gone"), of("elsewhere"));
    let will = ["--will-topic", &gone, "--will-payload", "it is gone", "--will-qos", "1"];
    let mut left = vec!["-V", version, "-t", &elsewhere];
    left.extend(will);
    Listener::start(gateway, &left).end("KILL");
    assert_eq!(listener.next(), format!("1 0 {base}/gone it is gone"));
    listener.end("INT");
}

#[tokio::test]
async fn mosquittos_clients_speak_to_it() {
    let gateway = everything().await;
    for version in ["311", "5"] {
        let gateway = gateway.clone();
        spawn_blocking(move || mosquitto_clients(&gateway, version)).await.expect("no panic");
    }
}

#[tokio::test]
async fn a_question_is_answered() {
    let gateway = everything().await;
    let answered = spawn_blocking(move || {
        let base = fresh_name("memory/plain/rr");
        let (question, answer) = (format!("{base}/question"), format!("{base}/answer"));
        let mut asked = Listener::start(&gateway, &["-V", "5", "-q", "1", "-t", &question, "-F", "MESSAGE %R %D %p"]);
        let arguments = ["-V", "5", "-q", "1", "-W", "40", "-t", &question, "-e", &answer, "-m", "how hot?"];
        let more = ["-D", "publish", "correlation-data", "q1"];
        let mut command = mosquitto(&gateway, "mosquitto_rr", &arguments);
        let child = command.args(more).stdout(Stdio::piped()).spawn().expect("mosquitto_rr runs");
        assert_eq!(asked.next(), format!("{answer} q1 how hot?"));
        publish(
            &gateway,
            &["-V", "5", "-q", "1", "-t", &answer, "-m", "71", "-D", "publish", "correlation-data", "q1"],
        );
        asked.end("INT");
        String::from_utf8(child.wait_with_output().expect("it ends").stdout).expect("UTF-8")
    });
    assert_eq!(answered.await.expect("no panic").trim(), "71");
}

const PAGE: &str = "https://app.example";

fn with_origins() -> Gateway {
    let http = r#"http: { address: "127.0.0.1:0", origins: ["https://app.example"] }"#;
    Gateway::start(&format!(
        "{}connectors: {{ memory: {{ kind: memory }} }}\nroutes: [{{ channel: \"#\", to: [{{ connector: memory, topic: \"{{channel}}\" }}] }}]\n",
        LISTENERS.replace(r#"http: { address: "127.0.0.1:0" }"#, http)
    ))
}

/// A browser's handshake for a WebSocket at `/mqtt`.
async fn handshake(gateway: &Gateway, headers: &[(&str, &str)]) -> Response {
    let request = gateway.client.get(format!("{}/mqtt", gateway.url));
    let request = request.header("connection", "upgrade").header("upgrade", "websocket");
    let request = request.header("sec-websocket-version", "13").header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.expect("an answer")
}

fn subprotocol(headers: &HeaderMap) -> Option<&str> {
    headers.get("sec-websocket-protocol").map(|value| value.to_str().expect("ASCII"))
}

#[tokio::test]
async fn pages_that_are_not_listed_do_not_get_to_devices() {
    let gateway = with_origins();
    for origin in ["https://evil.example", "null", "http://app.example", "https://app.example:444"] {
        let refused = handshake(&gateway, &[("origin", origin), ("sec-websocket-protocol", "mqtt")]).await;
        let refused = problem(refused).await;
        assert_eq!(refused["status"], 403, "{origin}: {refused}");
        assert!(
            refused["detail"].as_str().is_some_and(|detail| detail.contains("listeners.http.origins")),
            "{refused}"
        );
    }
    for origin in [Some(PAGE), Some(&*gateway.url), None] {
        for offered in ["mqtt", "mqttv3.1, mqtt"] {
            let mut headers = vec![("sec-websocket-protocol", offered)];
            headers.extend(origin.map(|origin| ("origin", origin)));
            let answer = handshake(&gateway, &headers).await;
            assert_eq!((answer.status().as_u16(), subprotocol(answer.headers())), (101, Some("mqtt")), "{headers:?}");
        }
        for offered in [None, Some("mqttv3.1"), Some("cloudevents.json")] {
            let mut headers = Vec::from_iter(offered.map(|offered| ("sec-websocket-protocol", offered)));
            headers.extend(origin.map(|origin| ("origin", origin)));
            assert_eq!(handshake(&gateway, &headers).await.status(), 400, "{headers:?}");
        }
    }
    let plain = gateway.client.get(format!("{}/mqtt", gateway.url)).send().await.expect("an answer");
    assert_eq!(problem(plain).await["status"], 400);
}

/// MQTT.js as it runs in a page: it says where that comes from.
#[tokio::test]
async fn a_listed_page_is_a_device() {
    let gateway = with_origins();
    let play = |origin: &'static str| {
        let mut command = Command::new("scripts/node");
        command.args(["tests/it/devices/devices.js", "qualities"]);
        command.env("TRANSPORT", "websockets").env("BASE", "page").env("ORIGIN", origin);
        command.env("HTTP_ADDRESS", gateway.url.trim_start_matches("http://"));
        command
    };
    let mut listed = play(PAGE);
    spawn_blocking(move || run(&mut listed)).await.expect("it runs");
}
