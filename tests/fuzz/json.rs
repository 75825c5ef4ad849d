//! Any body of `POST /metric`: samples, or what is wrong with each.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ops::ingest::json::decode;

fuzz_target!(|body: &[u8]| {
    let _ = decode(body);
});
