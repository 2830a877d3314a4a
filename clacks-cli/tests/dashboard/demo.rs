//! The demo on the page.

use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::common::{DEADLINE, clacks, lines_of};
use crate::shown::port_and_token;

struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_demo_can_be_watched() {
    let Some(mut chromium) = Chromium::start() else { return };
    let args = ["demo", "--json", "--base-port", "0", "--http", "127.0.0.1:0"];
    let mut demo = Demo(clacks(&args).stdout(Stdio::piped()).spawn().unwrap());
    let lines = lines_of(std::io::BufReader::new(demo.0.stdout.take().unwrap()));
    let next = |name: &str| loop {
        let line = lines.recv_timeout(DEADLINE).unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        if event["event"] == name {
            return event;
        }
    };
    // A slow browser shows some states for a moment only. The page parses all of them.
    let record = "window.seen = []; const parse = JSON.parse; JSON.parse = (text) => { \
                  const value = parse(text); \
                  if (value.status) window.seen.push(value.status.peers); \
                  return value; }";
    chromium.call("Page.addScriptToEvaluateOnNewDocument", &json!({"source": record}));
    let (port, token) = port_and_token(&next("dashboard"));
    chromium.open(&format!("http://127.0.0.1:{port}/#token={token}"));
    let alive = |count| format!("window.seen.findIndex((one) => one.alive === {count})");
    chromium.wait_for(&format!("{} >= 0", alive(3)));
    let lost = "window.seen.findIndex((one) => one.lost === 1)";
    chromium.wait_for(&format!("{lost} > {}", alive(3)));
    chromium.wait_for(&format!("window.seen.slice({lost}).some((one) => one.alive === 3)"));
    assert_eq!(next("result")["ok"], true);
    chromium.wait_for("document.getElementById('link').className === 'link bad'");
    let live = "document.querySelector('#troubles [aria-live=polite]').textContent";
    chromium.wait_for(&format!("{live}.includes('The values are those of')"));
    assert!(chromium.faults.iter().all(|fault| fault["entry"]["source"] == "network"));
}
