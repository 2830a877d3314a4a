//! HTTP behind TLS: which dialect a link gets, who is believed, and where records end.

use std::io::{Read, Write};
use std::sync::Arc;

use bytes::BufMut;
use clacks_proto::tls::{ALPN, Identity, Roots, Trust};
use clacks_proto::{
    Action, CloseReason, Config, Dialect, Dialects, Event, Instant, LinkId, Message, Report,
    StateMachine, Status, TlsFailure,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection};

use crate::stranger::{Host, client, talk};
use crate::world::{ALICE, BOB, World, address, giving, keeping, secure};

fn both(mut config: Config) -> Config {
    config.dialects = Dialects::NativeAndHttp;
    config
}

fn host() -> Host {
    Host::with(both(keeping()), &Identity::generate().unwrap(), Trust::Open)
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
fn say(host: &mut Host, protocols: &[&[u8]], identity: Option<&Identity>, bytes: &[u8]) -> Vec<u8> {
    let mut client = client(protocols, identity);
    client.writer().write_all(bytes).unwrap();
    // A refusal is an error here; the caller looks at the tower.
    let _ = talk(&mut client, host);
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
            let mut host = host();
            let said = say(&mut host, protocols, identity, request);
            assert!(said.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", said.escape_ascii());
            assert_eq!((host.tower.tower().held().0, host.closed), (1, None));
        }
    }
    for protocols in [&[ALPN][..], &[http, ALPN], &[ALPN, http]] {
        let mut host = host();
        let said = say(&mut host, protocols, Some(&somebody), &[]);
        assert_eq!(said.first(), Some(&0xC1), "our hello comes without being asked for");
    }
    let mut host = host();
    let said = say(&mut host, &[], Some(&somebody), &HELLO);
    assert_eq!(said.first(), Some(&0xC1), "its first byte has told");
}

#[test]
fn nobody_speaks_the_native_dialect_without_a_key() {
    let http: &[u8] = b"http/1.1";
    for protocols in [&[][..], &[http], &[ALPN]] {
        let mut host = host();
        let said = say(&mut host, protocols, None, &HELLO);
        assert_eq!(host.closed, Some(CloseReason::Tls(TlsFailure::Certificate)));
        assert_eq!(said, b"", "not even a hello");
    }
}

#[test]
fn other_protocols_are_refused() {
    let mut host = host();
    say(&mut host, &[b"h2"], None, b"");
    assert_eq!(host.closed, Some(CloseReason::Tls(TlsFailure::NoCommonProtocol)));
}

#[test]
fn without_http_and_in_private_nobody_gets_it() {
    let identity = Identity::generate().unwrap();
    let roots = Roots::from_pem(identity.cert_pem().as_bytes()).unwrap();
    let mut named = both(keeping());
    named.network = "of our own".into();
    for (config, trust) in
        [(keeping(), Trust::Open), (named, Trust::Open), (both(keeping()), Trust::Private(roots))]
    {
        for protocols in [&[][..], &[&b"http/1.1"[..]]] {
            for caller in [None, Some(&identity)] {
                let mut host = Host::with(config.clone(), &identity, trust.clone());
                let request = request("js.example");
                let said = say(&mut host, protocols, caller, request.as_bytes());
                assert!(matches!(host.closed, Some(CloseReason::Tls(_))), "{:?}", host.closed);
                assert_eq!((said, host.tower.tower().held().0), (Vec::new(), 0));
            }
        }
    }
}

#[test]
fn towers_that_speak_both_speak_the_native_one_with_each_other() {
    let mut world = World::open();
    for side in [ALICE, BOB] {
        let config = both(if side == ALICE { giving() } else { keeping() });
        world.towers[side] = secure(side, config, &Identity::generate().unwrap(), Trust::Open);
    }
    world.meet();
    let known = |side: usize| world.towers[side].tower().find(&address(1 - side)).unwrap();
    assert_eq!(known(ALICE).dialect, Some(Dialect::Native));
    assert!(known(ALICE).fingerprint.is_some());
}

#[test]
fn what_is_said_in_http_does_not_touch_an_address_whose_key_is_known() {
    let mut world = World::open();
    let config = both(giving());
    world.towers[ALICE] = secure(ALICE, config, &Identity::generate().unwrap(), Trust::Open);
    world.meet();
    // Bob is gone, and somebody says that it is Bob.
    let [alice, _] = world.towers;
    let mut host = Host {
        tower: alice,
        link: LinkId::clone(&world.connections[0].ends[ALICE].link),
        said: Vec::new(),
        closed: None,
    };
    let link = host.link;
    host.tower.handle(Event::Lost { link, cause: clacks_proto::IoCause::Reset }, world.now);
    let before = *host.tower.tower().stats();
    let here = std::net::IpAddr::from([127, 0, 0, 1]);
    host.link = host.tower.accept(here, world.now).unwrap();
    let request = [request("bob.example"), request("bob.example")].concat();
    let mut client = client(&[], None);
    client.writer().write_all(request.as_bytes()).unwrap();
    let mut reports = Vec::new();
    loop {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        host.tower.handle(Event::BytesArrived { link: host.link, bytes: &bytes }, world.now);
        while let Some(action) = host.tower.poll_action() {
            if let Action::Notify(notice) = action {
                reports.extend(host.tower.tower().report(notice));
            }
        }
        let mut answer = Vec::new();
        while host.tower.transmit(host.link, &mut answer) > 0 {}
        if bytes.is_empty() && answer.is_empty() {
            break;
        }
        let mut rest = answer.as_slice();
        while client.read_tls(&mut rest).unwrap() > 0 {
            client.process_new_packets().unwrap();
        }
    }
    let received = reports
        .iter()
        .filter(|report| matches!(report, Report::MessageReceived { from: None, .. }));
    assert_eq!(received.count(), 2, "the messages are taken: {reports:?}");
    let tower = host.tower.tower();
    assert_eq!(tower.stats().claims_disproved, before.claims_disproved + 2);
    let bob = tower.find(&address(BOB)).unwrap();
    assert_eq!(bob.dialect, Some(Dialect::Native));
    assert!(
        !reports
            .iter()
            .any(|report| matches!(report, Report::StatusChanged { to: Status::Alive, .. }))
    );
}

/// A server as JavaScript towers have it, and a tower that dials it and has a message for it. What the server got, and how long its records were.
fn served(
    identity: &Identity,
    protocols: &[&[u8]],
    message: &Message,
    room: usize,
) -> (Vec<u8>, Vec<usize>) {
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem().as_bytes()).unwrap();
    let key = ring::default_provider().key_provider.load_private_key(key).unwrap();
    let chain = CertificateDer::from_pem_slice(identity.cert_pem().as_bytes()).unwrap();
    serve(
        Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![chain], key))),
        protocols,
        message,
        room,
    )
}

fn serve(
    certificate: Arc<dyn ResolvesServerCert>,
    protocols: &[&[u8]],
    message: &Message,
    room: usize,
) -> (Vec<u8>, Vec<usize>) {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let mut server = ServerConnection::new(Arc::new(config)).unwrap();
    let mut tower = secure(ALICE, both(giving()), &Identity::generate().unwrap(), Trust::Open);
    let now = Instant::ORIGIN;
    tower.tower_mut().enqueue(message.clone(), now).unwrap();
    tower.tower_mut().expand(&address(BOB), now).unwrap();
    let mut dialled = None;
    let (mut got, mut sent) = (Vec::new(), Vec::new());
    let mut application_from = 0;
    for _ in 0..20 {
        while let Some(action) = tower.poll_action() {
            if let Action::Connect { link, .. } = action {
                dialled = Some(link);
                tower.handle(Event::Connected { link }, now);
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
            server.process_new_packets().unwrap();
            let _ = server.reader().read_to_end(&mut got);
        }
        let mut answer = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut answer).unwrap();
        }
        tower.handle(Event::BytesArrived { link, bytes: &answer }, now);
    }
    (got, records(&sent[application_from..]))
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
                let message = Message::text(&"x".repeat(len));
                let (got, records) = served(&identity, protocols, &message, room);
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
fn a_tower_that_offers_both_prefers_its_own_language_at_a_server_that_has_both() {
    let identity = Identity::generate().unwrap();
    let protocols: [&[u8]; 2] = [ALPN, b"http/1.1"];
    let (got, _) = served(&identity, &protocols, &Message::text("m"), 1 << 20);
    assert_eq!(got.first(), Some(&0xC1));
}
