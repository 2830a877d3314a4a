//! Decoding of bodies: their end, and the chunked coding (RFC 9112 §6 and §7).

use alloc::vec::Vec;

use super::ParseError;

/// The state of a body that is being read.
#[derive(Debug)]
pub(super) enum BodyDecoder {
    /// The body has this many more bytes.
    ContentLength(usize),
    /// The body is sent in chunks.
    Chunked(ChunkedDecoder),
    /// The body ends with the connection.
    UntilClose,
}

impl BodyDecoder {
    /// Removes bytes of the body from the front of `input`, and passes the content to `sink`.
    /// Returns true at the end of the body.
    ///
    /// Fails if a chunked body is malformed.
    pub(super) fn read(
        &mut self,
        input: &mut &[u8],
        mut sink: impl FnMut(&[u8]),
    ) -> Result<bool, ParseError> {
        match self {
            Self::ContentLength(left) => {
                sink(take_front(input, left));
                Ok(*left == 0)
            }
            Self::Chunked(decoder) => decoder.read(input, sink),
            Self::UntilClose => {
                sink(core::mem::take(input));
                Ok(false)
            }
        }
    }

    /// Returns the allocated memory, in bytes.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn capacity(&self) -> usize {
        match self {
            Self::Chunked(decoder) => decoder.line.capacity(),
            Self::ContentLength(_) | Self::UntilClose => 0,
        }
    }
}

/// Decoder of the chunked coding. Ignores chunk extensions and trailer fields.
#[derive(Debug, Default)]
pub(super) struct ChunkedDecoder {
    next: ChunkPart,
    /// The part of the current line that has arrived.
    line: Vec<u8>,
}

/// The part of the chunked coding that the next bytes belong to.
#[derive(Clone, Copy, Debug, Default)]
enum ChunkPart {
    #[default]
    SizeLine,
    /// The data of a chunk, with this many bytes left.
    Data(usize),
    /// The line end after the data.
    DataEnd,
    /// A trailer field, or the empty line that ends the body.
    Trailer,
}

/// The maximum length of a line in a chunked body, in bytes. The value is a guess. The longest
/// lines of node have 10 bytes.
const MAX_LINE: usize = 256;

impl ChunkedDecoder {
    fn read(&mut self, input: &mut &[u8], mut sink: impl FnMut(&[u8])) -> Result<bool, ParseError> {
        while !input.is_empty() {
            if let ChunkPart::Data(left) = &mut self.next {
                sink(take_front(input, left));
                if *left == 0 {
                    self.next = ChunkPart::DataEnd;
                }
                continue;
            }
            let Some(line) = self.read_line(input)? else { return Ok(false) };
            self.next = match (self.next, line.as_slice()) {
                (ChunkPart::SizeLine, line) => match parse_size(line)? {
                    0 => ChunkPart::Trailer,
                    size => ChunkPart::Data(size),
                },
                (ChunkPart::DataEnd, b"\r\n") => ChunkPart::SizeLine,
                (ChunkPart::Trailer, b"\r\n") => return Ok(true),
                (ChunkPart::Trailer, _) => ChunkPart::Trailer,
                (ChunkPart::DataEnd | ChunkPart::Data(_), _) => return Err(ParseError::Malformed),
            };
        }
        Ok(false)
    }

    /// Returns a line with its end, or `None` if its end has not arrived.
    fn read_line(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, ParseError> {
        while let Some(byte) = input.split_off_first() {
            if self.line.len() == MAX_LINE {
                return Err(ParseError::Malformed);
            }
            self.line.push(*byte);
            if *byte == b'\n' {
                return Ok(Some(core::mem::take(&mut self.line)));
            }
        }
        Ok(None)
    }
}

/// Parses the line before a chunk: hexadecimal digits, and extensions after a semicolon (RFC 9112
/// §7.1). White space is allowed only before a semicolon.
fn parse_size(line: &[u8]) -> Result<usize, ParseError> {
    let line = line.strip_suffix(b"\r\n").ok_or(ParseError::Malformed)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at_checked(digits).ok_or(ParseError::Malformed)?;
    let has_extension = rest.trim_ascii_start().first() == Some(&b';');
    let digits = core::str::from_utf8(digits).ok().filter(|_| rest.is_empty() || has_extension);
    digits.and_then(|digits| usize::from_str_radix(digits, 16).ok()).ok_or(ParseError::Malformed)
}

/// Removes up to `left` bytes from the front of `input`, and subtracts their number from `left`.
fn take_front<'a>(input: &mut &'a [u8], left: &mut usize) -> &'a [u8] {
    let bytes = input.split_off(..input.len().min(*left)).unwrap_or_default();
    *left -= bytes.len();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the content, whether the body is complete, and the number of consumed bytes.
    fn decode(text: &str, piece_len: usize) -> Result<(Vec<u8>, bool, usize), ParseError> {
        let mut decoder = BodyDecoder::Chunked(ChunkedDecoder::default());
        let (mut content, mut taken) = (Vec::new(), 0);
        for mut input in text.as_bytes().chunks(piece_len) {
            let len = input.len();
            let is_complete = decoder.read(&mut input, |bytes| content.extend_from_slice(bytes))?;
            taken += len - input.len();
            if is_complete {
                return Ok((content, true, taken));
            }
        }
        Ok((content, false, taken))
    }

    #[test]
    fn chunks_are_decoded_from_pieces_of_any_size() {
        for piece_len in 1..40 {
            for (text, content, is_complete, taken) in [
                ("5\r\nhello\r\n0\r\n\r\nrest", "hello", true, 15),
                ("2\r\nhe\r\n003;x=\"y\"\r\nllo\r\n0\r\nA: b\r\nC: d\r\n\r\n", "hello", true, 40),
                ("5 ;x\r\nhello\r\n0\r\n\r\n", "hello", true, 18),
                ("A\r\n0123456789\r\n00\r\n\r\n", "0123456789", true, 21),
                ("5\r\nhel", "hel", false, 6),
                ("0\r\n\r\n", "", true, 5),
            ] {
                let expected = Ok((Vec::from(content.as_bytes()), is_complete, taken));
                assert_eq!(decode(text, piece_len), expected, "{text:?} by {piece_len}");
            }
            for text in [
                "\r\n",
                "x\r\n",
                "5\nhello",
                "5\r\nhellox\r\n",
                "5\r\nhello\n",
                "5 x\n",
                "5 zz\r\nhello",
                "5 \r\nhello",
                "5\t\r\nhello",
                "+5\r\nhello",
                ";\r\n",
                "10000000000000000\r\n",
                "-1\r\n",
            ] {
                let malformed = Err(ParseError::Malformed);
                assert_eq!(decode(text, piece_len), malformed, "{text:?} by {piece_len}");
            }
        }
    }

    #[test]
    fn a_line_has_a_maximum_length() {
        let long = "x".repeat(MAX_LINE);
        for text in [alloc::format!("1;{long}"), alloc::format!("0\r\n{long}x"), "0".repeat(300)] {
            assert_eq!(decode(&text, 100), Err(ParseError::Malformed));
        }
    }
}
