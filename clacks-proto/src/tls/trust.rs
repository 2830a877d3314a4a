//! The policy for certificates.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

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

use webpki::{
    CertRevocationList, EndEntityCert, KeyUsage, RevocationCheckDepth, RevocationOptionsBuilder,
    UnknownStatusPolicy,
};

use super::error::TlsError;
use super::handshake::provider;
use super::identity::Identity;
use super::revocations::Revocations;

/// Which keys are accepted on the other side of a link. The other side must always show a
/// certificate and prove that it holds the key, unless HTTP is spoken.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Trust {
    /// Every key. Neither the issuer nor the dates of a certificate are checked, because they say
    /// nothing about the key. An expired certificate or a wrong clock therefore excludes no tower.
    Open,
    /// Only keys whose certificate chains to one of these roots and is within its dates.
    Private(Roots),
}

impl Trust {
    /// Checks the certificate of this tower by the rules that its peers apply to it.
    /// [`SecureTower::new`](super::SecureTower::new) does so, too.
    ///
    /// # Errors
    ///
    /// One of the `Own…` errors of [`TlsError`] if peers of the private network would refuse the
    /// certificate at this time. An open network refuses none.
    pub fn check(&self, identity: &Identity) -> Result<(), TlsError> {
        let Self::Private(roots) = self else { return Ok(()) };
        roots.verify_own(identity, UnixTime::now()).map_err(|error| match error {
            Error::InvalidCertificate(error) => own_error(&error),
            _ => TlsError::OwnNotAccepted,
        })
    }

    /// Returns the time since the start of 1970 until which peers of the private network accept the
    /// certificate of this tower. Returns `None` in an open network, where no date is checked, and
    /// if peers refuse the certificate for another reason than its date.
    #[must_use]
    pub fn expiry(&self, identity: &Identity) -> Option<Duration> {
        let Self::Private(roots) = self else { return None };
        let mut expiry = None;
        let mut at = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
        loop {
            match roots.verify_own(identity, at) {
                Ok(()) => return expiry,
                // An intermediate certificate may expire before that of the tower.
                Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                    not_after,
                    ..
                })) if not_after < at => {
                    at = not_after;
                    expiry = Some(Duration::from_secs(at.as_secs()));
                }
                Err(_) => return None,
            }
        }
    }
}

fn own_error(error: &CertificateError) -> TlsError {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsError::OwnExpired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            TlsError::OwnNotYetValid
        }
        CertificateError::UnknownIssuer => TlsError::OwnNotFromRoots,
        CertificateError::Revoked => TlsError::OwnRevoked,
        CertificateError::UnknownRevocationStatus => TlsError::ForeignRevocations,
        _ => TlsError::OwnNotAccepted,
    }
}

/// The root certificates of a private network.
///
/// Certificates of single towers can be used as roots, too. The network then consists of exactly
/// these towers. Such a certificate may be marked as that of an authority (`CA:TRUE`), as `openssl
/// req -x509` does, unless it has an extended key usage. Its owner can then issue certificates for
/// further towers.
#[derive(Clone, Debug)]
pub struct Roots(Arc<Listed>);

/// The certificates of [`Roots`], in two forms.
#[derive(Clone, Debug)]
struct Listed {
    /// As issuers.
    store: RootCertStore,
    /// As they were given.
    certificates: Vec<CertificateDer<'static>>,
    /// Lists of revoked certificates.
    revoked: Vec<Arc<CertRevocationList<'static>>>,
}

impl Roots {
    /// Reads all certificates of a PEM text.
    ///
    /// # Errors
    ///
    /// [`TlsError::UnreadableRoots`] if there is no certificate, or if any of them can't be read. A
    /// missing root would exclude towers of the network.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        let certificates = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| TlsError::UnreadableRoots)?;
        for certificate in &certificates {
            store.add(certificate.clone()).map_err(|_| TlsError::UnreadableRoots)?;
        }
        if certificates.is_empty() {
            return Err(TlsError::UnreadableRoots);
        }
        Ok(Self(Arc::new(Listed { store, certificates, revoked: Vec::new() })))
    }

    /// Returns the same roots without the certificates on lists of revoked ones. A list stays valid
    /// after the date of its next update, because a network without a newer list must not stop.
    ///
    /// Each handshake then verifies the certificate twice, and the signature of the list.
    ///
    /// # Errors
    ///
    /// [`TlsError::ForeignRevocations`] if a list has an issuer that is none of the roots. The
    /// signature of a list is verified with the first certificate, at the latest with that of the
    /// tower itself ([`Trust::check`]).
    pub fn revoking(self, revocations: &Revocations) -> Result<Self, TlsError> {
        let mut listed = Arc::unwrap_or_clone(self.0);
        for list in revocations.lists() {
            if !listed.store.roots.iter().any(|root| *root.subject == *list.issuer()) {
                return Err(TlsError::ForeignRevocations);
            }
            listed.revoked.push(Arc::clone(list));
        }
        Ok(Self(Arc::new(listed)))
    }

    /// Verifies the certificate of the other side of a link at this time.
    pub(super) fn verify_peer(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        let algorithms = provider().signature_verification_algorithms;
        self.verify(certificate, intermediates, UnixTime::now(), algorithms)
    }

    /// Verifies the certificate of this tower as peers do.
    fn verify_own(&self, identity: &Identity, now: UnixTime) -> Result<(), Error> {
        let certified = identity.certified();
        let Some((own, intermediates)) = certified.cert.split_first() else {
            return Err(Error::NoCertificatesPresented);
        };
        self.verify(own, intermediates, now, provider().signature_verification_algorithms)
    }

    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<(), Error> {
        let Listed { store, certificates, .. } = &*self.0;
        let parsed = ParsedCertificate::try_from(certificate)?;
        // The host name is not checked, because the key is the identity and a tower may move.
        let verified = verify_server_cert_signed_by_trust_anchor(
            &parsed,
            store,
            intermediates,
            now,
            algorithms.all,
        );
        match verified {
            // The dates are checked before this error, and the extended key usage after it. The
            // list replaces the signature.
            Err(error) if is_authority(&error) && certificates.contains(certificate) => {
                if has_extended_key_usage(certificate) {
                    Err(error)
                } else {
                    Ok(())
                }
            }
            // A root has the name of the issuer but another key. The certificate is that of a
            // stranger, so the alert must not be the one for a bad signature.
            Err(Error::InvalidCertificate(CertificateError::BadSignature)) => {
                Err(CertificateError::UnknownIssuer.into())
            }
            Err(error) => Err(error),
            Ok(()) => self.verify_not_revoked(certificate, intermediates, now, algorithms),
        }
    }

    /// Verifies that no list has a certificate that is valid otherwise.
    fn verify_not_revoked(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<(), Error> {
        let Listed { store, revoked, .. } = &*self.0;
        let lists: Vec<_> = revoked.iter().map(|list| &**list).collect();
        let Ok(options) = RevocationOptionsBuilder::new(&lists) else { return Ok(()) };
        let options = options
            .with_depth(RevocationCheckDepth::EndEntity)
            .with_status_policy(UnknownStatusPolicy::Allow)
            .build();
        let verified = EndEntityCert::try_from(certificate).and_then(|certificate| {
            let usage = KeyUsage::server_auth();
            let (roots, algorithms) = (&store.roots, algorithms.all);
            certificate
                .verify_for_usage(algorithms, roots, intermediates, now, usage, Some(options), None)
                .map(drop)
        });
        verified.map_err(|error| match error {
            webpki::Error::CertRevoked => CertificateError::Revoked.into(),
            // The certificate was verified before, so the list is wrong.
            _ => CertificateError::UnknownRevocationStatus.into(),
        })
    }
}

/// Returns whether a certificate was refused because it is marked as that of an authority.
fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    other.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity)
}

/// Returns whether a certificate may have an extended key usage: whether its DER contains the
/// object identifier 2.5.29.37. A random match only refuses the certificate.
fn has_extended_key_usage(certificate: &CertificateDer<'_>) -> bool {
    const IDENTIFIER: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x25];
    certificate.windows(IDENTIFIER.len()).any(|window| window == IDENTIFIER)
}

/// Verifies the certificates of clients and of servers by the same rule, because each tower is
/// both.
#[derive(Debug)]
pub(super) struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
    /// Whether a missing or unreadable certificate is accepted. The other side has then proved
    /// nothing.
    is_lenient: bool,
}

impl Verifier {
    pub(super) fn new(trust: Trust, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { trust, algorithms, is_lenient: false }
    }

    /// Makes the verifier accept missing and unreadable certificates. The caller must not trust
    /// such a side.
    pub(super) fn lenient(self) -> Self {
        Self { is_lenient: true, ..self }
    }

    /// Returns whether an unreadable certificate is accepted, such as an X.509 certificate of
    /// version 1.
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
        match &self.trust {
            // A certificate that can't be read proves no key.
            Trust::Open => ParsedCertificate::try_from(certificate).map(drop),
            Trust::Private(roots) => roots.verify(certificate, intermediates, now, self.algorithms),
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
    /// Towers that speak HTTP show no certificate.
    fn client_auth_mandatory(&self) -> bool {
        !self.is_lenient
    }

    /// Returns no hints. They would reveal the names of a private network's roots, and each tower
    /// has only one certificate to choose.
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
    use super::super::Authority as NetworkAuthority;
    use super::super::handshake::Handshakes;
    use super::super::handshake::tests::run_handshake;
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    };
    use rustls::AlertDescription;

    /// A certificate authority.
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
    fn an_open_network_accepts_expired_and_self_signed_certificates() {
        let old = side(&self_signed(expired), &Trust::Open);
        let new = side(&Identity::generate().unwrap(), &Trust::Open);
        assert_eq!(run_handshake(&old, &new).0, [Ok(()), Ok(())]);
        assert_eq!(run_handshake(&new, &old).0, [Ok(()), Ok(())]);
    }

    #[test]
    fn an_open_network_requires_proof_of_the_key() {
        let (thief, victim) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let mut impostor = side(&thief, &Trust::Open);
        let stolen = rustls::sign::CertifiedKey::new(
            victim.certified().cert.clone(),
            Arc::clone(&thief.certified().key),
        );
        let stolen = Arc::new(rustls::sign::SingleCertAndKey::from(stolen));
        Arc::get_mut(&mut impostor.client).unwrap().client_auth_cert_resolver = stolen.clone();
        Arc::get_mut(&mut impostor.server).unwrap().cert_resolver = stolen;

        let honest = side(&Identity::generate().unwrap(), &Trust::Open);
        let refused = Error::InvalidCertificate(CertificateError::BadSignature);
        assert_eq!(run_handshake(&honest, &impostor).0[0], Err(refused.clone()));
        assert_eq!(run_handshake(&impostor, &honest).0[1], Err(refused));
    }

    #[test]
    fn a_private_network_accepts_its_members_in_both_directions() {
        let authority = Authority::new();
        let [one, two] = [(); 2].map(|()| side(&authority.issue(|_| ()), &authority.trust()));
        assert_eq!(run_handshake(&one, &two).0, [Ok(()), Ok(())]);
        assert_eq!(run_handshake(&two, &one).0, [Ok(()), Ok(())]);
    }

    #[test]
    fn a_private_network_refuses_strangers_in_both_directions() {
        let authority = Authority::new();
        let member = side(&authority.issue(|_| ()), &authority.trust());
        let other_authority = Authority::new();
        for stranger in [Identity::generate().unwrap(), other_authority.issue(|_| ())] {
            let stranger = side(&stranger, &Trust::Open);
            let alert = Err(Error::AlertReceived(AlertDescription::UnknownCA));
            let unknown = Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
            assert_eq!(run_handshake(&member, &stranger).0, [unknown.clone(), alert.clone()]);
            assert_eq!(run_handshake(&stranger, &member).0, [alert, unknown]);
        }
    }

    #[test]
    fn a_private_network_refuses_expired_certificates() {
        let authority = Authority::new();
        let member = side(&authority.issue(|_| ()), &authority.trust());
        let old = side(&authority.issue(expired), &authority.trust());
        for results in [run_handshake(&member, &old).0, run_handshake(&old, &member).0] {
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
    fn a_revoked_member_is_refused_in_both_directions() {
        let network = NetworkAuthority::generate().unwrap();
        let expires = Duration::MAX;
        let [member, revoked] = [(); 2].map(|()| network.issue(expires).unwrap());
        let roots = Roots::from_pem(network.cert_pem().as_bytes()).unwrap();
        let list = network.revoke([(revoked.fingerprint(), Duration::ZERO)]).unwrap();
        let list = Revocations::from_pem(list.as_bytes()).unwrap();
        let trust = Trust::Private(roots.clone().revoking(&list).unwrap());
        let other = side(&network.issue(expires).unwrap(), &trust);
        let (member, revoked) = (side(&member, &trust), side(&revoked, &Trust::Private(roots)));
        assert_eq!(run_handshake(&member, &other).0, [Ok(()), Ok(())]);
        let refused = Err(Error::InvalidCertificate(CertificateError::Revoked));
        let alert = Err(Error::AlertReceived(AlertDescription::CertificateRevoked));
        assert_eq!(run_handshake(&member, &revoked).0, [refused.clone(), alert.clone()]);
        assert_eq!(run_handshake(&revoked, &member).0, [alert, refused]);
    }

    #[test]
    fn a_list_of_another_network_or_with_a_wrong_signature_is_refused() {
        let [network, other] = [(); 2].map(|()| NetworkAuthority::generate().unwrap());
        let identity = network.issue(Duration::MAX).unwrap();
        let roots = Roots::from_pem(network.cert_pem().as_bytes()).unwrap();
        let list = |authority: &NetworkAuthority| {
            Revocations::from_pem(authority.revoke([]).unwrap().as_bytes()).unwrap()
        };
        let foreign = roots.clone().revoking(&list(&other)).unwrap_err();
        assert_eq!(foreign, TlsError::ForeignRevocations);
        // The last byte belongs to the signature.
        let pem = network.revoke([]).unwrap();
        let der = rustls::pki_types::CertificateRevocationListDer::from_pem_slice(pem.as_bytes());
        let mut der = der.unwrap().as_ref().to_vec();
        *der.last_mut().unwrap() ^= 1;
        let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &der);
        let pem = format!("-----BEGIN X509 CRL-----\n{base64}\n-----END X509 CRL-----\n");
        let forged = Revocations::from_pem(pem.as_bytes()).unwrap();
        let trust = Trust::Private(roots.clone().revoking(&forged).unwrap());
        assert_eq!(trust.check(&identity), Err(TlsError::ForeignRevocations));
        let trust = Trust::Private(roots.revoking(&list(&network)).unwrap());
        assert_eq!(trust.check(&identity), Ok(()));
    }

    #[test]
    fn certificates_of_single_towers_can_be_roots() {
        let [one, two, other] = [(); 3].map(|()| Identity::generate().unwrap());
        let list = format!("{}{}", one.cert_pem(), two.cert_pem());
        let trust = Trust::Private(Roots::from_pem(list.as_bytes()).unwrap());
        let [one, two, other] = [one, two, other].map(|identity| side(&identity, &trust));
        assert_eq!(run_handshake(&one, &two).0, [Ok(()), Ok(())]);
        assert_eq!(run_handshake(&two, &one).0, [Ok(()), Ok(())]);
        assert!(run_handshake(&one, &other).0[0].is_err());
        assert!(run_handshake(&other, &one).0[1].is_err());
    }

    fn authority_of_itself(params: &mut CertificateParams) {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }

    fn trust_in<'a>(members: impl IntoIterator<Item = &'a Identity>) -> Trust {
        let list: String = members.into_iter().map(Identity::cert_pem).collect();
        Trust::Private(Roots::from_pem(list.as_bytes()).unwrap())
    }

    #[test]
    fn a_listed_certificate_is_accepted_even_if_it_is_marked_as_that_of_an_authority() {
        // As `openssl req -x509` writes them.
        let [one, two, other] = [(); 3].map(|()| self_signed(authority_of_itself));
        let trust = trust_in([&one, &two]);
        assert_eq!([&one, &two].map(|it| trust.check(it)), [Ok(()); 2]);
        let [one, two, other] = [one, two, other].map(|identity| side(&identity, &trust));
        assert_eq!(run_handshake(&one, &two).0, [Ok(()), Ok(())]);
        assert_eq!(run_handshake(&two, &one).0, [Ok(()), Ok(())]);
        assert!(run_handshake(&one, &other).0[0].is_err());
        assert!(run_handshake(&other, &one).0[1].is_err());
    }

    #[test]
    fn a_listed_authority_must_be_within_its_dates_and_have_no_extended_key_usage() {
        let old = self_signed(|params| {
            authority_of_itself(params);
            expired(params);
        });
        let limited = self_signed(|params| {
            authority_of_itself(params);
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::EmailProtection);
        });
        let member = self_signed(authority_of_itself);
        let trust = trust_in([&old, &limited, &member]);
        for identity in [&old, &limited] {
            let (refused, member) = (side(identity, &trust), side(&member, &trust));
            assert!(run_handshake(&member, &refused).0[0].is_err());
            assert!(run_handshake(&refused, &member).0[1].is_err());
        }
    }

    #[test]
    fn a_key_with_the_name_of_a_listed_authority_is_refused() {
        let (member, impostor) = (self_signed(authority_of_itself), self_signed(|_| ()));
        let trust = trust_in([&member]);
        let [member, impostor] = [member, impostor].map(|identity| side(&identity, &trust));
        let unknown = Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        assert_eq!(run_handshake(&member, &impostor).0[0], unknown);
    }

    #[test]
    fn the_own_certificate_is_checked_by_the_rules_for_peers() {
        let authority = Authority::new();
        let early = |params: &mut CertificateParams| {
            params.not_before = rcgen::date_time_ymd(3000, 1, 1);
            params.not_after = rcgen::date_time_ymd(3001, 1, 1);
        };
        let for_mail = |params: &mut CertificateParams| {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::EmailProtection);
        };
        let is_authority = authority.issue(authority_of_itself);
        for (identity, result) in [
            (authority.issue(|_| ()), Ok(())),
            (authority.issue(expired), Err(TlsError::OwnExpired)),
            (authority.issue(early), Err(TlsError::OwnNotYetValid)),
            (Identity::generate().unwrap(), Err(TlsError::OwnNotFromRoots)),
            (Authority::new().issue(|_| ()), Err(TlsError::OwnNotFromRoots)),
            (authority.issue(for_mail), Err(TlsError::OwnNotAccepted)),
            (is_authority, Err(TlsError::OwnNotAccepted)),
        ] {
            assert_eq!(authority.trust().check(&identity), result);
            assert_eq!(Trust::Open.check(&identity), Ok(()));
        }
    }

    #[test]
    fn the_own_certificate_expires_at_its_date() {
        const DAY: u64 = 86_400;
        let authority = Authority::new();
        let identity =
            authority.issue(|params| params.not_after = rcgen::date_time_ymd(2200, 1, 1));
        let expiry = authority.trust().expiry(&identity);
        // 230 years with 56 leap days.
        assert_eq!(expiry, Some(Duration::from_secs((230 * 365 + 56) * DAY)));
        let old = authority.trust().expiry(&authority.issue(expired));
        assert_eq!(old, Some(Duration::from_secs(11_323 * DAY)));
        assert_eq!(Trust::Open.expiry(&identity), None);
        assert_eq!(Authority::new().trust().expiry(&identity), None);
    }

    #[test]
    fn roots_must_be_present_and_readable() {
        let root = Authority::new().pem;
        assert!(Roots::from_pem(root.as_bytes()).is_ok());
        let half = root.get(..root.len() / 2).unwrap();
        for pem in ["", "no root", half, &format!("{root}{half}")] {
            assert_eq!(Roots::from_pem(pem.as_bytes()).unwrap_err(), TlsError::UnreadableRoots);
        }
    }
}
