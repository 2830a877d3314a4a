//! Some fields of a JSON object, and nothing kept of the others.

use core::fmt;

use serde_core::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// How many fields a JSON object has, and those with the given names as they are written; of two with one name the last. `None`
/// when the text is no JSON object.
pub(super) fn pick<'a, const N: usize>(
    json: &'a str,
    names: [&str; N],
) -> Option<(usize, [Option<&'a RawValue>; N])> {
    let mut input = serde_json::Deserializer::from_str(json);
    let picked = Pick(names).deserialize(&mut input).ok()?;
    input.end().ok()?;
    Some(picked)
}

struct Pick<'n, const N: usize>([&'n str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Pick<'_, N> {
    type Value = (usize, [Option<&'de RawValue>; N]);

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        input.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Pick<'_, N> {
    type Value = (usize, [Option<&'de RawValue>; N]);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut picked = [None; N];
        let mut count = 0;
        while let Some(place) = fields.next_key_seed(Place(&self.0))? {
            count += 1;
            match picked.get_mut(place) {
                Some(field) => *field = Some(fields.next_value()?),
                None => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        Ok((count, picked))
    }
}

/// The place of a key among the names; past their end when it is none of them.
struct Place<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<usize, D::Error> {
        input.deserialize_str(self)
    }
}

impl Visitor<'_> for Place<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<usize, E> {
        Ok(self.0.iter().position(|name| *name == key).unwrap_or(self.0.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_as_they_are_written() {
        let json = r#" {"a": 1.0 , "b":{"a":2}, "\u0061" : [ 3 ], "c": "\ud800"} "#;
        let (count, [a, b, missing]) = pick(json, ["a", "b", "d"]).unwrap();
        assert_eq!(count, 4);
        assert_eq!(a.unwrap().get(), "[ 3 ]", "the last one counts, however it is spelled");
        assert_eq!(b.unwrap().get(), r#"{"a":2}"#);
        assert!(missing.is_none());
        for json in ["", "1", "[]", "null", "{", "{}x", r#"{"a":1,}"#] {
            assert!(pick(json, ["a"]).is_none(), "{json}");
        }
    }
}
