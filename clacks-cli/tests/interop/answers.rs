//! The same bytes to a tower of each kind, and what each answers.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use clacks_proto::Address;
use serde_json::{Value, json};

use crate::javascript::{Keys, Tower, package};
use crate::network::{Network, Runtimes, quiet};
use crate::one_network::both;

/// What comes in, the statuses that theirs answers and whether it closes the link, and the same for
/// ours.
type Case = (Vec<u8>, &'static [u16], bool, &'static [u16], bool);

fn post(body: &str) -> Vec<u8> {
    with_length(body.len(), body)
}

fn with_length(len: usize, body: &str) -> Vec<u8> {
    head(&format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len}"), body)
}

fn head(lines: &str, body: &str) -> Vec<u8> {
    format!("{lines}\r\nContent-Type: application/json\r\n\r\n{body}").into_bytes()
}

fn payload(message: &str) -> String {
    format!(
        r#"{{"message":{message},"type":"message","sender":{{"hostname":"127.0.0.1","port":9}}}}"#
    )
}

fn cases() -> Vec<Case> {
    let body = payload("\"m\"");
    let len = body.len();
    let from = |sender: &str| format!(r#"{{"message":"m","type":"message","sender":{sender}}}"#);
    let short = payload("\"café € 😀\"");
    let units = short.encode_utf16().count();
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked";
    let pipelined = [post(&body), post("hello"), post(&body)].concat();
    vec![
        // Where both say the same.
        (post(&body), &[200], false, &[200], false),
        (post(&body.replace("message\",\"s", "announce\",\"s")), &[200], false, &[200], false),
        (post(&payload("[1,{}]")), &[200], false, &[200], false),
        (post(&payload("\"é\"")), &[200], false, &[200], false),
        (post(&payload(r#""\ud800""#)), &[200], false, &[200], false),
        (post(&from("{}")), &[200], false, &[200], false),
        (post(&from("\"str\"")), &[200], false, &[200], false),
        (post(&format!(" {body}\r\n")), &[200], false, &[200], false),
        (
            head(&format!("POST /x HTTP/1.1\r\nhost: y\r\ncontent-length: {len}"), &body),
            &[200],
            false,
            &[200],
            false,
        ),
        (
            head(&format!("POST http://a/ HTTP/1.1\r\nHost: b\r\nContent-Length: {len}"), &body),
            &[200],
            false,
            &[200],
            false,
        ),
        (
            head(&format!("POST / HTTP/1.0\r\nContent-Length: {len}"), &body),
            &[200],
            true,
            &[200],
            true,
        ),
        (
            head(
                &format!(
                    "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len}"
                ),
                &body,
            ),
            &[200],
            true,
            &[200],
            true,
        ),
        (
            head(
                &format!(
                    "POST / HTTP/1.1\r\nHost: x\r\nUpgrade: clacks/2\r\n\
                     Connection: upgrade\r\nContent-Length: {len}"
                ),
                &body,
            ),
            &[200],
            false,
            &[200],
            false,
        ),
        (head(chunked, &format!("{len:x}\r\n{body}\r\n0\r\n\r\n")), &[200], false, &[200], false),
        (
            head("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1", &body),
            &[400],
            true,
            &[400],
            true,
        ),
        (
            head(&format!("POST / HTTP/1.1\r\nContent-Length: {len}"), &body),
            &[400],
            true,
            &[400],
            true,
        ),
        (
            head(
                &format!(
                    "POST / HTTP/1.1\r\nHost: x\r\nA: {}\r\nContent-Length: {len}",
                    "x".repeat(17_000)
                ),
                &body,
            ),
            &[431],
            true,
            &[431],
            true,
        ),
        // Where theirs takes any method that its parser knows, though its own kind only uses POST.
        (
            head(&format!("PUT / HTTP/1.1\r\nHost: b\r\nContent-Length: {len}"), &body),
            &[200],
            false,
            &[405],
            true,
        ),
        (
            head(&format!("BREW / HTTP/1.1\r\nHost: x\r\nContent-Length: {len}"), &body),
            &[400],
            true,
            &[405],
            true,
        ),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[400], true, &[405], true),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), &[], true, &[405], true),
        // Where theirs takes what any web page can send.
        (
            head(
                &format!("POST / HTTP/1.1\r\nHost: x\r\nOrigin: http://p\r\nContent-Length: {len}"),
                &body,
            ),
            &[200],
            false,
            &[403],
            true,
        ),
        // Where theirs breaks down, and ours says that it does not understand.
        (post(""), &[500], false, &[400], false),
        (post("hello"), &[500], false, &[400], false),
        (post("null"), &[500], false, &[400], false),
        (post("{}"), &[500], false, &[400], false),
        (post(&from("null")), &[500], false, &[400], false),
        (pipelined, &[200, 500, 200], false, &[200, 400, 200], false),
        // Where theirs confirms what it drops.
        (
            post(&body.replace("\"type\":\"message\"", "\"type\":\"other\"")),
            &[200],
            false,
            &[400],
            false,
        ),
        // Where theirs refuses what its own kind sends.
        (with_length(units, &short), &[400], true, &[200], true),
        // Where theirs puts a comma between.
        (
            head(
                chunked,
                &format!("f\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", &body[..15], len - 15, &body[15..]),
            ),
            &[500],
            false,
            &[200],
            false,
        ),
        // A body that is there already needs no word before it.
        (
            head(
                &format!(
                    "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len}"
                ),
                &body,
            ),
            &[100, 200],
            false,
            &[200],
            false,
        ),
    ]
}

pub(crate) fn both_kinds_of_towers_answer_as_it_is_written(runtimes: Runtimes) {
    let Some(package) = package() else { return };
    let mut network = Network::new(runtimes);
    let ours = network.start(both(quiet()));
    let theirs = Tower::start(package, &Keys::new(), 0.001);
    let cases = cases();
    let of =
        |place: fn(&Case) -> (&'static [u16], bool)| cases.iter().map(place).collect::<Vec<_>>();
    check(&theirs.address, &cases, &of(|case| (case.1, case.2)));
    check(&ours.address, &cases, &of(|case| (case.3, case.4)));
}

/// Sends the bytes of each case to a tower, and compares its answers.
fn check(tower: &Address, cases: &[Case], expected: &[(&'static [u16], bool)]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/ask.js");
    let mut node = Command::new("node")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut questions = node.stdin.take().unwrap();
    let mut answers = BufReader::new(node.stdout.take().unwrap()).lines();
    for ((bytes, ..), (statuses, closed)) in cases.iter().zip(expected) {
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        let count = statuses.len().max(1);
        writeln!(questions, "{}", json!({"port": tower.port(), "hex": hex, "answers": count}))
            .unwrap();
        let answer: Value = serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
        let expected = json!({"statuses": statuses, "closed": closed});
        assert_eq!(answer, expected, "{tower} to {:.300}", bytes.escape_ascii().to_string());
    }
    drop(questions);
    assert!(node.wait().unwrap().success());
}
