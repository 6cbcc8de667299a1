//! Exact edits of files in a repository: one scalar's bytes change, and no other byte.
//!
//! ```text
//! bytes ── Source::read ──▶ tree ── locate (path, marker, image, line) ──▶ sites ── splice ──▶ text ── verify ──▶ text
//!                          bounded        refuses, by file and line              a range each     parsed again
//! ```
//!
//! | what | kept |
//! | --- | --- |
//! | quotes | as they were: `'` doubled, `"` and `\` escaped; a plain scalar stays plain where every reader takes it for the same string, and gets double quotes where not |
//! | comments, anchors, tags, indentation, line ends, byte order mark, `---`, flow style, missing final newline | to the byte |
//!
//! An anchored scalar can be edited where it is defined; its aliases follow, as they do for whoever reads the
//! file. What leads through an alias or a merge key is refused, and so are block scalars, values tagged as
//! numbers, keys that stand twice, and whatever else cannot be done exactly; see [`Why`].
//!
//! Files of `KEY=value` lines are [`env_file`]'s. What this module does not do: re-emit YAML, ever; read
//! templates (a Helm chart's `templates/` are no YAML); know where a value came from.
//!
//! Why it is done by ranges, and with which parser: `docs/adr/0009-edits-are-byte-ranges.md`.

mod env_file;
mod kustomize;
mod locate;
mod path;
mod refusal;
mod scalar;
mod splice;
mod spot;
#[cfg(test)]
mod tests;
mod tree;
mod verify;

use std::cell::OnceCell;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

pub(crate) use env_file::assignments;
pub use env_file::{EnvKey, EnvKeyError};
pub use path::{MAX_PATH, Path, PathError, Step};
pub use refusal::{Place, Refusal, Why};
pub use scalar::{MAX_TEXT, Text, TextError};
pub use splice::Site;
pub use spot::Spot;

use crate::domain::repo_path::Format;
use crate::domain::{ImageDigest, ImageName, ImageRef, ImageTag, RepoPath};
use tree::Tree;

/// Largest file that is read, in bytes: its tree takes some 20 times as much for a moment.
pub const MAX_FILE: usize = 2 << 20;

/// One change to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// The scalar at a path.
    Path {
        /// The document, where the file has several.
        document: Option<DocumentSelector>,
        /// The way to it.
        path: Path,
        /// What to write.
        new: Replacement,
    },
    /// The scalar on each line that carries the marker.
    Marker {
        /// The marker.
        marker: Marker,
        /// What to write.
        new: Replacement,
    },
    /// The entry for an image under `images` of a kustomization.
    Image {
        /// The entry's `name`.
        name: ImageName,
        /// What it is to say.
        set: ImageFields,
        /// Add the entry, or a key it lacks.
        create: bool,
    },
    /// The value of a `KEY=value` line.
    Line {
        /// The key.
        key: EnvKey,
        /// What to write.
        new: Text,
    },
}

/// What is written into a scalar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replacement {
    /// The whole scalar.
    Whole(Text),
    /// The tag of the image reference that stands there. A digest that stands there named the old image, and
    /// would still decide what runs: it is replaced by the new one, or dropped with none.
    Tag(ImageTag, Option<ImageDigest>),
    /// The digest of the image reference that stands there; the tag stays.
    Digest(ImageDigest),
    /// The name of the image reference that stands there; tag and digest stay.
    Name(ImageName),
}

/// Which of several documents: by `kind`, by `metadata.name`, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentSelector {
    kind: Option<String>,
    name: Option<String>,
}

impl DocumentSelector {
    /// At least one of the two; `None` without any.
    #[must_use]
    pub fn new(kind: Option<String>, name: Option<String>) -> Option<Self> {
        (kind.is_some() || name.is_some()).then_some(Self { kind, name })
    }
}

impl fmt::Display for DocumentSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name } = self;
        write!(f, "{}/{}", kind.as_deref().unwrap_or("*"), name.as_deref().unwrap_or("*"))
    }
}

/// What an entry of a kustomization's `images` is to say; at least one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFields {
    new_name: Option<ImageName>,
    new_tag: Option<ImageTag>,
    digest: Option<ImageDigest>,
}

impl ImageFields {
    /// `None` where nothing is set.
    #[must_use]
    pub fn new(
        new_name: Option<ImageName>,
        new_tag: Option<ImageTag>,
        digest: Option<ImageDigest>,
    ) -> Option<Self> {
        let any = new_name.is_some() || new_tag.is_some() || digest.is_some();
        any.then_some(Self { new_name, new_tag, digest })
    }
}

/// The name of a marked line: `checkout:tag` of `# pipekick: checkout:tag`, or Flux's
/// `flux-system:checkout:tag` of `# {"$imagepolicy": "flux-system:checkout:tag"}`. Its last part may say what
/// the marked value is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Marker(String);

/// What a marked value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MarkedValue {
    /// `…:tag`: a tag alone.
    Tag,
    /// `…:name`: an image's name alone.
    Name,
    /// `…:digest`: a digest alone.
    Digest,
    /// Nothing of that: with Flux's marker a whole reference, with ours what the edit says.
    Whole,
}

/// A text that cannot mark a line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no marker: use up to three words of letters, digits, `.`, `_`, `-` and `/`, joined by `:`")]
pub struct MarkerError(String);

impl Marker {
    /// As it stands in the comment.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What its last part says of the value.
    #[must_use]
    pub fn value(&self) -> MarkedValue {
        match self.0.rsplit_once(':') {
            Some((_, "tag")) => MarkedValue::Tag,
            Some((_, "name")) => MarkedValue::Name,
            Some((_, "digest")) => MarkedValue::Digest,
            Some(_) | None => MarkedValue::Whole,
        }
    }
}

impl FromStr for Marker {
    type Err = MarkerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split(':').collect();
        let word = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b))
        };
        if text.len() <= 253 && parts.len() <= 3 && parts.iter().all(|part| word(part)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(MarkerError(
                text.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
            ))
        }
    }
}

/// A file, read.
#[derive(Debug)]
pub struct Source<'a> {
    file: &'a RepoPath,
    text: &'a str,
    /// Parsed when the first edit needs it.
    tree: OnceCell<Result<Tree<'a>, Refusal>>,
}

impl<'a> Source<'a> {
    /// Takes a file's bytes.
    ///
    /// # Errors
    /// Refuses what is too large or no UTF-8.
    pub fn read(file: &'a RepoPath, bytes: &'a [u8]) -> Result<Self, Refusal> {
        let refuse = |line, why| Err(Refusal { place: Place { file: file.clone(), line }, why });
        if bytes.len() > MAX_FILE {
            return refuse(None, Why::TooLarge(bytes.len()));
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self { file, text, tree: OnceCell::new() }),
            Err(error) => {
                let line = 1 + bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count();
                refuse(Some(line), Why::NotUtf8)
            }
        }
    }

    /// Finds what `edit` means, and what is to be written there; usually one site.
    ///
    /// # Errors
    /// Refuses what is not there, not clear, or cannot be replaced exactly.
    pub fn locate(&self, edit: &Edit) -> Result<Vec<Site>, Refusal> {
        locate::locate(self, edit)
    }

    /// The addresses of the scalars that are meant, as those of [`Source::locate`]'s sites; none where an edit would be
    /// refused.
    #[must_use]
    pub fn addresses(&self, spot: &Spot) -> Vec<String> {
        spot::addresses(self, spot)
    }

    /// The text with all of `sites` written, checked by parsing it again; `None` if every site is up to date.
    /// The sites must come from this very source.
    ///
    /// # Errors
    /// Refuses two sites that mean one scalar, and whatever would change more than was meant.
    pub fn splice(&self, sites: &[Site]) -> Result<Option<String>, Refusal> {
        splice::splice(self, sites)
    }

    fn refusal(&self, line: impl Into<Option<usize>>, why: Why) -> Refusal {
        Refusal { place: Place { file: self.file.clone(), line: line.into() }, why }
    }

    fn tree(&self) -> Result<&Tree<'a>, Refusal> {
        let parse = || {
            if self.is_json()
                && let Err(error) = as_json(self.text)
            {
                return Err(self.refusal(error.line(), Why::NotJson(error.to_string())));
            }
            Tree::parse(self.text)
                .map_err(|tree::Unparsable { message, line }| self.refusal(line, Why::Unparsable(message)))
        };
        self.tree.get_or_init(parse).as_ref().map_err(Clone::clone)
    }

    fn is_json(&self) -> bool {
        self.file.format() == Format::Json
    }

    /// How lines end in this file, by its first.
    fn newline(&self) -> &'static str {
        match self.text.find('\n') {
            Some(at) if self.text[..at].ends_with('\r') => "\r\n",
            Some(_) | None => "\n",
        }
    }
}

/// Whether a JSON reader takes it, which none does with a byte order mark.
fn as_json(text: &str) -> serde_json::Result<serde::de::IgnoredAny> {
    serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Applies all `edits` to one file, or none of them: `None` if all is already as wanted.
///
/// # Errors
/// The first refusal. A [`Refusal`] names file and line, and says what to do.
pub fn edit(file: &RepoPath, bytes: &[u8], edits: &[Edit]) -> Result<Option<String>, Refusal> {
    let source = Source::read(file, bytes)?;
    let mut sites = Vec::new();
    for edit in edits {
        sites.extend(source.locate(edit)?);
    }
    source.splice(&sites)
}

impl Replacement {
    /// What the scalar is to say, given what it says.
    fn applied_to(&self, old: &str) -> Result<Text, String> {
        let reference = || {
            old.parse::<ImageRef>().map_err(|_| {
                "no image reference (name[:tag][@digest]), so no part of it can be replaced: leave `part` out to replace the whole"
                    .to_owned()
            })
        };
        Ok(match self {
            Self::Whole(text) => text.clone(),
            Self::Tag(tag, digest) => {
                let ImageRef { name, tag: _, digest: _ } = reference()?;
                Text::from(&ImageRef { name, tag: Some(tag.clone()), digest: digest.clone() })
            }
            Self::Digest(digest) => {
                let ImageRef { name, tag, digest: _ } = reference()?;
                Text::from(&ImageRef { name, tag, digest: Some(digest.clone()) })
            }
            Self::Name(name) => {
                let ImageRef { name: _, tag, digest } = reference()?;
                Text::from(&ImageRef { name: name.clone(), tag, digest })
            }
        })
    }
}
