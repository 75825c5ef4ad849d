//! The fields of a protobuf message, one after the other, borrowed from where it lies. The only file that knows the
//! protobuf library.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::convert::Infallible;

use micropb::{DecodeError, PbDecoder};

/// How a field's value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// A number of varying length.
    Varint,
    /// Eight bytes.
    Fixed64,
    /// A length and so many bytes: texts, and messages within messages.
    Bytes,
    /// Four bytes, or something that no message here has.
    Other(u8),
}

/// The bytes are no message.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    /// It ends within a field.
    #[error("it ends within a field")]
    Cut,
    /// A field is written in a way that no message of today is.
    #[error("it has a group, which no such message has")]
    Group,
    /// A tag or a length is none.
    #[error("the tag or the length of a field is broken")]
    Broken,
}

impl From<DecodeError<Infallible>> for Malformed {
    fn from(error: DecodeError<Infallible>) -> Self {
        match error {
            DecodeError::UnexpectedEof => Malformed::Cut,
            DecodeError::Deprecation => Malformed::Group,
            _ => Malformed::Broken,
        }
    }
}

/// A message that is being read.
pub(super) struct Fields<'a>(PbDecoder<&'a [u8]>);

impl<'a> Fields<'a> {
    pub fn new(message: &'a [u8]) -> Self {
        Self(PbDecoder::new(message))
    }
    /// How many bytes are left.
    pub fn len(&self) -> usize {
        self.0.as_reader().len()
    }
    /// The number of the next field and how it is written; `None` at the end. Then its value must be read or skipped.
    pub fn next(&mut self) -> Result<Option<(u32, Wire)>, Malformed> {
        if self.len() == 0 {
            return Ok(None);
        }
        let tag = self.0.decode_tag()?;
        let wire = match tag.wire_type() {
            0 => Wire::Varint,
            1 => Wire::Fixed64,
            2 => Wire::Bytes,
            other => Wire::Other(other),
        };
        Ok(Some((tag.field_num(), wire)))
    }
    /// The value of a [`Wire::Bytes`] field.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.0.decode_varint32()? as usize;
        let rest: &'a [u8] = self.0.as_reader();
        let value = rest.get(..len).ok_or(Malformed::Cut)?;
        self.0.skip_bytes(len)?;
        Ok(value)
    }
    /// The value of a [`Wire::Varint`] field.
    pub fn varint(&mut self) -> Result<i64, Malformed> {
        Ok(self.0.decode_int64()?)
    }
    /// The value of a [`Wire::Fixed64`] field, as a number.
    pub fn double(&mut self) -> Result<f64, Malformed> {
        Ok(self.0.decode_double()?)
    }
    /// Steps over a value.
    pub fn skip(&mut self, wire: Wire) -> Result<(), Malformed> {
        let wire = match wire {
            Wire::Varint => 0,
            Wire::Fixed64 => 1,
            Wire::Bytes => 2,
            Wire::Other(other) => other,
        };
        Ok(self.0.skip_wire_value(wire)?)
    }
}
