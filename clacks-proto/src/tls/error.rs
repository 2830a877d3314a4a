//! What can go wrong before the first handshake, and what rustls' refusals mean.

use core::fmt;

use rustls::{AlertDescription, Error, ProtocolVersion};

use crate::error::TlsFailure;

/// Why there is no identity, no set of roots or no secure tower. Nothing was made and nothing
/// changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsError {
    /// There is no private key in the PEM text, or none of a kind that is known.
    UnreadableKey,
    /// The private key is protected by a passphrase.
    EncryptedKey,
    /// There is no certificate in the PEM text, or one that can't be read.
    UnreadableCertificate,
    /// The certificate was made for another key.
    KeyMismatch,
    /// There is no root certificate in the PEM text, or one that can't be read.
    UnreadableRoots,
    /// The operating system gave no random bytes.
    NoRandomness,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnreadableKey => {
                "the private key can't be read; give an Ed25519, P-256, P-384 or RSA key as PEM (PKCS#8, SEC1 or PKCS#1)"
            }
            Self::EncryptedKey => {
                "the private key is protected by a passphrase; write it without one, for example with `openssl pkey`"
            }
            Self::UnreadableCertificate => {
                "the certificate can't be read; give an X.509 version 3 certificate as PEM, the tower's own first"
            }
            Self::KeyMismatch => {
                "the certificate was made for another private key; give the two that belong together"
            }
            Self::UnreadableRoots => {
                "the root certificates can't be read; give one or more X.509 certificates as PEM"
            }
            Self::NoRandomness => "the operating system gave no random bytes; try again",
        })
    }
}

impl core::error::Error for TlsError {}

/// A refusal of rustls in the words of a person who runs a tower. `agreed` is the version of TLS
/// that the two sides have settled on: as long as there is none, the other side has not said a word
/// of TLS that made sense.
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
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented => TlsFailure::Certificate,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => TlsFailure::NoCommonProtocol,
        Error::AlertReceived(alert) => classify_alert(*alert),
        _ => TlsFailure::Other,
    }
}

fn classify_alert(alert: AlertDescription) -> TlsFailure {
    match alert {
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
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
    use rustls::{CertificateError, InvalidMessage, PeerIncompatible};

    #[test]
    fn bytes_that_make_no_sense_are_another_protocol_only_before_anything_was_agreed() {
        let error = Error::InvalidMessage(InvalidMessage::InvalidContentType);
        assert_eq!(classify(&error, None), TlsFailure::NotTls);
        assert_eq!(classify(&error, Some(ProtocolVersion::TLSv1_3)), TlsFailure::Other);
        assert_eq!(classify(&Error::DecryptError, None), TlsFailure::Other);
    }

    #[test]
    fn both_ends_give_one_cause_one_name() {
        let cases = [
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                AlertDescription::UnknownCA,
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
    fn other_alerts_keep_their_number() {
        let alert = Error::AlertReceived(AlertDescription::InternalError);
        assert_eq!(classify(&alert, None), TlsFailure::Alert(80));
    }
}
