//! HTTP behind TLS: which dialect a link gets, who is believed, and where records end.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::BufMut;
use clacks_proto::tls::{ALPN, Identity, Roots, SecureTower, Trust};
use clacks_proto::{
    Action, CloseReason, Config, Dialect, Dialects, Event, Instant, IoCause, Message, Notice,
    StateMachine, TlsFailure,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection};

use crate::pair::{ALICE, BOB, Pair, address, paused_config, secure_tower, unlimited_config};
use crate::rustls_client::{Harness, client, drive};

fn both(mut config: Config) -> Config {
    config.dialects = Dialects::NativeAndHttp;
    config
}

fn harness() -> Harness {
    Harness::with(both(paused_config()), &Identity::generate().unwrap(), Trust::Open)
}

fn request(sender: &str) -> String {
    let body = format!(
        r#"{{"message":"m","type":"message","sender":{{"hostname":"{sender}","port":8001}}}}"#
    );
    format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A hello of the native dialect, as it begins.
const HELLO: [u8; 5] = [0xC1, 0, 0, 0, 0x2b];

/// Connects with these protocols and says something; what the tower says.
fn say(
    harness: &mut Harness,
    protocols: &[&[u8]],
    identity: Option<&Identity>,
    bytes: &[u8],
) -> Vec<u8> {
    let mut client = client(protocols, identity);
    client.writer().write_all(bytes).unwrap();
    // A refusal is an error here; the caller looks at the tower.
    let _ = drive(&mut client, harness);
    let mut said = Vec::new();
    let _ = client.reader().read_to_end(&mut said);
    said
}

#[test]
fn a_caller_gets_the_dialect_that_it_names_or_begins_with() {
    let somebody = Identity::generate().unwrap();
    let request = request("js.example");
    let request = request.as_bytes();
    let http: &[u8] = b"http/1.1";
    for protocols in [&[][..], &[http], &[b"h2", http]] {
        for identity in [None, Some(&somebody)] {
            let mut harness = harness();
            let said = say(&mut harness, protocols, identity, request);
            assert!(said.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", said.escape_ascii());
            assert_eq!((harness.tower.tower().queue_usage().messages, harness.closed), (1, None));
        }
    }
    for protocols in [&[ALPN][..], &[http, ALPN], &[ALPN, http]] {
        let mut harness = harness();
        let said = say(&mut harness, protocols, Some(&somebody), &[]);
        assert_eq!(said.first(), Some(&0xC1), "our hello comes without being asked for");
    }
    let mut harness = harness();
    let said = say(&mut harness, &[], Some(&somebody), &HELLO);
    assert_eq!(said.first(), Some(&0xC1), "its first byte has told");
}

#[test]
fn nobody_speaks_the_native_dialect_without_a_key() {
    let http: &[u8] = b"http/1.1";
    for protocols in [&[][..], &[http], &[ALPN]] {
        let mut harness = harness();
        let said = say(&mut harness, protocols, None, &HELLO);
        assert_eq!(harness.closed, Some(CloseReason::Tls(TlsFailure::Certificate)));
        assert_eq!(said, b"", "not even a hello");
    }
}

#[test]
fn other_protocols_are_refused() {
    let mut harness = harness();
    say(&mut harness, &[b"h2"], None, b"");
    assert_eq!(harness.closed, Some(CloseReason::Tls(TlsFailure::NoCommonProtocol)));
}

#[test]
fn without_http_and_in_private_nobody_gets_it() {
    let identity = Identity::generate().unwrap();
    let roots = Roots::from_pem(identity.cert_pem().as_bytes()).unwrap();
    let mut named = both(paused_config());
    named.network = "of our own".into();
    for (config, trust) in [
        (paused_config(), Trust::Open),
        (named, Trust::Open),
        (both(paused_config()), Trust::Private(roots)),
    ] {
        for protocols in [&[][..], &[&b"http/1.1"[..]]] {
            for caller in [None, Some(&identity)] {
                let mut harness = Harness::with(config.clone(), &identity, trust.clone());
                let request = request("js.example");
                let said = say(&mut harness, protocols, caller, request.as_bytes());
                assert!(
                    matches!(harness.closed, Some(CloseReason::Tls(_))),
                    "{:?}",
                    harness.closed
                );
                assert_eq!((said, harness.tower.tower().queue_usage().messages), (Vec::new(), 0));
            }
        }
    }
}

#[test]
fn towers_that_speak_both_speak_the_native_one_with_each_other() {
    let mut pair = Pair::open();
    for side in [ALICE, BOB] {
        let config = both(if side == ALICE { unlimited_config() } else { paused_config() });
        pair.towers[side] = secure_tower(side, config, &Identity::generate().unwrap(), Trust::Open);
    }
    pair.establish_link();
    let known = |side: usize| pair.towers[side].tower().find(&address(1 - side)).unwrap();
    assert_eq!(known(ALICE).dialect, Some(Dialect::Native));
    assert!(known(ALICE).fingerprint.is_some());
}

/// Alice, who speaks both dialects and knows Bob's key; their link is gone.
fn acquainted() -> (SecureTower, Instant) {
    let mut pair = Pair::open();
    let config = both(unlimited_config());
    pair.towers[ALICE] = secure_tower(ALICE, config, &Identity::generate().unwrap(), Trust::Open);
    pair.establish_link();
    let (link, now) = (pair.connections[0].endpoints[ALICE].link, pair.now);
    let [mut alice, _] = pair.towers;
    alice.handle(Event::Lost { link, cause: IoCause::Reset }, now);
    while alice.poll_action().is_some() {}
    (alice, now)
}

/// Calls a tower without a certificate and says something. What the tower notices then.
fn call(tower: &mut SecureTower, now: Instant, words: &str) -> Vec<Notice> {
    let link = tower.accept(IpAddr::from([127, 0, 0, 1]), now).unwrap();
    let mut client = client(&[], None);
    client.writer().write_all(words.as_bytes()).unwrap();
    let mut notices = Vec::new();
    loop {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        tower.handle(Event::BytesArrived { link, bytes: &bytes }, now);
        while let Some(action) = tower.poll_action() {
            if let Action::Notify(notice) = action {
                notices.push(notice);
            }
        }
        let mut answer = Vec::new();
        while tower.transmit(link, &mut answer) > 0 {}
        if bytes.is_empty() && answer.is_empty() {
            return notices;
        }
        let mut rest = answer.as_slice();
        while client.read_tls(&mut rest).unwrap() > 0 {
            client.process_new_packets().unwrap();
        }
    }
}

#[test]
fn what_is_said_in_http_does_not_touch_an_address_whose_key_is_known() {
    let (mut alice, now) = acquainted();
    let before = *alice.tower().stats();
    let notices = call(&mut alice, now, &request("bob.example").repeat(2));
    let is_anonymous =
        |notice: &&Notice| matches!(notice, Notice::MessageReceived { from: None, .. });
    let received = notices.iter().filter(is_anonymous);
    assert_eq!(received.count(), 2, "the messages are taken: {notices:?}");
    assert_eq!(alice.tower().stats().claims_disproved, before.claims_disproved + 2);
    let bob = alice.tower().find(&address(BOB)).unwrap();
    assert_eq!(bob.dialect, Some(Dialect::Native));
    let changed = |notice: &Notice| matches!(notice, Notice::StatusChanged { .. });
    assert!(!notices.iter().any(changed), "{notices:?}");
}

#[test]
fn another_server_at_an_address_whose_key_is_known_gets_nothing() {
    for certificate in [certificate(&Identity::generate().unwrap()), version_1()] {
        let (mut alice, now) = acquainted();
        let message = Message::text("for Bob alone");
        alice.tower_mut().enqueue(message, now).unwrap();
        let Served { got, notices, .. } = serve(&mut alice, now, certificate, &[], 1 << 20);
        assert_eq!(String::from_utf8(got).unwrap(), "");
        let changed = |notice: &Notice| matches!(notice, Notice::KeyChanged { .. });
        assert!(notices.iter().any(changed), "{notices:?}");
        assert_eq!(alice.tower().queue_usage().messages, 1);
    }
}

#[test]
fn what_a_peer_speaks_is_learnt_again() {
    let mut pair = Pair::open();
    let config = both(paused_config());
    pair.towers[ALICE] = secure_tower(ALICE, config, &Identity::generate().unwrap(), Trust::Open);
    let dialect =
        |pair: &Pair| pair.towers[ALICE].tower().find(&address(BOB)).and_then(|bob| bob.dialect);
    let now = pair.now;
    call(&mut pair.towers[ALICE], now, &request("bob.example"));
    assert_eq!(dialect(&pair), Some(Dialect::Http), "so it seems");
    pair.towers[ALICE].tower_mut().announce(&address(BOB), now).unwrap();
    pair.drive();
    assert_eq!(dialect(&pair), Some(Dialect::Native));
}

/// What a server got, how long the records were, and what the tower reported.
struct Served {
    got: Vec<u8>,
    records: Vec<usize>,
    notices: Vec<Notice>,
}

fn certificate(identity: &Identity) -> CertifiedKey {
    certified(identity.key_pem(), identity.cert_pem())
}

fn certified(key: &str, certificate: &str) -> CertifiedKey {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let key = ring::default_provider().key_provider.load_private_key(key).unwrap();
    let chain = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    CertifiedKey::new(vec![chain], key)
}

/// Like the one that comes with the JavaScript package.
fn version_1() -> CertifiedKey {
    certified(include_str!("version1.key.pem"), include_str!("version1.cert.pem"))
}

/// A tower that knows a peer that it never dialled, and has a message.
fn eager(message: &Message) -> SecureTower {
    let mut tower =
        secure_tower(ALICE, both(unlimited_config()), &Identity::generate().unwrap(), Trust::Open);
    tower.tower_mut().enqueue(message.clone(), Instant::ORIGIN).unwrap();
    tower.tower_mut().expand(&address(BOB), Instant::ORIGIN).unwrap();
    tower
}

/// Answers the dial of a tower with a server as JavaScript towers have it.
fn serve(
    tower: &mut SecureTower,
    now: Instant,
    certificate: CertifiedKey,
    protocols: &[&[u8]],
    room: usize,
) -> Served {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certificate)));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let mut server = ServerConnection::new(Arc::new(config)).unwrap();
    let mut dialled = None;
    let (mut got, mut sent, mut notices) = (Vec::new(), Vec::new(), Vec::new());
    let mut application_from = 0;
    for _ in 0..20 {
        while let Some(action) = tower.poll_action() {
            match action {
                Action::Connect { link, .. } if dialled.is_none() => {
                    dialled = Some(link);
                    tower.handle(Event::Connected { link }, now);
                }
                Action::Notify(notice) => notices.push(notice),
                _ => {}
            }
        }
        let link = dialled.expect("a dial");
        let mut bytes = Vec::new();
        while tower.transmit(link, &mut (&mut bytes).limit(room)) > 0 {}
        let mut rest = bytes.as_slice();
        if server.is_handshaking() {
            application_from = sent.len();
        }
        sent.extend_from_slice(&bytes);
        while !rest.is_empty() && server.read_tls(&mut rest).unwrap() > 0 {
            // The tower may have closed in anger.
            let _ = server.process_new_packets();
            let _ = server.reader().read_to_end(&mut got);
        }
        let mut answer = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut answer).unwrap();
        }
        tower.handle(Event::BytesArrived { link, bytes: &answer }, now);
    }
    Served { got, records: records(&sent[application_from..]), notices }
}

/// The lengths of the plaintexts in the encrypted records.
fn records(mut bytes: &[u8]) -> Vec<usize> {
    let mut all = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = bytes {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        if *kind == 23 {
            all.push(len - 17);
        }
        bytes = &rest[len..];
    }
    all
}

#[test]
fn head_and_body_of_a_request_are_a_record_each_however_small_the_buffers_are() {
    let identity = Identity::generate().unwrap();
    for protocols in [&[][..], &[&b"http/1.1"[..]]] {
        for len in [1, 5_000, 16_200] {
            for room in [1 << 20, 65_536, 17_000, 5_000, 100] {
                let mut tower = eager(&Message::text(&"x".repeat(len)));
                let certificate = certificate(&identity);
                let Served { got, records, .. } =
                    serve(&mut tower, Instant::ORIGIN, certificate, protocols, room);
                let text = String::from_utf8(got).unwrap();
                let (head, body) = text.split_once("\r\n\r\n").unwrap();
                let expected = [head.len() + 4, body.len()];
                // Before them comes the end of the handshake.
                assert!(records.ends_with(&expected), "{records:?} for {expected:?}");
                assert!(body.len() > len && head.starts_with("POST / HTTP/1.1\r\n"));
            }
        }
    }
}

#[test]
fn a_certificate_of_version_1_is_let_pass_in_http_and_proves_nothing() {
    let mut tower = eager(&Message::text("m"));
    let Served { got, .. } = serve(&mut tower, Instant::ORIGIN, version_1(), &[], 1 << 20);
    assert!(got.starts_with(b"POST / HTTP/1.1\r\n"), "{}", got.escape_ascii());
    let bob = tower.tower().find(&address(BOB)).unwrap();
    assert_eq!((bob.dialect, bob.fingerprint), (Some(Dialect::Http), None));
    // It is not good enough for the native dialect.
    let mut tower = eager(&Message::text("m"));
    let Served { got, notices, .. } =
        serve(&mut tower, Instant::ORIGIN, version_1(), &[ALPN], 1 << 20);
    assert_eq!(got, b"");
    let refused = CloseReason::Tls(TlsFailure::Certificate);
    let is_it =
        |notice: &Notice| matches!(notice, Notice::LinkClosed { reason, .. } if *reason == refused);
    assert!(notices.iter().any(is_it), "{notices:?}");
}

#[test]
fn a_tower_that_offers_both_prefers_its_own_language_at_a_server_that_has_both() {
    let certificate = certificate(&Identity::generate().unwrap());
    let protocols: [&[u8]; 2] = [ALPN, b"http/1.1"];
    let mut tower = eager(&Message::text("m"));
    let Served { got, .. } = serve(&mut tower, Instant::ORIGIN, certificate, &protocols, 1 << 20);
    assert_eq!(got.first(), Some(&0xC1));
}
