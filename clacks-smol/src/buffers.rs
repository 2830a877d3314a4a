//! Buffers that links borrow for as long as they have bytes to move.

use std::sync::Mutex;

use crate::watched::lock;

/// How much is read or written at once: four full TLS records, or some thousand small messages.
pub(crate) const CHUNK: usize = 64 * 1024;

/// Buffers kept for the next turn. A tower runs on one thread, so that more than one for reading and one for
/// writing are in use only while peers do not take their bytes.
const SPARE: usize = 2;

/// A pool of buffers of [`CHUNK`] bytes. Links without work hold none.
#[derive(Default)]
pub(crate) struct Buffers(Mutex<Vec<Box<[u8]>>>);

impl Buffers {
    pub(crate) fn take(&self) -> Box<[u8]> {
        let spare = lock(&self.0).pop();
        spare.unwrap_or_else(|| vec![0; CHUNK].into_boxed_slice())
    }

    pub(crate) fn give_back(&self, buffer: Box<[u8]>) {
        let mut spare = lock(&self.0);
        if spare.len() < SPARE {
            spare.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_spare_buffers_are_kept() {
        let buffers = Buffers::default();
        let taken: Vec<_> = (0..5).map(|_| buffers.take()).collect();
        for buffer in taken {
            buffers.give_back(buffer);
        }
        assert_eq!(lock(&buffers.0).len(), SPARE);
        assert_eq!(buffers.take().len(), CHUNK);
        assert_eq!(lock(&buffers.0).len(), SPARE - 1);
    }
}
