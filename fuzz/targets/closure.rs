//! libFuzzer's door to [`rbuild_fuzz::closure::closure`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rbuild_fuzz::closure::closure(data));
