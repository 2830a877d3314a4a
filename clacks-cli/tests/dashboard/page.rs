//! The page in a headless Chromium.

use std::time::Instant;

use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::common::{DEADLINE, Tower};
use crate::shown::Shown;

const QUICK: [&str; 4] = ["--send-rate", "50", "--heartbeat", "500ms"];

/// What the page shows, in the form of `status` and `survey`.
const SHOWN: &str = r"(() => {
  const number = (text) => Number(text.replaceAll('\u202f', ''));
  const data = (id) => Number(document.getElementById(id).dataset.value);
  const rows = (id) => [...document.querySelectorAll(`#${id} tbody tr`)];
  const peers = {new: 0, alive: 0, lost: 0, dead: 0, ignored: 0};
  for (const one of document.querySelectorAll('.counts span'))
    peers[one.dataset.key] = Number(one.dataset.count);
  return {
    seq: Number(document.getElementById('seq')?.textContent ?? -1),
    messages: data('queue-messages'),
    bytes: data('queue-bytes'),
    links: number(document.getElementById('links').textContent),
    peers,
    stats: Object.fromEntries(
      rows('counters').map((row) => [row.dataset.key, number(row.children[1].textContent)])),
    towers: rows('towers-list').map((row) => [row.dataset.key, row.dataset.status]),
  };
})()";

fn start(args: &[&str]) -> Option<(Chromium, Shown)> {
    let mut chromium = Chromium::start()?;
    let shown = Shown::start(args);
    chromium.open(&format!("http://127.0.0.1:{}/#token={}", shown.port, shown.token));
    chromium.wait_for("document.getElementById('link')?.textContent === 'live'");
    chromium.wait_for("document.getElementById('seq')?.textContent > 0");
    Some((chromium, shown))
}

/// Fails if the page has thrown an exception or was refused something by its policy.
fn assert_no_faults(chromium: &Chromium) {
    assert!(chromium.faults.is_empty(), "{:#?}", chromium.faults);
}

#[test]
fn values_on_the_page_equal_the_status_with_the_same_number() {
    let Some((mut chromium, mut shown)) = start(&["--send-rate", "0.0001", "--heartbeat", "2s"])
    else {
        return;
    };
    let mut other = Tower::start(&["--clear", "--announce", &shown.tower.address]);
    other.wait_for("announced", |_| true);
    shown.tower.wait_for_status(&other.address, "alive");
    shown.tower.say("ignore 192.0.2.1:7");
    for _ in 0..3 {
        shown.tower.say("enqueue Hello Discworld!");
    }
    let deadline = Instant::now() + DEADLINE;
    loop {
        let page = chromium.value(SHOWN);
        let status = shown.status();
        assert!(page["seq"].as_i64() <= status["seq"].as_i64(), "{page} {status}");
        if page["seq"] == status["seq"] && status["queue"]["messages"].as_u64() >= Some(2) {
            assert_eq!(page["messages"], status["queue"]["messages"]);
            assert_eq!(page["bytes"], status["queue"]["bytes"]);
            for field in ["peers", "links"] {
                assert_eq!(page[field], status[field], "{field}");
            }
            let of_store = status["store"].as_object().unwrap().iter();
            let of_store = of_store.map(|(name, value)| (format!("store_{name}"), value.clone()));
            let mut counters = status["stats"].as_object().unwrap().clone();
            counters.extend(of_store);
            assert_eq!(page["stats"], Value::Object(counters));
            let towers = shown.tower.ask("survey")["towers"].clone();
            let mut towers: Vec<_> = towers.as_array().unwrap().iter().collect();
            towers.sort_by_key(|tower| tower["address"].to_string());
            let towers = towers.iter().map(|one| json!([one["address"], one["status"]]));
            assert_eq!(page["towers"], Value::from_iter(towers));
            break;
        }
        assert!(Instant::now() < deadline, "{page} {status}");
    }
    assert_no_faults(&chromium);
}

#[test]
fn a_killed_peer_turns_lost_with_a_remedy_and_returns() {
    let Some((mut chromium, mut shown)) = start(&QUICK) else { return };
    let args = [&QUICK[..], &["--clear", "--announce", &shown.tower.address]].concat();
    let mut peer = Tower::start(&args);
    peer.wait_for("announced", |_| true);
    let row = format!(
        "[...document.querySelectorAll('#towers tr')].find((row) => row.dataset.key === '{}')",
        peer.address
    );
    chromium.wait_for(&format!("{row}?.dataset.status === 'alive'"));
    shown.tower.say("enqueue a message that travels");
    chromium.wait_for(&format!("Number({row}.children[3].textContent) > 0"));
    let address = peer.address.clone();
    peer.kill();
    shown.tower.wait_for("tower_updated", |event| event["to"] == "lost");
    chromium.wait_for(&format!("{row}.dataset.status === 'lost'"));
    let live = "document.querySelector('#troubles [aria-live=polite]').textContent";
    chromium.wait_for(&format!("{live}.includes('{address}')"));
    let remedy = "document.querySelector('#troubles li').children[1].textContent";
    chromium.wait_for(&format!("{remedy}.endsWith('.')"));
    let again = [&QUICK[..], &["--clear"]].concat();
    let _peer = Tower::start_again(&address, &again);
    chromium.wait_for(&format!("{row}.dataset.status === 'alive'"));
    chromium.wait_for(&format!("!{live}.includes('{address}')"));
    assert_no_faults(&chromium);
}

#[test]
fn markup_and_escapes_of_strangers_do_nothing() {
    let evil = "<img src=x onerror='window.evil=1'>";
    let network = format!("{evil}&lt;b&gt;");
    let args = [&QUICK[..], &["--network", &network, "--open"]].concat();
    let Some((mut chromium, mut shown)) = start(&args) else { return };
    let args = [&args[..], &["--clear", "--announce", &shown.tower.address]].concat();
    let mut peer = Tower::start(&args);
    peer.wait_for("announced", |_| true);
    peer.say(&format!("enqueue {evil}\u{1b}]0;evil\u{7}\u{1b}[2J"));
    shown.tower.wait_for("message_received", |_| true);
    chromium.wait_for("document.querySelector('#events .received') !== null");
    let text = chromium.value("document.body.innerText");
    assert!(text.as_str().unwrap().contains(&network), "{text}");
    assert_eq!(chromium.value("document.querySelectorAll('main img, main script').length"), 0);
    assert_eq!(chromium.value("typeof window.evil"), "undefined");
    assert!(!text.as_str().unwrap().contains('\u{1b}'), "{text}");
    // The body of the message is not on the page, and the name of the network is there once.
    assert_eq!(text.as_str().unwrap().matches("onerror").count(), 1, "{text}");
    // Even if a script turned a text into markup, the policy would forbid it.
    let markup = "(() => { try { document.body.innerHTML = '<b>x</b>'; return 'markup'; } \
                  catch { return 'refused'; } })()";
    assert_no_faults(&chromium);
    assert_eq!(chromium.value(markup), "refused");
}

#[test]
fn other_sites_and_wrong_tokens_see_nothing() {
    let Some((mut chromium, shown)) = start(&[]) else { return };
    let origin = format!("http://127.0.0.1:{}", shown.port);
    chromium.open("about:blank");
    chromium.wait_for("location.href === 'about:blank' && document.readyState === 'complete'");
    for path in ["events", "metrics", "healthz", ""] {
        let header = format!("{{headers: {{Authorization: 'Bearer {}'}}}}", shown.token);
        let fetch =
            format!("fetch('{origin}/{path}', {header}).then(() => 'read', () => 'refused')");
        assert_eq!(chromium.value(&fetch), "refused", "{path}");
    }
    // A request without the token, as any site can send it, has no answer that the site can use.
    let blind = format!("fetch('{origin}/metrics', {{mode: 'no-cors'}})");
    let blind = format!("{blind}.then(() => 'read', () => 'refused')");
    assert_eq!(chromium.value(&blind), "refused");
    chromium.open(&format!("{origin}/#token={}", "0".repeat(64)));
    chromium.wait_for("document.getElementById('link')?.textContent.includes('ends in the token')");
    let text = chromium.value("document.body.innerText");
    assert!(!text.as_str().unwrap().contains(&shown.tower.address), "{text}");
}

#[test]
fn keyboards_and_screen_readers_reach_everything() {
    let Some((mut chromium, mut shown)) = start(&QUICK) else { return };
    shown.tower.say("ignore 192.0.2.1:7");
    chromium.wait_for("document.querySelectorAll('#towers tr').length === 1");
    // Only troubles are announced.
    assert_eq!(chromium.value("document.querySelectorAll('[aria-live=polite]').length"), 1);
    assert_eq!(
        chromium.value("document.querySelector('[aria-live=polite]').closest('section').id"),
        "troubles"
    );
    let names = chromium.value(
        "[...document.querySelectorAll('section, [role=region], [role=img], meter')] \
         .every((one) => \
         one.ariaLabel || one.querySelector('title, h2')?.textContent)",
    );
    assert_eq!(names, true);
    assert_eq!(chromium.value("document.querySelectorAll('#towers-list th[scope=row]').length"), 1);
    chromium.press("Tab", 9);
    assert_eq!(chromium.value("document.activeElement.className"), "skip");
    let mut reached = Vec::new();
    for _ in 0..4 {
        chromium.press("Tab", 9);
        reached.push(chromium.value("document.activeElement.ariaLabel"));
    }
    assert_eq!(reached[..3], ["Peers", "What happens", "Counters"].map(Value::from));
    // Nothing is wider than the window, from the narrowest to the widest.
    for width in [400, 1_000, 1_600] {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        chromium.call("Emulation.setDeviceMetricsOverride", &size);
        let is_wide = chromium.value("document.documentElement.scrollWidth > innerWidth");
        assert_eq!(is_wide, false, "{width}");
    }
    assert_no_faults(&chromium);
}
