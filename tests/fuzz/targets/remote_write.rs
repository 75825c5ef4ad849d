#![no_main]

#[path = "../remote_write.rs"]
mod remote_write;

libfuzzer_sys::fuzz_target!(|message: &[u8]| remote_write::check(message));
