//! Any body of `POST /metric`: samples, or what is wrong with each.

use ops::ingest::json::decode;

pub fn check(body: &[u8]) {
    let _ = decode(body);
}
