//! Numbers of few bits, one after the other, most significant bit first.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

/// Puts numbers of up to 64 bits end to end.
#[derive(Debug, Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    /// Bits that do not make a word yet, at the top.
    word: u64,
    used: u32,
}

impl BitWriter {
    /// Appends the lower `bits` (1 to 64) of `number`; the others are 0.
    pub fn put(&mut self, number: u64, bits: u32) {
        let free = 64 - self.used;
        if bits < free {
            self.word |= number << (free - bits);
            self.used += bits;
            return;
        }
        let over = bits - free;
        let word = self.word | (number >> over);
        self.bytes.extend_from_slice(&word.to_be_bytes());
        self.word = if over == 0 { 0 } else { number << (64 - over) };
        self.used = over;
    }

    /// All bytes; the last is filled up with zeros.
    pub fn finish(mut self) -> Box<[u8]> {
        let rest = self.word.to_be_bytes();
        let more = self.used.div_ceil(8) as usize;
        self.bytes.extend(rest.iter().take(more));
        self.bytes.into_boxed_slice()
    }
}

/// Takes them out again.
#[derive(Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    word: u64,
    left: u32,
}

impl<'a> BitReader<'a> {
    /// A reader at the beginning.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            word: 0,
            left: 0,
        }
    }

    /// The next number of `bits` (1 to 64); `None` at the end.
    #[inline]
    pub fn get(&mut self, bits: u32) -> Option<u64> {
        if bits <= self.left {
            let number = self.word >> (64 - bits);
            self.word = self.word.checked_shl(bits).unwrap_or(0);
            self.left -= bits;
            return Some(number);
        }
        let high = if self.left == 0 {
            0
        } else {
            self.word >> (64 - self.left)
        };
        let need = bits - self.left;
        self.fill()?;
        if need > self.left {
            return None;
        }
        let low = self.word >> (64 - need);
        self.word = self.word.checked_shl(need).unwrap_or(0);
        self.left -= need;
        Some(high.checked_shl(need).unwrap_or(0) | low)
    }

    fn fill(&mut self) -> Option<()> {
        if let Some((head, rest)) = self.bytes.split_first_chunk::<8>() {
            (self.word, self.left, self.bytes) = (u64::from_be_bytes(*head), 64, rest);
            return Some(());
        }
        if self.bytes.is_empty() {
            return None;
        }
        let mut last = [0_u8; 8];
        for (to, from) in last.iter_mut().zip(self.bytes) {
            *to = *from;
        }
        self.left = u32::try_from(self.bytes.len() * 8).unwrap_or(0);
        (self.word, self.bytes) = (u64::from_be_bytes(last), &[]);
        Some(())
    }
}
