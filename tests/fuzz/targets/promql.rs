#![no_main]

#[path = "../promql.rs"]
mod promql;

libfuzzer_sys::fuzz_target!(|text: &str| promql::check(text));
