//! A file as a tree of nodes with their bytes: what YAML says, and where it says it.
//!
//! Aliases are not followed and nothing is resolved: an edit is about what is written. Nesting is bounded by the
//! parser (255 block and 255 flow levels), so recursion over the tree is.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, StructureStyle, options};

/// Index of a node in its [`Tree`].
pub(super) type NodeId = usize;

/// All documents of a file.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    pub nodes: Vec<Node<'a>>,
    /// The root of each document.
    pub documents: Vec<NodeId>,
    pub comments: Vec<Comment<'a>>,
    anchors: HashMap<usize, NodeId>,
}

#[derive(Debug)]
pub(super) struct Comment<'a> {
    /// What follows the `#`.
    pub text: Cow<'a, str>,
    pub bytes: Range<usize>,
    pub line: usize,
}

#[derive(Debug)]
pub(super) struct Node<'a> {
    pub kind: Kind<'a>,
    /// A scalar's or alias's own bytes, quotes included; a collection's from its first to its last.
    pub bytes: Range<usize>,
    /// First and last line, from 1.
    pub lines: (usize, usize),
    pub parent: Option<NodeId>,
    pub role: Role,
    /// The parser's number of the anchor on this node; 0 without one.
    pub anchor: usize,
    /// The tag as it resolves, and whether it is one of YAML's own.
    pub tag: Option<Tag>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag {
    pub full: String,
    /// `int` of `!!int`.
    pub core: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Root,
    Key,
    Value,
    Item,
}

#[derive(Debug)]
pub(super) enum Kind<'a> {
    Scalar {
        text: Cow<'a, str>,
        style: ScalarStyle,
    },
    Sequence {
        style: StructureStyle,
        items: Vec<NodeId>,
    },
    Mapping {
        style: StructureStyle,
        entries: Vec<(NodeId, NodeId)>,
    },
    /// The anchor's number.
    Alias(usize),
}

/// Why a text is no YAML, and the line of it.
pub(super) struct Unparsable {
    pub message: String,
    pub line: usize,
}

/// Collections that were begun and not ended.
struct Open {
    id: NodeId,
    /// In a mapping: the key whose value comes next.
    key: Option<NodeId>,
}

impl<'a> Tree<'a> {
    pub fn parse(source: &'a str) -> Result<Self, Unparsable> {
        // The files are bounded in size, so no number of comments in a row is too many: values files of charts
        // have hundreds.
        let options = options! { max_buffered_comment_events: usize::MAX };
        let mut tree =
            Self { nodes: Vec::new(), documents: Vec::new(), comments: Vec::new(), anchors: HashMap::new() };
        let mut open: Vec<Open> = Vec::new();
        for next in Parser::new_from_str_with_options(source, options) {
            let (event, span) =
                next.map_err(|error| Unparsable { line: error.marker().line(), message: error.to_string() })?;
            let missing =
                || Unparsable { message: "the parser lost its place".into(), line: span.start.line() };
            let bytes =
                span.byte_range().filter(|range| source.get(range.clone()).is_some()).ok_or_else(missing)?;
            let lines = (span.start.line(), span.end.line());
            let (kind, anchor, tag) = match event {
                Event::Comment(text, _) => {
                    tree.comments.push(Comment { text, bytes, line: lines.0 });
                    continue;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(Open { id, key: _ }) = open.pop() {
                        let node = &mut tree.nodes[id];
                        node.bytes.end = bytes.end.max(node.bytes.start);
                        node.lines.1 = lines.1;
                    }
                    continue;
                }
                Event::Scalar(text, style, anchor, tag) => (Kind::Scalar { text, style }, anchor, tag),
                Event::SequenceStart(style, anchor, tag) => {
                    (Kind::Sequence { style, items: Vec::new() }, anchor, tag)
                }
                Event::MappingStart(style, anchor, tag) => {
                    (Kind::Mapping { style, entries: Vec::new() }, anchor, tag)
                }
                Event::Alias(anchor) => (Kind::Alias(anchor), 0, None),
                // Document marks; and what only other options bring.
                _ => continue,
            };
            let tag = tag.map(|tag| Tag { full: tag.original(), core: tag.core_suffix().map(str::to_owned) });
            let begins = matches!(kind, Kind::Sequence { .. } | Kind::Mapping { .. });
            let id = tree.nodes.len();
            let role = tree.place(id, &mut open);
            let parent = open.last().map(|open| open.id);
            tree.nodes.push(Node { kind, bytes, lines, parent, role, anchor, tag });
            if anchor != 0 {
                tree.anchors.insert(anchor, id);
            }
            if begins {
                open.push(Open { id, key: None });
            }
        }
        Ok(tree)
    }

    /// Hangs the node that comes next into the collection that is open.
    fn place(&mut self, id: NodeId, open: &mut [Open]) -> Role {
        let Some(parent) = open.last_mut() else {
            self.documents.push(id);
            return Role::Root;
        };
        match &mut self.nodes[parent.id].kind {
            Kind::Sequence { style: _, items } => {
                items.push(id);
                Role::Item
            }
            Kind::Mapping { style: _, entries } => match parent.key.take() {
                None => {
                    parent.key = Some(id);
                    Role::Key
                }
                Some(key) => {
                    entries.push((key, id));
                    Role::Value
                }
            },
            Kind::Scalar { .. } | Kind::Alias(_) => Role::Root,
        }
    }

    pub fn node(&self, id: NodeId) -> &Node<'a> {
        &self.nodes[id]
    }

    /// The node that an alias stands for.
    pub fn anchored(&self, anchor: usize) -> Option<NodeId> {
        self.anchors.get(&anchor).copied()
    }

    pub fn scalar(&self, id: NodeId) -> Option<&str> {
        match &self.nodes[id].kind {
            Kind::Scalar { text, .. } => Some(text),
            Kind::Sequence { .. } | Kind::Mapping { .. } | Kind::Alias(_) => None,
        }
    }

    pub fn entries(&self, id: NodeId) -> &[(NodeId, NodeId)] {
        match &self.nodes[id].kind {
            Kind::Mapping { entries, .. } => entries,
            Kind::Scalar { .. } | Kind::Sequence { .. } | Kind::Alias(_) => &[],
        }
    }

    /// The value of the first entry whose key reads `key`.
    pub fn value(&self, id: NodeId, key: &str) -> Option<NodeId> {
        self.entries(id).iter().find(|(k, _)| self.scalar(*k) == Some(key)).map(|(_, value)| *value)
    }

    /// A value that is not there: `key:` and nothing behind it.
    pub fn is_absent(&self, id: NodeId) -> bool {
        let node = self.node(id);
        node.bytes.is_empty() && matches!(node.kind, Kind::Scalar { style: ScalarStyle::Plain, .. })
    }

    /// Whether the node stands in `[…]` or `{…}`.
    pub fn in_flow(&self, id: NodeId) -> bool {
        let mut at = self.node(id).parent;
        while let Some(parent) = at {
            let node = self.node(parent);
            match &node.kind {
                Kind::Sequence { style: StructureStyle::Flow, .. }
                | Kind::Mapping { style: StructureStyle::Flow, .. } => {
                    return true;
                }
                Kind::Sequence { .. } | Kind::Mapping { .. } | Kind::Scalar { .. } | Kind::Alias(_) => {
                    at = node.parent;
                }
            }
        }
        false
    }

    /// What a node is, in words.
    pub fn word(&self, id: NodeId) -> &'static str {
        match &self.node(id).kind {
            Kind::Scalar { .. } if self.is_absent(id) => "empty",
            Kind::Scalar { .. } => "a scalar",
            Kind::Sequence { .. } => "a list",
            Kind::Mapping { .. } => "a mapping",
            Kind::Alias(_) => "an alias",
        }
    }
}
