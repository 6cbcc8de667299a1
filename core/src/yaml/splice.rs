//! Writes sites into the text: replaces ranges, inserts lines, touches nothing else.

use std::collections::HashMap;
use std::ops::Range;

use super::tree::NodeId;
use super::{Refusal, Source, Text, Why, env_file, verify};

/// One place in a file that an edit means, and what is to be written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The scalar's name, the same however an edit spelled it: `Deployment/web:spec.replicas`, `image.tag`.
    /// Stable while the items of a list that have a `name` move about.
    pub address: String,
    /// Its line, from 1.
    pub line: usize,
    /// What stands there now; empty where it is to be added.
    pub old: String,
    /// What is to stand there.
    pub new: String,
    pub(super) change: Change,
}

impl Site {
    /// Whether the file already says so.
    #[must_use]
    pub fn is_up_to_date(&self) -> bool {
        self.change == Change::Nothing
    }

    /// The names of the scalars that are written: of an entry that is added those that its values have from then on.
    #[must_use]
    pub fn scalars(&self) -> Vec<String> {
        match &self.change {
            Change::Insert(insert) => match &insert.grown {
                Grown::Entry(fields) | Grown::List(fields) | Grown::KeyWithList(fields) => {
                    let values = fields.iter().filter(|(key, _)| *key != "name");
                    values.map(|(key, _)| format!("{}.{key}", self.address)).collect()
                }
                Grown::Key { .. } => vec![self.address.clone()],
            },
            Change::Nothing | Change::Scalar { .. } | Change::Line { .. } => vec![self.address.clone()],
        }
    }

    /// The bytes that are replaced, or the place where some are added; `None` where nothing is.
    #[must_use]
    pub fn bytes(&self) -> Option<Range<usize>> {
        piece(self).map(|piece| piece.bytes)
    }
}

/// How a site is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Already as wanted.
    Nothing,
    /// The bytes of a scalar become others.
    Scalar { node: NodeId, bytes: Range<usize>, written: String, text: Text },
    /// Bytes are added.
    Insert(Insert),
    /// The value of an .env line becomes another.
    Line { bytes: Range<usize>, written: String },
}

/// Several insertions at one place become one: `lead`, the bodies joined by `join`, `tail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Insert {
    pub at: usize,
    pub lead: String,
    pub join: String,
    pub body: String,
    pub tail: String,
    /// The node that grows, and what it grows by.
    pub node: NodeId,
    pub grown: Grown,
}

/// What an insertion adds, as a parser must see it afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Grown {
    /// A mapping gets a key, at this place among its entries.
    Key { index: usize, key: &'static str, value: Text },
    /// A sequence gets a mapping of these at its end.
    Entry(Vec<(&'static str, Text)>),
    /// An absent value becomes a sequence of one such mapping.
    List(Vec<(&'static str, Text)>),
    /// A mapping gets, at its end, a key `images` with a sequence of one such mapping.
    KeyWithList(Vec<(&'static str, Text)>),
}

pub(super) fn splice(source: &Source<'_>, sites: &[Site]) -> Result<Option<String>, Refusal> {
    let mut seen: HashMap<&str, &Site> = HashMap::new();
    for site in sites {
        if seen.insert(&site.address, site).is_some() {
            return Err(source.refusal(site.line, Why::SameScalar(site.address.clone())));
        }
    }
    let mut pieces: Vec<Piece<'_>> = sites.iter().filter_map(piece).collect();
    if pieces.is_empty() {
        return Ok(None);
    }
    // Stable: insertions at one place keep the order of their edits.
    pieces.sort_by_key(|piece| (piece.bytes.start, piece.bytes.end));
    let text = write(source, &pieces)?;
    let lines_only = sites.iter().any(|site| matches!(site.change, Change::Line { .. }));
    if lines_only { env_file::verify(source, &text, sites) } else { verify::verify(source, &text, sites) }?;
    Ok(Some(text))
}

struct Piece<'a> {
    bytes: Range<usize>,
    site: &'a Site,
}

fn piece(site: &Site) -> Option<Piece<'_>> {
    let bytes = match &site.change {
        Change::Nothing => return None,
        Change::Scalar { bytes, .. } | Change::Line { bytes, .. } => bytes.clone(),
        Change::Insert(insert) => insert.at..insert.at,
    };
    Some(Piece { bytes, site })
}

fn write(source: &Source<'_>, pieces: &[Piece<'_>]) -> Result<String, Refusal> {
    let added: usize = pieces.iter().map(|piece| piece.site.new.len() + 64).sum();
    let mut out = String::with_capacity(source.text.len() + added);
    let mut at = 0;
    let mut pending: Option<&Insert> = None;
    for piece in pieces {
        let continues = pending.is_some_and(|insert| insert.at == piece.bytes.start)
            && matches!(piece.site.change, Change::Insert(_));
        if !continues && let Some(insert) = pending.take() {
            out.push_str(&insert.tail);
        }
        let Some(between) = source.text.get(at..piece.bytes.start) else {
            // Two sites of different names that overlap; nothing the locator finds does.
            return Err(source.refusal(piece.site.line, Why::NotExact(piece.site.address.clone())));
        };
        out.push_str(between);
        at = piece.bytes.end;
        match &piece.site.change {
            Change::Nothing => {}
            Change::Scalar { written, .. } | Change::Line { written, .. } => out.push_str(written),
            Change::Insert(insert) => {
                out.push_str(if continues { &insert.join } else { &insert.lead });
                out.push_str(&insert.body);
                pending = Some(insert);
            }
        }
    }
    if let Some(insert) = pending {
        out.push_str(&insert.tail);
    }
    out.push_str(&source.text[at..]);
    Ok(out)
}
