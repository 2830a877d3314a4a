//! The key and the certificate of a tower.

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

/// The private key of a tower, and the certificate for its public key.
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
    /// Generates a P-256 key, and a self-signed certificate for it that never expires.
    ///
    /// # Errors
    ///
    /// [`TlsError::NoRandomness`] if the operating system provides no random bytes.
    pub fn generate() -> Result<Self, TlsError> {
        let key =
            rcgen::KeyPair::generate_for(KEY_ALGORITHM).map_err(|_| TlsError::NoRandomness)?;
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = common_name(&key);
        // RFC 5280 §4.1.2.5: this date means that the certificate has no expiration date. The key
        // is the tower's identity, which does not expire.
        params.not_before = rcgen::date_time_ymd(1975, 1, 1);
        params.not_after = rcgen::date_time_ymd(9999, 12, 31);
        let certificate = params.self_signed(&key).map_err(|_| TlsError::NoRandomness)?;
        Self::from_pem(key.serialize_pem().as_bytes(), certificate.pem().as_bytes())
    }

    /// Reads an identity from PEM: a private key in PKCS#8, SEC1 or PKCS#1, and the tower's
    /// certificate, optionally followed by intermediate certificates. Text around the PEM sections
    /// is ignored.
    ///
    /// # Errors
    ///
    /// [`TlsError::UnreadableKey`] or [`TlsError::EncryptedKey`] if the key can't be read,
    /// [`TlsError::UnreadableCertificate`] if the certificate can't be read, and
    /// [`TlsError::KeyMismatch`] if the certificate belongs to another key.
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

    /// Returns the private key as PEM: as it was given, or in PKCS#8 if it was generated. It must
    /// be kept secret, because its owner can impersonate the tower.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Returns the certificate as PEM, followed by the chain that was given with it.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// Returns the fingerprint of the key, by which peers identify the tower.
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

/// P-256. With ring, a full handshake takes 455 µs for both sides together, and 490 µs with
/// Ed25519 (measured). P-256 is also supported by more programs.
pub(super) const KEY_ALGORITHM: &rcgen::SignatureAlgorithm = &rcgen::PKCS_ECDSA_P256_SHA256;

/// Returns the SHA-256 of the DER of a certificate's public key, or `None` if it is not an X.509
/// certificate of version 3.
pub(super) fn fingerprint_of(certificate: &CertificateDer<'_>) -> Option<Fingerprint> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    Some(digest(&parsed.subject_public_key_info()))
}

pub(super) fn digest(public_key: &[u8]) -> Fingerprint {
    let digest = ring::digest::digest(&ring::digest::SHA256, public_key);
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest.as_ref());
    Fingerprint(fingerprint)
}

/// Returns a distinguished name that no other key has. Roots are found by name, so certificates of
/// several towers can be used as roots together.
fn common_name(key: &impl rcgen::PublicKeyData) -> rcgen::DistinguishedName {
    let mut name = rcgen::DistinguishedName::new();
    let fingerprint = digest(&key.subject_public_key_info());
    name.push(rcgen::DnType::CommonName, alloc::format!("clacks tower {fingerprint}"));
    name
}

/// Returns why a key could not be read. Both formats of keys with a passphrase (RFC 7468 §11, and
/// OpenSSL's older `Proc-Type`) contain a word that occurs in no other PEM file.
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
    fn a_generated_identity_can_be_read_from_its_pem() {
        let identity = Identity::generate().unwrap();
        let again = read(identity.key_pem(), identity.cert_pem()).unwrap();
        assert_eq!(again.fingerprint(), identity.fingerprint());
        assert_eq!(again.key_pem(), identity.key_pem());
        assert_ne!(Identity::generate().unwrap().fingerprint(), identity.fingerprint());
    }

    #[test]
    fn the_fingerprint_depends_on_the_key_and_not_on_the_certificate() {
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
    fn keys_are_read_in_all_three_formats() {
        for (format, key, certificate) in [
            ("PKCS#8", ED25519_KEY, ED25519_CERT),
            ("SEC1", SEC1_KEY, SEC1_CERT),
            ("PKCS#1", PKCS1_KEY, PKCS1_CERT),
        ] {
            assert!(read(key, certificate).is_ok(), "{format}");
        }
    }

    #[test]
    fn a_chain_and_surrounding_text_are_allowed() {
        let (own, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let chain = alloc::format!("mine\n{}\nabove\n{}", own.cert_pem(), other.cert_pem());
        let identity = read(&alloc::format!("# key\n{}", own.key_pem()), &chain).unwrap();
        assert_eq!(identity.certified().cert.len(), 2);
        assert_eq!(identity.fingerprint(), own.fingerprint());
    }

    #[test]
    fn each_invalid_input_has_its_own_error() {
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
            let text = error.to_string();
            assert!(text.contains(';') && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn debug_output_does_not_contain_the_private_key() {
        let identity = Identity::generate().unwrap();
        let printed = alloc::format!("{identity:?} {identity:#?}");
        assert!(printed.contains(&identity.fingerprint().to_string()));
        let secret = identity.key_pem().lines().nth(1).unwrap();
        assert!(!printed.contains(secret) && printed.len() < 256, "{printed}");
    }

    // Disposable keys in formats that OpenSSL writes and rcgen does not.
    const ED25519_KEY: &str = include_str!("samples/ed25519-pkcs8.key.pem");
    const ED25519_CERT: &str = include_str!("samples/ed25519-pkcs8.crt.pem");
    const SEC1_KEY: &str = include_str!("samples/p256-sec1.key.pem");
    const SEC1_CERT: &str = include_str!("samples/p256-sec1.crt.pem");
    const PKCS1_KEY: &str = include_str!("samples/rsa-pkcs1.key.pem");
    const PKCS1_CERT: &str = include_str!("samples/rsa-pkcs1.crt.pem");
}
