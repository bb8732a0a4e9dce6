//! Malformed and hostile requests: each gets its documented answer, stores nothing that it should not, and the gateway goes on.

use std::{
    fs,
    io::{self, Read, Write},
};

use serde_json::Value;

use crate::harness::{eventually, gateway::Gateway};

mod addresses;
mod attributes;
mod browsers;
mod framing;
mod json;
mod reads;
mod wire;

use wire::{Answer, connect, exchange, request};

/// Little memory to leak into, and room for one of the largest bodies at a time.
const SMALL: &str = r##"
connectors:
  memory: { kind: memory, capacity: 4MiB }
routes:
  - { name: all, channel: "#", to: [{ connector: memory, topic: "{channel}" }] }
limits: { in_flight: 1100KiB }
"##;

/// A request, and what it is answered.
struct Case {
    name: String,
    request: Vec<u8>,
    /// The client closes its side at once.
    cut: bool,
    status: u16,
    /// Part of the problem's `detail`; `None` is an answer without a body: a good one, or one that hyper gives before it has a
    /// request to hand on.
    says: Option<&'static str>,
    /// Events that it stores.
    stores: u64,
}

impl Case {
    /// Refused with a problem that says this.
    fn refused(name: impl Into<String>, request: Vec<u8>, status: u16, says: &'static str) -> Self {
        Self { name: name.into(), request, cut: false, status, says: Some(says), stores: 0 }
    }

    /// Refused by hyper, which says no more than the status.
    fn unread(name: impl Into<String>, request: Vec<u8>, status: u16) -> Self {
        Self { name: name.into(), request, cut: false, status, says: None, stores: 0 }
    }

    /// Strange, but good: one event.
    fn stored(name: impl Into<String>, request: Vec<u8>) -> Self {
        Self { name: name.into(), request, cut: false, status: 202, says: None, stores: 1 }
    }

    fn cut(self) -> Self {
        Self { cut: true, ..self }
    }

    /// What is wrong with the answer.
    fn fault(&self, answer: io::Result<Answer>) -> Option<String> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(problem) => return Some(format!("the connection broke: {problem}")),
        };
        let problem: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let documented = match self.says {
            None => answer.body.is_empty(),
            Some(says) => {
                answer.head.contains("content-type: application/problem+json\r\n")
                    && problem["status"] == self.status
                    && problem["title"].is_string()
                    && problem["detail"].as_str().is_some_and(|detail| detail.contains(says))
            }
        };
        let allowed = self.status != 405 || answer.head.contains("allow: ");
        let good = documented && allowed && answer.status == self.status && answer.rest.is_empty();
        (!good).then(|| format!("{answer:?} is not {} {:?}", self.status, self.says))
    }
}

/// The gateway under attack.
struct Target {
    gateway: Gateway,
    /// `host:port` of the HTTP listener.
    address: String,
}

impl Target {
    fn start() -> Self {
        let gateway = Gateway::start(SMALL);
        Self { address: gateway.url.trim_start_matches("http://").to_owned(), gateway }
    }

    /// Publishes a good event; how many have been stored, this one included.
    fn publish(&self) -> u64 {
        let good = request("POST /channels/good", "prefer: return=representation\r\ncontent-length: 4\r\n", "good");
        let answer = exchange(&self.address, &good, false).expect("an answer");
        assert_eq!(answer.status, 202, "{}{}", answer.head, answer.body);
        let stored: Value = serde_json::from_str(&answer.body).expect("JSON");
        // The memory connector numbers all that it stores.
        stored["events"][0]["stored"][0]["position"].as_str().and_then(|at| at.parse().ok()).expect("a number")
    }

    /// Runs every case; those that went wrong.
    fn run(&self, cases: &[Case]) -> Vec<String> {
        let mut stored = self.publish();
        let mut wrong = Vec::new();
        for case in cases {
            let fault = case.fault(self.exchange(case));
            let now = self.publish();
            let more = now - stored - 1;
            let counted = (more != case.stores).then(|| format!("{more} events were stored"));
            wrong.extend(fault.into_iter().chain(counted).map(|fault| format!("{}: {fault:.600}", case.name)));
            stored = now;
        }
        wrong
    }

    fn exchange(&self, case: &Case) -> io::Result<Answer> {
        exchange(&self.address, &case.request, case.cut)
    }

    /// File descriptors that the process holds.
    fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.gateway.pid())).expect("it lives").count()
    }

    /// Resident memory, in bytes.
    fn memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.gateway.pid())).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
    }
}

fn every_case(target: &Target) -> Vec<Case> {
    let cursor = reads::cursor(&target.address);
    [attributes::cases(), json::cases(), addresses::cases(), reads::cases(&cursor), framing::cases(), browsers::cases()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn each_gets_its_answer_and_the_gateway_goes_on() {
    let target = Target::start();
    let cases = every_case(&target);
    assert!(cases.len() >= 300, "only {} cases", cases.len());
    let wrong = target.run(&cases);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[tokio::test]
#[cfg(target_os = "linux")] // only there a process shows its files
async fn nothing_is_left_behind() {
    const ROUNDS: usize = 4;
    const GROWTH: usize = 24 << 20;
    let target = Target::start();
    let cases = every_case(&target);
    let files = target.open_files();
    let run = || cases.iter().for_each(|case| drop(target.exchange(case)));
    run();
    let memory = target.memory();
    (1..ROUNDS).for_each(|_| run());
    let grown = target.memory().saturating_sub(memory);
    assert!(grown < GROWTH, "{grown} bytes more than after the first round");
    eventually("every connection is closed", async || (target.open_files() <= files).then_some(())).await;
    let largest = wire::post(wire::EVENT, vec![b'x'; 1 << 20]);
    assert_eq!(
        exchange(&target.address, &largest, false).expect("an answer").status,
        202,
        "`limits.in_flight` is whole"
    );
}

#[test]
fn who_never_says_what_it_speaks_is_closed() {
    let target = Target::start();
    let mut silent = ["", "PRI * HT", "POST /channels/bad HT"].map(|opening| {
        let mut stream = connect(&target.address);
        stream.write_all(opening.as_bytes()).expect("it is open");
        stream
    });
    for stream in &mut silent {
        assert_eq!(stream.read(&mut [0; 1]).expect("an orderly end"), 0);
    }
    target.publish();
}

#[test]
fn garbage_after_the_preface_of_http2_is_told_so() {
    const GOAWAY: u8 = 7;
    let target = Target::start();
    let mut stream = connect(&target.address);
    stream.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[b'g'; 200][..]].concat()).expect("it is open");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an orderly end");
    let mut frames = &answer[..];
    let mut kinds = Vec::new();
    while let [high, middle, low, kind, _flags, _, _, _, _, rest @ ..] = frames {
        kinds.push(*kind);
        frames = &rest[u32::from_be_bytes([0, *high, *middle, *low]) as usize..];
    }
    assert_eq!(kinds.last(), Some(&GOAWAY), "{answer:?}");
    target.publish();
}
