//! Files of `KEY=value` lines: `.env` files as docker, compose, shells and GitLab's dotenv reports read them.
//!
//! Those readers do not agree on quotes, escapes and comments. So only the value's own characters are replaced,
//! its quotes stay, and a new value that any of them would read differently is refused.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use thiserror::Error;

use super::splice::{Change, Site};
use super::{Refusal, Source, Text, Why};

/// The name before the `=`: 1 to 255 letters, digits, `_`, `.` and `-`, not beginning with a digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EnvKey(String);

/// A text that is no key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no key of an .env file: use letters, digits and underscores")]
pub struct EnvKeyError(String);

impl EnvKey {
    /// The key itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EnvKey {
    type Err = EnvKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ok = (1..=255).contains(&text.len())
            && !text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(EnvKeyError(
                text.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
            ))
        }
    }
}

impl fmt::Display for EnvKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment<'a> {
    pub key: &'a str,
    /// Without its quotes.
    pub value: &'a str,
    /// Where the value is, without its quotes.
    pub bytes: Range<usize>,
    /// `"` or `'`, if it has any.
    pub quote: Option<char>,
    /// From 1.
    pub line: usize,
    /// Its quotes are not closed on the line, or something follows them.
    pub odd: bool,
}

/// Every assignment of a file, in its order. What is no assignment is passed over, and so are lines inside a
/// quoted value that was begun on an earlier line.
pub(crate) fn assignments(text: &str) -> Vec<Assignment<'_>> {
    let mut found = Vec::new();
    let mut open: Option<char> = None;
    let mut at = 0;
    for (i, full) in text.split_inclusive('\n').enumerate() {
        let start = at;
        at += full.len();
        let line = full.strip_suffix('\n').unwrap_or(full);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if let Some(quote) = open {
            if closing(line, quote).is_some() {
                open = None;
            }
            continue;
        }
        let Some(assignment) = assignment(line, start, i + 1) else { continue };
        if let Some(quote) = assignment.quote
            && assignment.odd
            && closing(assignment.value, quote).is_none()
        {
            open = Some(quote);
        }
        found.push(assignment);
    }
    found
}

fn assignment(line: &str, start: usize, number: usize) -> Option<Assignment<'_>> {
    let unmarked = if number == 1 { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line };
    let trimmed = unmarked.trim_start_matches([' ', '\t']);
    let trimmed = match trimmed.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start_matches([' ', '\t']),
        Some(_) | None => trimmed,
    };
    let equals = trimmed.find('=')?;
    let key = trimmed[..equals].trim_end_matches([' ', '\t']);
    key.parse::<EnvKey>().ok()?;
    let raw = trimmed[equals + 1..].trim_start_matches([' ', '\t']);
    let offset = start + (line.len() - raw.len());
    let of = |value: &str, skipped: usize| offset + skipped..offset + skipped + value.len();
    let quote = raw.chars().next().filter(|c| matches!(c, '"' | '\''));
    let Some(quote) = quote else {
        // Unquoted: a blank and `#` begin a comment.
        let cut = [" #", "\t#"].iter().filter_map(|mark| raw.find(mark)).min().unwrap_or(raw.len());
        let value = if raw.starts_with('#') { "" } else { raw[..cut].trim_end_matches([' ', '\t']) };
        return Some(Assignment { key, value, bytes: of(value, 0), quote: None, line: number, odd: false });
    };
    let inside = &raw[1..];
    let (value, odd) = match closing(inside, quote) {
        None => (inside, true),
        Some(end) => {
            let behind = &inside[end + 1..];
            let rest = behind.trim_start_matches([' ', '\t']);
            let comment = rest.starts_with('#') && rest.len() < behind.len();
            (&inside[..end], !(rest.is_empty() || comment))
        }
    };
    Some(Assignment { key, value, bytes: of(value, 1), quote: Some(quote), line: number, odd })
}

/// Where quotes close; in double quotes a backslash takes the next character along.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some(at);
        }
        if c == '\\' && quote == '"' {
            chars.next();
        }
    }
    None
}

pub(super) fn locate(source: &Source<'_>, key: &EnvKey, new: &Text) -> Result<Site, Refusal> {
    let all = assignments(source.text);
    let mut found = all.iter().filter(|assignment| assignment.key == key.as_str());
    let one = match (found.next(), found.next()) {
        (Some(one), None) => one,
        (Some(first), Some(second)) => {
            let why = Why::DuplicateLine { key: key.to_string(), first: first.line };
            return Err(source.refusal(second.line, why));
        }
        (None, _) => return Err(source.refusal(None, Why::NoLine(key.to_string()))),
    };
    // Unquoted, a shell goes on reading after a backslash at the end, and within quotes that are not closed.
    let is_open = |quote: char| one.value.matches(quote).count() % 2 == 1;
    let goes_on = one.quote.is_none() && (one.value.ends_with('\\') || is_open('"') || is_open('\''));
    if one.odd || goes_on {
        return Err(source.refusal(one.line, Why::OddLine));
    }
    let change = if one.value == new.as_str() {
        Change::Nothing
    } else {
        // Without quotes: what no reader takes for syntax. Within: also blanks and more, but not what some
        // reader would expand or unescape.
        let bare = |c: char| c.is_alphanumeric() || "_./:@+-=,%~".contains(c);
        let fits = |c: char| match one.quote {
            None => bare(c),
            Some(_) => bare(c) || " #;()[]{}<>|&?*^!".contains(c),
        };
        if let Some(odd) = new.as_str().chars().find(|c| !fits(*c)) {
            return Err(source.refusal(one.line, Why::NotForEnv(odd)));
        }
        Change::Line { bytes: one.bytes.clone(), written: new.as_str().to_owned() }
    };
    Ok(Site {
        address: key.to_string(),
        line: one.line,
        old: one.value.to_owned(),
        new: new.as_str().to_owned(),
        change,
    })
}

/// Refuses `text` unless its assignments are those of the source but for the meant ones.
pub(super) fn verify(source: &Source<'_>, text: &str, sites: &[Site]) -> Result<(), Refusal> {
    let (before, after) = (assignments(source.text), assignments(text));
    let wanted = |key: &str| {
        sites.iter().find(|site| site.address == key && !site.is_up_to_date()).map(|site| site.new.as_str())
    };
    let exact = before.len() == after.len()
        && before.iter().zip(&after).all(|(old, new)| {
            old.key == new.key
                && old.quote == new.quote
                && old.odd == new.odd
                && new.value == wanted(old.key).unwrap_or(old.value)
        });
    if exact {
        return Ok(());
    }
    let site = sites.iter().find(|site| !site.is_up_to_date());
    let address = site.map(|site| site.address.clone()).unwrap_or_default();
    Err(source.refusal(site.map(|site| site.line), Why::NotExact(address)))
}
