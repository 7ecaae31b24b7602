//! libFuzzer's door to [`rbuild_fuzz::language::unit`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rbuild_fuzz::language::unit(data));
