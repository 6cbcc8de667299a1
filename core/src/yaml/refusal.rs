//! Why a file is not edited: where, and what to do about it.

use std::fmt;

use thiserror::Error;

use crate::domain::RepoPath;

/// An edit that cannot be done exactly. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place}: {why}")]
pub struct Refusal {
    /// Where.
    pub place: Place,
    /// Why, and what to do.
    pub why: Why,
}

/// A line of a file, or the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: RepoPath,
    /// The line, counted from 1, where there is one to name.
    pub line: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line } = self;
        match line {
            Some(line) => write!(f, "{file}:{line}"),
            None => write!(f, "{file}"),
        }
    }
}

/// Why an edit is refused. Each text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Why {
    /// Bytes that are not UTF-8.
    #[error("the file is not UTF-8 text: store it as UTF-8")]
    NotUtf8,
    /// Larger than [`super::MAX_FILE`].
    #[error("the file has {0} bytes, more than 2 MiB: move the value into a smaller file")]
    TooLarge(usize),
    /// The parser does not take it.
    #[error(
        "the file cannot be parsed: {0}. Mend it; templates such as a Helm chart's are no YAML, edit their values file"
    )]
    Unparsable(String),
    /// A `.json` file that no JSON reader takes.
    #[error("the file is no JSON: {0}: mend it, or name it .yaml")]
    NotJson(String),
    /// An edit by path, image or marker of a file that has lines of `KEY=value`.
    #[error("the file is read as lines of KEY=value: use `line` with the key")]
    NotYaml,
    /// An edit by line of YAML or JSON.
    #[error("`line` is for .env files: use `path`")]
    NotEnv,
    /// The file has no document.
    #[error("the file is empty")]
    NoDocument,
    /// Several documents, and none was chosen.
    #[error("the file has {0} documents: name one with `document: {{kind: …, name: …}}`")]
    SeveralDocuments(usize),
    /// No document is the one chosen.
    #[error("no document is {wanted}; there are {there}")]
    NoSuchDocument {
        /// What was asked for.
        wanted: String,
        /// What there is.
        there: String,
    },
    /// Two documents are the one chosen.
    #[error("the documents of line {first} and of this line are both {wanted}: name kind and name of one")]
    AmbiguousDocument {
        /// What was asked for.
        wanted: String,
        /// The line of the first.
        first: usize,
    },
    /// A key on the path is missing.
    #[error("there is no `{path}`; here are {there}: write the key into the file first, or mend the path")]
    NoSuchKey {
        /// The path up to and with the key.
        path: String,
        /// The keys there are.
        there: String,
    },
    /// An item on the path is missing.
    #[error("there is no `{path}`; the list has {count} items: mend the path")]
    NoSuchItem {
        /// The path up to and with the item.
        path: String,
        /// How many items there are.
        count: usize,
    },
    /// Two items answer to one choice.
    #[error("`{path}` is this item and the one of line {first}: choose by a field that differs, or by index")]
    AmbiguousItem {
        /// The path up to and with the choice.
        path: String,
        /// The line of the first.
        first: usize,
    },
    /// The path goes into something that has no such parts.
    #[error("`{path}` is {found}, not {wanted}: mend the path")]
    WrongKind {
        /// The path so far.
        path: String,
        /// What is there.
        found: &'static str,
        /// What the path takes it for.
        wanted: &'static str,
    },
    /// A mapping has one key twice.
    #[error("`{key}` stands here and in line {first}: remove one")]
    DuplicateKey {
        /// The key.
        key: String,
        /// The line of the first.
        first: usize,
    },
    /// The path leads through an alias.
    #[error("`{path}` is an alias of the node of line {defined}: edit it there, or write the value out here")]
    Alias {
        /// The path up to the alias.
        path: String,
        /// The line of what it stands for.
        defined: usize,
    },
    /// The key comes from a merge key.
    #[error("`{path}` comes by `<<` from line {defined}: edit it there, or write the key out here")]
    Merged {
        /// The path up to the key.
        path: String,
        /// The line of the key in what is merged.
        defined: usize,
    },
    /// The value is a `|` or `>` block.
    #[error(
        "the value is a block scalar (`|` or `>`), which cannot be replaced exactly: write it on one line"
    )]
    BlockScalar,
    /// The value carries a tag that makes it no string.
    #[error("the value is tagged {0}: remove the tag, an image is a string")]
    Typed(String),
    /// There is nothing to replace, and no plain place to write into.
    #[error("the value is empty here: write a placeholder such as \"\" first")]
    Empty,
    /// The value is a mapping or sequence.
    #[error("`{path}` is {found}: name the scalar in it")]
    NotAScalar {
        /// The whole path, or the marker.
        path: String,
        /// What is there.
        found: &'static str,
    },
    /// No comment is this marker.
    #[error(
        "no line is marked `# pipekick: {0}` (or by Flux's $imagepolicy of that name): mark the line of the value"
    )]
    NoMarker(String),
    /// JSON has no comments.
    #[error("JSON has no comments to mark a line with: use `path`")]
    MarkerInJson,
    /// The marked line has no value, or several.
    #[error("the line is marked `{marker}`, but {found}: put one value on the marked line")]
    MarkerNotOnValue {
        /// The marker.
        marker: String,
        /// What is on the line.
        found: &'static str,
    },
    /// One marker on very many lines.
    #[error("more than 100 lines are marked `{0}`: use several files or several markers")]
    TooManyMarked(String),
    /// What stands there is not of the kind the edit replaces.
    #[error("the value `{found}` is {problem}")]
    WrongValue {
        /// What stands there, shortened.
        found: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The kustomization has no entry for the image.
    #[error("`images` has no entry for {0}: add one, or set `create: true`")]
    NoImage(String),
    /// The entry, or the list of entries, is written in a way that nothing can be added to exactly.
    #[error("nothing can be added to {0} as it is written: write the entry by hand, one key a line")]
    NoRoom(&'static str),
    /// The entry lacks the key.
    #[error("the entry for {image} has no `{key}`: add it, or set `create: true`")]
    NoImageKey {
        /// The image.
        image: String,
        /// The key.
        key: &'static str,
    },
    /// A new tag beside a digest that stays would change nothing.
    #[error(
        "the entry for {0} has a `digest`, which decides what runs whatever `newTag` says: set `digest` too, or remove it"
    )]
    PinnedByDigest(String),
    /// No line has the key.
    #[error("no line begins `{0}=`: add it to the file first")]
    NoLine(String),
    /// Two lines have the key.
    #[error("`{key}=` stands here and in line {first}: remove one")]
    DuplicateLine {
        /// The key.
        key: String,
        /// The line of the first.
        first: usize,
    },
    /// The line's quotes are not closed on it, or something follows them.
    #[error(
        "the value does not end on its line, or something follows its quotes: write KEY=value on one line"
    )]
    OddLine,
    /// The value would need quoting that readers of .env files do not agree on.
    #[error(
        "the new value has {0:?}, which readers of .env files do not agree on here: quote the value in the file, or choose another"
    )]
    NotForEnv(char),
    /// Two edits mean one scalar.
    #[error("two edits write `{0}`: keep one")]
    SameScalar(String),
    /// The value needs quotes, and a line below it is blank but for a tab.
    #[error(
        "the new value needs quotes, and a line below it is blank but for a tab, which YAML readers refuse below quotes: remove the tab"
    )]
    TabBelow,
    /// Parsed again, more (or less) than the meant scalars differs. The edit was dropped.
    #[error("the edit would change more than `{0}`, and was dropped: write the value on a line of its own")]
    NotExact(String),
}
