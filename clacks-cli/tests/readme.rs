//! The commands in the READMEs are commands.

mod common;

use std::path::Path;

use common::{run, stderr};

/// The command lines that a README shows, without what the shell does around them.
fn commands(readme: &str) -> Vec<String> {
    let lines = readme.lines().filter_map(|line| {
        // A prompt is `$` or `name$`.
        let line = line.trim_start();
        let (prompt, after) = line.split_once("$ ").unwrap_or(("", line));
        let line = if prompt.chars().all(char::is_alphanumeric) { after } else { line };
        line.strip_prefix("clacks ").filter(|_| !line.contains('…'))
    });
    lines
        .map(|line| line.split(['#', '<', '|', '>']).next().unwrap_or(line).trim().to_owned())
        .collect()
}

/// Returns the words of a command line. Single quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    let joined: String = parts
        .map(|(number, part)| if number % 2 == 1 { part.replace(' ', "_") } else { part.into() })
        .collect();
    joined.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn every_command_line_is_understood() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    let docs = ["networks", "operating", "dashboard", "files"].map(|page| format!("../docs/{page}.md"));
    for readme in docs.iter().map(String::as_str).chain(["README.md", "../README.md"]) {
        // Only the README of the crate is in the package.
        let Ok(text) = std::fs::read_to_string(folder.join(readme)) else { continue };
        for command in commands(&text) {
            let words = words(&command);
            let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
            // Options and values before it are checked, and then nothing is done.
            words.push("--help");
            let output = run(&words);
            assert!(output.status.success(), "{readme}: clacks {command}: {}", stderr(&output));
            seen += 1;
        }
    }
    assert!(seen >= 5, "only {seen} command lines found");
    let mistaken = run(&["tower", "--lisen", "127.0.0.1:8001", "--help"]);
    assert!(!mistaken.status.success(), "the check can fail");
    let mistaken = run(&["tower", "--listen", "8001", "--help"]);
    assert!(!mistaken.status.success(), "for values too");
}

#[test]
fn the_script_sends_a_message_from_one_tower_to_the_other() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    // It is not in the package.
    let Ok(text) = std::fs::read_to_string(readme) else { return };
    let (_, rest) = text.split_once("<!-- The tests run this. -->\n```sh\n").unwrap();
    let (script, _) = rest.split_once("```").unwrap();
    // Ports that no other program uses. Another one may take them before the towers do.
    let deadline = std::time::Instant::now() + common::DEADLINE;
    loop {
        let ports: Vec<_> = (0..2)
            .map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
            .map(|listener| listener.local_addr().unwrap().port().to_string())
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let command = Path::new(env!("CARGO_BIN_EXE_clacks"));
        let path = std::env::join_paths(
            [command.parent().unwrap().to_owned()]
                .into_iter()
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        )
        .unwrap();
        let script = script.replace("8001", &ports[0]).replace("8002", &ports[1]);
        // The script would wait for a tower that has no port.
        let check = "[ $(jobs -r | wc -l) = 2 ] || { kill $(jobs -p); exit 9; }; sleep 1;";
        let script = script.replace("sleep 1;", check);
        let output = std::process::Command::new("bash")
            .args(["-c", &script])
            .env("PATH", path)
            .env("TMPDIR", dir.path())
            .env_remove("CLACKS_CONTROL")
            .output()
            .unwrap();
        // Another program may have taken a port.
        if output.status.code() != Some(9) {
            assert!(output.status.success(), "{output:?}");
            assert!(common::stdout(&output).contains("Hello Discworld!"), "{output:?}");
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{output:?}");
    }
}
