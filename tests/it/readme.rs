//! The README, read out loud: its configuration is served, and what stands under a command in a `console` block is what it prints.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::harness::{PATIENCE, gateway::Gateway};

const README: &str = include_str!("../../README.md");

/// The blocks of one kind.
fn blocks(kind: &str) -> Vec<&'static str> {
    let start = format!("```{kind}\n");
    README.split(&*start).skip(1).filter_map(|block| block.split("```").next()).collect()
}

/// Each command of the `console` blocks, with what it prints.
fn commands() -> Vec<(&'static str, &'static str)> {
    let commands = blocks("console").into_iter().flat_map(|block| block.split("$ ").skip(1));
    commands.map(|shown| shown.split_once('\n').expect("a line")).collect()
}

/// Prints what `shown` says, in which `…` is anything.
fn is_as_shown(printed: &str, shown: &str) -> bool {
    let (first, others) = shown.split_once('…').map_or((shown, None), |(first, others)| (first, Some(others)));
    match (printed.strip_prefix(first), others) {
        (Some(rest), None) => rest.is_empty(),
        (Some(rest), Some(others)) => {
            (0..=rest.len()).any(|at| rest.is_char_boundary(at) && is_as_shown(&rest[at..], others))
        }
        (None, _) => false,
    }
}

/// A folder with the README's file, the repository's programs, and `meshgate` on the path.
fn furnish(folder: &Path) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["scripts", "examples"] {
        symlink(repository.join(name), folder.join(name)).expect("a link");
    }
    fs::create_dir(folder.join("bin")).expect("a folder");
    symlink(env!("CARGO_BIN_EXE_meshgate"), folder.join("bin/meshgate")).expect("a link");
}

fn run(folder: &Path, command: &str) -> String {
    let path = format!("{}:{}", folder.join("bin").display(), env::var("PATH").expect("a path"));
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", command]).current_dir(folder).env("PATH", path);
    let done = shell.output().expect("bash starts");
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{command}: {}\n{out}{err}", done.status);
    out.into_owned()
}

#[tokio::test]
async fn commands_print_what_is_shown() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = folder.path().to_owned();
    furnish(&place);
    let [configuration] = blocks("yaml")[..] else { panic!("the README has one configuration") };
    let gateway = Gateway::start_in(folder, configuration);
    let commands = commands();
    assert!(commands.len() >= 5, "{commands:?}");
    for (command, shown) in commands {
        let command = command
            .replace("http://127.0.0.1:8080", &gateway.url)
            .replace("ws://127.0.0.1:8080", &gateway.url.replace("http", "ws"))
            .replace("http://127.0.0.1:9090", &gateway.admin)
            .replace(" && sleep 3", "");
        let shown = shown.trim_end();
        let begun = Instant::now();
        let mut printed = run(&place, &command);
        // The gateway takes another file over at a time of its own.
        while command.contains("/status") && !is_as_shown(printed.trim_end(), shown) && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(50)).await;
            printed = run(&place, &command);
        }
        assert!(is_as_shown(printed.trim_end(), shown), "{command} prints\n{printed}\nand not\n{shown}");
    }
}

#[test]
fn anything_stands_for_anything() {
    for (printed, shown, same) in [
        ("abc", "abc", true),
        ("abc", "a…", true),
        ("abc", "a…c", true),
        ("abc", "…b…", true),
        ("abc", "ab", false),
        ("abc", "b…", false),
        ("abc", "a…b", false),
    ] {
        assert_eq!(is_as_shown(printed, shown), same, "{printed} {shown}");
    }
}
