//! Whose certificate is good enough.

use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use super::error::TlsError;

/// Who may be on the other end of a link. In either case the other side must show a certificate and
/// prove that it holds its key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Trust {
    /// Anybody. Certificates are carriers of keys: who signed them and their dates say nothing
    /// about the key, so neither is looked at. An operator who forgets about a date should not drop
    /// out of the network, and a wrong clock should keep nobody from it.
    Open,
    /// Those whose certificate chains to one of these roots and is within its dates.
    Private(Roots),
}

/// The root certificates of a private network.
///
/// Certificates of single towers can be roots as well: the network is then exactly the towers
/// listed.
#[derive(Clone, Debug)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// All certificates in a PEM text.
    ///
    /// # Errors
    ///
    /// [`TlsError::UnreadableRoots`] when there is none, or when any of them can't be read: a
    /// network with a root missing would refuse towers that belong to it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            certificate
                .ok()
                .and_then(|certificate| roots.add(certificate).ok())
                .ok_or(TlsError::UnreadableRoots)?;
        }
        if roots.is_empty() { Err(TlsError::UnreadableRoots) } else { Ok(Self(Arc::new(roots))) }
    }
}

/// Judges the certificates of both clients and servers: towers are both, so one rule holds for
/// both.
#[derive(Debug)]
pub(super) struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
    /// Whether the other side may show no certificate, or one that can't be read. Then it has
    /// proved nothing.
    is_lenient: bool,
}

impl Verifier {
    pub(super) fn new(trust: Trust, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { trust, algorithms, is_lenient: false }
    }

    /// One that lets those pass who prove nothing. Whoever uses it must see to it that nothing is
    /// believed of them.
    pub(super) fn lenient(self) -> Self {
        Self { is_lenient: true, ..self }
    }

    /// Whether a certificate is let pass though it can't be read, such as one of version 1 of
    /// X.509.
    fn passes_unread(&self, certificate: &CertificateDer<'_>) -> bool {
        self.is_lenient && ParsedCertificate::try_from(certificate).is_err()
    }

    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.passes_unread(certificate) {
            return Ok(());
        }
        let parsed = ParsedCertificate::try_from(certificate)?;
        match &self.trust {
            Trust::Open => Ok(()),
            // The host name is not checked: the key is the identity, and a tower may move.
            Trust::Private(Roots(roots)) => verify_server_cert_signed_by_trust_anchor(
                &parsed,
                roots,
                intermediates,
                now,
                self.algorithms.all,
            )
            .map_err(|error| match error {
                // A root has the issuer's name but not its key. To the other side that is a
                // stranger's certificate, and the alert for a bad signature would tell it something
                // else.
                Error::InvalidCertificate(CertificateError::BadSignature) => {
                    CertificateError::UnknownIssuer.into()
                }
                other => other,
            }),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.passes_unread(cert) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    /// Towers that speak HTTP have none to show.
    fn client_auth_mandatory(&self) -> bool {
        !self.is_lenient
    }

    /// None: hints would tell strangers the names of a private network's roots, and every tower has
    /// but one certificate to show.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Identity;
    use super::super::handshake::Handshakes;
    use super::super::handshake::tests::shake;
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::AlertDescription;

    /// A root that signs certificates.
    struct Authority {
        issuer: Issuer<'static, KeyPair>,
        pem: String,
    }

    impl Authority {
        fn new() -> Self {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let pem = params.self_signed(&key).unwrap().pem();
            Self { issuer: Issuer::new(params, key), pem }
        }

        fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::default();
            change(&mut params);
            let certificate = params.signed_by(&key, &self.issuer).unwrap();
            Identity::from_pem(key.serialize_pem().as_bytes(), certificate.pem().as_bytes())
                .unwrap()
        }

        fn trust(&self) -> Trust {
            Trust::Private(Roots::from_pem(self.pem.as_bytes()).unwrap())
        }
    }

    fn side(identity: &Identity, trust: &Trust) -> Handshakes {
        Handshakes::new(identity, trust.clone(), 4).unwrap()
    }

    fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        change(&mut params);
        let certificate = params.self_signed(&key).unwrap();
        Identity::from_pem(key.serialize_pem().as_bytes(), certificate.pem().as_bytes()).unwrap()
    }

    fn expired(params: &mut CertificateParams) {
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    }

    #[test]
    fn an_open_network_takes_an_expired_certificate_that_nobody_signed() {
        let old = side(&self_signed(expired), &Trust::Open);
        let new = side(&Identity::generate().unwrap(), &Trust::Open);
        assert_eq!(shake(&old, &new).0, [Ok(()), Ok(())]);
        assert_eq!(shake(&new, &old).0, [Ok(()), Ok(())]);
    }

    #[test]
    fn an_open_network_still_asks_for_proof_of_the_key() {
        let (thief, victim) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let mut pretends = side(&thief, &Trust::Open);
        let stolen = rustls::sign::CertifiedKey::new(
            victim.certified().cert.clone(),
            Arc::clone(&thief.certified().key),
        );
        let stolen = Arc::new(rustls::sign::SingleCertAndKey::from(stolen));
        Arc::get_mut(&mut pretends.client).unwrap().client_auth_cert_resolver = stolen.clone();
        Arc::get_mut(&mut pretends.server).unwrap().cert_resolver = stolen;

        let honest = side(&Identity::generate().unwrap(), &Trust::Open);
        let refused = Error::InvalidCertificate(CertificateError::BadSignature);
        assert_eq!(shake(&honest, &pretends).0[0], Err(refused.clone()));
        assert_eq!(shake(&pretends, &honest).0[1], Err(refused));
    }

    #[test]
    fn a_private_network_takes_its_own_in_both_directions() {
        let authority = Authority::new();
        let [one, two] = [(); 2].map(|()| side(&authority.issue(|_| ()), &authority.trust()));
        assert_eq!(shake(&one, &two).0, [Ok(()), Ok(())]);
        assert_eq!(shake(&two, &one).0, [Ok(()), Ok(())]);
    }

    #[test]
    fn a_private_network_refuses_a_stranger_whoever_dials() {
        let authority = Authority::new();
        let member = side(&authority.issue(|_| ()), &authority.trust());
        let other_authority = Authority::new();
        for stranger in [Identity::generate().unwrap(), other_authority.issue(|_| ())] {
            let stranger = side(&stranger, &Trust::Open);
            let alert = Err(Error::AlertReceived(AlertDescription::UnknownCA));
            let unknown = Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
            assert_eq!(shake(&member, &stranger).0, [unknown.clone(), alert.clone()]);
            assert_eq!(shake(&stranger, &member).0, [alert, unknown]);
        }
    }

    #[test]
    fn a_private_network_looks_at_dates() {
        let authority = Authority::new();
        let member = side(&authority.issue(|_| ()), &authority.trust());
        let old = side(&authority.issue(expired), &authority.trust());
        for results in [shake(&member, &old).0, shake(&old, &member).0] {
            let refused = results.iter().any(|result| {
                matches!(
                    result,
                    Err(Error::InvalidCertificate(CertificateError::ExpiredContext { .. }))
                )
            });
            assert!(refused, "{results:?}");
        }
    }

    #[test]
    fn towers_can_be_listed_one_by_one() {
        let [one, two, other] = [(); 3].map(|()| Identity::generate().unwrap());
        let list = format!("{}{}", one.cert_pem(), two.cert_pem());
        let trust = Trust::Private(Roots::from_pem(list.as_bytes()).unwrap());
        let [one, two, other] = [one, two, other].map(|identity| side(&identity, &trust));
        assert_eq!(shake(&one, &two).0, [Ok(()), Ok(())]);
        assert_eq!(shake(&two, &one).0, [Ok(()), Ok(())]);
        assert!(shake(&one, &other).0[0].is_err());
        assert!(shake(&other, &one).0[1].is_err());
    }

    #[test]
    fn roots_must_be_there_and_readable() {
        let root = Authority::new().pem;
        assert!(Roots::from_pem(root.as_bytes()).is_ok());
        let half = root.get(..root.len() / 2).unwrap();
        for pem in ["", "no root", half, &format!("{root}{half}")] {
            assert_eq!(Roots::from_pem(pem.as_bytes()).unwrap_err(), TlsError::UnreadableRoots);
        }
    }
}
