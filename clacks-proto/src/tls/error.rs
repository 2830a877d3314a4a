//! Errors of identities and roots, and the classification of rustls' errors.

use core::fmt;

use rustls::{AlertDescription, CertificateError, Error, ProtocolVersion};

use crate::error::TlsFailure;

/// Why an identity, a set of roots or a secure tower could not be created. Nothing else changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsError {
    /// The PEM text contains no private key, or the key is of an unknown kind.
    UnreadableKey,
    /// The private key is protected by a passphrase.
    EncryptedKey,
    /// The PEM text contains no certificate, or one that can't be parsed.
    UnreadableCertificate,
    /// The certificate belongs to another key.
    KeyMismatch,
    /// The PEM text contains no root certificate, or one that can't be parsed.
    UnreadableRoots,
    /// The tower's own certificate has expired, by the clock of this machine. Peers of the private
    /// network refuse it.
    OwnExpired,
    /// The tower's own certificate is not valid yet, by the clock of this machine. Peers of the
    /// private network refuse it.
    OwnNotYetValid,
    /// The tower's own certificate does not chain to a root of its private network.
    OwnNotFromRoots,
    /// The tower's own certificate is on a list of revoked certificates. Peers of the private
    /// network that have the list refuse it.
    OwnRevoked,
    /// The tower's own certificate is not one of a tower: it is marked as that of an authority, or
    /// its extended key usage does not allow TLS. Peers of the private network refuse it.
    OwnNotAccepted,
    /// The PEM text contains no list of revoked certificates, or one that can't be parsed.
    UnreadableRevocations,
    /// The list of revoked certificates is not signed by a root of the private network.
    ForeignRevocations,
    /// The operating system provided no random bytes.
    NoRandomness,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnreadableKey => {
                "the private key can't be read; supply an Ed25519, P-256, P-384 or RSA key as PEM \
                 (PKCS#8, SEC1 or PKCS#1)"
            }
            Self::EncryptedKey => {
                "the private key is protected by a passphrase; write it without one, for \
                 example with `openssl pkey`"
            }
            Self::UnreadableCertificate => {
                "the certificate can't be read; supply X.509 version 3 certificates as PEM, \
                 with the tower's own first"
            }
            Self::KeyMismatch => {
                "the certificate belongs to another private key; supply a matching pair"
            }
            Self::UnreadableRoots => {
                "the root certificates can't be read; supply one or more X.509 certificates as PEM"
            }
            Self::OwnExpired => {
                "this tower's certificate has expired; renew it for the same key, and check the \
                 clock of this machine"
            }
            Self::OwnNotYetValid => {
                "this tower's certificate is not valid yet; check the clock of this machine"
            }
            Self::OwnNotFromRoots => {
                "this tower's certificate does not come from the roots of the network; supply the \
                 network's roots, or a certificate that one of them has signed"
            }
            Self::OwnNotAccepted => {
                "this tower's certificate is not one for towers; supply one that is not marked as \
                 an authority (CA:TRUE) and allows TLS servers and clients"
            }
            Self::OwnRevoked => {
                "this tower's certificate was revoked; ask the founder of the network for a new \
                 one"
            }
            Self::UnreadableRevocations => {
                "the list of revoked certificates can't be read; supply one as PEM (X509 CRL)"
            }
            Self::ForeignRevocations => {
                "the list of revoked certificates is not signed by a root of the network; supply \
                 one of this network"
            }
            Self::NoRandomness => "the operating system provided no random bytes; try again",
        })
    }
}

impl core::error::Error for TlsError {}

/// Classifies an error of rustls for logs. `agreed` is the negotiated version of TLS. As long as
/// there is none, the other side has sent no valid TLS message, so an invalid message means that it
/// speaks another protocol.
pub(super) fn classify(error: &Error, agreed: Option<ProtocolVersion>) -> TlsFailure {
    match error {
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerSentOversizedRecord
            if agreed.is_none() =>
        {
            TlsFailure::NotTls
        }
        Error::InvalidCertificate(error) => classify_certificate(error),
        Error::NoCertificatesPresented => TlsFailure::Certificate,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => TlsFailure::NoCommonProtocol,
        Error::AlertReceived(alert) => classify_alert(*alert),
        _ => TlsFailure::Other,
    }
}

fn classify_certificate(error: &CertificateError) -> TlsFailure {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            TlsFailure::CertificateExpired
        }
        CertificateError::UnknownIssuer => TlsFailure::UnknownIssuer,
        CertificateError::Revoked => TlsFailure::CertificateRevoked,
        _ => TlsFailure::Certificate,
    }
}

fn classify_alert(alert: AlertDescription) -> TlsFailure {
    match alert {
        AlertDescription::CertificateExpired => TlsFailure::CertificateExpired,
        AlertDescription::UnknownCA => TlsFailure::UnknownIssuer,
        AlertDescription::CertificateRevoked => TlsFailure::CertificateRevoked,
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied
        | AlertDescription::CertificateRequired => TlsFailure::Certificate,
        AlertDescription::HandshakeFailure
        | AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity
        | AlertDescription::NoApplicationProtocol => TlsFailure::NoCommonProtocol,
        other => TlsFailure::Alert(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{InvalidMessage, PeerIncompatible};

    #[test]
    fn invalid_bytes_mean_another_protocol_only_before_a_version_is_negotiated() {
        let error = Error::InvalidMessage(InvalidMessage::InvalidContentType);
        assert_eq!(classify(&error, None), TlsFailure::NotTls);
        assert_eq!(classify(&error, Some(ProtocolVersion::TLSv1_3)), TlsFailure::Other);
        assert_eq!(classify(&Error::DecryptError, None), TlsFailure::Other);
    }

    #[test]
    fn both_sides_classify_a_cause_alike() {
        let cases = [
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                AlertDescription::UnknownCA,
                TlsFailure::UnknownIssuer,
            ),
            (
                Error::InvalidCertificate(CertificateError::Expired),
                AlertDescription::CertificateExpired,
                TlsFailure::CertificateExpired,
            ),
            (
                Error::InvalidCertificate(CertificateError::Revoked),
                AlertDescription::CertificateRevoked,
                TlsFailure::CertificateRevoked,
            ),
            (
                Error::InvalidCertificate(CertificateError::BadEncoding),
                AlertDescription::BadCertificate,
                TlsFailure::Certificate,
            ),
            (
                Error::NoCertificatesPresented,
                AlertDescription::CertificateRequired,
                TlsFailure::Certificate,
            ),
            (
                Error::NoApplicationProtocol,
                AlertDescription::NoApplicationProtocol,
                TlsFailure::NoCommonProtocol,
            ),
            (
                Error::PeerIncompatible(PeerIncompatible::SupportedVersionsExtensionRequired),
                AlertDescription::ProtocolVersion,
                TlsFailure::NoCommonProtocol,
            ),
        ];
        for (here, there, failure) in cases {
            assert_eq!(classify(&here, None), failure, "{here:?}");
            assert_eq!(classify(&Error::AlertReceived(there), None), failure, "{there:?}");
        }
    }

    #[test]
    fn other_alerts_are_reported_by_number() {
        let alert = Error::AlertReceived(AlertDescription::InternalError);
        assert_eq!(classify(&alert, None), TlsFailure::Alert(80));
    }
}
