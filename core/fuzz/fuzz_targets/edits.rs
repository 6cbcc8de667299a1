//! Any bytes, edited in every way: nothing panics, and what is edited is as libyaml says it should be.
//!
//! The first byte is the length of a path, the path follows, the rest is the file.
#![no_main]

#[path = "../../tests/yaml/oracle.rs"]
mod oracle;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&length, rest)) = data.split_first() else { return };
    let (path, file) = rest.split_at(usize::from(length % 24).min(rest.len()));
    if let Ok(path) = std::str::from_utf8(path) {
        oracle::edit_blindly(file, path);
    }
    let Ok(text) = std::str::from_utf8(file) else { return };
    for target in oracle::scalars(file).unwrap_or_default().iter().take(6) {
        if let Err(problem) = oracle::judge("fuzz.yaml", text, target, "1.10") {
            panic!("{problem}");
        }
    }
});
