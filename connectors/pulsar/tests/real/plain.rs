//! A plain Pulsar client in Python, which knows nothing of the gateway.

use std::process;

/// What its scripts begin with: the client, and the topic of the second argument.
const PRELUDE: &str = "
import json, pulsar, sys
from pulsar import CompressionType, ConsumerType, InitialPosition
client = pulsar.Client(sys.argv[1], logger=pulsar.FileLogger(pulsar.LoggerLevel.Warn, '/dev/stderr'))
topic = sys.argv[2]
";

/// Runs a script with the Python that has the client, and gives what it prints.
pub(crate) async fn python(script: &str, arguments: &[&str]) -> String {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/python");
    let mut program = process::Command::new(python);
    program.arg("-c").arg(format!("{PRELUDE}{script}")).args(arguments);
    let ran = tokio::task::spawn_blocking(move || program.output()).await.expect("no panic");
    let ran = ran.expect("scripts/python runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("it prints UTF-8")
}
