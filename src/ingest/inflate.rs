//! Gzip → bytes, no more than a bound.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::io::Read;

/// Why a body is not inflated.
#[derive(Debug, thiserror::Error)]
pub enum InflateError {
    /// It is something else, or incomplete.
    #[error("the body is not gzip, or it is cut short: {0}")]
    NotGzip(#[from] std::io::Error),
    /// It would be larger than the bound.
    #[error("the inflated body is larger than {0} bytes")]
    TooLarge(usize),
}

/// Inflates a body to at most `limit` bytes.
///
/// # Errors
/// [`InflateError`].
pub fn inflate(bytes: &[u8], limit: usize) -> Result<Vec<u8>, InflateError> {
    let mut out = Vec::with_capacity(bytes.len().saturating_mul(4).min(limit));
    let reader = flate2::bufread::MultiGzDecoder::new(bytes);
    reader.take(limit as u64 + 1).read_to_end(&mut out)?;
    if out.len() > limit {
        return Err(InflateError::TooLarge(limit));
    }
    Ok(out)
}
