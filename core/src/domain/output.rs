//! What CI says it made: one value read from a file among a job's artifacts, so that the tag that was really
//! pushed is what is written.

use std::str::FromStr;

use serde_json::Value;
use thiserror::Error;

use crate::yaml::{EnvKey, Path, Step, Text, TextError, assignments};

/// Largest file that is read, in bytes. Whoever fetches it must stop there as well.
pub const MAX_OUTPUT_FILE: usize = 256 << 10;

/// The name of an output, as templates use it: a letter or underscore, then letters, digits, underscores; at most 63.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutputName(String);

/// Where an output is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// `outputs.<name>` in templates.
    pub name: OutputName,
    /// The job whose artifacts have the file.
    pub job: String,
    /// The file's path within the artifacts.
    pub artifact: super::RepoPath,
    /// What of the file.
    pub pick: Pick,
}

/// One value of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    /// The value of the last `KEY=value` line with this key, without quotes around it.
    Key(EnvKey),
    /// The scalar at this path of a JSON file.
    Json(Path),
}

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OutputError {
    /// Larger than [`MAX_OUTPUT_FILE`].
    #[error("the file has more than 256 KiB")]
    TooLarge,
    /// No UTF-8.
    #[error("the file is not UTF-8 text")]
    NotUtf8,
    /// No such line.
    #[error("the file has no line `{0}=…`")]
    NoKey(EnvKey),
    /// Quotes that do not close on the line.
    #[error("the value of {0} does not end on its line")]
    OddLine(EnvKey),
    /// Not JSON.
    #[error("the file is no JSON (line {line}, column {column})")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// No such value.
    #[error("the file has nothing at `{0}`")]
    NoValue(Path),
    /// Two items answer to one choice.
    #[error("the file has several items at `{0}`")]
    Ambiguous(Path),
    /// A list, a mapping, null, or a number with a fraction, which JSON readers do not keep as written.
    #[error("the value at `{path}` is {found}: make it a string")]
    NotAString {
        /// Where.
        path: Path,
        /// What it is.
        found: &'static str,
    },
    /// A value that must never be written.
    #[error("{0}")]
    Text(#[from] TextError),
}

/// A text that names no output.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no name of an output: use letters, digits and underscores, beginning with a letter")]
pub struct OutputNameError(String);

impl FromStr for OutputName {
    type Err = OutputNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ok = (1..=63).contains(&text.len())
            && !text.starts_with(|c: char| c.is_ascii_digit())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(OutputNameError(
                text.chars().take(64).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
            ))
        }
    }
}

impl OutputName {
    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Pick {
    /// The value in the file `bytes`.
    ///
    /// # Errors
    /// Says what is missing; never quotes the file, which may hold other values that are nobody's business.
    pub fn read(&self, bytes: &[u8]) -> Result<Text, OutputError> {
        if bytes.len() > MAX_OUTPUT_FILE {
            return Err(OutputError::TooLarge);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| OutputError::NotUtf8)?;
        match self {
            Self::Key(key) => read_key(text, key),
            Self::Json(path) => read_json(text, path),
        }
    }
}

fn read_key(text: &str, key: &EnvKey) -> Result<Text, OutputError> {
    // The last one wins, as it does in a shell.
    let all = assignments(text);
    let found = all.iter().rev().find(|assignment| assignment.key == key.as_str());
    let found = found.ok_or_else(|| OutputError::NoKey(key.clone()))?;
    if found.odd {
        return Err(OutputError::OddLine(key.clone()));
    }
    Ok(found.value.parse()?)
}

fn read_json(text: &str, path: &Path) -> Result<Text, OutputError> {
    let root: Value = serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(text))
        .map_err(|error| OutputError::NotJson { line: error.line(), column: error.column() })?;
    let mut at = &root;
    for step in path.steps() {
        let next = match step {
            Step::Key(key) => at.get(key.as_str()),
            Step::Index(index) => at.get(*index),
            Step::Item { field, value } => {
                let items = at.as_array().map_or(&[][..], Vec::as_slice);
                let mut fits =
                    items.iter().filter(|item| item.get(field).and_then(Value::as_str) == Some(value));
                let first = fits.next();
                if fits.next().is_some() {
                    return Err(OutputError::Ambiguous(path.clone()));
                }
                first
            }
        };
        at = next.ok_or_else(|| OutputError::NoValue(path.clone()))?;
    }
    let not = |found| Err(OutputError::NotAString { path: path.clone(), found });
    match at {
        Value::String(text) => Ok(text.parse()?),
        Value::Bool(value) => Ok(value.to_string().parse()?),
        Value::Number(number) if number.is_u64() || number.is_i64() => Ok(number.to_string().parse()?),
        Value::Number(_) => not("a number with a fraction"),
        Value::Null => not("null"),
        Value::Array(_) => not("a list"),
        Value::Object(_) => not("an object"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, file: &str) -> Result<String, String> {
        let pick = Pick::Key(name.parse().unwrap());
        pick.read(file.as_bytes()).map(|text| text.to_string()).map_err(|error| error.to_string())
    }

    fn json(path: &str, file: &str) -> Result<String, String> {
        let pick = Pick::Json(path.parse().unwrap());
        pick.read(file.as_bytes()).map(|text| text.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_of_a_dotenv_report_is_read() {
        let file =
            "# made by CI\r\nIMAGE_TAG=v1\r\nexport IMAGE='a/b:v1' # c\r\nIMAGE_TAG=v2\r\nEMPTY=\nODD=\"x\n";
        assert_eq!(key("IMAGE_TAG", file).as_deref(), Ok("v2"));
        assert_eq!(key("IMAGE", file).as_deref(), Ok("a/b:v1"));
        assert_eq!(key("EMPTY", file).unwrap_err(), "the value is empty");
        assert_eq!(key("ODD", file).unwrap_err(), "the value of ODD does not end on its line");
        assert_eq!(key("NONE", file).unwrap_err(), "the file has no line `NONE=…`");
    }

    #[test]
    fn a_scalar_of_a_json_file_is_read() {
        let file = r#"{"image": {"tag": "v1", "n": 7, "ok": true, "f": 1.10, "no": null},
            "images": [{"name": "a", "digest": "sha256:1"}, {"name": "b", "digest": "sha256:2"}, {"name": "b"}], "a\nb": "x\ny"}"#;
        for (path, value) in [
            ("$.image.tag", "v1"),
            ("image.n", "7"),
            ("image.ok", "true"),
            ("images[0].digest", "sha256:1"),
            ("images[name=a].digest", "sha256:1"),
        ] {
            assert_eq!(json(path, file).as_deref(), Ok(value), "{path}");
        }
        for (path, told) in [
            ("image.f", "the value at `image.f` is a number with a fraction: make it a string"),
            ("image.no", "the value at `image.no` is null: make it a string"),
            ("image", "the value at `image` is an object: make it a string"),
            ("images", "the value at `images` is a list: make it a string"),
            ("image.nope", "the file has nothing at `image.nope`"),
            ("images[9]", "the file has nothing at `images[9]`"),
            ("images[name=b].digest", "the file has several items at `images[name=b].digest`"),
        ] {
            assert_eq!(json(path, file).unwrap_err(), told);
        }
        assert_eq!(json("a", "{\"a\": secret}").unwrap_err(), "the file is no JSON (line 1, column 7)");
        assert!(json("a", "{\"a\": \"x\\ny\"}").unwrap_err().contains("line break"));
    }

    #[test]
    fn what_is_too_large_or_no_text_is_not_read() {
        let pick = Pick::Key("A".parse().unwrap());
        assert_eq!(pick.read(&vec![b'x'; MAX_OUTPUT_FILE + 1]), Err(OutputError::TooLarge));
        assert_eq!(pick.read(b"A=\xff"), Err(OutputError::NotUtf8));
        assert!("tag_1".parse::<OutputName>().is_ok());
        for bad in ["", "1a", "a-b", "a.b", "a\n"] {
            assert!(bad.parse::<OutputName>().is_err(), "{bad}");
        }
    }
}
