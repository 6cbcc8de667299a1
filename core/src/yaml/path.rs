//! Paths into YAML and JSON: `image.tag`, `spec.template.spec.containers[name=app].image`, `[0]`,
//! `metadata.annotations["example.com/version"]`.
//!
//! ```text
//! path    = first { "." key | bracket }      first = key | bracket
//! key     = bare | quoted                    bare: anything but . [ ] " ' = and blanks
//! bracket = "[" ( index | quoted | bare "=" ( bare | quoted ) ) "]"
//! quoted  = "…" with \" and \\ | '…' with ''
//! ```
//!
//! A quoted text in brackets is a key, digits are an index, `field=value` names the one item whose `field` has
//! that text. A leading `$` or `$.`, as JSONPath writes it, is taken and means nothing.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Longest path that is taken, in characters.
pub const MAX_PATH: usize = 512;

/// A way from the root of a document to a node; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path(Vec<Step>);

/// One step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// Into a mapping, by the text of a key.
    Key(String),
    /// Into a sequence, counted from 0.
    Index(usize),
    /// Into a sequence: the one item that is a mapping whose `field` is the scalar `value`.
    Item {
        /// The key looked at in each item.
        field: String,
        /// The text it must have.
        value: String,
    },
}

/// A text that is no path, and where it stops being one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{path}` is no path: {problem} at character {at}")]
pub struct PathError {
    path: String,
    problem: &'static str,
    at: usize,
}

impl Path {
    /// The steps from the root.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The path of one step.
    pub(super) fn of(step: Step) -> Self {
        Self(vec![step])
    }

    /// The path of these steps, if there is at least one.
    #[must_use]
    pub fn new(steps: Vec<Step>) -> Option<Self> {
        (!steps.is_empty()).then_some(Self(steps))
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut reader = Reader { text: text.chars().collect(), at: 0 };
        reader.path().map_err(|problem| PathError {
            path: text.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
            problem,
            at: reader.at + 1,
        })
    }
}

/// A text being read from left to right.
struct Reader {
    text: Vec<char>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn path(&mut self) -> Result<Path, &'static str> {
        if self.text.len() > MAX_PATH {
            return Err("longer than 512 characters");
        }
        let mut steps = Vec::new();
        if self.peek() == Some('$') && matches!(self.text.get(1), None | Some('.' | '[')) {
            self.at += 1;
            self.take('.');
        }
        if self.peek() != Some('[') {
            steps.push(Step::Key(self.key()?));
        }
        while let Some(next) = self.peek() {
            match next {
                '[' => steps.push(self.bracket()?),
                '.' => {
                    self.at += 1;
                    steps.push(Step::Key(self.key()?));
                }
                _ => return Err("expected `.`, `[` or the end"),
            }
        }
        Path::new(steps).ok_or("nothing but `$`: name a key")
    }

    fn key(&mut self) -> Result<String, &'static str> {
        match self.peek() {
            Some('"' | '\'') => self.quoted(),
            _ => self.bare(),
        }
    }

    fn bare(&mut self) -> Result<String, &'static str> {
        let start = self.at;
        while self.peek().is_some_and(is_bare) {
            self.at += 1;
        }
        if self.at == start {
            return Err("expected a key (quote one that has dots, brackets, quotes, `=` or blanks)");
        }
        Ok(self.text[start..self.at].iter().collect())
    }

    fn quoted(&mut self) -> Result<String, &'static str> {
        let Some(quote) = self.peek() else { return Err("expected a quoted text") };
        self.at += 1;
        let mut out = String::new();
        loop {
            let Some(next) = self.peek() else { return Err("the quotes are not closed") };
            self.at += 1;
            match (next, quote) {
                ('\\', '"') => {
                    let Some(escaped @ ('"' | '\\')) = self.peek() else {
                        return Err("only \\\" and \\\\ are escapes");
                    };
                    self.at += 1;
                    out.push(escaped);
                }
                ('\'', '\'') if self.take('\'') => out.push('\''),
                (c, quote) if c == quote => return Ok(out),
                (c, _) if c.is_control() => return Err("a control character"),
                (c, _) => out.push(c),
            }
        }
    }

    fn bracket(&mut self) -> Result<Step, &'static str> {
        self.at += 1;
        let step = if matches!(self.peek(), Some('"' | '\'')) {
            let text = self.quoted()?;
            if self.take('=') { Step::Item { field: text, value: self.key()? } } else { Step::Key(text) }
        } else {
            let start = self.at;
            let text = self.bare()?;
            if self.take('=') {
                Step::Item { field: text, value: self.value()? }
            } else {
                let index = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
                let Some(index) = index else {
                    self.at = start;
                    return Err("expected an index like [0], a choice like [name=app], or a quoted key");
                };
                Step::Index(index)
            }
        };
        if self.take(']') { Ok(step) } else { Err("expected `]`") }
    }

    /// In `[field=value]` dots need no quotes: versions and host names have them.
    fn value(&mut self) -> Result<String, &'static str> {
        if matches!(self.peek(), Some('"' | '\'')) {
            return self.quoted();
        }
        let start = self.at;
        while self.peek().is_some_and(|c| is_bare(c) || c == '.') {
            self.at += 1;
        }
        if self.at == start {
            return Err("expected a value");
        }
        Ok(self.text[start..self.at].iter().collect())
    }
}

fn is_bare(c: char) -> bool {
    !(c.is_control() || c.is_whitespace() || ".[]\"'=".contains(c))
}

/// `text` as a path writes it: bare where that is possible, else in double quotes.
fn written(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    if !text.is_empty() && text != "$" && text.chars().all(is_bare) {
        return f.write_str(text);
    }
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            // Not read back, but it keeps an address on one line.
            c if c.is_control() => write!(f, "{}", c.escape_unicode())?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) => {
                    if i > 0 {
                        f.write_str(".")?;
                    }
                    written(f, key)?;
                }
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Item { field, value } => {
                    f.write_str("[")?;
                    written(f, field)?;
                    f.write_str("=")?;
                    written(f, value)?;
                    f.write_str("]")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(text: &str) -> Step {
        Step::Key(text.into())
    }

    fn item(field: &str, value: &str) -> Step {
        Step::Item { field: field.into(), value: value.into() }
    }

    #[test]
    fn a_path_is_read_step_by_step() {
        for (text, steps) in [
            ("image.tag", vec![key("image"), key("tag")]),
            ("$.image.tag", vec![key("image"), key("tag")]),
            ("$[0]", vec![Step::Index(0)]),
            ("$ref.x", vec![key("$ref"), key("x")]),
            ("[0].image", vec![Step::Index(0), key("image")]),
            (
                "spec.containers[name=app].image",
                vec![key("spec"), key("containers"), item("name", "app"), key("image")],
            ),
            ("a[version=1.2.3]", vec![key("a"), item("version", "1.2.3")]),
            ("a[\"x y\"='it''s']", vec![key("a"), item("x y", "it's")]),
            ("\"a.b\".c", vec![key("a.b"), key("c")]),
            ("'it''s'.c", vec![key("it's"), key("c")]),
            ("annotations[\"example.com/x\"]", vec![key("annotations"), key("example.com/x")]),
            (r#""a\"b\\c""#, vec![key(r#"a"b\c"#)]),
            ("a[\"0\"]", vec![key("a"), key("0")]),
            ("8080", vec![key("8080")]),
        ] {
            assert_eq!(text.parse::<Path>().unwrap().steps(), steps, "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_told_with_its_place() {
        for (bad, at) in [
            ("", 1),
            ("$", 2),
            ("a..b", 3),
            (".a", 1),
            ("a.", 3),
            ("a b", 2),
            ("a[", 3),
            ("a[]", 3),
            ("a[x]", 3),
            ("a[-1]", 3),
            ("a[0", 4),
            ("a[0]b", 5),
            ("\"a", 3),
            ("a[n=]", 5),
            ("\"\\n\"", 3),
            ("a[99999999999999999999]", 3),
        ] {
            let error = bad.parse::<Path>().unwrap_err();
            assert_eq!(error.at, at, "{error}");
        }
        assert!("a".repeat(513).parse::<Path>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(steps in prop::collection::vec(prop_oneof![
            "[^\\p{C}]{1,8}".prop_map(Step::Key),
            (0usize..1000).prop_map(Step::Index),
            ("[^\\p{C}]{1,8}", "[^\\p{C}]{0,8}").prop_map(|(field, value)| Step::Item { field, value }),
        ], 1..6)) {
            let path = Path::new(steps).unwrap();
            prop_assert_eq!(path.to_string().parse::<Path>(), Ok(path));
        }

        #[test]
        fn no_text_is_too_odd_to_be_refused(text in "\\PC{0,20}|[a\\[\\]\"'=.$\\\\]{0,12}") {
            if let Ok(path) = text.parse::<Path>() {
                prop_assert_eq!(path.to_string().parse::<Path>(), Ok(path));
            }
        }
    }
}
