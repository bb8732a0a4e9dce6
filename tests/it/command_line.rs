//! What the commands say to who types them.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Output, Stdio},
};

use serde_json::json;

use crate::harness::{
    gateway::{Gateway, MEMORY, meshgate},
    sse::Stream,
};

fn run(arguments: &[&str]) -> Output {
    meshgate().args(arguments).output().expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_gateway_that_is_not_there_is_said_so() {
    for (url, said) in [
        ("localhost:8080", "the URL has no scheme: write http://localhost:8080"),
        ("https://localhost", "`https` is not spoken here: use http"),
        ("http://127.0.0.1:1", "no gateway answers at http://127.0.0.1:1: is it running there? (Connection refused"),
    ] {
        for command in [&["publish", "a", "x"][..], &["subscribe", "a"], &["healthcheck"]] {
            let done = run(&[command, &["--url", url]].concat());
            assert!(text(&done.stderr).contains(said), "{command:?} {url}: {}", text(&done.stderr));
        }
    }
}

#[tokio::test]
async fn what_is_published_by_hand_is_what_it_looks_like() {
    let gateway = Gateway::memory();
    let mut stream = Stream::open(&gateway, "a").await;
    let event = r#"{"specversion":"1.0","id":"1","source":"/x","type":"t"}"#;
    let batch = format!("[{event}]");
    let raw = "io.meshgate.raw";
    for (arguments, kind, content_type, data) in [
        (&[event][..], "t", json!(null), json!(null)),
        (&[&*batch], "t", json!(null), json!(null)),
        (&[r#"{"n":1}"#], raw, json!("application/json"), json!({"n": 1})),
        (&["not json"], raw, json!("text/plain"), json!("not json")),
        (&["not json", "--type", "t"], "t", json!("text/plain"), json!("not json")),
        (&[event, "--type", "outer"], "outer", json!("application/json"), serde_json::from_str(event).expect("JSON")),
        (&["1", "--content-type", "text/plain"], raw, json!("text/plain"), json!("1")),
    ] {
        let done = run(&[&["publish", "a", "--url", &gateway.url], arguments].concat());
        assert_eq!((done.status.code(), text(&done.stdout).as_str()), (Some(0), ""), "{arguments:?}: {done:?}");
        let found = stream.event().await.expect("an event");
        assert_eq!((&found["type"], &found["datacontenttype"], &found["data"]), (&json!(kind), &content_type, &data));
        assert_eq!(found.get("data").is_none(), data.is_null(), "{arguments:?}: {found}");
    }
}

#[test]
fn log_lines_in_a_file_have_no_colours() {
    let done = run(&["--config", "no/such/file.yaml"]);
    assert_eq!(text(&done.stderr).trim(), "no/such/file.yaml: cannot be read: No such file or directory (os error 2)");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("away.yaml");
    let away = "listeners: { http: { address: '127.0.0.1:0' }, admin: { address: '127.0.0.1:0' } }\n";
    fs::write(&file, format!("{away}{MEMORY}")).expect("a file");
    let serving = meshgate().arg("--config").arg(&file).stderr(Stdio::piped()).stdout(Stdio::null()).spawn();
    let mut serving = serving.expect("the binary starts");
    let mut line = String::new();
    BufReader::new(serving.stderr.take().expect("a pipe")).read_line(&mut line).expect("a line");
    serving.kill().expect("it can be killed");
    serving.wait().expect("it ends");
    assert!(line.contains(" INFO ") && !line.contains('\u{1b}'), "{line:?}");
}
