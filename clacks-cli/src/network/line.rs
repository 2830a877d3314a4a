//! Invitations and updates, as one line of text.
//!
//! A line is a prefix with a version, and the Base64 (RFC 4648 §5, without padding) of the fields
//! in the encoding of `postcard`, followed by their CRC-32C. The checksum finds lines that were
//! damaged or cut when they were copied. It does not protect against forgery: the certificates do.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clacks_proto::Address;
use crc::{CRC_32_ISCSI, Crc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::name::Name;

/// The start of an invitation.
const INVITATION: &str = "clacks-join-1:";

/// The start of an update.
const UPDATE: &str = "clacks-update-1:";

/// The longest line that is read, in bytes. A list of 2 000 revoked members fits.
pub(crate) const LONGEST: usize = 128 * 1024;

const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// An invitation for one machine. Certificates, keys and lists are DER.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Invitation {
    /// The name of the network.
    pub(crate) network: Name,
    /// The name of the member.
    pub(crate) member: Name,
    /// Where towers of the network can be reached.
    pub(crate) addresses: Vec<Address>,
    /// The root certificate of the network.
    pub(crate) root: Vec<u8>,
    /// The member's certificate.
    pub(crate) certificate: Vec<u8>,
    /// The member's private key.
    pub(crate) key: Vec<u8>,
    /// The list of revoked members, if there is one.
    pub(crate) revoked: Option<Vec<u8>>,
}

/// A change of the network for a member. It contains no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Update {
    /// The name of the network.
    pub(crate) network: Name,
    /// A new certificate for the member's key.
    pub(crate) certificate: Option<Vec<u8>>,
    /// The list of revoked members.
    pub(crate) revoked: Option<Vec<u8>>,
}

/// A line after parsing.
#[derive(Debug)]
pub(crate) enum Line {
    Invitation(Box<Invitation>),
    Update(Update),
}

impl Line {
    /// Parses a line. Spaces and line breaks in it are ignored, because programs for mail insert
    /// them. The error is a sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        if let Some(data) = text.strip_prefix(INVITATION) {
            return Ok(Self::Invitation(Box::new(decode(data)?)));
        }
        if let Some(data) = text.strip_prefix(UPDATE) {
            return Ok(Self::Update(decode(data)?));
        }
        Err(if text.starts_with("clacks-join-") || text.starts_with("clacks-update-") {
            "This line was made by another version of clacks: install the version of the founder."
                .to_owned()
        } else {
            format!(
                "This is no line of clacks: copy the whole line, which begins with {INVITATION} \
                 (an invitation) or {UPDATE} (an update)."
            )
        })
    }
}

impl Invitation {
    /// Returns the invitation as a line.
    pub(crate) fn to_line(&self) -> Result<String, String> {
        encode(INVITATION, self)
    }
}

impl Update {
    /// Returns the update as a line.
    pub(crate) fn to_line(&self) -> Result<String, String> {
        encode(UPDATE, self)
    }
}

fn encode(prefix: &str, fields: &impl Serialize) -> Result<String, String> {
    let bytes = postcard::to_allocvec_crc32(fields, CHECKSUM.digest())
        .map_err(|error| format!("The line cannot be encoded ({error})."))?;
    let line = format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes));
    if line.len() > LONGEST {
        return Err("There are too many revoked members for one line.".to_owned());
    }
    Ok(line)
}

fn decode<T: DeserializeOwned>(data: &str) -> Result<T, String> {
    let damaged = "This line is damaged or incomplete: copy it again, from its first character to \
                   its last.";
    let bytes = URL_SAFE_NO_PAD.decode(data).map_err(|_| damaged)?;
    postcard::from_bytes_crc32(&bytes, CHECKSUM.digest()).map_err(|_| damaged.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.to_owned().try_into().unwrap()
    }

    fn invitation() -> Invitation {
        Invitation {
            network: name("home"),
            member: name("bob"),
            addresses: vec!["tower.example:8001".parse().unwrap(), "[::1]:7".parse().unwrap()],
            root: vec![1, 2, 3],
            certificate: vec![0; 300],
            key: vec![255; 138],
            revoked: Some(vec![]),
        }
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let line = invitation().to_line().unwrap();
        assert!(line.bytes().all(|byte| byte.is_ascii_graphic()), "{line}");
        let (first, second) = line.split_at(40);
        for text in [line.clone(), format!(" {first}\r\n  {second}\n")] {
            match Line::parse(&text).unwrap() {
                Line::Invitation(read) => assert_eq!(*read, invitation()),
                Line::Update(update) => panic!("{update:?}"),
            }
        }
        let update = Update { network: name("home"), certificate: None, revoked: Some(vec![7]) };
        match Line::parse(&update.to_line().unwrap()).unwrap() {
            Line::Update(read) => assert_eq!(read, update),
            Line::Invitation(invitation) => panic!("{invitation:?}"),
        }
    }

    #[test]
    fn the_format_does_not_change() {
        let update = Update { network: name("home"), certificate: None, revoked: Some(vec![7]) };
        assert_eq!(update.to_line().unwrap(), "clacks-update-1:BGhvbWUAAQEH7KCCBA");
    }

    #[test]
    fn each_damaged_character_and_each_cut_is_found() {
        let line = invitation().to_line().unwrap();
        for at in INVITATION.len()..line.len() {
            let mut damaged = line.clone().into_bytes();
            damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
            let damaged = String::from_utf8(damaged).unwrap();
            assert!(Line::parse(&damaged).unwrap_err().contains("damaged"), "{at}");
            assert!(Line::parse(&line[..at]).unwrap_err().contains("damaged"), "{at}");
        }
    }

    #[test]
    fn other_texts_are_explained() {
        for (text, words) in [
            ("", "no line of clacks"),
            ("hello", "begins with clacks-join-1: (an"),
            ("clacks-join-2:AAAA", "another version"),
            ("clacks-update-99:", "another version"),
            ("clacks-join-1:", "damaged"),
            ("clacks-join-1:é", "damaged"),
        ] {
            let error = Line::parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn a_name_that_leaves_its_folder_is_refused() {
        #[derive(Serialize)]
        struct Forged {
            network: &'static str,
            certificate: Option<Vec<u8>>,
            revoked: Option<Vec<u8>>,
        }
        let forged = Forged { network: "../x", certificate: None, revoked: None };
        assert!(Line::parse(&encode(UPDATE, &forged).unwrap()).is_err());
    }
}
