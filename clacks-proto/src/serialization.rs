//! Serialization with the feature `serde`. Values that have a text form are serialized as text.

use alloc::string::{String, ToString};
use core::fmt::Display;
use core::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::address::Address;
use crate::ids::Fingerprint;
use crate::message::{Kind, Message, Nonce};

/// Implements serialization of types in the text form of their `Display` and `FromStr`.
macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                from_text(deserializer)
            }
        }
    )*};
}

as_text!(Address, Fingerprint, Nonce);

fn from_text<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

/// Serializes an optional duration as a number of milliseconds, rounded up.
pub(crate) mod optional_millis {
    use core::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let millis = |it: Duration| u64::try_from(it.as_nanos().div_ceil(1_000_000));
        value.map(|it| millis(it).unwrap_or(u64::MAX)).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
    }
}

/// The serialized form of a message: `{"kind": "text", "body": "…"}`. A body of kind bytes is
/// encoded as Base64.
#[derive(Serialize, Deserialize)]
struct MessageText {
    kind: Kind,
    body: String,
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let body = match self.as_text() {
            Some(text) => text.to_string(),
            None => STANDARD.encode(self.body()),
        };
        MessageText { kind: self.kind(), body }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let MessageText { kind, body } = MessageText::deserialize(deserializer)?;
        Ok(match kind {
            Kind::Bytes => Self::bytes(&STANDARD.decode(&body).map_err(D::Error::custom)?),
            Kind::Text => Self::text(&body),
            Kind::Json => Self::json(&body),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{CloseReason, IoCause, StatusReason};
    use crate::event::{Notice, Origin, Status};
    use crate::ids::{Epoch, LinkId, MessageId};
    use crate::wire::{Field, WireError};
    use alloc::vec::Vec;

    fn notices() -> Vec<Notice> {
        let peer: Address = "tower.example:8001".parse().unwrap();
        let id = MessageId { index: 3, epoch: Epoch::FIRST };
        let link = LinkId { index: 1, epoch: Epoch::FIRST };
        let nonce = Nonce(7);
        let reason = CloseReason::Wire(WireError::Truncated(Field::Nonce));
        let (from, to) = (Status::Alive, Status::Lost);
        let mut notices = Vec::from([
            Notice::TowerDiscovered { peer: peer.clone() },
            Notice::StatusChanged {
                peer: peer.clone(),
                from,
                to,
                reason: StatusReason::LinkClosed(CloseReason::Io(IoCause::Refused)),
                retry_in: Some(core::time::Duration::from_secs(1)),
            },
            Notice::MessageQueued { id, nonce, origin: Origin::Returned },
            Notice::KeyChanged { peer: peer.clone(), seen: Some(Fingerprint([9; 32])) },
            Notice::LinkClosed { link, peer: Some(peer.clone()), reason, retry_in: None },
            Notice::Missed { count: 3 },
            Notice::ShutDown { left: 1 },
        ]);
        for message in [Message::text("é\""), Message::bytes(&[0, 255]), Message::json("1.00")] {
            let from = Some(peer.clone());
            let (again, coalesced, to, kept) = (true, false, peer.clone(), true);
            let delivered = message.clone();
            let received = Notice::MessageReceived { id, nonce, message, from, again, coalesced };
            notices.push(received);
            notices.push(Notice::MessageDelivered { id, nonce, message: delivered, to, kept });
        }
        notices
    }

    #[test]
    fn every_notice_can_be_deserialized() {
        for notice in notices() {
            let text = serde_json::to_string(&notice).unwrap();
            assert_eq!(serde_json::from_str::<Notice>(&text).unwrap(), notice, "{text}");
        }
    }

    #[test]
    fn notices_are_serialized_in_text_form() {
        let texts: Vec<_> = notices().iter().map(|it| serde_json::to_string(it).unwrap()).collect();
        assert_eq!(texts[0], r#"{"event":"tower_discovered","peer":"tower.example:8001"}"#);
        assert_eq!(
            texts[1],
            r#"{"event":"tower_updated","peer":"tower.example:8001","from":"alive","to":"lost","reason":{"link_closed":{"io":"refused"}},"retry_in_ms":1000}"#
        );
        assert_eq!(
            texts[7],
            r#"{"event":"message_received","id":[3,1],"nonce":"00000000000000000000000000000007","message":{"kind":"text","body":"é\""},"from":"tower.example:8001","again":true,"coalesced":false}"#
        );
        assert!(texts[9].contains(r#"{"kind":"bytes","body":"AP8="}"#), "{}", texts[9]);
    }
}
