//! Fuzzes [`ballast_fuzz::kubelet`].
#![no_main]

libfuzzer_sys::fuzz_target!(init: ballast_fuzz::confine::confine(), |bytes: &[u8]| ballast_fuzz::kubelet(bytes));
