//! Drives a headless Chromium by the DevTools protocol over pipes.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use crate::common::DEADLINE;

/// Programs that are a Chromium. The variable `CLACKS_TEST_CHROMIUM` names another one.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// A browser with one page. Killed when dropped.
pub(crate) struct Chromium {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    last: u64,
    session: Option<Value>,
    /// What went wrong on the page: exceptions, and violations of its policy.
    pub(crate) faults: Vec<Value>,
    _profile: tempfile::TempDir,
}

impl Chromium {
    /// Starts a browser. Returns `None`, and says so, if none is installed.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = installed() else {
            assert!(!is_required(), "CLACKS_CHROMIUM=required, and no Chromium is installed");
            // The macros for printing are captured in tests that pass.
            let _ = writeln!(std::io::stderr(), "passed over: no Chromium is installed");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let data = format!("--user-data-dir={}", profile.path().display());
        // The protocol uses the descriptors 3 and 4.
        let script = r#"exec "$0" "$@" 3<&0 4>&1 0</dev/null 1>/dev/null 2>&1"#;
        let mut child = Command::new("sh")
            .args(["-c", script])
            .arg(program)
            .args(["--headless", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu"])
            // The sandbox needs rights that containers lack. Only the dashboard is opened.
            .args(["--no-sandbox", "--disable-dev-shm-usage", &data, "about:blank"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, messages) = channel();
        thread::spawn(move || {
            for message in output.split(0) {
                let Ok(message) = message else { return };
                if sender.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
            }
        });
        let (faults, session) = (Vec::new(), None);
        let mut chromium =
            Self { child, input, messages, last: 0, session, faults, _profile: profile };
        let target = chromium.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = chromium.call("Target.attachToTarget", &attach)["sessionId"].clone();
        chromium.session = Some(session);
        for domain in ["Page", "Runtime", "Log"] {
            chromium.call(&format!("{domain}.enable"), &json!({}));
        }
        Some(chromium)
    }

    /// Calls a method of the protocol.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Value {
        self.last += 1;
        let mut request = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = &self.session {
            request["sessionId"] = session.clone();
        }
        let mut line = serde_json::to_vec(&request).unwrap();
        line.push(0);
        self.input.write_all(&line).unwrap();
        loop {
            let message = self.messages.recv_timeout(DEADLINE).unwrap();
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            if matches!(
                message["method"].as_str(),
                Some("Runtime.exceptionThrown" | "Log.entryAdded")
            ) {
                self.faults.push(message["params"].clone());
            }
        }
    }

    /// Opens an address.
    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", &json!({"url": url}));
    }

    /// Returns the value of an expression on the page. Waits for a promise.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let result = self.call("Runtime.evaluate", &params);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Evaluates an expression until it is true.
    pub(crate) fn wait_for(&mut self, expression: &str) {
        let deadline = Instant::now() + DEADLINE;
        while self.value(expression) != true {
            if Instant::now() > deadline {
                let text = self.value("document.body.innerText");
                panic!("never true: {expression}: {:?} {text}", self.faults);
            }
        }
    }

    /// Presses and releases a key.
    pub(crate) fn press(&mut self, key: &str, code: u32) {
        for kind in ["keyDown", "keyUp"] {
            let params = json!({"type": kind, "key": key, "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", &params);
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Without a browser the tests of the page fail if this is set, and are skipped otherwise.
fn is_required() -> bool {
    std::env::var_os("CLACKS_CHROMIUM").is_some_and(|value| value == "required")
}

fn installed() -> Option<OsString> {
    if let Some(chosen) = std::env::var_os("CLACKS_TEST_CHROMIUM") {
        return Some(chosen);
    }
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let programs = NAMES.iter().flat_map(|name| folders.iter().map(move |it| it.join(name)));
    programs.into_iter().find(|program| program.is_file()).map(Into::into)
}
