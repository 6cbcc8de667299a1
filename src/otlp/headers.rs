//! Headers that a collector asks for, as a rule a credential. They stand in a file, so that they are in no argument, and are
//! read for each request, so that a rotated Secret is used without a restart.

use std::path::{Path, PathBuf};

use http::{HeaderMap, HeaderName, HeaderValue};

/// Far above what any collector asks for.
const MAX_FILE: usize = 64 * 1024;

/// A file of headers.
#[derive(Debug, Clone)]
pub struct Headers(PathBuf);

impl Headers {
    /// Those of this file.
    #[must_use]
    pub fn of(file: &Path) -> Self {
        Self(file.to_owned())
    }

    /// What stands there now, each marked as a secret.
    ///
    /// # Errors
    /// Why it cannot be used, without quoting it.
    pub fn read(&self) -> Result<HeaderMap, String> {
        let path = self.0.display();
        let text = std::fs::read(&self.0).map_err(|error| format!("cannot read {path}: {error}"))?;
        if text.len() > MAX_FILE {
            return Err(format!("{path} has more than {} KiB", MAX_FILE / 1024));
        }
        let text = String::from_utf8(text).map_err(|_| format!("{path} is not text"))?;
        parse(&text).map_err(|line| {
            format!(
                "line {line} of {path} is no header: write one a line, such as Authorization: Bearer TOKEN"
            )
        })
    }
}

/// The headers of a text, or the number of the line that is none.
fn parse(text: &str) -> Result<HeaderMap, usize> {
    let mut headers = HeaderMap::new();
    for (number, line) in (1_usize..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let header = line.split_once(':').and_then(|(name, value)| {
            let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
            let mut value = HeaderValue::from_str(value.trim()).ok().filter(|value| !value.is_empty())?;
            value.set_sensitive(true);
            Some((name, value))
        });
        let (name, value) = header.ok_or(number)?;
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_stands_on_each_line_and_is_shown_to_nobody() {
        let headers = parse("Authorization: Bearer a:canary\n\nx-team:  shop \r\n").unwrap();
        assert_eq!(headers["authorization"], "Bearer a:canary");
        assert_eq!(headers["x-team"], "shop");
        assert!(!format!("{headers:?}").contains("canary"));
    }

    #[test]
    fn what_is_no_header_is_told_by_its_line_and_not_quoted() {
        let dir = std::env::temp_dir().join(format!("pipekick-headers-{}", std::process::id()));
        let long = "x: canary\n".repeat(MAX_FILE / 8);
        for (text, says) in [
            ("canary", "line 1 of"),
            ("a: b\ncanary=1", "line 2 of"),
            ("can ary: 1", "line 1 of"),
            ("canary:", "line 1 of"),
            (&long, "more than 64 KiB"),
        ] {
            std::fs::write(&dir, text).unwrap();
            let why = Headers::of(&dir).read().unwrap_err();
            assert!(why.contains(says) && !why.contains("canary"), "{why}");
        }
        std::fs::remove_file(&dir).unwrap();
        assert!(Headers::of(&dir).read().unwrap_err().starts_with("cannot read"));
    }
}
