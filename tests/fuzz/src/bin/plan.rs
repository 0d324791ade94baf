//! Fuzzes [`ballast_fuzz::plan`].
#![no_main]

libfuzzer_sys::fuzz_target!(init: ballast_fuzz::confine::confine(), |bytes: &[u8]| ballast_fuzz::plan(bytes));
