//! Fuzzes [`ballast_fuzz::cgroup_files`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ballast_fuzz::cgroup_files(bytes));
