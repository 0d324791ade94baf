//! Fuzzes [`ballast_fuzz::names`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ballast_fuzz::names(bytes));
