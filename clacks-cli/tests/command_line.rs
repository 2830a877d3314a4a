//! What can be said about the command without a tower: help, mistakes, identities, completions.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test has no better answer to a surprise")]

mod common;

use std::fs;
use std::net::TcpListener;

use common::{clacks, run, stderr, stdout};

#[test]
fn help_teaches_every_verb() {
    for (args, words) in [
        (&["--help"][..], &["demo", "tower", "sim", "keygen", "completions", "clacks demo"][..]),
        (&["demo", "--help"], &["Step 1", "Step 2", "Step 3", "--base-port", "exit code"]),
        (
            &["tower", "--help"],
            &["--listen", "--announce", "Examples:", "enqueue TEXT", "SIGTERM", "only for looking"],
        ),
        (&["sim", "--help"], &["--list", "--set", "--seeds", "--report", "diff", "Examples:"]),
        (&["--help"], &["send", "listen", "status", "announce", "watch", "stop", "ping"]),
        (&["send", "--help"], &["--type", "--lifetime", "--wait", "Examples:", "exit codes"]),
        (&["listen", "--help"], &["--once", "--new", "--kind", "--match", "--raw", "Examples:"]),
        (&["status", "--help"], &["--control", "--json", "Examples:", "3 if no tower"]),
        (&["stats", "--help"], &["in doubt", "messages sent again to the same peer", "Examples:"]),
        (&["watch", "--help"], &["--after", "Examples:"]),
        (&["announce", "--help"], &["HOST:PORT", "exit codes"]),
        (&["ping", "--help"], &["--roots", "Examples:", "exit codes"]),
        (&["keygen", "--help"], &["key.pem", "cert.pem", "Example"]),
        (&["completions", "--help"], &["bash", "zsh", "fish"]),
    ] {
        let output = run(args);
        assert!(output.status.success(), "{args:?}");
        for word in words {
            let help = stdout(&output);
            assert!(help.to_lowercase().contains(&word.to_lowercase()), "{word}: {help}");
        }
        assert!(!stdout(&output).contains('\u{1b}'), "colours are for terminals");
    }
}

#[test]
fn mistakes_have_a_sentence_and_exit_code_2() {
    let at = ["tower", "--listen", "127.0.0.1:0"];
    let long = "x".repeat(65);
    for (args, words) in [
        (&["tower"][..], "--listen"),
        (&["tower", "--listen", "127.0.0.1"], "the port is missing: write HOST:PORT"),
        (&["tower", "--listen", "::1:8001"], "an IPv6 address needs brackets"),
        (&["tower", "--listen", "a b:8001"], "the host must be"),
        (&["tower", "--listen", "0.0.0.0:0"], "add --advertise HOST:PORT"),
        (&["tower", "--listen", "[::]:0"], "add --advertise HOST:PORT"),
        (&[&at[..], &["--advertise", "0.0.0.0:1"]].concat(), "the host must be"),
        (&[&at[..], &["--advertise", "tower:0"]].concat(), "the port must be"),
        (&[&at[..], &["--announce", "tower"]].concat(), "the port is missing"),
        (&[&at[..], &["--expand", "tower:x"]].concat(), "the port must be"),
        (&[&at[..], &["--send-rate", "0"]].concat(), "must be more than 0"),
        (&[&at[..], &["--send-rate", "NaN"]].concat(), "must be more than 0"),
        (&[&at[..], &["--send-rate", "-1"]].concat(), "must be more than 0"),
        (&[&at[..], &["--send-rate", "fast"]].concat(), "for example 20 or 0.5"),
        (&[&at[..], &["--kill-timeout", "soon"]].concat(), "for example 1h"),
        (&[&at[..], &["--heartbeat", "0s"]].concat(), "or off"),
        (&[&at[..], &["--seed", "abc"]].concat(), "64 hexadecimal digits"),
        (&[&at[..], &["--network", &long]].concat(), "at most 64"),
        (&[&at[..], &["--max-queue", "1"]].concat(), "--max-queue must be from 2"),
        (&[&at[..], &["--max-queue", "99999999999"]].concat(), "to 4294967294 messages"),
        (
            &[&at[..], &["--max-queue-bytes", "1KiB"]].concat(),
            "room for one message of --max-message",
        ),
        (&[&at[..], &["--max-message", "17MiB"]].concat(), "from 1 byte to 16MiB"),
        (&[&at[..], &["--max-message", "many"]].concat(), "for example 65536, 64KiB"),
        (&[&at[..], &["--key", "k"]].concat(), "--cert"),
        (&[&at[..], &["--clear", "--identity", "d"]].concat(), "cannot be used with"),
        (&[&at[..], &["--identity", "d", "--key", "k", "--cert", "c"]].concat(), "cannot be used"),
        (&[&at[..], &["--roots", "r"]].concat(), "give --key and --cert"),
        (&["demo", "--base-port", "65533"], "at most 65532"),
        (&["demo", "--base-port", "70000"], "70000"),
        (&["demo", "--runtime", "tokio"], "smol"),
        (&["keygen"], "<DIR>"),
        (&["completions", "tcsh"], "bash"),
        (&["fly"], "fly"),
    ] {
        let output = run(args);
        assert!(stderr(&output).contains(words), "{args:?}: {}", stderr(&output));
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(stdout(&output), "", "{args:?}");
    }
}

#[test]
fn what_cannot_be_done_has_one_sentence_and_exit_code_1() {
    // The demo refuses a base port without three more after it for another reason.
    let taken = loop {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        if taken.local_addr().unwrap().port() <= 65_532 {
            break taken;
        }
    };
    let port = taken.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for name in ["a", "b"] {
        assert!(run(&["keygen", &file(name)]).status.success());
    }
    fs::write(file("text"), "no PEM").unwrap();
    let with = |key: &str, cert: &str| {
        let args = ["tower", "--listen", "127.0.0.1:0", "--key", &file(key), "--cert", &file(cert)];
        args.map(str::to_owned).to_vec()
    };
    let at = |listen: String| vec!["tower".into(), "--listen".into(), listen];
    for (args, words) in [
        (at(format!("127.0.0.1:{port}")), "is in use: stop the program that has it, or choose"),
        (at("192.0.2.1:0".into()), "is no address of this machine"),
        (at("no-such-host.invalid:0".into()), "check the address"),
        (vec!["demo".into(), format!("--base-port={port}")], "choose four other ports"),
        (with("none", "a/cert.pem"), "cannot be read"),
        (with("a/key.pem", "none"), "cannot be read"),
        (with("text", "a/cert.pem"), "cannot be used"),
        (with("a/key.pem", "text"), "cannot be used"),
        (with("a/key.pem", "b/cert.pem"), "cannot be used"),
    ] {
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let output = run(&args);
        let said = stderr(&output);
        assert!(said.contains(words), "{args:?}: {said}");
        assert!(said.starts_with("error: ") && said.lines().count() == 1, "{args:?}: {said}");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert_eq!(stdout(&output), "", "{args:?}");
    }
}

#[test]
fn a_private_network_has_no_use_for_an_identity_made_on_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    assert!(run(&["keygen", &file("member")]).status.success());
    let (roots, home) = (file("member/cert.pem"), file("none"));
    // Nothing else about it could work either, so that it ends in any case.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["tower", "--listen", &address, "--roots", &roots, "--identity", &home]);
    assert!(stderr(&output).contains("clacks keygen"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(1));
    assert!(!dir.path().join("none").exists(), "none was made");
}

/// Standard error on a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_failure_that_cannot_be_told_keeps_its_exit_code() {
    use std::process::Stdio;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let status =
        clacks(&["tower", "--listen", &address]).stderr(Stdio::from(full)).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_program_reads_of_a_failure_where_it_reads_events() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["tower", "--json", "--listen", &address]);
    let event: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(event["event"], "error");
    assert!(event["message"].as_str().unwrap().contains("is in use"), "{event}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn keygen_makes_a_key_that_only_its_owner_reads() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("new").join("tower");
    let output = run(&["keygen", home.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let print = stdout(&output).lines().next().unwrap().rsplit(' ').next().unwrap();
    assert!(print.len() == 64 && print.bytes().all(|byte| byte.is_ascii_hexdigit()), "{print}");
    let key = fs::read_to_string(home.join("key.pem")).unwrap();
    let cert = fs::read_to_string(home.join("cert.pem")).unwrap();
    assert!(key.contains("PRIVATE KEY") && cert.contains("BEGIN CERTIFICATE"));
    assert!(!stdout(&output).contains("PRIVATE"), "the key itself is never shown");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(home.join("key.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn keygen_never_overwrites() {
    for name in ["key.pem", "cert.pem"] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), "mine").unwrap();
        let output = run(&["keygen", dir.path().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("is there already"), "{}", stderr(&output));
        assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), "mine");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "and makes no other half");
    }
}

#[test]
fn shells_get_their_scripts() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(&["completions", shell]);
        assert!(output.status.success());
        assert!(stdout(&output).contains("send-rate"), "{shell}");
    }
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_drama() {
    use std::process::Stdio;
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = clacks(&["completions", "bash"])
        .stdout(Stdio::from(writer))
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(0));
}
