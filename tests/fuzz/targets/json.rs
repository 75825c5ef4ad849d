#![no_main]

#[path = "../json.rs"]
mod json;

libfuzzer_sys::fuzz_target!(|body: &[u8]| json::check(body));
