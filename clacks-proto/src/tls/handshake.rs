//! The configurations of rustls for both sides of a handshake.

use alloc::sync::Arc;
use alloc::vec;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{self, Ticketer, cipher_suite, kx_group};
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use super::error::TlsError;
use super::identity::Identity;
use super::tickets::Tickets;
use super::trust::{Trust, Verifier};
use super::{ALPN, HTTP_ALPN};

/// The client and the server configuration of one tower, shared by all links.
pub(super) struct Handshakes {
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
    /// Whether HTTP is offered after the native dialect.
    pub(super) offers_http: bool,
}

impl Handshakes {
    /// Returns the configurations of a tower that speaks only the native dialect.
    #[cfg(test)]
    pub(super) fn new(identity: &Identity, trust: Trust, tickets: usize) -> Result<Self, TlsError> {
        Self::offering(identity, trust, tickets, false)
    }

    /// Returns the configurations of a tower.
    ///
    /// `tickets` is the number of dialled peers whose sessions are kept for resumption.
    /// `offers_http` takes effect only in an open network.
    pub(super) fn offering(
        identity: &Identity,
        trust: Trust,
        tickets: usize,
        offers_http: bool,
    ) -> Result<Self, TlsError> {
        let offers_http = offers_http && matches!(trust, Trust::Open);
        let protocols =
            if offers_http { vec![ALPN.to_vec(), HTTP_ALPN.to_vec()] } else { vec![ALPN.to_vec()] };
        let provider = Arc::new(provider());
        let verifier = Verifier::new(trust, provider.signature_verification_algorithms);
        let verifier = Arc::new(if offers_http { verifier.lenient() } else { verifier });
        let certificate = Arc::new(SingleCertAndKey::from(identity.certified()));

        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(|_| TlsError::NoRandomness)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
            .with_client_cert_resolver(Arc::clone(&certificate) as _);
        client.alpn_protocols.clone_from(&protocols);
        client.enable_sni = false;
        client.resumption = Resumption::store(Arc::new(Tickets::new(tickets)));

        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|_| TlsError::NoRandomness)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(certificate);
        server.alpn_protocols = protocols;
        server.ignore_client_order = true;
        // Peers store the sessions in tickets. A table of sessions on this side could be filled by
        // strangers.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.ticketer = Ticketer::new().map_err(|_| TlsError::NoRandomness)?;
        server.send_tls13_tickets = 1;

        Ok(Self { client: Arc::new(client), server: Arc::new(server), offers_http })
    }
}

/// Returns ring with AES-128 first, which costs 25 to 40 % less per byte than AES-256 (measured).
/// No practical attack on either is known.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..ring::default_provider()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use alloc::vec::Vec;
    use rustls::pki_types::ServerName;
    use rustls::{CipherSuite, ClientConnection, Connection, Error, ServerConnection};

    /// Runs a handshake between two configurations. Returns the result of each side, and both
    /// connections.
    pub(in super::super) fn run_handshake(
        client: &Handshakes,
        server: &Handshakes,
    ) -> ([Result<(), Error>; 2], [Connection; 2]) {
        let name = ServerName::try_from("p0e0.peer").unwrap();
        let mut sides: [Connection; 2] = [
            ClientConnection::new(Arc::clone(&client.client), name).unwrap().into(),
            ServerConnection::new(Arc::clone(&server.server)).unwrap().into(),
        ];
        let mut results = [Ok(()), Ok(())];
        while sides.iter().any(|side| side.wants_write()) {
            for (from, to) in [(0, 1), (1, 0)] {
                let mut bytes = Vec::new();
                while sides[from].wants_write() {
                    sides[from].write_tls(&mut bytes).unwrap();
                }
                let mut rest = bytes.as_slice();
                while !rest.is_empty() && results[to].is_ok() {
                    sides[to].read_tls(&mut rest).unwrap();
                    results[to] = sides[to].process_new_packets().map(drop);
                }
            }
        }
        (results, sides)
    }

    #[test]
    fn towers_negotiate_tls_1_3_aes_128_and_the_native_dialect() {
        let [ours, theirs] = [(); 2]
            .map(|()| Handshakes::new(&Identity::generate().unwrap(), Trust::Open, 4).unwrap());
        let (results, sides) = run_handshake(&ours, &theirs);
        for (result, side) in results.iter().zip(&sides) {
            assert_eq!(*result, Ok(()));
            assert!(!side.is_handshaking());
            let suite = side.negotiated_cipher_suite().unwrap().suite();
            assert_eq!(suite, CipherSuite::TLS13_AES_128_GCM_SHA256);
            assert_eq!(side.alpn_protocol(), Some(ALPN));
        }
        let Connection::Server(server) = &sides[1] else { unreachable!() };
        assert_eq!(server.server_name(), None, "a server name was sent");
    }
}
