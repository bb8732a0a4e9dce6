//! The real Kafka that `scripts/brokers` started.

use std::{
    process::Command,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{SystemTime, UNIX_EPOCH},
};

/// Its address; without one the test fails and says what to run.
pub fn bootstrap() -> String {
    std::env::var("KAFKA_BOOTSTRAP").unwrap_or_else(|_| {
        panic!("needs Kafka: run `scripts/brokers up kafka`, then `eval \"$(scripts/brokers env)\"`")
    })
}

/// Runs `scripts/brokers` with these arguments.
pub fn brokers(arguments: &[&str]) -> String {
    run(Command::new("scripts/brokers").args(arguments))
}

/// Makes a topic with a name that was never used before.
pub fn topic(prefix: &str, partitions: u32) -> String {
    let name = fresh_name(prefix);
    brokers(&["topic", "create", &name, "--partitions", &partitions.to_string()]);
    name
}

/// A name that was never used before.
pub fn fresh_name(prefix: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    format!("{prefix}-{now}-{}", NUMBER.fetch_add(1, Relaxed))
}

/// Runs a Python program in the environment that has kafka-python.
pub fn python(arguments: &[&str]) -> String {
    run(Command::new("scripts/python").args(arguments))
}

/// The positions that a group has committed, as a client that is not ours reads them: by topic and partition.
pub fn committed(servers: &str, group: &str) -> Vec<(String, u32, u64)> {
    let lines = python(&["tests/it/harness/kafka_client.py", servers, "committed", group]);
    let parsed = lines.lines().map(|line| {
        let mut words = line.split(' ');
        let mut next = || words.next().unwrap_or_else(|| panic!("no position: {line}"));
        (next().to_owned(), next().parse().expect("a partition"), next().parse().expect("an offset"))
    });
    parsed.collect()
}

/// Runs a command in the repository's root and insists on success; its output.
pub fn run(command: &mut Command) -> String {
    let done = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("the command starts");
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{command:?}: {}\n{out}{err}", done.status);
    out.into_owned()
}
