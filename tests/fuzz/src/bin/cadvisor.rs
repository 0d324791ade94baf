//! Fuzzes [`ballast_fuzz::cadvisor`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ballast_fuzz::cadvisor(bytes));
