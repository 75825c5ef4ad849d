#![no_main]

#[path = "../exposition.rs"]
mod exposition;

libfuzzer_sys::fuzz_target!(|body: &[u8]| exposition::check(body));
