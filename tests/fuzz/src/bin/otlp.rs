//! Fuzzes [`ballast_fuzz::otlp`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ballast_fuzz::otlp(bytes));
