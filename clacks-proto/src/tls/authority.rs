//! The key of a private network, which signs the certificates of its members.

use core::fmt;
use core::time::Duration;

use alloc::string::String;
use alloc::vec::Vec;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData, RevokedCertParams,
    SerialNumber, SignatureAlgorithm,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::ParsedCertificate;

use super::error::TlsError;
use super::identity::{Identity, KEY_ALGORITHM, digest};
use crate::ids::Fingerprint;

/// The authority of a private network: the key that signs certificates for towers, and lists of
/// revoked ones. Its certificate is the root of the network.
///
/// The owner of the key decides which towers are members. No tower needs the key to run. Times are
/// durations since the start of 1970 (UTC).
///
/// ```
/// use clacks_proto::tls::{Authority, Revocations, Roots, Trust};
/// use std::time::{Duration, SystemTime};
///
/// let authority = Authority::generate()?;
/// let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
/// let member = authority.issue(now + Duration::from_secs(86_400))?;
/// let roots = Roots::from_pem(authority.cert_pem().as_bytes())?;
/// assert_eq!(Trust::Private(roots.clone()).check(&member), Ok(()));
///
/// let list = authority.revoke([(member.fingerprint(), now)])?;
/// let roots = roots.revoking(&Revocations::from_pem(list.as_bytes())?)?;
/// assert!(Trust::Private(roots).check(&member).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    key_pem: String,
    cert_pem: String,
}

impl Authority {
    /// Generates a P-256 key, and a root certificate that never expires.
    ///
    /// # Errors
    ///
    /// [`TlsError::NoRandomness`] if the operating system provides no random bytes.
    pub fn generate() -> Result<Self, TlsError> {
        let key = KeyPair::generate_for(KEY_ALGORITHM).map_err(|_| TlsError::NoRandomness)?;
        let certificate = params(&key).self_signed(&key).map_err(|_| TlsError::NoRandomness)?;
        let (key_pem, cert_pem) = (key.serialize_pem(), certificate.pem());
        Ok(Self { issuer: Issuer::new(params(&key), key), key_pem, cert_pem })
    }

    /// Reads the key and the root certificate of an authority that [`generate`](Self::generate) has
    /// made.
    ///
    /// # Errors
    ///
    /// [`TlsError::UnreadableKey`] or [`TlsError::UnreadableCertificate`] if one can't be read, and
    /// [`TlsError::KeyMismatch`] if the certificate belongs to another key.
    pub fn from_pem(key_pem: &str, cert_pem: &str) -> Result<Self, TlsError> {
        let key = KeyPair::from_pem_and_sign_algo(key_pem, KEY_ALGORITHM)
            .map_err(|_| TlsError::UnreadableKey)?;
        let certificate = CertificateDer::from_pem_slice(cert_pem.as_bytes())
            .map_err(|_| TlsError::UnreadableCertificate)?;
        let parsed = ParsedCertificate::try_from(&certificate)
            .map_err(|_| TlsError::UnreadableCertificate)?;
        if *parsed.subject_public_key_info() != *key.subject_public_key_info() {
            return Err(TlsError::KeyMismatch);
        }
        let (key_pem, cert_pem) = (key_pem.into(), cert_pem.into());
        Ok(Self { issuer: Issuer::new(params(&key), key), key_pem, cert_pem })
    }

    /// Returns the private key as PEM. It must be kept secret, because its owner can make members.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Returns the root certificate as PEM.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// Generates the identity of a member. Its certificate is valid until `expires`.
    ///
    /// # Errors
    ///
    /// [`TlsError::NoRandomness`] if the operating system provides no random bytes.
    pub fn issue(&self, expires: Duration) -> Result<Identity, TlsError> {
        let key = KeyPair::generate_for(KEY_ALGORITHM).map_err(|_| TlsError::NoRandomness)?;
        let certificate = self.certify(&key, expires)?;
        Identity::from_pem(key.serialize_pem().as_bytes(), certificate.as_bytes())
    }

    /// Returns a certificate for the key of another certificate that this authority has issued. It
    /// is valid until `expires`.
    ///
    /// # Errors
    ///
    /// [`TlsError::UnreadableCertificate`] if the certificate can't be read or has another kind of
    /// key.
    pub fn renew(&self, cert_pem: &str, expires: Duration) -> Result<String, TlsError> {
        let certificate = CertificateDer::from_pem_slice(cert_pem.as_bytes())
            .map_err(|_| TlsError::UnreadableCertificate)?;
        let parsed = ParsedCertificate::try_from(&certificate)
            .map_err(|_| TlsError::UnreadableCertificate)?;
        let key = parsed.subject_public_key_info();
        let key = MemberKey::new(&key).ok_or(TlsError::UnreadableCertificate)?;
        self.certify(&key, expires)
    }

    fn certify(&self, key: &impl PublicKeyData, expires: Duration) -> Result<String, TlsError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = short_name("tower", fingerprint(key));
        params.serial_number = Some(serial(fingerprint(key)));
        params.not_before = rcgen::date_time_ymd(1975, 1, 1);
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + within_dates(expires);
        let certificate =
            params.signed_by(key, &self.issuer).map_err(|_| TlsError::NoRandomness)?;
        Ok(certificate.pem())
    }

    /// Returns a signed list of revoked keys as PEM (a certificate revocation list, RFC 5280), with
    /// the time of each revocation. The list replaces earlier ones, so it must contain all keys.
    /// Certificates that this authority issues for these keys later are revoked, too.
    ///
    /// # Errors
    ///
    /// [`TlsError::NoRandomness`] if the operating system provides no random bytes.
    pub fn revoke(
        &self,
        keys: impl IntoIterator<Item = (Fingerprint, Duration)>,
    ) -> Result<String, TlsError> {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let revoked_certs: Vec<_> = keys
            .into_iter()
            .map(|(key, at)| RevokedCertParams {
                serial_number: serial(key),
                revocation_time: epoch + within_dates(at),
                reason_code: None,
                invalidity_date: None,
            })
            .collect();
        let last = revoked_certs.iter().map(|revoked| revoked.revocation_time).max();
        let list = CertificateRevocationListParams {
            this_update: last.unwrap_or(epoch),
            // The list is valid until a longer one replaces it.
            next_update: rcgen::date_time_ymd(9999, 12, 31),
            crl_number: SerialNumber::from(revoked_certs.len() as u64),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).and_then(|list| list.pem());
        list.map_err(|_| TlsError::NoRandomness)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", fingerprint(self.issuer.key()))
    }
}

/// Returns the parameters of the root certificate. They depend on the key alone, so that an
/// authority can be restored from its key.
fn params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = short_name("network", fingerprint(key));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages.extend([KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]);
    params.not_before = rcgen::date_time_ymd(1975, 1, 1);
    // RFC 5280 §4.1.2.5: the certificate has no expiration date.
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
    params
}

/// Returns a name that no other key has by chance. It is short, because certificates with it are
/// handed over as text. A key that was made to have the name of another one signs nothing for it.
fn short_name(what: &str, fingerprint: Fingerprint) -> DistinguishedName {
    let fingerprint = alloc::format!("{fingerprint}");
    let id = fingerprint.get(..16).unwrap_or_default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, alloc::format!("clacks {what} {id}"));
    name
}

fn fingerprint(key: &impl PublicKeyData) -> Fingerprint {
    digest(&key.subject_public_key_info())
}

/// Returns the serial number of all certificates of a key: the first 20 bytes of its fingerprint,
/// as a positive number of full length. A list of serial numbers thus revokes keys.
pub(super) fn serial(Fingerprint(fingerprint): Fingerprint) -> SerialNumber {
    let [first, rest @ ..] = fingerprint;
    let mut serial = Vec::from([first & 0x3f | 0x40]);
    serial.extend(rest.iter().take(19));
    SerialNumber::from_slice(&serial)
}

/// Returns a time that a certificate can contain: until the end of the year 9999.
fn within_dates(time: Duration) -> Duration {
    time.min(Duration::from_secs(253_402_300_799))
}

/// The public key of a member.
struct MemberKey {
    point: Vec<u8>,
}

impl MemberKey {
    /// Reads a P-256 key from its DER.
    fn new(public_key: &[u8]) -> Option<Self> {
        // Algorithm and curve (RFC 5480), up to the uncompressed point.
        const HEAD: &[u8] = &[
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        let point = public_key.strip_prefix(HEAD).filter(|point| point.len() == 65)?;
        Some(Self { point: point.into() })
    }
}

impl PublicKeyData for MemberKey {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        KEY_ALGORITHM
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Revocations, Roots, Trust};
    use super::*;
    use alloc::string::ToString;
    use rustls::pki_types::UnixTime;

    fn now() -> Duration {
        Duration::from_secs(UnixTime::now().as_secs())
    }

    fn in_a_day() -> Duration {
        now() + Duration::from_secs(86_400)
    }

    fn roots(authority: &Authority) -> Roots {
        Roots::from_pem(authority.cert_pem().as_bytes()).unwrap()
    }

    fn check(authority: &Authority, identity: &Identity) -> Result<(), TlsError> {
        Trust::Private(roots(authority)).check(identity)
    }

    #[test]
    fn a_restored_authority_issues_certificates_under_the_same_root() {
        let authority = Authority::generate().unwrap();
        let restored = Authority::from_pem(authority.key_pem(), authority.cert_pem()).unwrap();
        for issuer in [&authority, &restored] {
            assert_eq!(check(&authority, &issuer.issue(in_a_day()).unwrap()), Ok(()));
        }
        let other = Authority::generate().unwrap();
        let stranger = other.issue(in_a_day()).unwrap();
        assert_eq!(check(&authority, &stranger), Err(TlsError::OwnNotFromRoots));
        for (key, certificate, error) in [
            (other.key_pem(), authority.cert_pem(), TlsError::KeyMismatch),
            ("", authority.cert_pem(), TlsError::UnreadableKey),
            (authority.key_pem(), "", TlsError::UnreadableCertificate),
        ] {
            assert_eq!(Authority::from_pem(key, certificate).unwrap_err(), error);
        }
    }

    #[test]
    fn a_certificate_expires_and_can_be_renewed_for_its_key() {
        let authority = Authority::generate().unwrap();
        let old = authority.issue(now() - Duration::from_secs(60)).unwrap();
        assert_eq!(check(&authority, &old), Err(TlsError::OwnExpired));
        let renewed = authority.renew(old.cert_pem(), in_a_day()).unwrap();
        let renewed = Identity::from_pem(old.key_pem().as_bytes(), renewed.as_bytes()).unwrap();
        assert_eq!(check(&authority, &renewed), Ok(()));
        assert_eq!(renewed.fingerprint(), old.fingerprint());
        assert!(authority.renew(authority.key_pem(), in_a_day()).is_err());
    }

    #[test]
    fn times_that_a_certificate_cannot_contain_are_cut_off() {
        let authority = Authority::generate().unwrap();
        assert_eq!(check(&authority, &authority.issue(Duration::MAX).unwrap()), Ok(()));
        let early = authority.issue(Duration::ZERO).unwrap();
        assert_eq!(check(&authority, &early), Err(TlsError::OwnExpired));
    }

    #[test]
    fn a_list_revokes_keys_and_their_renewed_certificates() {
        let authority = Authority::generate().unwrap();
        let [one, two] = [(); 2].map(|()| authority.issue(in_a_day()).unwrap());
        let list = authority.revoke([(one.fingerprint(), now())]).unwrap();
        let list = Revocations::from_pem(list.as_bytes()).unwrap();
        let trust = Trust::Private(roots(&authority).revoking(&list).unwrap());
        assert_eq!(trust.check(&one), Err(TlsError::OwnRevoked));
        assert_eq!(trust.check(&two), Ok(()));
        let renewed = authority.renew(one.cert_pem(), in_a_day()).unwrap();
        let renewed = Identity::from_pem(one.key_pem().as_bytes(), renewed.as_bytes()).unwrap();
        assert_eq!(trust.check(&renewed), Err(TlsError::OwnRevoked));
    }

    #[test]
    fn debug_output_does_not_contain_the_private_key() {
        let authority = Authority::generate().unwrap();
        let printed = alloc::format!("{authority:?}");
        assert!(printed.contains(&fingerprint(authority.issuer.key()).to_string()));
        assert!(printed.len() < 100, "{printed}");
    }
}
