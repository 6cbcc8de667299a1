//! The entry for an image under `images` of a kustomization: its `newName`, `newTag` and `digest`, and adding
//! what is missing where the edit says so.

use granit_parser::{ScalarStyle, StructureStyle};

use super::locate::Look;
use super::path::{Path, Step};
use super::splice::{Change, Grown, Insert, Site};
use super::tree::{Kind, NodeId};
use super::{ImageFields, Refusal, Replacement, Text, Why};
use crate::domain::ImageName;

pub(super) fn locate(
    look: &Look<'_, '_>,
    name: &ImageName,
    set: &ImageFields,
    create: bool,
) -> Result<Vec<Site>, Refusal> {
    let root = look.document(None)?;
    let ImageFields { new_name, new_tag, digest } = set;
    let fields: Vec<(&'static str, Text)> = [
        ("newName", new_name.as_ref().map(Text::from)),
        ("newTag", new_tag.as_ref().map(Text::from)),
        ("digest", digest.as_ref().map(Text::from)),
    ]
    .into_iter()
    .filter_map(|(key, text)| Some((key, text?)))
    .collect();
    let images = images(look, root)?;
    match (find(look, root, images, name)?, images) {
        (Some(entry), _) => in_entry(look, entry, name, &fields, create),
        (None, None) if create => Ok(vec![new_list(look, root, name, fields)?]),
        (None, Some(images)) if create => Ok(vec![new_entry(look, root, images, name, fields)?]),
        (None, images) => look.refuse(images.unwrap_or(root), Why::NoImage(name.to_string())),
    }
}

/// The entry for an image, if there is one.
pub(super) fn entry(look: &Look<'_, '_>, root: NodeId, name: &ImageName) -> Result<Option<NodeId>, Refusal> {
    find(look, root, images(look, root)?, name)
}

fn path(steps: Vec<Step>) -> Path {
    Path::new(steps).expect("callers give at least one step")
}

fn images(look: &Look<'_, '_>, root: NodeId) -> Result<Option<NodeId>, Refusal> {
    match look.tree.value(root, "images") {
        None => Ok(None),
        // Walked to, so that an alias, or a key that stands twice, is told.
        Some(_) => look.walk(root, &path(vec![Step::Key("images".into())])).map(Some),
    }
}

fn find(
    look: &Look<'_, '_>,
    root: NodeId,
    images: Option<NodeId>,
    name: &ImageName,
) -> Result<Option<NodeId>, Refusal> {
    let Some(images) = images.filter(|images| !look.tree.is_absent(*images)) else { return Ok(None) };
    let has_name = |item: &NodeId| {
        let item = match &look.tree.node(*item).kind {
            Kind::Alias(anchor) => look.tree.anchored(*anchor).unwrap_or(*item),
            Kind::Scalar { .. } | Kind::Sequence { .. } | Kind::Mapping { .. } => *item,
        };
        look.tree.value(item, "name").and_then(|node| look.tree.scalar(node)) == Some(name.as_str())
    };
    let none = match &look.tree.node(images).kind {
        Kind::Sequence { style: _, items } => !items.iter().any(has_name),
        Kind::Scalar { .. } | Kind::Mapping { .. } | Kind::Alias(_) => false,
    };
    if none {
        return Ok(None);
    }
    let choice = Step::Item { field: "name".into(), value: name.as_str().into() };
    look.walk(root, &path(vec![Step::Key("images".into()), choice])).map(Some)
}

fn in_entry(
    look: &Look<'_, '_>,
    entry: NodeId,
    name: &ImageName,
    fields: &[(&'static str, Text)],
    create: bool,
) -> Result<Vec<Site>, Refusal> {
    let sets = |wanted: &str| fields.iter().any(|(key, _)| *key == wanted);
    if let Some(digest) = look.tree.value(entry, "digest")
        && sets("newTag")
        && !sets("digest")
        && !look.tree.is_absent(digest)
    {
        return look.refuse(digest, Why::PinnedByDigest(name.to_string()));
    }
    let mut sites = Vec::new();
    for (key, text) in fields {
        if look.tree.value(entry, key).is_some() {
            let target = look.walk(entry, &path(vec![Step::Key((*key).into())]))?;
            sites.push(look.site(target, key, &Replacement::Whole(text.clone()))?);
        } else if create {
            sites.push(new_key(look, entry, key, text)?);
        } else {
            return look.refuse(entry, Why::NoImageKey { image: name.to_string(), key });
        }
    }
    Ok(sites)
}

/// A key that an entry lacks: behind its `name`, on a line of its own.
fn new_key(look: &Look<'_, '_>, entry: NodeId, key: &'static str, text: &Text) -> Result<Site, Refusal> {
    let no_room = || look.refuse(entry, Why::NoRoom("the entry"));
    let Kind::Mapping { style, entries } = &look.tree.node(entry).kind else { return no_room() };
    let found = entries.iter().enumerate().find(|(_, (k, _))| look.tree.scalar(*k) == Some("name"));
    let Some((index, (name_key, name))) = found else { return no_room() };
    let (key_node, name_node) = (look.tree.node(*name_key), look.tree.node(*name));
    let flow = *style == StructureStyle::Flow;
    let written = format!("{key}: {}", look.written(text, ScalarStyle::Plain, *name)?);
    let (at, between) = if flow {
        (name_node.bytes.end, ", ".to_owned())
    } else if key_node.lines.0 == name_node.lines.1 {
        let column = column(look, key_node.bytes.start);
        (line_end(look, name_node.bytes.end), format!("{}{}", look.source.newline(), " ".repeat(column)))
    } else {
        return no_room();
    };
    let insert = Insert {
        at,
        lead: between.clone(),
        join: between,
        body: written,
        tail: String::new(),
        node: entry,
        grown: Grown::Key { index: index + 1, key, value: text.clone() },
    };
    let address = format!("{}.{key}", look.address(entry));
    Ok(added(address, look.tree.node(*name).lines.0, text.as_str().to_owned(), insert))
}

/// An entry behind the last one of a list; the list may be empty, as `[]` or as nothing at all.
fn new_entry(
    look: &Look<'_, '_>,
    root: NodeId,
    images: NodeId,
    name: &ImageName,
    fields: Vec<(&'static str, Text)>,
) -> Result<Site, Refusal> {
    let no_room = || look.refuse(images, Why::NoRoom("`images`"));
    let newline = look.source.newline();
    let node = look.tree.node(images);
    let said = said(&fields);
    let fields = with_name(name, fields);
    let insert = match &node.kind {
        Kind::Scalar { .. } if look.tree.is_absent(images) => {
            let at = line_end(look, look.behind_colon(images)?);
            let lead = newline.to_owned();
            let body = block(look, images, &fields, 0, newline)?;
            let (join, tail) = (lead.clone(), String::new());
            Insert { at, lead, join, body, tail, node: images, grown: Grown::List(fields) }
        }
        Kind::Sequence { style: StructureStyle::Flow, items } => {
            let body = flow(look, images, &fields)?;
            let (at, lead) = match items.last() {
                None => (node.bytes.start + 1, String::new()),
                Some(last)
                    if matches!(
                        look.tree.node(*last).kind,
                        Kind::Mapping { style: StructureStyle::Flow, .. }
                    ) =>
                {
                    (look.tree.node(*last).bytes.end, ", ".to_owned())
                }
                Some(_) => return no_room(),
            };
            let (join, tail) = (", ".to_owned(), String::new());
            Insert { at, lead, join, body, tail, node: images, grown: Grown::Entry(fields) }
        }
        Kind::Sequence { style: StructureStyle::Block, items } => {
            let Some(last) = items.last() else { return no_room() };
            let leaf = last_leaf(look, *last);
            let before = look.source.text[..look.tree.node(*last).bytes.start].trim_end_matches(' ');
            if !before.ends_with('-') || is_block_scalar(look, leaf) {
                return no_room();
            }
            let column = column(look, before.len() - 1);
            let at = line_end(look, look.tree.node(leaf).bytes.end);
            let lead = format!("{newline}{}", " ".repeat(column));
            let body = block(look, images, &fields, column, newline)?;
            let (join, tail) = (lead.clone(), String::new());
            Insert { at, lead, join, body, tail, node: images, grown: Grown::Entry(fields) }
        }
        Kind::Scalar { .. } | Kind::Mapping { .. } | Kind::Alias(_) => {
            let found = look.tree.word(images);
            return look.refuse(images, Why::WrongKind { path: "images".into(), found, wanted: "a list" });
        }
    };
    Ok(added(entry_address(look, root, name), node.lines.1, said, insert))
}

/// `images` itself, at the end of the file.
fn new_list(
    look: &Look<'_, '_>,
    root: NodeId,
    name: &ImageName,
    fields: Vec<(&'static str, Text)>,
) -> Result<Site, Refusal> {
    let node = look.tree.node(root);
    let is_block = matches!(node.kind, Kind::Mapping { style: StructureStyle::Block, .. });
    let is_ended = look.source.text[node.bytes.end..].lines().any(|line| line.starts_with("..."));
    let is_last = look.tree.documents.last() == Some(&root);
    if !is_block || column(look, node.bytes.start) != 0 || !is_last || is_ended {
        return look.refuse(root, Why::NoRoom("the file"));
    }
    let newline = look.source.newline();
    let said = said(&fields);
    let fields = with_name(name, fields);
    let ended = look.source.text.ends_with('\n');
    let lead = format!("{}images:{newline}", if ended { "" } else { newline });
    let insert = Insert {
        at: look.source.text.len(),
        lead,
        join: newline.to_owned(),
        body: block(look, root, &fields, 0, newline)?,
        tail: if ended { newline.to_owned() } else { String::new() },
        node: root,
        grown: Grown::KeyWithList(fields),
    };
    Ok(added(entry_address(look, root, name), node.lines.1, said, insert))
}

fn added(address: String, line: usize, new: String, insert: Insert) -> Site {
    Site { address, line, old: String::new(), new, change: Change::Insert(insert) }
}

/// An entry that is not there yet has the address it will have.
fn entry_address(look: &Look<'_, '_>, root: NodeId, name: &ImageName) -> String {
    let choice = Step::Item { field: "name".into(), value: name.as_str().into() };
    look.in_document(root, path(vec![Step::Key("images".into()), choice]).to_string())
}

fn with_name(name: &ImageName, fields: Vec<(&'static str, Text)>) -> Vec<(&'static str, Text)> {
    let mut all = vec![("name", Text::from(name))];
    all.extend(fields);
    all
}

fn said(fields: &[(&'static str, Text)]) -> String {
    let parts: Vec<String> = fields.iter().map(|(key, text)| format!("{key}: {text}")).collect();
    parts.join(", ")
}

/// `- name: …` and the keys below it, without the indentation of the first line.
fn block(
    look: &Look<'_, '_>,
    node: NodeId,
    fields: &[(&'static str, Text)],
    column: usize,
    newline: &str,
) -> Result<String, Refusal> {
    let mut lines = Vec::new();
    for (key, text) in fields {
        lines.push(format!("{key}: {}", look.written(text, ScalarStyle::Plain, node)?));
    }
    Ok(format!("- {}", lines.join(&format!("{newline}{}", " ".repeat(column + 2)))))
}

fn flow(look: &Look<'_, '_>, node: NodeId, fields: &[(&'static str, Text)]) -> Result<String, Refusal> {
    let mut parts = Vec::new();
    for (key, text) in fields {
        let written = look.written(text, ScalarStyle::Plain, node)?;
        parts.push(format!("{key}: {written}"));
    }
    Ok(format!("{{{}}}", parts.join(", ")))
}

/// How many characters stand before a byte on its line.
fn column(look: &Look<'_, '_>, at: usize) -> usize {
    let before = &look.source.text[..at];
    let line = &before[before.rfind('\n').map_or(0, |newline| newline + 1)..];
    line.trim_start_matches('\u{feff}').chars().count()
}

/// Where the line of a byte ends, before its line break.
fn line_end(look: &Look<'_, '_>, at: usize) -> usize {
    let rest = &look.source.text[at..];
    let line = &rest[..rest.find('\n').unwrap_or(rest.len())];
    at + line.strip_suffix('\r').unwrap_or(line).len()
}

/// The last scalar or empty collection in a node.
fn last_leaf(look: &Look<'_, '_>, node: NodeId) -> NodeId {
    let mut at = node;
    loop {
        let next = match &look.tree.node(at).kind {
            Kind::Mapping { style: StructureStyle::Block, entries } => {
                entries.last().map(|(_, value)| *value)
            }
            Kind::Sequence { style: StructureStyle::Block, items } => items.last().copied(),
            Kind::Mapping { .. } | Kind::Sequence { .. } | Kind::Scalar { .. } | Kind::Alias(_) => None,
        };
        match next {
            Some(next) => at = next,
            None => return at,
        }
    }
}

fn is_block_scalar(look: &Look<'_, '_>, node: NodeId) -> bool {
    matches!(
        look.tree.node(node).kind,
        Kind::Scalar { style: ScalarStyle::Literal | ScalarStyle::Folded, .. }
    )
}
