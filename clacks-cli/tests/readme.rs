//! The commands in the READMEs are commands.

mod common;

use std::path::Path;

use common::{run, stderr};

/// The command lines that a README shows, without what the shell does around them.
fn commands(readme: &str) -> Vec<String> {
    let lines = readme.lines().filter_map(|line| {
        let line = line.trim_start().trim_start_matches("$ ");
        line.strip_prefix("clacks ").filter(|_| !line.contains('…'))
    });
    lines
        .map(|line| line.split(['#', '<', '|', '>']).next().unwrap_or(line).trim().to_owned())
        .collect()
}

#[test]
fn every_command_line_is_understood() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for readme in ["README.md", "../README.md"] {
        // The second one is not in the package.
        let Ok(text) = std::fs::read_to_string(folder.join(readme)) else { continue };
        for command in commands(&text) {
            let mut words: Vec<&str> = command.split_whitespace().collect();
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
