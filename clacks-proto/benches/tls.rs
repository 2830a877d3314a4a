//! Two towers with TLS that hand messages to each other, in memory and on one thread. They are
//! compared with two bare rustls connections that move the same plaintext in full records.
//!
//! Each hand-over of a message is counted. It comprises receiving, queueing, drawing a recipient,
//! sending and confirming.
//!
//! ```sh
//! cargo bench --manifest-path benches/Cargo.toml --features tls --bench tls
//! cargo bench --manifest-path benches/Cargo.toml --features tls --bench tls -- --quick
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a benchmark has a clock, and panics on errors"
)]

#[path = "common/mod.rs"]
mod common;
#[path = "common/pair.rs"]
mod pair;

use std::io::{BufRead, Write};
use std::sync::Arc;

use clacks_proto::wire::{Frame, MessageFrame};
use clacks_proto::{Config, Kind, Lifetime, Message, Nonce, SendRate, Window};
use common::{Comparison, Target};
use pair::Pair;
use rustls::crypto::ring::{self, cipher_suite::TLS13_AES_128_GCM_SHA256};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
};

fn main() {
    let mut criterion = common::criterion();
    for (size, share) in [(64, Some(0.5)), (1024, Some(0.7)), (16_384, None)] {
        let mut towers = connected_towers(size, Config::default().window);
        let mut wide = connected_towers(size, Window { messages: 1024, bytes: 1 << 20 });
        let mut bare = BareTls::new(size);
        let target = share.map(|share: f64| Target::Times(1.0 / share));

        let mut comparison = Comparison::new(format!("tls/{size}")).bytes(size);
        let each = bare.messages as u64;
        comparison.batch("bare rustls, full records (floor)", each, None, || bare.turn());
        let each = towers.each;
        comparison.batch("towers, default window", each, None, || towers.turn());
        let each = wide.each;
        comparison.batch("towers, window of 1 MiB", each, target, || wide.turn());
        comparison.run(&mut criterion);
    }
    criterion.final_summary();
}

/// Two towers that hand the same messages back and forth.
struct Towers {
    pair: Pair,
    /// The number of messages that are handed over in a turn.
    each: u64,
}

/// Returns two towers with as many messages as fill the windows in both directions.
fn connected_towers(body: usize, window: Window) -> Towers {
    let mut config = Config::default();
    config.send_rate = SendRate::Unlimited;
    config.heartbeat = None;
    config.window = window;
    let mut pair = Pair::new([config.clone(), config]);
    pair.connect();
    let each = usize::from(window.messages).min(window.bytes as usize / body);
    let message = Message::bytes(&vec![b'x'; body]);
    (0..2 * each).for_each(|n| pair.enqueue(n % 2, &message));
    (0..1_000).for_each(|_| pair.turn());
    let before = pair.delivered;
    (0..1_000).for_each(|_| pair.turn());
    // Measure how many messages are handed over in a turn.
    let each = (pair.delivered - before) / 1_000;
    Towers { pair, each }
}

impl Towers {
    fn turn(&mut self) {
        let before = self.pair.delivered;
        while self.pair.delivered < before + self.each {
            self.pair.turn();
        }
    }
}

/// Two connections, and the plaintext of a turn.
struct BareTls {
    sides: [Connection; 2],
    plaintext: Vec<u8>,
    messages: usize,
    ciphertext: Vec<u8>,
}

impl BareTls {
    fn new(body: usize) -> Self {
        let body = vec![b'x'; body];
        let frame = Frame::Message(MessageFrame {
            transfer: 0,
            retry_of: None,
            lifetime: Lifetime::UNLIMITED,
            nonce: Nonce(0),
            kind: Kind::Bytes,
            friend: None,
            body: &body,
        });
        let messages = (64 * 1024 / frame.encoded_len()).max(1);
        let mut plaintext = Vec::new();
        (0..messages).for_each(|_| frame.encode(&mut plaintext));
        Self { sides: connections(), plaintext, messages, ciphertext: Vec::new() }
    }

    fn turn(&mut self) {
        let Self { sides: [from, to], plaintext, ciphertext, .. } = self;
        for record in plaintext.chunks(16 * 1024) {
            from.writer().write_all(record).unwrap();
            while from.wants_write() {
                from.write_tls(ciphertext).unwrap();
            }
        }
        let mut rest = ciphertext.as_slice();
        let mut received = 0;
        while !rest.is_empty() {
            to.read_tls(&mut rest).unwrap();
            to.process_new_packets().unwrap();
            let mut reader = to.reader();
            while let Ok(piece @ [_, ..]) = reader.fill_buf() {
                let len = piece.len();
                received += len;
                reader.consume(len);
            }
        }
        assert_eq!(received, plaintext.len());
        ciphertext.clear();
    }
}

/// Returns a client and a server after their handshake, with the cipher suite of towers.
fn connections() -> [Connection; 2] {
    let mut provider = ring::default_provider();
    provider.cipher_suites = vec![TLS13_AES_128_GCM_SHA256];
    let provider = Arc::new(provider);
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut sides: [Connection; 2] = [
        ClientConnection::new(Arc::new(client), name).unwrap().into(),
        ServerConnection::new(Arc::new(server)).unwrap().into(),
    ];
    while sides.iter().any(|side| side.wants_write()) {
        for (from, to) in [(0, 1), (1, 0)] {
            let mut bytes = Vec::new();
            while sides[from].wants_write() {
                sides[from].write_tls(&mut bytes).unwrap();
            }
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                sides[to].read_tls(&mut rest).unwrap();
                sides[to].process_new_packets().unwrap();
            }
        }
    }
    sides
}
