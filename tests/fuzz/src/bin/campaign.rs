//! Fuzzes [`ballast_fuzz::campaign`].
#![no_main]

libfuzzer_sys::fuzz_target!(init: ballast_fuzz::confine::confine(), |bytes: &[u8]| ballast_fuzz::campaign(bytes));
