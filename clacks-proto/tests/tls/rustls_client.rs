//! One secure tower with one inbound link. The other end sends arbitrary bytes, or is a rustls
//! client with settings that no tower has.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::BufMut;
use clacks_proto::tls::{Identity, SecureTower, Trust};
use clacks_proto::{Action, CloseReason, Config, Event, Instant, LinkId, StateMachine};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

use crate::pair::{BOB, paused_config, secure_tower};

/// A tower that has accepted one connection.
pub struct Harness {
    pub tower: SecureTower,
    pub link: LinkId,
    /// Bytes that the tower has sent and the client has not read.
    pub sent: Vec<u8>,
    /// The reason of the last `Action::Close`.
    pub closed: Option<CloseReason>,
}

impl Harness {
    pub fn new() -> Self {
        Self::with(paused_config(), &Identity::generate().unwrap(), Trust::Open)
    }

    pub fn with(config: Config, identity: &Identity, trust: Trust) -> Self {
        let mut tower = secure_tower(BOB, config, identity, trust);
        let link = tower.accept(IpAddr::V4(Ipv4Addr::LOCALHOST), Instant::ORIGIN).unwrap();
        let mut harness = Self { tower, link, sent: Vec::new(), closed: None };
        harness.handle_actions();
        harness
    }

    /// Passes bytes to the tower and handles its actions.
    pub fn receive(&mut self, bytes: &[u8]) {
        let event = Event::BytesArrived { link: self.link, bytes };
        self.tower.handle(event, Instant::ORIGIN);
        self.handle_actions();
    }

    pub fn handle_actions(&mut self) {
        while let Some(action) = self.tower.poll_action() {
            if let Action::Close { reason, .. } = action {
                self.closed = Some(reason);
            }
            if let Action::Close { .. } | Action::Send { .. } = action {
                while self.tower.transmit(self.link, &mut (&mut self.sent).limit(1000)) > 0 {}
            }
        }
    }
}

/// Returns a rustls client that offers these ALPN protocols. The client has a certificate if there
/// is an identity.
pub fn client(protocols: &[&[u8]], identity: Option<&Identity>) -> ClientConnection {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate(provider)));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = CertificateDer::from_pem_slice(identity.cert_pem().as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(identity.key_pem().as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![chain], key).unwrap()
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    ClientConnection::new(Arc::new(config), ServerName::try_from("stranger.example").unwrap())
        .unwrap()
}

/// Exchanges bytes between a rustls client and a tower until neither has more to send.
///
/// # Errors
///
/// The client rejected bytes of the tower.
pub fn drive(client: &mut ClientConnection, harness: &mut Harness) -> Result<(), Error> {
    loop {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let answer = std::mem::take(&mut harness.sent);
        if bytes.is_empty() && answer.is_empty() {
            return Ok(());
        }
        if !bytes.is_empty() {
            harness.receive(&bytes);
        }
        let mut rest = answer.as_slice();
        while !rest.is_empty() && client.read_tls(&mut rest).unwrap() > 0 {
            client.process_new_packets()?;
        }
    }
}

/// Accepts any certificate.
#[derive(Debug)]
pub struct AcceptAnyCertificate(pub Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
