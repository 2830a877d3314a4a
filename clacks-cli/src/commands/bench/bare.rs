//! What towers are made of, used as plainly as can be: blocking sockets, and rustls with records as
//! full as they can be.

mod accept_any_key;

use std::io::{self, BufRead, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::DerefMut;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clacks_proto::tls::Identity;
use clacks_proto::wire::{Frame, MessageFrame};
use clacks_proto::{Kind, Lifetime, Nonce};
use rustls::client::Resumption;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, HandshakeKind, ServerConfig,
    ServerConnection, SideData, StreamOwned,
};

use super::dials::{Opening, Sessions, WRONG_HANDSHAKE};
use super::{BenchError, Rate};
use accept_any_key::AcceptAnyKey;

/// How much is written and read at a time, as towers' drivers do.
const CHUNK: usize = 64 * 1024;
/// The most plaintext that a record holds.
const RECORD: usize = 16 * 1024;
/// For how long a side may fail to write before its turn fails, and the measurement ends with it.
const STUCK: Duration = Duration::from_secs(20);
/// What comes back for a message: as many bytes as the frame that confirms it.
const ANSWER: [u8; 13] = [0; 13];
/// What each side says first, if it does: about as many bytes as a tower's hello.
const HELLO: [u8; 48] = [0; 48];

/// What both sides of a connection are set up with: as towers are, each with a key, and both must
/// prove theirs.
pub(super) struct Keys {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Keys {
    pub(super) fn new() -> Result<Self, BenchError> {
        let mut provider = ring::default_provider();
        provider.cipher_suites = vec![TLS13_AES_128_GCM_SHA256];
        let provider: Arc<CryptoProvider> = Arc::new(provider);
        let accept_any_key = Arc::new(AcceptAnyKey(provider.signature_verification_algorithms));
        let (chain, key) = credentials()?;
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(accept_any_key.clone())
            .with_client_auth_cert(chain, key)?;
        client.resumption = Resumption::in_memory_sessions(4);
        let (chain, key) = credentials()?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(accept_any_key)
            .with_single_cert(chain, key)?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.ticketer = ring::Ticketer::new()?;
        server.send_tls13_tickets = 1;
        Ok(Self { client: Arc::new(client), server: Arc::new(server) })
    }

    fn client(&self) -> Result<ClientConnection, BenchError> {
        let name = ServerName::try_from("tower.example")?;
        Ok(ClientConnection::new(self.client.clone(), name)?)
    }

    fn server(&self) -> Result<ServerConnection, BenchError> {
        Ok(ServerConnection::new(self.server.clone())?)
    }

    /// The same, but a connection never goes on with an earlier session.
    fn forgetful(&self) -> Self {
        let mut client = (*self.client).clone();
        client.resumption = Resumption::disabled();
        Self { client: Arc::new(client), server: self.server.clone() }
    }
}

fn credentials() -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), BenchError> {
    let identity = Identity::generate()?;
    let certificate = CertificateDer::from_pem_slice(identity.cert_pem().as_bytes())?;
    Ok((vec![certificate], PrivateKeyDer::from_pem_slice(identity.key_pem().as_bytes())?))
}

/// Sends messages of `size` bytes from one thread to another.
pub(super) fn stream(keys: Option<&Keys>, size: usize, time: Duration) -> Rate {
    let each = messages(size, 1).len();
    let plaintext = messages(size, (CHUNK / each).max(1));
    let (listener, address) = listen()?;
    let sides =
        keys.map(|keys| Ok::<_, BenchError>((keys.client()?, keys.server()?))).transpose()?;
    let (client, server) =
        sides.map_or((None, None), |(client, server)| (Some(client), Some(server)));
    let receiver = thread::spawn(move || -> Result<u64, BenchError> {
        let (stream, _) = listener.accept()?;
        match server {
            Some(tls) => receive_records(tls, stream),
            None => swallow(stream),
        }
    });
    let stream = connect(address)?;
    let began = Instant::now();
    match client {
        Some(tls) => send_records(tls, stream, &plaintext, time)?,
        None => {
            let mut stream = stream;
            // At least once: a rate of zero would have no ratio.
            loop {
                stream.write_all(&plaintext)?;
                if began.elapsed() >= time {
                    break;
                }
            }
            stream.shutdown(Shutdown::Write)?;
        }
    }
    let received = receiver.join().map_err(|_| "a thread panicked")??;
    Ok(received as f64 / each as f64 / began.elapsed().as_secs_f64())
}

/// Fills records, and hands the socket four of them at a time.
fn send_records(
    mut tls: ClientConnection,
    mut stream: TcpStream,
    plaintext: &[u8],
    time: Duration,
) -> Result<(), BenchError> {
    let began = Instant::now();
    shake_hands(&mut tls, &mut stream)?;
    // What does not wait for the socket is never more than what is written at a time.
    tls.set_buffer_limit(None);
    // At least once, however long the handshake took.
    loop {
        send(&mut tls, &mut stream, plaintext)?;
        if began.elapsed() >= time {
            break;
        }
    }
    part(&mut tls, stream)
}

/// Reads to the end, in pieces as large as they come; how many bytes of plaintext there were.
fn receive_records(mut tls: ServerConnection, mut stream: TcpStream) -> Result<u64, BenchError> {
    shake_hands(&mut tls, &mut stream)?;
    let mut buffer = vec![0; CHUNK];
    // Some may have come with the end of the handshake.
    let mut sum = drain(&mut tls);
    while let Some(count) = receive(&mut tls, &mut stream, &mut buffer)? {
        sum += count;
    }
    Ok(sum)
}

/// Two threads send each other so many messages of `size` bytes at a time, and the next ones only
/// when as many have come. How many a second came to both.
pub(super) fn take_turns(keys: &Keys, size: usize, count: usize, time: Duration) -> Rate {
    let each = messages(size, 1).len();
    let batch = Arc::new(messages(size, count));
    let (listener, address) = listen()?;
    let (client, server) = (keys.client()?, keys.server()?);
    let theirs = batch.clone();
    let other = thread::spawn(move || -> Result<u64, BenchError> {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        answer_batches(server, stream, &theirs, None)
    });
    let stream = connect(address)?;
    let began = Instant::now();
    let ours = answer_batches(client, stream, &batch, Some(time));
    // Its end is waited for, whatever has happened to ours.
    let theirs = other.join().map_err(|_| "a thread panicked")?;
    let received = ours? + theirs?;
    Ok(received as f64 / each as f64 / began.elapsed().as_secs_f64())
}

/// Sends a batch, and the next one whenever as much has come in; for so long, or until the other
/// side ends. How many bytes came in.
fn answer_batches<Side: SideData>(
    mut tls: impl DerefMut<Target = ConnectionCommon<Side>>,
    mut stream: TcpStream,
    batch: &[u8],
    time: Option<Duration>,
) -> Result<u64, BenchError> {
    let began = Instant::now();
    shake_hands(&mut tls, &mut stream)?;
    tls.set_buffer_limit(None);
    // Both sides write before they read: where the sockets have no room for a batch of each,
    // neither must wait for ever.
    stream.set_write_timeout(Some(STUCK))?;
    send(&mut tls, &mut stream, batch)?;
    let (mut buffer, mut sum, mut due) = (vec![0; CHUNK], drain(&mut tls), batch.len() as u64);
    loop {
        // One read may bring more than one batch, and the handshake's end the first.
        while sum >= due {
            if time.is_some_and(|time| began.elapsed() >= time) {
                part(&mut tls, stream)?;
                return Ok(sum);
            }
            due += batch.len() as u64;
            send(&mut tls, &mut stream, batch)?;
        }
        match receive(&mut tls, &mut stream, &mut buffer)? {
            Some(count) => sum += count,
            None => return Ok(sum),
        }
    }
}

/// Messages as they are on the wire.
fn messages(size: usize, count: usize) -> Vec<u8> {
    let body = vec![b'x'; size];
    let frame = Frame::Message(MessageFrame {
        transfer: 0,
        retry_of: None,
        lifetime: Lifetime::UNLIMITED,
        nonce: Nonce(0),
        kind: Kind::Bytes,
        friend: None,
        body: &body,
    });
    let mut bytes = Vec::new();
    (0..count).for_each(|_| frame.encode(&mut bytes));
    bytes
}

fn shake_hands<Side: SideData>(
    tls: &mut ConnectionCommon<Side>,
    stream: &mut TcpStream,
) -> io::Result<()> {
    while tls.is_handshaking() {
        tls.complete_io(stream)?;
    }
    while tls.wants_write() {
        tls.write_tls(stream)?;
    }
    Ok(())
}

/// Sends plaintext in full records.
fn send<Side: SideData>(
    tls: &mut ConnectionCommon<Side>,
    stream: &mut TcpStream,
    plaintext: &[u8],
) -> io::Result<()> {
    for record in plaintext.chunks(RECORD) {
        tls.writer().write_all(record)?;
    }
    while tls.wants_write() {
        tls.write_tls(stream)?;
    }
    Ok(())
}

/// Sends the end, and waits for the end of the other side. A side that still has a ticket to
/// read must not have its connection reset.
fn part<Side: SideData>(
    tls: &mut ConnectionCommon<Side>,
    mut stream: TcpStream,
) -> Result<(), BenchError> {
    tls.send_close_notify();
    while tls.wants_write() {
        tls.write_tls(&mut stream)?;
    }
    stream.shutdown(Shutdown::Write)?;
    io::copy(&mut stream, &mut io::sink())?;
    Ok(())
}

/// Reads once; how many bytes of plaintext came of it, and `None` at the end.
fn receive<Side: SideData>(
    tls: &mut ConnectionCommon<Side>,
    stream: &mut TcpStream,
    buffer: &mut [u8],
) -> Result<Option<u64>, BenchError> {
    let count = stream.read(buffer)?;
    let mut rest = buffer.get(..count).unwrap_or_default();
    if rest.is_empty() {
        return Ok(None);
    }
    let mut sum = 0;
    while !rest.is_empty() {
        tls.read_tls(&mut rest)?;
        tls.process_new_packets()?;
        sum += drain(tls);
    }
    Ok(Some(sum))
}

/// Takes what plaintext there is, in place; how much it was.
fn drain<Side: SideData>(tls: &mut ConnectionCommon<Side>) -> u64 {
    let mut sum = 0;
    let mut reader = tls.reader();
    while let Ok(plaintext @ [_, ..]) = reader.fill_buf() {
        let len = plaintext.len();
        sum += len as u64;
        reader.consume(len);
    }
    sum
}

/// Reads to the end; how many bytes there were.
fn swallow(mut from: impl Read) -> Result<u64, BenchError> {
    let mut buffer = vec![0; CHUNK];
    let mut sum = 0;
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(sum),
            count => sum += count as u64,
        }
    }
}

/// Connects again and again; each time a message goes one way and an answer the other, and both
/// sides close.
pub(super) fn dial(
    keys: &Keys,
    sessions: Sessions,
    opening: Opening,
    size: usize,
    time: Duration,
) -> Rate {
    let forgetful = keys.forgetful();
    let keys = if sessions == Sessions::Full { &forgetful } else { keys };
    let (listener, address) = listen()?;
    let server = keys.server.clone();
    let host = thread::spawn(move || -> Result<(), BenchError> {
        let mut message = vec![0; size];
        loop {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            let tls = ServerConnection::new(server.clone())?;
            let mut stream = StreamOwned::new(tls, stream);
            if opening == Opening::Hellos && stream.read_exact(&mut [0; HELLO.len()]).is_ok() {
                stream.write_all(&HELLO)?;
            }
            if stream.read_exact(&mut message).is_err() {
                // A connection without a message ends this thread.
                return Ok(());
            }
            stream.write_all(&ANSWER)?;
            let _ = stream.read(&mut message);
            close(&mut stream.conn, &mut stream.sock);
        }
    });
    let message = vec![b'x'; size];
    let one = || -> Result<Option<HandshakeKind>, BenchError> {
        let mut stream = StreamOwned::new(keys.client()?, connect(address)?);
        if opening == Opening::Hellos {
            stream.write_all(&HELLO)?;
            stream.read_exact(&mut [0; HELLO.len()])?;
        }
        stream.write_all(&message)?;
        stream.read_exact(&mut [0; ANSWER.len()])?;
        close(&mut stream.conn, &mut stream.sock);
        Ok(stream.conn.handshake_kind())
    };
    let expected = match sessions {
        Sessions::Full => HandshakeKind::Full,
        Sessions::Resumed => HandshakeKind::Resumed,
    };
    one()?;
    let began = Instant::now();
    let mut count = 0u32;
    while count == 0 || began.elapsed() < time {
        if one()? != Some(expected) {
            return Err(WRONG_HANDSHAKE.into());
        }
        count += 1;
    }
    let rate = f64::from(count) / began.elapsed().as_secs_f64();
    drop(connect(address)?);
    host.join().map_err(|_| "a thread panicked")??;
    Ok(rate)
}

/// Closes a connection, whose other side may be gone already.
fn close<Side>(tls: &mut ConnectionCommon<Side>, stream: &mut TcpStream) {
    tls.send_close_notify();
    let _ = tls.write_tls(stream);
}

fn listen() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
