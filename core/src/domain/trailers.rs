//! What the message of a commit of ours, or the description of a merge request, tells programs.
//!
//! ```text
//! Pipekick-Fire-Id: 7hq2m0v6x5t1c9abcdefghjkmn         which run; a lost reply is recognised by it
//! Pipekick-Pipeline: 705                               which pipeline; the later one wins
//! Pipekick-Wrote: apps/checkout/values.yaml:image.tag  which scalars of which files
//! ```
//!
//! Trailers are read back from the last paragraph alone, so that nothing a title says can pass for one.

use std::fmt;

use super::FireId;

/// What one change wrote, as trailers tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The run.
    pub fire_id: FireId,
    /// Its pipeline.
    pub pipeline: u64,
    /// The scalars: file, `:`, address.
    pub wrote: Vec<String>,
}

/// Its trailers, a line each.
impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fire_id, pipeline, wrote } = self;
        writeln!(f, "Pipekick-Fire-Id: {fire_id}")?;
        writeln!(f, "Pipekick-Pipeline: {pipeline}")?;
        wrote.iter().try_for_each(|wrote| writeln!(f, "Pipekick-Wrote: {wrote}"))
    }
}

/// What the trailers of a text tell; nothing, if it has none of ours.
#[must_use]
pub fn written(text: &str) -> Vec<Written> {
    let mut found: Vec<Written> = Vec::new();
    let mut fire_id: Option<&str> = None;
    for (key, value) in trailers(text) {
        match key {
            "Pipekick-Fire-Id" => fire_id = Some(value),
            "Pipekick-Pipeline" => {
                if let (Some(id), Ok(pipeline)) = (fire_id.take(), value.parse()) {
                    found.push(Written { fire_id: FireId::from(id), pipeline, wrote: Vec::new() });
                }
            }
            "Pipekick-Wrote" => {
                if let Some(last) = found.last_mut().filter(|_| fire_id.is_none()) {
                    last.wrote.push(value.to_owned());
                }
            }
            _ => {}
        }
    }
    found
}

/// The branch that a commit was made to begin a merge request from, if it was.
#[must_use]
pub fn made_for(message: &str) -> Option<&str> {
    trailers(message).find(|(key, _)| *key == "Pipekick-Branch").map(|(_, branch)| branch)
}

fn trailers(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let text = text.trim_end();
    let last = text.rfind("\n\n").map_or("", |at| &text[at + 2..]);
    last.lines().filter_map(|line| line.split_once(':')).map(|(key, value)| (key, value.trim()))
}
