//! From an edit to the bytes it means.

use granit_parser::ScalarStyle;

use super::path::{Path, Step};
use super::scalar::{double_quoted, encode, is_typed};
use super::splice::{Change, Site};
use super::tree::{Comment, Kind, NodeId, Role, Tree};
use super::{
    DocumentSelector, Edit, MarkedValue, Marker, Refusal, Replacement, Source, Text, Why, env_file, kustomize,
};
use crate::domain::repo_path::Format;
use crate::domain::{ImageDigest, ImageName, ImageRef, ImageTag};

/// Most lines that may carry one marker: each costs a look at its surroundings.
const MAX_MARKED: usize = 100;

pub(super) fn locate(source: &Source<'_>, edit: &Edit) -> Result<Vec<Site>, Refusal> {
    match (edit, source.file.format()) {
        (Edit::Line { key, new }, Format::Env) => return Ok(vec![env_file::locate(source, key, new)?]),
        (Edit::Line { .. }, Format::Yaml | Format::Json) => return Err(source.refusal(None, Why::NotEnv)),
        (Edit::Path { .. } | Edit::Marker { .. } | Edit::Image { .. }, Format::Env) => {
            return Err(source.refusal(None, Why::NotYaml));
        }
        (_, Format::Yaml | Format::Json) => {}
    }
    let tree = source.tree()?;
    let look = Look { source, tree };
    match edit {
        Edit::Path { document, path, new } => {
            let root = look.document(document.as_ref())?;
            let target = look.walk(root, path)?;
            Ok(vec![look.site(target, &path.to_string(), new)?])
        }
        Edit::Marker { marker, new } => look.marked(marker, new),
        Edit::Image { name, set, create } => kustomize::locate(&look, name, set, *create),
        Edit::Line { .. } => Ok(Vec::new()),
    }
}

/// A file being looked at.
pub(super) struct Look<'s, 'a> {
    pub source: &'s Source<'a>,
    pub tree: &'s Tree<'a>,
}

impl Look<'_, '_> {
    pub fn refuse<T>(&self, node: NodeId, why: Why) -> Result<T, Refusal> {
        Err(self.source.refusal(self.tree.node(node).lines.0, why))
    }

    /// The root of the document that is meant: the one chosen, or the only one that is not empty.
    pub fn document(&self, wanted: Option<&DocumentSelector>) -> Result<NodeId, Refusal> {
        let mut full = self.tree.documents.iter().copied().filter(|root| !self.tree.is_absent(*root));
        let Some(wanted) = wanted else {
            let first = full.next().ok_or_else(|| self.source.refusal(None, Why::NoDocument))?;
            return match full.count() {
                0 => Ok(first),
                more => Err(self.source.refusal(None, Why::SeveralDocuments(more + 1))),
            };
        };
        let DocumentSelector { kind, name } = wanted;
        let is =
            |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        let mut fits = full.clone().filter(|root| {
            let (found_kind, found_name) = self.kind_and_name(*root);
            is(kind, found_kind) && is(name, found_name)
        });
        match (fits.next(), fits.next()) {
            (Some(one), None) => Ok(one),
            (Some(first), Some(second)) => self.refuse(
                second,
                Why::AmbiguousDocument { wanted: wanted.to_string(), first: self.tree.node(first).lines.0 },
            ),
            (None, _) => {
                let there: Vec<String> = full
                    .by_ref()
                    .take(8)
                    .map(|root| {
                        let (kind, name) = self.kind_and_name(root);
                        format!("{}/{}", kind.unwrap_or("-"), name.unwrap_or("-"))
                    })
                    .collect();
                let there = if there.is_empty() { "none".into() } else { there.join(", ") };
                Err(self.source.refusal(None, Why::NoSuchDocument { wanted: wanted.to_string(), there }))
            }
        }
    }

    fn kind_and_name(&self, root: NodeId) -> (Option<&str>, Option<&str>) {
        let text = |node: Option<NodeId>| node.and_then(|node| self.tree.scalar(node));
        let metadata = self.tree.value(root, "metadata");
        (text(self.tree.value(root, "kind")), text(metadata.and_then(|node| self.tree.value(node, "name"))))
    }

    /// Follows `path` from `root` to a node that is no alias.
    pub fn walk(&self, root: NodeId, path: &Path) -> Result<NodeId, Refusal> {
        let mut at = root;
        self.not_an_alias(at, path, 0)?;
        for (i, step) in path.steps().iter().enumerate() {
            at = match step {
                Step::Key(key) => self.step_key(at, path, i, key)?,
                Step::Index(index) => self.step_index(at, path, i, *index)?,
                Step::Item { field, value } => self.step_item(at, path, i, field, value)?,
            };
            self.not_an_alias(at, path, i + 1)?;
        }
        Ok(at)
    }

    fn not_an_alias(&self, node: NodeId, path: &Path, steps: usize) -> Result<(), Refusal> {
        match &self.tree.node(node).kind {
            Kind::Alias(anchor) => {
                let defined = self.tree.anchored(*anchor).map_or(0, |id| self.tree.node(id).lines.0);
                self.refuse(node, Why::Alias { path: so_far(path, steps), defined })
            }
            Kind::Scalar { .. } | Kind::Sequence { .. } | Kind::Mapping { .. } => Ok(()),
        }
    }

    fn step_key(&self, at: NodeId, path: &Path, i: usize, key: &str) -> Result<NodeId, Refusal> {
        let Kind::Mapping { style: _, entries } = &self.tree.node(at).kind else {
            return self.wrong_kind(at, path, i, "a mapping");
        };
        let mut found = entries.iter().filter(|(k, _)| self.tree.scalar(*k) == Some(key));
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Ok(*value),
            (Some((first, _)), Some((second, _))) => {
                let first = self.tree.node(*first).lines.0;
                self.refuse(*second, Why::DuplicateKey { key: so_far(path, i + 1), first })
            }
            (None, _) => {
                if let Some((merge, defined)) = self.merged(at, key, 0) {
                    let defined = self.tree.node(defined).lines.0;
                    return self.refuse(merge, Why::Merged { path: so_far(path, i + 1), defined });
                }
                let keys: Vec<String> =
                    entries.iter().filter_map(|(k, _)| self.tree.scalar(*k)).take(8).map(shortened).collect();
                let there = if keys.is_empty() { "no keys".into() } else { keys.join(", ") };
                self.refuse(at, Why::NoSuchKey { path: so_far(path, i + 1), there })
            }
        }
    }

    /// A key that a mapping has by `<<` alone: the merge key here, and the key there. Bounded in depth, since
    /// a merge can lead in a circle.
    fn merged(&self, at: NodeId, key: &str, depth: usize) -> Option<(NodeId, NodeId)> {
        if depth > 8 {
            return None;
        }
        let merges = self.tree.entries(at).iter().filter(|(k, _)| self.tree.scalar(*k) == Some("<<"));
        merges.into_iter().find_map(|(merge, value)| {
            let sources: &[NodeId] = match &self.tree.node(*value).kind {
                Kind::Sequence { style: _, items } => items,
                Kind::Mapping { .. } | Kind::Alias(_) | Kind::Scalar { .. } => std::slice::from_ref(value),
            };
            sources.iter().find_map(|from| {
                let from = match &self.tree.node(*from).kind {
                    Kind::Alias(anchor) => self.tree.anchored(*anchor)?,
                    Kind::Mapping { .. } | Kind::Sequence { .. } | Kind::Scalar { .. } => *from,
                };
                let direct = self.tree.entries(from).iter().find(|(k, _)| self.tree.scalar(*k) == Some(key));
                let defined = match direct {
                    Some((k, _)) => *k,
                    None => self.merged(from, key, depth + 1)?.1,
                };
                Some((*merge, defined))
            })
        })
    }

    fn step_index(&self, at: NodeId, path: &Path, i: usize, index: usize) -> Result<NodeId, Refusal> {
        let Kind::Sequence { style: _, items } = &self.tree.node(at).kind else {
            return self.wrong_kind(at, path, i, "a list");
        };
        match items.get(index) {
            Some(item) => Ok(*item),
            None => self.refuse(at, Why::NoSuchItem { path: so_far(path, i + 1), count: items.len() }),
        }
    }

    fn step_item(
        &self,
        at: NodeId,
        path: &Path,
        i: usize,
        field: &str,
        value: &str,
    ) -> Result<NodeId, Refusal> {
        let Kind::Sequence { style: _, items } = &self.tree.node(at).kind else {
            return self.wrong_kind(at, path, i, "a list");
        };
        let mut found = items.iter().copied().filter(|item| {
            // Through an alias too, so that it is told as one.
            let item = match &self.tree.node(*item).kind {
                Kind::Alias(anchor) => self.tree.anchored(*anchor).unwrap_or(*item),
                Kind::Mapping { .. } | Kind::Sequence { .. } | Kind::Scalar { .. } => *item,
            };
            self.tree.value(item, field).and_then(|node| self.tree.scalar(node)) == Some(value)
        });
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (Some(first), Some(second)) => {
                let first = self.tree.node(first).lines.0;
                self.refuse(second, Why::AmbiguousItem { path: so_far(path, i + 1), first })
            }
            (None, _) => self.refuse(at, Why::NoSuchItem { path: so_far(path, i + 1), count: items.len() }),
        }
    }

    fn wrong_kind<T>(&self, at: NodeId, path: &Path, i: usize, wanted: &'static str) -> Result<T, Refusal> {
        let path = if i == 0 { "the document".into() } else { so_far(path, i) };
        self.refuse(at, Why::WrongKind { path, found: self.tree.word(at), wanted })
    }

    /// What is to be written into the scalar `target`, which an edit called `called`.
    pub fn site(&self, target: NodeId, called: &str, new: &Replacement) -> Result<Site, Refusal> {
        let node = self.tree.node(target);
        let Kind::Scalar { text: old, style } = &node.kind else {
            return self
                .refuse(target, Why::NotAScalar { path: called.into(), found: self.tree.word(target) });
        };
        if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
            return self.refuse_block(target);
        }
        let core = node.tag.as_ref().and_then(|tag| tag.core.as_deref());
        if let (Some(tag), Some(core)) = (&node.tag, core)
            && core != "str"
        {
            return self.refuse(target, Why::Typed(shortened(&tag.full)));
        }
        let absent = self.tree.is_absent(target);
        let old = if absent { "" } else { old.as_ref() };
        let wrong = |problem: String| Why::WrongValue { found: shortened(old), problem };
        let text = new.applied_to(old).or_else(|problem| self.refuse(target, wrong(problem)))?;
        let reads_as_string =
            !absent && (*style != ScalarStyle::Plain || core == Some("str") || !is_typed(old));
        let change = if reads_as_string && old == text.as_str() {
            Change::Nothing
        } else if absent {
            let at = self.behind_colon(target)?;
            let written = self.written(&text, ScalarStyle::Plain, target)?;
            Change::Scalar { node: target, bytes: at..at, written: format!(" {written}"), text: text.clone() }
        } else {
            let written = self.written(&text, *style, target)?;
            Change::Scalar { node: target, bytes: node.bytes.clone(), written, text: text.clone() }
        };
        Ok(Site {
            address: self.address(target),
            line: node.lines.0,
            old: old.to_owned(),
            new: text.as_str().to_owned(),
            change,
        })
    }

    pub fn written(&self, text: &Text, style: ScalarStyle, node: NodeId) -> Result<String, Refusal> {
        if self.source.is_json() {
            return Ok(double_quoted(text));
        }
        match encode(text, style, self.tree.in_flow(node)) {
            Some(written) => Ok(written),
            None => self.refuse_block(node),
        }
    }

    /// By the line of its key: a block begins on the next one.
    fn refuse_block<T>(&self, block: NodeId) -> Result<T, Refusal> {
        self.refuse(self.key_of(block).unwrap_or(block), Why::BlockScalar)
    }

    fn key_of(&self, value: NodeId) -> Option<NodeId> {
        let entries = self.tree.entries(self.tree.node(value).parent?);
        entries.iter().find(|(_, v)| *v == value).map(|(key, _)| *key)
    }

    /// Where a value that is not there would stand: right behind its key's colon.
    pub fn behind_colon(&self, target: NodeId) -> Result<usize, Refusal> {
        let node = self.tree.node(target);
        let Some(key) = self.key_of(target).filter(|_| node.anchor == 0 && node.tag.is_none()) else {
            return self.refuse(target, Why::Empty);
        };
        let end = self.tree.node(key).bytes.end;
        let rest = self.source.text.get(end..).unwrap_or_default();
        let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        if rest[blanks..].starts_with(':') { Ok(end + blanks + 1) } else { self.refuse(target, Why::Empty) }
    }

    /// The scalars on the lines that carry `marker`.
    fn marked(&self, marker: &Marker, new: &Replacement) -> Result<Vec<Site>, Refusal> {
        if self.source.is_json() {
            return Err(self.source.refusal(None, Why::MarkerInJson));
        }
        let mut sites = Vec::new();
        for comment in &self.tree.comments {
            let Some(by) = marks(&comment.text, marker) else { continue };
            let target = self.on_line_of(comment, marker)?;
            let site = self.site(target, marker.as_str(), new)?;
            if let Some(problem) = unfit(marker, by, new, &site) {
                let found = shortened(&site.old);
                return self.refuse(target, Why::WrongValue { found, problem: problem.into() });
            }
            if sites.len() == MAX_MARKED {
                return self.refuse(target, Why::TooManyMarked(marker.as_str().into()));
            }
            sites.push(site);
        }
        if sites.is_empty() {
            return Err(self.source.refusal(None, Why::NoMarker(marker.as_str().into())));
        }
        Ok(sites)
    }

    /// The one value on the line before a comment.
    pub fn on_line_of(&self, comment: &Comment<'_>, marker: &Marker) -> Result<NodeId, Refusal> {
        // Nodes stand in the order of the text: the last ones before the comment are the ones to look at, back
        // to the first leaf that ends on an earlier line.
        let before = self.tree.nodes.partition_point(|node| node.bytes.start < comment.bytes.start);
        let leaf = |id: &NodeId| matches!(self.tree.node(*id).kind, Kind::Scalar { .. } | Kind::Alias(_));
        let mut found = (0..before)
            .rev()
            .filter(leaf)
            .take_while(|id| self.tree.node(*id).lines.1 >= comment.line)
            .filter(|id| self.tree.node(*id).role != Role::Key);
        let refuse = |found| {
            let why = Why::MarkerNotOnValue { marker: marker.as_str().into(), found };
            Err(self.source.refusal(comment.line, why))
        };
        match (found.next(), found.next()) {
            (Some(one), None) => match &self.tree.node(one).kind {
                Kind::Alias(_) => refuse("its value is an alias"),
                Kind::Scalar { .. } | Kind::Sequence { .. } | Kind::Mapping { .. } => Ok(one),
            },
            (Some(_), Some(_)) => refuse("it has several values"),
            (None, _) => match self.tree.nodes.get(before).map(|node| &node.kind) {
                // The comment stands behind the `|`, the block below it.
                Some(Kind::Scalar { style: ScalarStyle::Literal | ScalarStyle::Folded, .. }) => {
                    Err(self.source.refusal(comment.line, Why::BlockScalar))
                }
                _ => refuse("it has no value"),
            },
        }
    }

    /// The name of a node that does not depend on how an edit spelled it.
    pub fn address(&self, target: NodeId) -> String {
        let mut steps = Vec::new();
        let mut at = target;
        while let Some(parent) = self.tree.node(at).parent {
            match &self.tree.node(parent).kind {
                Kind::Mapping { style: _, entries } => {
                    let key = entries.iter().find(|(k, value)| *value == at || *k == at);
                    let text = key.and_then(|(k, _)| self.tree.scalar(*k)).unwrap_or_default();
                    steps.push(Step::Key(text.to_owned()));
                }
                Kind::Sequence { style: _, items } => steps.push(self.item_step(items, at)),
                Kind::Scalar { .. } | Kind::Alias(_) => {}
            }
            at = parent;
        }
        steps.reverse();
        self.in_document(at, Path::new(steps).map_or_else(|| "$".into(), |path| path.to_string()))
    }

    pub fn in_document(&self, root: NodeId, path: String) -> String {
        match self.kind_and_name(root) {
            (Some(kind), Some(name)) => format!("{}/{}:{path}", shortened(kind), shortened(name)),
            _ if self.tree.documents.len() > 1 => {
                let index = self.tree.documents.iter().position(|document| *document == root).unwrap_or(0);
                format!("#{index}:{path}")
            }
            _ => path,
        }
    }

    /// An item by its `name`, if no other has it; else by its place.
    fn item_step(&self, items: &[NodeId], item: NodeId) -> Step {
        let name = |id: NodeId| self.tree.value(id, "name").and_then(|node| self.tree.scalar(node));
        let index = items.iter().position(|id| *id == item).unwrap_or(0);
        match name(item) {
            Some(text) if items.iter().filter(|id| name(**id) == Some(text)).count() == 1 => {
                Step::Item { field: "name".into(), value: text.to_owned() }
            }
            Some(_) | None => Step::Index(index),
        }
    }
}

/// Whose comment it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MarkedBy {
    Pipekick,
    Flux,
}

pub(super) fn marks(comment: &str, marker: &Marker) -> Option<MarkedBy> {
    let comment = comment.trim();
    if let Some(name) = comment.strip_prefix("pipekick:") {
        return (name.trim() == marker.as_str()).then_some(MarkedBy::Pipekick);
    }
    if !comment.starts_with('{') {
        return None;
    }
    let setter: serde_json::Value = serde_json::from_str(comment).ok()?;
    (setter.get("$imagepolicy")?.as_str()? == marker.as_str()).then_some(MarkedBy::Flux)
}

/// Why a marked value and what is to be written into it do not go together.
fn unfit(marker: &Marker, by: MarkedBy, new: &Replacement, site: &Site) -> Option<&'static str> {
    if !matches!(new, Replacement::Whole(_)) {
        return None;
    }
    let (old, new) = (site.old.as_str(), site.new.as_str());
    match marker.value() {
        MarkedValue::Tag if new.parse::<ImageTag>().is_err() => {
            Some("marked `:tag`, and the new value is no image tag")
        }
        MarkedValue::Tag if old.contains('/') || old.contains(':') => {
            Some("marked `:tag`, but is more than a tag: mark it without `:tag` and use `part: Tag`")
        }
        MarkedValue::Name if new.parse::<ImageName>().is_err() => {
            Some("marked `:name`, and the new value is no image name")
        }
        MarkedValue::Digest if new.parse::<ImageDigest>().is_err() => {
            Some("marked `:digest`, and the new value is no digest")
        }
        MarkedValue::Whole if by == MarkedBy::Flux => match new.parse::<ImageRef>() {
            Err(_) => Some("marked by Flux for a whole image, and the new value is no image reference"),
            Ok(ImageRef { name: _, tag: None, digest: None }) => Some(
                "marked by Flux for a whole image, and the new value has no tag or digest: write name:tag, or use `part: Tag`",
            ),
            Ok(ImageRef { .. }) => None,
        },
        MarkedValue::Tag | MarkedValue::Name | MarkedValue::Digest | MarkedValue::Whole => None,
    }
}

/// The first `steps` of a path, for messages.
fn so_far(path: &Path, steps: usize) -> String {
    Path::new(path.steps()[..steps].to_vec()).map_or_else(|| "the document".into(), |path| path.to_string())
}

/// What a message quotes of a file: the start of it, on one line.
pub(super) fn shortened(text: &str) -> String {
    let mut out: String =
        text.chars().take(60).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(60).is_some() {
        out.push('…');
    }
    out
}
