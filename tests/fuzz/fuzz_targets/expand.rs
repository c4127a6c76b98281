//! See the module for what is checked.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stagecraft_fuzz::expand::check(data));
