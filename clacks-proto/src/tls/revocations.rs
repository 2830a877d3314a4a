//! Lists of revoked certificates.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use webpki::{BorrowedCertRevocationList, CertRevocationList};

use super::authority::serial;
use super::error::TlsError;
use crate::ids::Fingerprint;

/// Lists of revoked certificates (RFC 5280). [`Roots::revoking`](super::Roots::revoking) applies
/// them.
#[derive(Clone, Debug)]
pub struct Revocations {
    lists: Vec<Arc<CertRevocationList<'static>>>,
    /// The issuer and the serial number of each revoked certificate.
    serials: BTreeSet<(Vec<u8>, Vec<u8>)>,
}

impl Revocations {
    /// Reads all lists of a PEM text (`X509 CRL`). Signatures are not verified yet.
    ///
    /// # Errors
    ///
    /// [`TlsError::UnreadableRevocations`] if there is no list, or if any of them can't be read.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TlsError> {
        let (mut lists, mut serials) = (Vec::new(), BTreeSet::new());
        for der in CertificateRevocationListDer::pem_slice_iter(pem) {
            let der = der.map_err(|_| TlsError::UnreadableRevocations)?;
            let unreadable = |_| TlsError::UnreadableRevocations;
            let list = BorrowedCertRevocationList::from_der(&der).map_err(unreadable)?;
            let owned: CertRevocationList<'_> = list.to_owned().map_err(unreadable)?.into();
            for certificate in &list {
                let serial = certificate.map_err(unreadable)?.serial_number;
                serials.insert((owned.issuer().into(), serial.into()));
            }
            lists.push(Arc::new(owned));
        }
        if lists.is_empty() {
            return Err(TlsError::UnreadableRevocations);
        }
        Ok(Self { lists, serials })
    }

    /// Returns the number of revoked certificates.
    #[must_use]
    pub fn count(&self) -> usize {
        self.serials.len()
    }

    /// Returns whether these lists contain all certificates of other lists. A list that an
    /// authority signed later contains those of the earlier ones.
    #[must_use]
    pub fn contains_all(&self, others: &Self) -> bool {
        self.serials.is_superset(&others.serials)
    }

    /// Returns whether an [`Authority`](super::Authority) has revoked a key.
    #[must_use]
    pub fn contains(&self, key: Fingerprint) -> bool {
        let revoked = serial(key).to_bytes();
        self.serials.iter().any(|(_, serial)| *serial == revoked)
    }

    pub(super) fn lists(&self) -> &[Arc<CertRevocationList<'static>>] {
        &self.lists
    }
}

#[cfg(test)]
mod tests {
    use super::super::Authority;
    use super::*;
    use alloc::format;
    use core::time::Duration;

    #[test]
    fn a_later_list_contains_the_certificates_of_an_earlier_one() {
        let authority = Authority::generate().unwrap();
        let [one, two] = [(); 2].map(|()| authority.issue(Duration::from_secs(1)).unwrap());
        let keys = [one.fingerprint(), two.fingerprint()];
        let list = |count| {
            let revoked = keys.iter().take(count).map(|key| (*key, Duration::from_secs(1)));
            Revocations::from_pem(authority.revoke(revoked).unwrap().as_bytes()).unwrap()
        };
        let [none, earlier, later] = [0, 1, 2].map(list);
        assert_eq!([&none, &earlier, &later].map(Revocations::count), [0, 1, 2]);
        assert!(later.contains_all(&earlier) && earlier.contains_all(&none));
        assert!(!earlier.contains_all(&later));
        assert_eq!(keys.map(|key| earlier.contains(key)), [true, false]);
        let other = Authority::generate().unwrap();
        let foreign = other.revoke(keys.map(|key| (key, Duration::from_secs(1)))).unwrap();
        assert!(!Revocations::from_pem(foreign.as_bytes()).unwrap().contains_all(&earlier));
    }

    #[test]
    fn lists_must_be_present_and_readable() {
        let list = Authority::generate().unwrap().revoke([]).unwrap();
        assert!(Revocations::from_pem(list.as_bytes()).is_ok());
        let half = list.get(..list.len() / 2).unwrap();
        let certificate = Authority::generate().unwrap();
        for pem in ["", "no list", half, certificate.cert_pem(), &format!("{list}{half}")] {
            let error = Revocations::from_pem(pem.as_bytes()).unwrap_err();
            assert_eq!(error, TlsError::UnreadableRevocations, "{pem}");
        }
    }
}
