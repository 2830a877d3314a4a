//! Tables such as `[[fault]]`, whose key `kind` selects a variant of an enum.
//!
//! Serde can derive such tables (`tag = "kind"` and `flatten`), but its errors do not name the key
//! that is wrong. Here an error is the path of the key, a tab, and the text of the error.

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_path_to_error::Segment;
use toml::{Table, Value};

use super::format::dotted;

const KIND: &str = "kind";

/// Deserializes a table into a struct with the `common` keys, and an enum with all other keys.
pub(super) fn deserialize<'de, D, C, K>(from: D, common: &[&str]) -> Result<(C, K), D::Error>
where
    D: Deserializer<'de>,
    C: DeserializeOwned,
    K: DeserializeOwned,
{
    let mut table = Table::deserialize(from)?;
    let kind = match table.remove(KIND) {
        Some(Value::String(kind)) => kind,
        Some(other) => {
            let problem = format!("invalid type: {}, expected a string", other.type_str());
            return Err(D::Error::custom(format_args!("{KIND}\t{problem}")));
        }
        None => return Err(D::Error::missing_field(KIND)),
    };
    let mut shared = Table::new();
    for key in common {
        shared.extend(table.remove_entry(*key));
    }
    let variant = Table::from_iter([(kind, Value::Table(table))]);
    Ok((read(shared)?, read(variant)?))
}

fn read<T: DeserializeOwned, E: serde::de::Error>(table: Table) -> Result<T, E> {
    serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
        let message = error.inner().message();
        // An unknown kind is an unknown variant.
        let segments: Vec<_> = error.path().iter().collect();
        let path = match segments.as_slice() {
            [] | [_] if message.starts_with("unknown variant") => KIND.to_owned(),
            // The kind is not part of the path of a key.
            [Segment::Enum { .. }, keys @ ..] => dotted(keys),
            keys => dotted(keys),
        };
        E::custom(format_args!("{path}\t{message}"))
    })
}

/// Serializes a struct and an enum into one table.
pub(super) fn serialize<S: Serializer>(
    common: &impl Serialize,
    kind: &impl Serialize,
    to: S,
) -> Result<S::Ok, S::Error> {
    let (common, kind) = Table::try_from(common)
        .and_then(|common| Ok((common, Value::try_from(kind)?)))
        .map_err(S::Error::custom)?;
    let mut table = common;
    for (kind, keys) in kind.as_table().into_iter().flatten() {
        table.insert(KIND.to_owned(), Value::String(kind.clone()));
        table.extend(keys.as_table().cloned().unwrap_or_default());
    }
    table.serialize(to)
}
