//! Any body, and any message that was compressed well: every sample is taken or refused by name, or the body is.

use ops::engine::intake::spellings::Spellings;
use ops::ingest::remote_write::decode;

pub fn check(message: &[u8]) {
    let spellings = Spellings::default();
    let packed = snap::raw::Encoder::new()
        .compress_vec(message)
        .expect("it can be compressed");
    for body in [message, &packed] {
        if let Ok(decoded) = decode(body, 1 << 20, &spellings.read()) {
            let keys = decoded.batch.keys.len();
            assert!(
                keys <= 4 * message.len() + 64 * decoded.batch.items.len() + 64,
                "{keys}"
            );
        }
    }
}
