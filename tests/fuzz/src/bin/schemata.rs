//! Fuzzes [`ballast_fuzz::schemata`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ballast_fuzz::schemata(bytes));
