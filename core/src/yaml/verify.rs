//! Parses the edited text again and compares: the meant scalars differ as meant, and nothing else differs.
//!
//! The comparison is of everything the parser tells: kinds, styles, texts, tags, anchors, aliases, comments.

use std::collections::HashMap;

use granit_parser::{ScalarStyle, StructureStyle};

use super::scalar::is_typed;
use super::splice::{Change, Grown, Insert, Site};
use super::tree::{Kind, NodeId, Tree};
use super::{Refusal, Source, Text, Why, as_json};

/// Refuses `text` unless it differs from the source by exactly what `sites` say.
pub(super) fn verify(source: &Source<'_>, text: &str, sites: &[Site]) -> Result<(), Refusal> {
    let (line, address) = sites
        .iter()
        .find(|site| !site.is_up_to_date())
        .map_or((None, String::new()), |site| (Some(site.line), site.address.clone()));
    let not_exact = || source.refusal(line, Why::NotExact(address.clone()));
    let before = source.tree()?;
    if let Some(site) = sites.iter().find(|site| quotes_above_a_tab(source, before, site)) {
        return Err(source.refusal(site.line, Why::TabBelow));
    }
    let Ok(after) = Tree::parse(text) else { return Err(not_exact()) };
    if source.is_json() && as_json(text).is_err() {
        return Err(not_exact());
    }
    let mut meant = HashMap::new();
    let mut grown: HashMap<NodeId, Vec<&Grown>> = HashMap::new();
    for site in sites {
        match &site.change {
            Change::Scalar { node, bytes: _, written: _, text } => {
                meant.insert(*node, text);
            }
            Change::Insert(Insert { node, grown: by, .. }) => grown.entry(*node).or_default().push(by),
            Change::Nothing => {}
            Change::Line { .. } => return Err(not_exact()),
        }
    }
    let comparison = Comparison { before, after: &after, meant, grown };
    if comparison.holds() { Ok(()) } else { Err(not_exact()) }
}

/// Whether quotes come where none were, above a line that is blank but for a tab. libyaml, and Go's packages that
/// stem from it, read such a line as the end of a plain scalar in block style, and nothing else that it could end;
/// our parser takes it anywhere, so the comparison would not see it.
fn quotes_above_a_tab(source: &Source<'_>, tree: &Tree<'_>, site: &Site) -> bool {
    let (written, end) = match &site.change {
        Change::Nothing | Change::Line { .. } => return false,
        Change::Scalar { node, bytes, written, text: _ } => {
            let was_plain =
                matches!(tree.node(*node).kind, Kind::Scalar { style: ScalarStyle::Plain, text: _ });
            if !was_plain || tree.in_flow(*node) {
                return false;
            }
            (written, bytes.end)
        }
        // In flow style it is put beside what is there, on no line of its own.
        Change::Insert(insert) if insert.lead.contains('\n') => (&insert.body, insert.at),
        Change::Insert(_) => return false,
    };
    let rest = &source.text[end..];
    let blank = &rest[..rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len()];
    let below = blank.find(['\r', '\n']).map_or("", |line_break| &blank[line_break..]);
    written.ends_with('"') && below.contains('\t')
}

struct Comparison<'c, 'b, 'a> {
    before: &'c Tree<'b>,
    after: &'c Tree<'a>,
    meant: HashMap<NodeId, &'c Text>,
    grown: HashMap<NodeId, Vec<&'c Grown>>,
}

impl Comparison<'_, '_, '_> {
    fn holds(&self) -> bool {
        let comments = self.before.comments.len() == self.after.comments.len()
            && self.before.comments.iter().zip(&self.after.comments).all(|(old, new)| old.text == new.text);
        let (old, new) = (&self.before.documents, &self.after.documents);
        comments && old.len() == new.len() && old.iter().zip(new).all(|(old, new)| self.same(*old, *new))
    }

    fn same(&self, old: NodeId, new: NodeId) -> bool {
        let (before, after) = (self.before.node(old), self.after.node(new));
        if before.anchor != after.anchor || before.tag != after.tag {
            return false;
        }
        let grown = self.grown.get(&old).map_or(&[][..], Vec::as_slice);
        match (&before.kind, &after.kind) {
            (Kind::Scalar { text: old_text, style: old_style }, Kind::Scalar { text, style })
                if grown.is_empty() =>
            {
                match self.meant.get(&old) {
                    Some(wanted) => reads_as(text, *style, wanted),
                    None => old_text == text && old_style == style,
                }
            }
            (Kind::Scalar { .. }, Kind::Sequence { style: StructureStyle::Block, items }) => {
                // An absent value that became a list.
                let wanted: Vec<_> = grown.iter().filter_map(|by| list(by)).collect();
                wanted.len() == grown.len()
                    && !wanted.is_empty()
                    && items.len() == wanted.len()
                    && items.iter().zip(wanted).all(|(item, wanted)| self.is_entry(*item, wanted))
            }
            (Kind::Alias(old), Kind::Alias(new)) => old == new,
            (Kind::Sequence { style: old_style, items: old }, Kind::Sequence { style, items: new }) => {
                let wanted: Vec<_> = grown.iter().filter_map(|by| entry(by)).collect();
                old_style == style
                    && wanted.len() == grown.len()
                    && new.len() == old.len() + wanted.len()
                    && old.iter().zip(new).all(|(old, new)| self.same(*old, *new))
                    && new[old.len()..].iter().zip(wanted).all(|(item, wanted)| self.is_entry(*item, wanted))
            }
            (Kind::Mapping { style: old_style, entries: old }, Kind::Mapping { style, entries: new }) => {
                old_style == style && self.same_entries(old, new, grown)
            }
            _ => false,
        }
    }

    fn same_entries(&self, old: &[(NodeId, NodeId)], new: &[(NodeId, NodeId)], grown: &[&Grown]) -> bool {
        let mut new = new.iter();
        let mut added = 0;
        for i in 0..=old.len() {
            for by in grown {
                if let Grown::Key { index, key, value } = by
                    && *index == i
                {
                    let Some((k, v)) = new.next() else { return false };
                    if self.after.scalar(*k) != Some(key) || !self.is_text(*v, value) {
                        return false;
                    }
                    added += 1;
                }
            }
            let Some((old_key, old_value)) = old.get(i) else { break };
            let Some((k, v)) = new.next() else { return false };
            if !self.same(*old_key, *k) || !self.same(*old_value, *v) {
                return false;
            }
        }
        let lists: Vec<_> = grown.iter().filter_map(|by| key_with_list(by)).collect();
        if !lists.is_empty() {
            let Some((k, v)) = new.next() else { return false };
            let Kind::Sequence { style: _, items } = &self.after.node(*v).kind else { return false };
            let entries_ok = items.len() == lists.len()
                && items.iter().zip(&lists).all(|(item, wanted)| self.is_entry(*item, wanted));
            if self.after.scalar(*k) != Some("images") || !entries_ok {
                return false;
            }
        }
        added + lists.len() == grown.len() && new.next().is_none()
    }

    fn is_entry(&self, item: NodeId, wanted: &[(&'static str, Text)]) -> bool {
        let entries = self.after.entries(item);
        entries.len() == wanted.len()
            && entries.iter().zip(wanted).all(|((key, value), (wanted_key, text))| {
                self.after.scalar(*key) == Some(wanted_key) && self.is_text(*value, text)
            })
    }

    fn is_text(&self, node: NodeId, wanted: &Text) -> bool {
        match &self.after.node(node).kind {
            Kind::Scalar { text, style } => reads_as(text, *style, wanted),
            Kind::Sequence { .. } | Kind::Mapping { .. } | Kind::Alias(_) => false,
        }
    }
}

/// Whether a scalar is read as the string that was wanted.
fn reads_as(text: &str, style: ScalarStyle, wanted: &Text) -> bool {
    text == wanted.as_str() && (style != ScalarStyle::Plain || !is_typed(text))
}

fn entry(by: &Grown) -> Option<&[(&'static str, Text)]> {
    match by {
        Grown::Entry(fields) => Some(fields),
        Grown::Key { .. } | Grown::List(_) | Grown::KeyWithList(_) => None,
    }
}

fn list(by: &Grown) -> Option<&[(&'static str, Text)]> {
    match by {
        Grown::List(fields) => Some(fields),
        Grown::Key { .. } | Grown::Entry(_) | Grown::KeyWithList(_) => None,
    }
}

fn key_with_list(by: &Grown) -> Option<&[(&'static str, Text)]> {
    match by {
        Grown::KeyWithList(fields) => Some(fields),
        Grown::Key { .. } | Grown::Entry(_) | Grown::List(_) => None,
    }
}
