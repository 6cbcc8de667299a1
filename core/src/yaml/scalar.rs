//! What may be written into a scalar, and how a scalar is written so that every YAML reader takes it for a
//! string.
//!
//! The readers that matter differ: Helm, kustomize, Argo CD and Flux read by Go's yaml packages (YAML 1.1 with
//! exceptions), others by YAML 1.2. A plain scalar is written only where all of them read a string; a value
//! that is quoted without need costs two bytes, one that is read as a number costs a deployment.

use std::fmt;
use std::str::FromStr;

use granit_parser::ScalarStyle;
use thiserror::Error;

use crate::domain::{ImageDigest, ImageName, ImageRef, ImageTag};

/// Longest text that is written, in bytes.
pub const MAX_TEXT: usize = 1024;

/// A text that may be written into a file: 1 to 1024 bytes, on one line, nothing that cannot be seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Text(String);

/// A text that is never written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TextError {
    /// Nothing, or only blanks.
    #[error("the value is empty")]
    Empty,
    /// Longer than [`MAX_TEXT`].
    #[error("the value has {0} bytes, more than 1024")]
    TooLong(usize),
    /// A line break, or a character that cannot be seen.
    #[error("the value has a line break or control character (U+{0:04X}), which is never written")]
    Control(u32),
}

impl Text {
    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Text {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_TEXT {
            return Err(TextError::TooLong(text.len()));
        }
        if let Some(c) = text.chars().find(|&c| is_unseen(c)) {
            return Err(TextError::Control(u32::from(c)));
        }
        if text.trim().is_empty() {
            return Err(TextError::Empty);
        }
        Ok(Self(text.to_owned()))
    }
}

/// Controls, the line breaks of Unicode, marks that turn the direction of text, byte order marks, noncharacters:
/// what YAML cannot hold unescaped, or a reviewer cannot see.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{200b}'..='\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{fdd0}'..='\u{fdef}')
        || u32::from(c) & 0xfffe == 0xfffe
}

macro_rules! from_image {
    ($($kind:ty),+) => {$(
        impl From<&$kind> for Text {
            /// Parsed values have no other characters than a [`Text`] may have.
            fn from(value: &$kind) -> Self {
                Self(value.to_string())
            }
        }
    )+};
}

from_image!(ImageTag, ImageDigest, ImageName, ImageRef);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `text` as a scalar in the style of the one it replaces. A plain scalar stays plain where every reader takes
/// that for the same string, and is put in double quotes where not. `None` for block scalars.
pub(super) fn encode(text: &Text, style: ScalarStyle, in_flow: bool) -> Option<String> {
    match style {
        ScalarStyle::Plain if is_plain(text.as_str(), in_flow) => Some(text.0.clone()),
        ScalarStyle::Plain | ScalarStyle::DoubleQuoted => Some(double_quoted(text)),
        ScalarStyle::SingleQuoted => Some(format!("'{}'", text.0.replace('\'', "''"))),
        ScalarStyle::Literal | ScalarStyle::Folded => None,
    }
}

/// In double quotes; the same in YAML and JSON, since a [`Text`] needs no other escape.
pub(super) fn double_quoted(text: &Text) -> String {
    format!("\"{}\"", text.0.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Whether every reader takes the unquoted `text` for a string, wherever a plain scalar may stand.
pub(super) fn is_plain(text: &str, in_flow: bool) -> bool {
    // Narrower than YAML: what begins or contains anything that is syntax somewhere is quoted.
    let first = |c: char| c.is_alphanumeric() || matches!(c, '_' | '/' | '.' | '+');
    let inner =
        |c: char| c.is_alphanumeric() || "_/.+-:@~=^$;()<>%!?*&|'\"\\#` ".contains(c) || !c.is_ascii();
    let flow_inner = |c: char| c.is_alphanumeric() || "_/.+-:@~".contains(c);
    text.starts_with(first)
        && text.chars().all(|c| if in_flow { flow_inner(c) } else { inner(c) })
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.chars().any(|c| c.is_whitespace() && c != ' ')
        && text != "..."
        && !text.starts_with("... ")
        && !is_typed(text)
}

/// Whether some reader takes the unquoted `text` for something else than a string: YAML 1.1 as its type
/// repository, PyYAML and Go's yaml have it, and YAML 1.2's core schema. In doubt, yes.
pub(super) fn is_typed(text: &str) -> bool {
    is_word(text) || is_number(text) || is_timestamp(text)
}

fn is_word(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "<<", "=", ".nan", ".inf",
        "+.inf", "-.inf",
    ];
    // Readers know three spellings of each (null, Null, NULL); the others are quoted for good measure.
    WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    // Readers drop underscores (and once, commas) wherever they stand.
    let digits: String = unsigned.chars().filter(|c| !matches!(c, '_' | ',')).collect();
    let lower = digits.to_ascii_lowercase();
    let radix = |prefix: &str, digit: fn(&u8) -> bool| {
        lower.strip_prefix(prefix).is_some_and(|rest| rest.as_bytes().iter().all(digit))
    };
    radix("0x", u8::is_ascii_hexdigit)
        || radix("0o", u8::is_ascii_digit)
        || radix("0b", u8::is_ascii_digit)
        || is_sexagesimal(&lower)
        || is_decimal(&lower)
}

/// `190:20:30`, `190:20:30.15`
fn is_sexagesimal(text: &str) -> bool {
    let mut parts = text.split(':');
    let first = parts.next().unwrap_or_default();
    let number = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let rest: Vec<&str> = parts.collect();
    first.bytes().next().is_some_and(|b| b.is_ascii_digit())
        && number(first)
        && !rest.is_empty()
        && rest.iter().all(|part| number(part))
}

/// `12`, `1.`, `.5`, `1.5e3`, `1e+3`, and `.e1`, which nobody should have to look up.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    let exponent_ok =
        exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['-', '+']).unwrap_or(exponent)));
    mantissa_ok && exponent_ok
}

/// `2026-11-25`, `2026-1-5T10:00:00Z`, `2026-11-25 10:00:00`
fn is_timestamp(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let day = rest.bytes().take_while(u8::is_ascii_digit).count();
    year.len() == 4
        && digits(year)
        && matches!(month.len(), 1 | 2)
        && digits(month)
        && matches!(day, 1 | 2)
        && rest[day..].chars().next().is_none_or(|c| matches!(c, 'T' | 't' | ' '))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Text {
        text.parse().unwrap()
    }

    #[test]
    fn what_every_reader_takes_for_a_string_stays_plain() {
        for plain in [
            "v1",
            "1.2.3",
            "main",
            "a1b2c3d",
            "12ab",
            "nginx:1.27",
            "registry:5000/app:v1",
            "2026.11.25",
            "1.2.3-rc.1",
            "2026-11-25-1",
            "latest",
            "_x",
            "ümlaut",
            "yes-we-can",
            "x86",
            "nullable",
            "1.2.x",
            "20261125-a1b2",
            "it's",
            "ghcr.io/a/b:v1@sha256:0123",
            "/bin/app",
            "a b c",
            "1-2-3",
            "0xyz",
            "e12",
            "123abc",
            "2026-113-25",
        ] {
            assert_eq!(encode(&text(plain), ScalarStyle::Plain, false).unwrap(), plain);
        }
        assert_eq!(encode(&text("1.2.3"), ScalarStyle::Plain, true).unwrap(), "1.2.3");
        assert_eq!(encode(&text("nginx:1"), ScalarStyle::Plain, true).unwrap(), "nginx:1");
    }

    #[test]
    fn what_some_reader_takes_for_something_else_is_quoted() {
        for typed in [
            "1",
            "12345678",
            "1.10",
            "1.",
            ".5",
            "1e5",
            "12e10",
            "1E400",
            "0x1F",
            "0o17",
            "017",
            "089",
            "0b11",
            "1_000",
            "1,000",
            "190:20:30",
            "190:20:30.15",
            "-1",
            "+1",
            "-0x1",
            "true",
            "True",
            "TRUE",
            "no",
            "NO",
            "on",
            "Off",
            "y",
            "N",
            "null",
            "Null",
            "~",
            "<<",
            "=",
            ".inf",
            "-.Inf",
            "+.INF",
            ".NaN",
            "2026-11-25",
            "2026-1-5",
            "2026-11-25T10:00:00Z",
            "2001-12-14t21:59:43.10-05:00",
            "2026-11-25 10:00:00",
            "1e+3",
            "1.5e-3",
            "_1",
            "1_",
            ".",
            "0_7",
        ] {
            let quoted = encode(&text(typed), ScalarStyle::Plain, false).unwrap();
            assert_eq!(quoted, format!("\"{typed}\""));
        }
    }

    #[test]
    fn what_is_syntax_is_quoted() {
        for syntax in [
            "a: b", "a #b", "#a", "&a", "*a", "!a", "|", ">", "'a'", "\"a\"", "%a", "@a", "`a", "- a", "-a",
            "? a", ": a", "a:", " a", "a ", "{a}", "[a]", "a, b", "---", "...", "... x",
        ] {
            let written = encode(&text(syntax), ScalarStyle::Plain, false).unwrap();
            assert!(written.starts_with('"'), "{written}");
        }
        assert_eq!(encode(&text("a b"), ScalarStyle::Plain, true).unwrap(), "\"a b\"");
    }

    #[test]
    fn quotes_are_kept_and_escaped() {
        let odd = text(r#"a'b"c\d"#);
        assert_eq!(encode(&odd, ScalarStyle::SingleQuoted, false).unwrap(), r#"'a''b"c\d'"#);
        assert_eq!(encode(&odd, ScalarStyle::DoubleQuoted, false).unwrap(), r#""a'b\"c\\d""#);
        assert_eq!(encode(&odd, ScalarStyle::Literal, false), None);
    }

    #[test]
    fn nothing_with_a_line_break_or_unseen_character_is_ever_written() {
        for bad in [
            "a\nb",
            "a\r",
            "a\u{0}",
            "\u{85}",
            "a\u{2028}b",
            "\u{feff}a",
            "a\u{202e}b",
            "a\tb",
            "\u{ffff}",
            "\u{7f}",
        ] {
            assert!(matches!(bad.parse::<Text>(), Err(TextError::Control(_))), "{bad:?}");
        }
        assert_eq!("".parse::<Text>(), Err(TextError::Empty));
        assert_eq!("  ".parse::<Text>(), Err(TextError::Empty));
        assert_eq!("x".repeat(1025).parse::<Text>(), Err(TextError::TooLong(1025)));
    }

    /// As two independent readers see it: libyaml's (YAML 1.1 syntax, types near Go's) and serde-saphyr's (1.2).
    fn read_back(written: &str) -> (Option<String>, Option<String>) {
        let libyaml = serde_norway::from_str::<serde_norway::Value>(written).ok();
        let saphyr = serde_saphyr::from_str::<serde_json::Value>(written).ok();
        (
            libyaml.and_then(|v| v.as_str().map(str::to_owned)),
            saphyr.and_then(|v| v.as_str().map(str::to_owned)),
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]
        #[test]
        fn any_text_reads_back_as_the_same_string_in_any_style(
            value in "\\PC{1,20}|[-+0-9a-fxobe_.:T,~]{1,10}|(?i:null|true|yes|no|on|off|y|n|\\.inf|\\.nan|1e3)[ :#-]?|[\"'\\\\:#,\\[\\]{}&*!|>%@` a]{1,8}",
            style in prop::sample::select(vec![ScalarStyle::Plain, ScalarStyle::SingleQuoted, ScalarStyle::DoubleQuoted]),
            in_flow: bool,
        ) {
            let Ok(value) = value.parse::<Text>() else { return Ok(()) };
            let written = encode(&value, style, in_flow).unwrap();
            let wrapped = if in_flow { format!("[{written}, {{\"a\": {written}}}]") } else { format!("- {written}\n- a: {written} # c\n") };
            let libyaml: serde_norway::Value = serde_norway::from_str(&wrapped).unwrap();
            prop_assert_eq!(libyaml[0].as_str(), Some(value.as_str()), "{}", wrapped);
            prop_assert_eq!(libyaml[1]["a"].as_str(), Some(value.as_str()), "{}", wrapped);
            let saphyr: serde_json::Value = serde_saphyr::from_str(&wrapped).unwrap();
            prop_assert_eq!(saphyr[0].as_str(), Some(value.as_str()), "{}", wrapped);
            prop_assert_eq!(saphyr[1]["a"].as_str(), Some(value.as_str()), "{}", wrapped);
        }

        #[test]
        fn whatever_a_reader_types_is_known_to_be_typed(value in "[-+0-9a-fxobe_.:TZ]{1,12}") {
            let (libyaml, saphyr) = read_back(&value);
            if !is_typed(&value) && is_plain(&value, false) {
                prop_assert_eq!(libyaml.as_deref(), Some(value.as_str()));
                prop_assert_eq!(saphyr.as_deref(), Some(value.as_str()));
            }
        }
    }
}
