//! Bytes as ASCII (RFC 4648 §4): one spelling for each value, and no other is read.

use alloc::vec::Vec;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// How many characters `len` bytes take.
pub(super) fn encoded_len(len: usize) -> usize {
    len.div_ceil(3).saturating_mul(4)
}

/// Appends the characters of `bytes`.
pub(super) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4_usize {
            let digit = (bits >> (18 - 6 * place)) & 63;
            let is_there = place <= group.len();
            out.push(if is_there { ALPHABET[digit as usize] } else { b'=' });
        }
    }
}

/// The bytes that `text` spells, if it spells them as [`encode`] does.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(4) {
        return None;
    }
    let mut out = Vec::with_capacity(bytes.len() / 4 * 3);
    for group in bytes.chunks(4) {
        let digits = group.iter().take_while(|byte| **byte != b'=').count();
        let mut bits = 0;
        for byte in &group[..digits] {
            bits = bits << 6 | value_of(*byte)?;
        }
        bits <<= 6 * (4 - digits);
        let [_, first, second, third] = bits.to_be_bytes();
        let count = digits.checked_sub(1).filter(|count| *count > 0)?;
        out.extend_from_slice(&[first, second, third][..count]);
    }
    // Padding anywhere but at the end, a digit behind it, or bits that say nothing: another spelling.
    let mut canonical = Vec::with_capacity(bytes.len());
    encode(&out, &mut canonical);
    (canonical == bytes).then_some(out)
}

fn value_of(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_vectors_of_the_standard() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = Vec::new();
            encode(plain.as_bytes(), &mut out);
            assert_eq!(out, text.as_bytes());
            assert_eq!(decode(text).unwrap(), plain.as_bytes());
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in
            ["Zg", "Zg=", "Zh==", "Zg==Zg==", "Z===", "====", "Zm8=Zg", "Zm 8", "Zm-8", "=AAA"]
        {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut out = Vec::new();
            encode(&bytes, &mut out);
            prop_assert_eq!(out.len(), encoded_len(bytes.len()));
            let text = alloc::string::String::from_utf8(out).unwrap();
            prop_assert_eq!(decode(&text), Some(bytes));
        }
    }
}
