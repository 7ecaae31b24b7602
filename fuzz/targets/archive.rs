//! libFuzzer's door to [`rbuild_fuzz::archive::archive`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rbuild_fuzz::archive::archive(data));
