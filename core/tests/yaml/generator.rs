//! Random YAML files: nested maps and lists, in block and flow style, every kind of scalar, comments, anchors,
//! aliases, tags, odd indentation, CRLF, byte order mark, several documents.

use proptest::prelude::*;

/// A value, before it is written in some style.
#[derive(Debug, Clone)]
enum Node {
    Scalar(String),
    Block(Vec<String>),
    Alias,
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z][a-z0-9]{0,6}",
        3 => "v?[0-9]{1,3}(\\.[0-9]{1,2}){0,2}",
        2 => "(a|registry\\.example\\.com:5000)/[a-z]{1,5}:[a-z0-9.]{1,6}",
        1 => prop::sample::select(vec!["", "true", "no", "~", "null", "2026-11-25", "0x1f", "1e3", "<<", "-", "..."]).prop_map(str::to_owned),
        2 => "[a-zA-Z0-9 #:,'\"\\\\\\[\\]{}&*!|>%@`?=~ü日🚀-]{0,14}",
    ]
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        12 => scalar().prop_map(Node::Scalar),
        1 => prop::collection::vec("[a-z #:\"'-]{0,8}", 1..4).prop_map(Node::Block),
        1 => Just(Node::Alias),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![prop::collection::vec(inner.clone(), 0..5).prop_map(Node::List), map(inner),]
    })
}

fn map(value: impl Strategy<Value = Node>) -> impl Strategy<Value = Node> {
    let key = prop_oneof![6 => "[a-z]{1,6}", 1 => "[a-z]{1,3}[./ -][a-z]{1,3}", 1 => "[0-9]{1,4}", 1 => "[ü'\":#]{1,3}"];
    prop::collection::vec((key, value), 0..6).prop_map(|entries| {
        let mut seen = std::collections::HashSet::new();
        Node::Map(entries.into_iter().filter(|(key, _)| seen.insert(key.clone())).collect())
    })
}

/// The text of a file.
pub fn file() -> impl Strategy<Value = String> {
    let documents = prop::collection::vec(map(node()), 1..3);
    (documents, prop::collection::vec(any::<u8>(), 8..64)).prop_map(|(documents, styles)| {
        let mut writer = Writer { out: String::new(), styles, at: 0, anchors: 0 };
        writer.file(&documents);
        writer.out
    })
}

/// Writes nodes; each choice of style takes the next byte of `styles`.
struct Writer {
    out: String,
    styles: Vec<u8>,
    at: usize,
    anchors: usize,
}

impl Writer {
    fn one_of(&mut self, n: u8) -> u8 {
        self.at += 1;
        // Turned at each round, so that a short list of bytes does not repeat itself.
        let round = (self.at / self.styles.len()) as u8;
        (self.styles[self.at % self.styles.len()].rotate_left(u32::from(round % 8)) ^ round) % n
    }

    fn file(&mut self, documents: &[Node]) {
        let (crlf, mark, ended) = (self.one_of(4) == 0, self.one_of(6) == 0, self.one_of(4) != 0);
        for (i, document) in documents.iter().enumerate() {
            self.anchors = 0;
            if i > 0 || self.one_of(3) == 0 {
                self.out.push_str("---\n");
            }
            self.comment_lines(0);
            if documents.len() > 1 {
                self.out.push_str(&format!("kind: Thing\nmetadata: {{name: thing-{i}}}\n"));
                // The rest below a key, so that no other key is written twice.
                self.out.push_str("spec:");
                self.value(document, 0);
            } else if let Node::Map(entries) = document
                && !entries.is_empty()
            {
                self.map(entries, 0);
            } else {
                self.flow(document);
                self.out.push('\n');
            }
        }
        if !ended && !self.out.ends_with("\n\n") {
            self.out.pop();
        }
        if crlf {
            self.out = self.out.replace('\n', "\r\n");
        }
        if mark {
            self.out.insert(0, '\u{feff}');
        }
    }

    fn comment_lines(&mut self, indent: usize) {
        for _ in 0..self.one_of(8).saturating_sub(5) {
            let column = if self.one_of(2) == 0 { 0 } else { indent };
            self.out.push_str(&format!("{}# tag: v1 'x\n", " ".repeat(column)));
        }
        if self.one_of(10) == 0 {
            self.out.push_str("   \n\n");
        }
    }

    fn end_line(&mut self) {
        match self.one_of(6) {
            0 => self.out.push_str(" # a: \"b"),
            // Behind `-` and `:` a tab would forbid what follows, to libyaml.
            1 if !self.out.ends_with(['-', ':']) => self.out.push_str("\t#c"),
            2 => self.out.push_str("  "),
            _ => {}
        }
        self.out.push('\n');
    }

    fn map(&mut self, entries: &[(String, Node)], indent: usize) {
        for (i, (key, value)) in entries.iter().enumerate() {
            // The first key stands behind `- ` at times: nothing may come before it.
            if i > 0 {
                self.comment_lines(indent);
                self.out.push_str(&" ".repeat(indent));
            }
            self.key(key);
            self.value(value, indent);
        }
    }

    fn key(&mut self, key: &str) {
        let plain = key.chars().all(|c| c.is_ascii_alphanumeric())
            && !matches!(key, "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null");
        match self.one_of(4) {
            0 => self.out.push_str(&single(key)),
            1 => self.out.push_str(&double(key)),
            _ if plain => self.out.push_str(key),
            _ => self.out.push_str(&double(key)),
        }
        if self.one_of(12) == 0 {
            self.out.push(' ');
        }
        self.out.push(':');
    }

    /// Behind `key:` or `-`, up to and with the line's end.
    fn value(&mut self, node: &Node, indent: usize) {
        match node {
            Node::Map(entries) if !entries.is_empty() && self.one_of(4) != 0 => {
                self.properties(true);
                self.end_line();
                let deeper = indent + 1 + usize::from(self.one_of(4));
                self.comment_lines(deeper);
                self.out.push_str(&" ".repeat(deeper));
                self.map(entries, deeper);
            }
            Node::List(items) if !items.is_empty() && self.one_of(4) != 0 => {
                self.properties(true);
                self.end_line();
                let deeper = indent + usize::from(self.one_of(4));
                self.list(items, deeper);
            }
            Node::Block(lines) => self.block(lines, indent),
            Node::Scalar(_) | Node::Alias | Node::Map(_) | Node::List(_) => {
                let blanks = " ".repeat(1 + usize::from(self.one_of(8) / 6));
                self.out.push_str(&blanks);
                self.inline(node, Some(indent + 1));
                self.end_line();
            }
        }
    }

    fn list(&mut self, items: &[Node], indent: usize) {
        for item in items {
            self.comment_lines(indent);
            self.out.push_str(&" ".repeat(indent));
            self.out.push('-');
            match item {
                Node::Map(entries) if !entries.is_empty() && self.one_of(3) != 0 => {
                    let gap = 1 + usize::from(self.one_of(3));
                    self.out.push_str(&" ".repeat(gap));
                    self.map(entries, indent + 1 + gap);
                }
                Node::List(items) if !items.is_empty() && self.one_of(3) != 0 => {
                    self.end_line();
                    self.list(items, indent + 2);
                }
                Node::Map(_) | Node::List(_) => {
                    self.out.push(' ');
                    self.flow(item);
                    self.end_line();
                }
                Node::Scalar(_) | Node::Alias | Node::Block(_) => self.value(item, indent),
            }
        }
    }

    fn block(&mut self, lines: &[String], indent: usize) {
        let style = [" |", " >", " |-", " >-", " |+"][usize::from(self.one_of(5))];
        self.out.push_str(style);
        // A first line that begins with a blank would need an indentation indicator.
        let deeper = indent + 2;
        self.out.push('\n');
        for line in lines {
            self.out.push_str(&format!("{}x{line}\n", " ".repeat(deeper)));
        }
    }

    /// A value that may stand on a line with others. `indent`: in block context, for scalars of several lines.
    fn inline(&mut self, node: &Node, indent: Option<usize>) {
        match node {
            Node::Scalar(text) => {
                self.properties(false);
                self.scalar(text, indent);
            }
            Node::Alias if self.anchors > 0 => {
                let anchor = usize::from(self.one_of(200)) % self.anchors;
                // A blank: a colon or comma behind an alias would belong to its name to some.
                self.out.push_str(&format!("*a{anchor} "));
            }
            Node::Alias => self.out.push_str("none"),
            Node::Block(lines) => self.scalar(&lines.concat(), None),
            Node::Map(_) | Node::List(_) => self.flow(node),
        }
    }

    fn flow(&mut self, node: &Node) {
        match node {
            Node::List(items) => {
                self.out.push('[');
                for (i, item) in items.iter().enumerate() {
                    self.between(i);
                    self.inline(item, None);
                }
                self.out.push(']');
            }
            Node::Map(entries) => {
                self.out.push('{');
                for (i, (key, value)) in entries.iter().enumerate() {
                    self.between(i);
                    self.key(key);
                    self.out.push(' ');
                    self.inline(value, None);
                }
                self.out.push('}');
            }
            Node::Scalar(_) | Node::Alias | Node::Block(_) => self.inline(node, None),
        }
    }

    fn between(&mut self, i: usize) {
        if i > 0 {
            let comma = [", ", ",", " , ", ",  "][usize::from(self.one_of(4))];
            self.out.push_str(comma);
        }
    }

    /// Anchors and tags before a node.
    fn properties(&mut self, collection: bool) {
        match self.one_of(16) {
            0 if !collection => self.out.push_str("!local "),
            1 if !collection => self.out.push_str("!!str "),
            2 | 3 if !collection => {
                self.out.push_str(&format!("&a{} ", self.anchors));
                self.anchors += 1;
            }
            _ => {}
        }
    }

    fn scalar(&mut self, text: &str, indent: Option<usize>) {
        let in_flow = indent.is_none();
        match (self.one_of(6), indent) {
            (0, _) => self.out.push_str(&single(text)),
            (1, _) => self.out.push_str(&double(text)),
            (2, Some(indent)) if text.contains(' ') && !text.contains("  ") && text.trim() == text => {
                // Folded over two lines, in quotes: the line break reads as the blank.
                let folded = double(text).replacen(' ', &format!("\n{}", " ".repeat(indent)), 1);
                self.out.push_str(&folded);
            }
            (3, _) => {
                let escaped: String = double(text).replace('a', "\\x61").replace('ü', "\\u00fc");
                self.out.push_str(&escaped);
            }
            _ if is_plain(text, in_flow) => self.out.push_str(text),
            _ => self.out.push_str(&double(text)),
        }
    }
}

fn single(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn double(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What may stand without quotes, by the generator's own cautious rule; it may well read as a number.
fn is_plain(text: &str, in_flow: bool) -> bool {
    let inner =
        |c: char| c.is_ascii_alphanumeric() || "./_".contains(c) || (!in_flow && " :#'\"ü日🚀".contains(c));
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(inner)
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.contains("::")
        && !text.ends_with([' ', ':'])
}
