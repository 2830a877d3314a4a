//! HTTP behind TLS: the dialect of a link, the trust in its peer, and the borders of TLS records.

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

fn with_http(mut config: Config) -> Config {
    config.dialects = Dialects::NativeAndHttp;
    config
}

fn harness_with_http() -> Harness {
    Harness::with(with_http(paused_config()), &Identity::generate().unwrap(), Trust::Open)
}

fn request(sender: &str) -> String {
    let body = format!(
        r#"{{"message":"m","type":"message","sender":{{"hostname":"{sender}","port":8001}}}}"#
    );
    format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The first bytes of a native hello.
const HELLO: [u8; 5] = [0xC1, 0, 0, 0, 0x2b];

/// Connects a client with these protocols and sends bytes. Returns what the tower sends.
fn send_as_client(
    harness: &mut Harness,
    protocols: &[&[u8]],
    identity: Option<&Identity>,
    bytes: &[u8],
) -> Vec<u8> {
    let mut client = client(protocols, identity);
    client.writer().write_all(bytes).unwrap();
    // A refused client returns an error. The caller checks the tower instead.
    let _ = drive(&mut client, harness);
    let mut received = Vec::new();
    let _ = client.reader().read_to_end(&mut received);
    received
}

#[test]
fn a_caller_gets_the_dialect_of_its_alpn_protocol_or_of_its_first_byte() {
    let client_identity = Identity::generate().unwrap();
    let request = request("js.example");
    let request = request.as_bytes();
    let http: &[u8] = b"http/1.1";
    for protocols in [&[][..], &[http], &[b"h2", http]] {
        for identity in [None, Some(&client_identity)] {
            let mut harness = harness_with_http();
            let received = send_as_client(&mut harness, protocols, identity, request);
            assert!(received.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", received.escape_ascii());
            assert_eq!((harness.tower.tower().queue_usage().messages, harness.closed), (1, None));
        }
    }
    for protocols in [&[ALPN][..], &[http, ALPN], &[ALPN, http]] {
        let mut harness = harness_with_http();
        let received = send_as_client(&mut harness, protocols, Some(&client_identity), &[]);
        assert_eq!(received.first(), Some(&0xC1), "the tower sends its hello first");
    }
    let mut harness = harness_with_http();
    let received = send_as_client(&mut harness, &[], Some(&client_identity), &HELLO);
    assert_eq!(received.first(), Some(&0xC1), "the first byte selects the native dialect");
}

#[test]
fn the_native_dialect_requires_a_certificate() {
    let http: &[u8] = b"http/1.1";
    for protocols in [&[][..], &[http], &[ALPN]] {
        let mut harness = harness_with_http();
        let received = send_as_client(&mut harness, protocols, None, &HELLO);
        assert_eq!(harness.closed, Some(CloseReason::Tls(TlsFailure::Certificate)));
        assert_eq!(received, b"", "the tower sends no hello");
    }
}

#[test]
fn a_caller_with_another_alpn_protocol_is_refused() {
    let mut harness = harness_with_http();
    send_as_client(&mut harness, &[b"h2"], None, b"");
    assert_eq!(harness.closed, Some(CloseReason::Tls(TlsFailure::NoCommonProtocol)));
}

#[test]
fn http_is_refused_if_it_is_disabled_or_the_network_is_named_or_private() {
    let identity = Identity::generate().unwrap();
    let roots = Roots::from_pem(identity.cert_pem().as_bytes()).unwrap();
    let mut named = with_http(paused_config());
    named.network = "of our own".into();
    for (config, trust) in [
        (paused_config(), Trust::Open),
        (named, Trust::Open),
        (with_http(paused_config()), Trust::Private(roots)),
    ] {
        for protocols in [&[][..], &[&b"http/1.1"[..]]] {
            for caller in [None, Some(&identity)] {
                let mut harness = Harness::with(config.clone(), &identity, trust.clone());
                let request = request("js.example");
                let received = send_as_client(&mut harness, protocols, caller, request.as_bytes());
                assert!(
                    matches!(harness.closed, Some(CloseReason::Tls(_))),
                    "{:?}",
                    harness.closed
                );
                assert_eq!(
                    (received, harness.tower.tower().queue_usage().messages),
                    (Vec::new(), 0)
                );
            }
        }
    }
}

#[test]
fn towers_with_both_dialects_use_the_native_one() {
    let mut pair = Pair::open();
    for side in [ALICE, BOB] {
        let config = with_http(if side == ALICE { unlimited_config() } else { paused_config() });
        pair.towers[side] = secure_tower(side, config, &Identity::generate().unwrap(), Trust::Open);
    }
    pair.establish_link();
    let peer_of = |side: usize| pair.towers[side].tower().find(&address(1 - side)).unwrap();
    assert_eq!(peer_of(ALICE).dialect, Some(Dialect::Native));
    assert!(peer_of(ALICE).fingerprint.is_some());
}

/// Creates Alice with both dialects. She knows Bob's key and has no link.
fn alice_with_pinned_bob() -> (SecureTower, Instant) {
    let mut pair = Pair::open();
    let config = with_http(unlimited_config());
    pair.towers[ALICE] = secure_tower(ALICE, config, &Identity::generate().unwrap(), Trust::Open);
    pair.establish_link();
    let (link, now) = (pair.connections[0].endpoints[ALICE].link, pair.now);
    let [mut alice, _] = pair.towers;
    alice.handle(Event::Lost { link, cause: IoCause::Reset }, now);
    while alice.poll_action().is_some() {}
    (alice, now)
}

/// Connects a client without a certificate and sends a text. Returns the notices of the tower.
fn send_without_certificate(tower: &mut SecureTower, now: Instant, text: &str) -> Vec<Notice> {
    let link = tower.accept(IpAddr::from([127, 0, 0, 1]), now).unwrap();
    let mut client = client(&[], None);
    client.writer().write_all(text.as_bytes()).unwrap();
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
fn an_http_sender_changes_nothing_at_an_address_with_a_pinned_key() {
    let (mut alice, now) = alice_with_pinned_bob();
    let before = *alice.tower().stats();
    let notices = send_without_certificate(&mut alice, now, &request("bob.example").repeat(2));
    let is_anonymous =
        |notice: &&Notice| matches!(notice, Notice::MessageReceived { from: None, .. });
    let received = notices.iter().filter(is_anonymous);
    assert_eq!(received.count(), 2, "the messages are accepted: {notices:?}");
    assert_eq!(alice.tower().stats().claims_disproved, before.claims_disproved + 2);
    let bob = alice.tower().find(&address(BOB)).unwrap();
    assert_eq!(bob.dialect, Some(Dialect::Native));
    let changed = |notice: &Notice| matches!(notice, Notice::StatusChanged { .. });
    assert!(!notices.iter().any(changed), "{notices:?}");
}

#[test]
fn a_server_with_another_key_than_the_pinned_one_gets_no_message() {
    for certificate in [self_signed_key(&Identity::generate().unwrap()), version_1_certificate()] {
        let (mut alice, now) = alice_with_pinned_bob();
        let message = Message::text("for Bob alone");
        alice.tower_mut().enqueue(message, now).unwrap();
        let Served { received, notices, .. } = serve(&mut alice, now, certificate, &[], 1 << 20);
        assert_eq!(String::from_utf8(received).unwrap(), "");
        let changed = |notice: &Notice| matches!(notice, Notice::KeyChanged { .. });
        assert!(notices.iter().any(changed), "{notices:?}");
        assert_eq!(alice.tower().queue_usage().messages, 1);
    }
}

#[test]
fn the_dialect_of_a_peer_is_updated_by_the_next_link() {
    let mut pair = Pair::open();
    let config = with_http(paused_config());
    pair.towers[ALICE] = secure_tower(ALICE, config, &Identity::generate().unwrap(), Trust::Open);
    let dialect =
        |pair: &Pair| pair.towers[ALICE].tower().find(&address(BOB)).and_then(|bob| bob.dialect);
    let now = pair.now;
    send_without_certificate(&mut pair.towers[ALICE], now, &request("bob.example"));
    assert_eq!(dialect(&pair), Some(Dialect::Http), "the request claims Bob's address");
    pair.towers[ALICE].tower_mut().announce(&address(BOB), now).unwrap();
    pair.drive();
    assert_eq!(dialect(&pair), Some(Dialect::Native));
}

/// What a server received, the lengths of the TLS records, and the notices of the tower.
struct Served {
    received: Vec<u8>,
    records: Vec<usize>,
    notices: Vec<Notice>,
}

fn self_signed_key(identity: &Identity) -> CertifiedKey {
    certified_key(identity.key_pem(), identity.cert_pem())
}

fn certified_key(key: &str, certificate: &str) -> CertifiedKey {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let key = ring::default_provider().key_provider.load_private_key(key).unwrap();
    let chain = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    CertifiedKey::new(vec![chain], key)
}

/// Returns an X.509 version 1 certificate like the one in the JavaScript package.
fn version_1_certificate() -> CertifiedKey {
    certified_key(include_str!("version1.key.pem"), include_str!("version1.cert.pem"))
}

/// Creates Alice with both dialects, an undialled peer Bob, and a message.
fn tower_with_message(message: &Message) -> SecureTower {
    let mut config = with_http(unlimited_config());
    // The message is the first request.
    config.contact_rate = 0;
    let mut tower = secure_tower(ALICE, config, &Identity::generate().unwrap(), Trust::Open);
    tower.tower_mut().enqueue(message.clone(), Instant::ORIGIN).unwrap();
    tower.tower_mut().expand(&address(BOB), Instant::ORIGIN).unwrap();
    tower
}

/// Connects the dial of a tower to a TLS server like that of JavaScript towers.
fn serve(
    tower: &mut SecureTower,
    now: Instant,
    certificate: CertifiedKey,
    protocols: &[&[u8]],
    transmit_limit: usize,
) -> Served {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certificate)));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let mut server = ServerConnection::new(Arc::new(config)).unwrap();
    let mut dialled = None;
    let (mut received, mut sent, mut notices) = (Vec::new(), Vec::new(), Vec::new());
    let mut application_from = 0;
    for _ in 0..20 {
        while let Some(action) = tower.poll_action() {
            match action {
                Action::Connect { link, .. } if dialled.is_none() => {
                    dialled = Some(link);
                    tower.handle(Event::Connected { link, at: None }, now);
                }
                Action::Notify(notice) => notices.push(notice),
                _ => {}
            }
        }
        let link = dialled.expect("the tower has dialled");
        let mut bytes = Vec::new();
        while tower.transmit(link, &mut (&mut bytes).limit(transmit_limit)) > 0 {}
        let mut rest = bytes.as_slice();
        if server.is_handshaking() {
            application_from = sent.len();
        }
        sent.extend_from_slice(&bytes);
        while !rest.is_empty() && server.read_tls(&mut rest).unwrap() > 0 {
            // The tower may have closed the link.
            let _ = server.process_new_packets();
            let _ = server.reader().read_to_end(&mut received);
        }
        let mut answer = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut answer).unwrap();
        }
        tower.handle(Event::BytesArrived { link, bytes: &answer }, now);
    }
    Served { received, records: record_lengths(&sent[application_from..]), notices }
}

/// Returns the plaintext length of each application data record.
fn record_lengths(mut bytes: &[u8]) -> Vec<usize> {
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
fn head_and_body_of_a_request_are_one_record_each_for_every_buffer_size() {
    let identity = Identity::generate().unwrap();
    for protocols in [&[][..], &[&b"http/1.1"[..]]] {
        for len in [1, 5_000, 16_200] {
            for transmit_limit in [1 << 20, 65_536, 17_000, 5_000, 100] {
                let mut tower = tower_with_message(&Message::text(&"x".repeat(len)));
                let certificate = self_signed_key(&identity);
                let Served { received, records, .. } =
                    serve(&mut tower, Instant::ORIGIN, certificate, protocols, transmit_limit);
                let text = String::from_utf8(received).unwrap();
                let (head, body) = text.split_once("\r\n\r\n").unwrap();
                let expected = [head.len() + 4, body.len()];
                // The records before them belong to the handshake.
                assert!(records.ends_with(&expected), "{records:?} for {expected:?}");
                assert!(body.len() > len && head.starts_with("POST / HTTP/1.1\r\n"));
            }
        }
    }
}

#[test]
fn a_version_1_certificate_is_accepted_only_in_http_and_pins_no_key() {
    let mut tower = tower_with_message(&Message::text("m"));
    let Served { received, .. } =
        serve(&mut tower, Instant::ORIGIN, version_1_certificate(), &[], 1 << 20);
    assert!(received.starts_with(b"POST / HTTP/1.1\r\n"), "{}", received.escape_ascii());
    let bob = tower.tower().find(&address(BOB)).unwrap();
    assert_eq!((bob.dialect, bob.fingerprint), (Some(Dialect::Http), None));
    // The native dialect refuses it.
    let mut tower = tower_with_message(&Message::text("m"));
    let Served { received, notices, .. } =
        serve(&mut tower, Instant::ORIGIN, version_1_certificate(), &[ALPN], 1 << 20);
    assert_eq!(received, b"");
    let refused = CloseReason::Tls(TlsFailure::Certificate);
    let is_refusal =
        |notice: &Notice| matches!(notice, Notice::LinkClosed { reason, .. } if *reason == refused);
    assert!(notices.iter().any(is_refusal), "{notices:?}");
}

#[test]
fn a_tower_uses_the_native_dialect_if_the_server_offers_both() {
    let certificate = self_signed_key(&Identity::generate().unwrap());
    let protocols: [&[u8]; 2] = [ALPN, b"http/1.1"];
    let mut tower = tower_with_message(&Message::text("m"));
    let Served { received, .. } =
        serve(&mut tower, Instant::ORIGIN, certificate, &protocols, 1 << 20);
    assert_eq!(received.first(), Some(&0xC1));
}
