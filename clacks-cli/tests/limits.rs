//! The command under limits of the operating system.
#![cfg(unix)]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests panic on errors")]

mod common;

use std::process::{Command, Output, Stdio};

use common::{clacks, stderr, stdout};

/// Runs the command under a limit that the shell sets.
fn run_limited(limit: &str, args: &str) -> Output {
    let command = env!("CARGO_BIN_EXE_clacks");
    let script = format!("ulimit {limit} && echo quit | exec '{command}' {args}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).stdin(Stdio::null());
    for (variable, value) in clacks(&[]).get_envs() {
        match value {
            Some(value) => shell.env(variable, value),
            None => shell.env_remove(variable),
        };
    }
    shell.output().unwrap()
}

#[test]
fn a_tower_with_few_descriptors_runs_or_ends_before_it_listens() {
    for runtime in ["smol", "mio"] {
        for descriptors in (6..40).step_by(3) {
            let args = format!("tower --listen 127.0.0.1:0 --json --runtime {runtime}");
            let output = run_limited(&format!("-n {descriptors}"), &args);
            let (out, error) = (stdout(&output), stderr(&output));
            match output.status.code() {
                Some(0) => assert!(out.contains("listening"), "{descriptors}: {out}{error}"),
                Some(1) => {
                    assert!(!out.contains("listening"), "{descriptors}: {out}");
                    assert!(error.contains("file descriptors"), "{descriptors}: {error}");
                }
                other => panic!("{runtime}, {descriptors}: {other:?} {out}{error}"),
            }
            assert!(!error.contains("panicked"), "{descriptors}: {error}");
        }
    }
}

#[test]
fn other_commands_with_few_descriptors_end_with_a_sentence() {
    for args in ["demo --base-port 0", "bench --quick"] {
        let output = run_limited("-n 12", args);
        assert_eq!(output.status.code(), Some(1), "{args}: {}", stderr(&output));
        assert!(stderr(&output).contains("ulimit -n"), "{args}: {}", stderr(&output));
    }
}
