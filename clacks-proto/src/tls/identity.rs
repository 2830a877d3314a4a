//! A tower's key and certificate.

use core::fmt;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::error::TlsError;
use super::handshake::provider;
use crate::ids::Fingerprint;

/// The key that a tower proves itself with, and the certificate that carries it.
///
/// ```
/// use clacks_proto::tls::Identity;
///
/// let first_run = Identity::generate()?;
/// let key = first_run.key_pem().to_owned(); // keep this secret
/// let certificate = first_run.cert_pem().to_owned();
///
/// let later = Identity::from_pem(key.as_bytes(), certificate.as_bytes())?;
/// assert_eq!(later.fingerprint(), first_run.fingerprint());
/// # Ok::<(), clacks_proto::tls::TlsError>(())
/// ```
#[derive(Clone)]
pub struct Identity {
    key_pem: String,
    cert_pem: String,
    fingerprint: Fingerprint,
    certified: Arc<CertifiedKey>,
}

impl Identity {
    /// A new key, and a certificate for it that is signed by the key itself and is good for as long
    /// as dates can tell.
    ///
    /// # Errors
    ///
    /// [`TlsError::NoRandomness`] when the operating system gives no random bytes.
    pub fn generate() -> Result<Self, TlsError> {
        let key = rcgen::KeyPair::generate_for(KEY_KIND).map_err(|_| TlsError::NoRandomness)?;
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = common_name(&key);
        // RFC 5280 §4.1.2.5: the last moment that a date can tell means that there is no end. The
        // key of a tower is its name, and a name does not expire.
        params.not_before = rcgen::date_time_ymd(1975, 1, 1);
        params.not_after = rcgen::date_time_ymd(9999, 12, 31);
        let certificate = params.self_signed(&key).map_err(|_| TlsError::NoRandomness)?;
        Self::from_pem(key.serialize_pem().as_bytes(), certificate.pem().as_bytes())
    }

    /// An identity from PEM: a private key in PKCS#8, SEC1 or PKCS#1, and the tower's certificate,
    /// which intermediate certificates may follow. Text around the PEM sections is skipped.
    ///
    /// # Errors
    ///
    /// When the key or the certificate can't be read, or they don't belong together; the error says
    /// which.
    pub fn from_pem(key_pem: &[u8], cert_pem: &[u8]) -> Result<Self, TlsError> {
        let chain = CertificateDer::pem_slice_iter(cert_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| TlsError::UnreadableCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| key_error(key_pem))?;
        let key = provider().key_provider.load_private_key(key).map_err(|_| key_error(key_pem))?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::KeyMismatch,
            Error::InconsistentKeys(_) => TlsError::UnreadableKey,
            _ => TlsError::UnreadableCertificate,
        })?;
        let fingerprint = certified
            .cert
            .first()
            .and_then(fingerprint_of)
            .ok_or(TlsError::UnreadableCertificate)?;
        Ok(Self {
            key_pem: String::from_utf8_lossy(key_pem).into_owned(),
            cert_pem: String::from_utf8_lossy(cert_pem).into_owned(),
            fingerprint,
            certified: Arc::new(certified),
        })
    }

    /// The private key as PEM, as it was given or, when it was generated, in PKCS#8. Whoever has it
    /// *is* this tower.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The certificate, and what chain was given with it, as PEM.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// Who the tower is to others.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.fingerprint)
    }
}

/// P-256: with ring, a full handshake takes 455 µs of both sides together, 490 µs with Ed25519
/// (measured), and more programs know it.
const KEY_KIND: &rcgen::SignatureAlgorithm = &rcgen::PKCS_ECDSA_P256_SHA256;

/// The identity that a certificate carries: the SHA-256 of its public key's DER. `None` when it is
/// no X.509 version 3 certificate.
pub(super) fn fingerprint_of(certificate: &CertificateDer<'_>) -> Option<Fingerprint> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    Some(digest(&parsed.subject_public_key_info()))
}

fn digest(public_key: &[u8]) -> Fingerprint {
    let digest = ring::digest::digest(&ring::digest::SHA256, public_key);
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest.as_ref());
    Fingerprint(fingerprint)
}

/// A name of its own for each key, so that the certificates of several towers can serve as roots
/// next to each other: roots are found by name.
fn common_name(key: &rcgen::KeyPair) -> rcgen::DistinguishedName {
    let mut name = rcgen::DistinguishedName::new();
    let fingerprint = digest(&rcgen::PublicKeyData::subject_public_key_info(key));
    name.push(rcgen::DnType::CommonName, alloc::format!("clacks tower {fingerprint}"));
    name
}

/// Why a key could not be read. Both ways of protecting one with a passphrase (RFC 7468 §11, and
/// OpenSSL's older `Proc-Type`) say so in a word that no other part of a PEM file has.
fn key_error(pem: &[u8]) -> TlsError {
    const WORD: &[u8] = b"ENCRYPTED";
    if pem.windows(WORD.len()).any(|window| window == WORD) {
        TlsError::EncryptedKey
    } else {
        TlsError::UnreadableKey
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned;
    use alloc::string::ToString;

    fn read(key: &str, certificate: &str) -> Result<Identity, TlsError> {
        Identity::from_pem(key.as_bytes(), certificate.as_bytes())
    }

    #[test]
    fn what_is_generated_can_be_read_back() {
        let identity = Identity::generate().unwrap();
        let again = read(identity.key_pem(), identity.cert_pem()).unwrap();
        assert_eq!(again.fingerprint(), identity.fingerprint());
        assert_eq!(again.key_pem(), identity.key_pem());
        assert_ne!(Identity::generate().unwrap().fingerprint(), identity.fingerprint());
    }

    #[test]
    fn the_fingerprint_is_that_of_the_key_not_of_the_certificate() {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["renewed.example".to_owned()]).unwrap();
        let first = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let renewed = params.self_signed(&key).unwrap();
        let [first, renewed] = [first, renewed].map(|certificate| {
            read(&key.serialize_pem(), &certificate.pem()).unwrap().fingerprint()
        });
        assert_eq!(first, renewed);
        assert_eq!(first, digest(&rcgen::PublicKeyData::subject_public_key_info(&key)));
    }

    #[test]
    fn keys_are_read_in_each_of_the_three_formats() {
        for (format, key, certificate) in [
            ("PKCS#8", ED25519_KEY, ED25519_CERT),
            ("SEC1", SEC1_KEY, SEC1_CERT),
            ("PKCS#1", PKCS1_KEY, PKCS1_CERT),
        ] {
            assert!(read(key, certificate).is_ok(), "{format}");
        }
    }

    #[test]
    fn a_chain_may_follow_the_certificate_and_text_surround_both() {
        let (own, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let chain = alloc::format!("mine\n{}\nabove\n{}", own.cert_pem(), other.cert_pem());
        let identity = read(&alloc::format!("# key\n{}", own.key_pem()), &chain).unwrap();
        assert_eq!(identity.certified().cert.len(), 2);
        assert_eq!(identity.fingerprint(), own.fingerprint());
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        let (own, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let encrypted = ED25519_KEY.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let older = SEC1_KEY.replacen("KEY-----", "KEY-----\nProc-Type: 4,ENCRYPTED", 1);
        let broken = own.cert_pem().replacen("MI", "??", 1);
        for (key, certificate, error) in [
            (own.key_pem(), other.cert_pem(), TlsError::KeyMismatch),
            ("", own.cert_pem(), TlsError::UnreadableKey),
            (own.cert_pem(), own.cert_pem(), TlsError::UnreadableKey),
            (&encrypted, own.cert_pem(), TlsError::EncryptedKey),
            (&older, own.cert_pem(), TlsError::EncryptedKey),
            (own.key_pem(), "", TlsError::UnreadableCertificate),
            (own.key_pem(), own.key_pem(), TlsError::UnreadableCertificate),
            (own.key_pem(), &broken, TlsError::UnreadableCertificate),
        ] {
            assert_eq!(read(key, certificate).unwrap_err(), error, "{key}{certificate}");
            let sentence = error.to_string();
            assert!(sentence.contains(';') && !sentence.contains('\n'), "{sentence}");
        }
    }

    #[test]
    fn the_private_key_is_never_printed() {
        let identity = Identity::generate().unwrap();
        let printed = alloc::format!("{identity:?} {identity:#?}");
        assert!(printed.contains(&identity.fingerprint().to_string()));
        let secret = identity.key_pem().lines().nth(1).unwrap();
        assert!(!printed.contains(secret) && printed.len() < 256, "{printed}");
    }

    // Throw-away keys in the formats that OpenSSL writes and rcgen does not.
    const ED25519_KEY: &str = include_str!("samples/ed25519-pkcs8.key.pem");
    const ED25519_CERT: &str = include_str!("samples/ed25519-pkcs8.crt.pem");
    const SEC1_KEY: &str = include_str!("samples/p256-sec1.key.pem");
    const SEC1_CERT: &str = include_str!("samples/p256-sec1.crt.pem");
    const PKCS1_KEY: &str = include_str!("samples/rsa-pkcs1.key.pem");
    const PKCS1_CERT: &str = include_str!("samples/rsa-pkcs1.crt.pem");
}
