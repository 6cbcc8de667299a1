//! The message of a commit: of one change its own first line, of several a list; below it the trailers
//! (`domain/trailers.rs`), a group for each change.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Change, Written};
use crate::domain::{FireId, RepoPath, SharedTitle};

/// Longest title, in characters; git's tools show some 70.
const MAX_TITLE: usize = 200;
/// Longest address in a trailer, in characters; a longer one is cut and gets a hash.
const MAX_ADDRESS: usize = 200;

/// A scalar that a commit changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub file: RepoPath,
    pub address: String,
    /// Of an entry that is added, its values.
    pub scalars: Vec<String>,
    pub new: String,
}

impl Target {
    /// As trailers name it.
    fn wrote(&self) -> impl Iterator<Item = String> {
        self.scalars.iter().map(|scalar| wrote(&self.file, scalar))
    }
}

/// A change that goes into a commit, with the scalars it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub change: &'a Change,
    pub targets: Vec<&'a Target>,
}

/// The message of a commit of these changes.
pub(super) fn message(entries: &[Entry<'_>], shared: &SharedTitle) -> String {
    let runs: BTreeSet<&FireId> = entries.iter().map(|entry| &entry.change.key.fire_id).collect();
    let first = match entries.first() {
        // A run may have several entries.
        Some(first) if runs.len() == 1 => title(first),
        Some(_) | None => one_line(&shared.fill(runs.len())),
    };
    let mut out = format!("{first}\n");
    match entries {
        [_] => {}
        many => {
            out.push('\n');
            for entry in many {
                let _ = writeln!(out, "- {}: {}", entry.change.owner, title(entry));
            }
        }
    }
    out.push('\n');
    for Entry { change, targets } in entries {
        let written = Written {
            fire_id: change.key.fire_id.clone(),
            pipeline: change.pipeline,
            wrote: targets.iter().flat_map(|target| target.wrote()).collect(),
        };
        let _ = write!(out, "{written}");
    }
    out
}

/// A change in a line: as its trigger says, else what is written.
fn title(entry: &Entry<'_>) -> String {
    let own = entry.change.title.as_deref().map(one_line).filter(|title| !title.is_empty());
    own.unwrap_or_else(|| {
        let mut parts = entry.targets.iter().map(|target| format!("{} {}", target.address, target.new));
        let first = parts.next().unwrap_or_default();
        let more = parts.count();
        let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
        one_line(&format!("{first}{rest}"))
    })
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(MAX_TITLE).collect()
}

/// A scalar of a file, as a trailer names it; on one line, and bounded.
#[must_use]
pub(super) fn wrote(file: &RepoPath, address: &str) -> String {
    let line: String = address.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if line.chars().count() <= MAX_ADDRESS && line.trim() == line {
        return format!("{file}:{line}");
    }
    let start: String = line.chars().take(MAX_ADDRESS / 2).collect();
    format!("{file}:{}…{}", start.trim_start(), FireId::hash(&[address]))
}
