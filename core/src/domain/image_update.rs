//! Image updates: what a trigger wants written into a repository when its pipeline has ended. What became of it is in
//! `update_record.rs`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::image::ImageError;
use super::{
    Author, Context, GitRef, ImageDigest, ImageName, ImageRef, ImageTag, MergeRequestTemplate, ProjectRef,
    RepoPath, SecretKeyRef, Template, TemplateError,
};
use crate::yaml::{
    DocumentSelector, Edit, EnvKey, ImageFields, MarkedValue, Marker, Path, Replacement, Text, TextError,
};

/// One entry of `spec.imageUpdates` with nothing left to check: edits that are committed together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUpdate {
    /// The project that is written to; unset: the trigger's own.
    pub project: Option<ProjectRef>,
    /// The token that writes; unset: the trigger's access token.
    pub access_token: Option<SecretKeyRef>,
    /// The branch that is written to.
    pub branch: GitRef,
    /// What is written: 1 to 20.
    pub edits: Vec<EditTemplate>,
    /// The first line of the commit, and of its entry in a commit of many; unset: what was edited.
    pub message: Option<Template>,
    /// Whom the commit is said to be by; unset: the token's user.
    pub author: Option<Box<Author>>,
    /// The merge request that it is written by; unset: by a commit on the branch.
    pub merge_request: Option<Box<MergeRequestTemplate>>,
    /// After which ends of the pipeline.
    pub when: When,
    /// Other triggers may write the same scalars.
    pub allow_shared: bool,
    /// Only tell what would be written.
    pub dry_run: bool,
}

/// After which ends of the pipeline an update is made. Success (when unset): after it succeeded. Always: also after it
/// failed, was cancelled or skipped; never after a timeout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum When {
    /// After it succeeded.
    #[default]
    Success,
    /// Also after it failed, was cancelled or skipped; never after a timeout.
    Always,
}

/// One edit, its values not filled in yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditTemplate {
    /// The file.
    pub file: RepoPath,
    /// What of it.
    pub target: EditTarget,
}

/// What an edit writes, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditTarget {
    /// The scalar at a path.
    Path {
        /// The document, where the file has several.
        document: Option<DocumentSelector>,
        /// The way to it.
        path: Path,
        /// What part of the scalar; unset: the whole, whatever it is.
        part: Option<Part>,
        /// What to write.
        value: Template,
    },
    /// The scalar on each line with a marker.
    Marker {
        /// The marker.
        marker: Marker,
        /// What part of the scalar; unset: the whole, of the kind that the marker says.
        part: Option<Part>,
        /// What to write.
        value: Template,
    },
    /// An entry of a kustomization's `images`; at least one of the three is set.
    Image {
        /// The entry's `name`.
        name: ImageName,
        /// Its `newName`.
        new_name: Option<Template>,
        /// Its `newTag`.
        new_tag: Option<Template>,
        /// Its `digest`.
        digest: Option<Template>,
        /// Add what is missing.
        create: bool,
    },
    /// The value of a `KEY=value` line.
    Line {
        /// The key.
        key: EnvKey,
        /// What to write.
        value: Template,
    },
}

/// What part of the value is replaced. Tag, Digest and Name are parts of the image reference that stands there. Tag: a
/// digest beside it is dropped, unless the new value has one (v2@sha256:…). Digest: the tag stays. Name: tag and digest
/// stay. Image: the whole, which must be an image reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Part {
    /// The tag; a digest beside it is dropped, unless the new value has one: `v2@sha256:…`.
    Tag,
    /// The digest; the tag stays.
    Digest,
    /// The name; tag and digest stay.
    Name,
    /// The whole, which must be an image reference.
    Image,
}

/// One edit of one file, ready to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEdit {
    /// The file.
    pub file: RepoPath,
    /// The edit.
    pub edit: Edit,
}

/// Why an edit's value cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{file}, {field}: {why}")]
pub struct EditError {
    /// The file that it was for.
    pub file: RepoPath,
    /// The field of the edit: `value`, `newTag`, …
    pub field: &'static str,
    /// Why.
    pub why: ValueError,
}

/// Why a value is not written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ValueError {
    /// The template.
    #[error("{0}")]
    Template(#[from] TemplateError),
    /// Not the part of an image that it is for.
    #[error("{0}")]
    Image(#[from] ImageError),
    /// No text that may be written.
    #[error("{0}")]
    Text(#[from] TextError),
    /// Nothing is set.
    #[error("nothing to write: set newTag, newName or digest")]
    Nothing,
}

impl EditTemplate {
    /// Fills in the values and checks each by its kind.
    ///
    /// # Errors
    /// Names the file, the field and what is wrong with its value.
    pub fn render(&self, context: &Context) -> Result<FileEdit, EditError> {
        let Self { file, target } = self;
        let edit =
            target.render(context).map_err(|(field, why)| EditError { file: file.clone(), field, why })?;
        Ok(FileEdit { file: file.clone(), edit })
    }
}

impl EditTarget {
    fn render(&self, context: &Context) -> Result<Edit, (&'static str, ValueError)> {
        Ok(match self {
            Self::Path { document, path, part, value } => {
                let new = filled(value, context)
                    .and_then(|value| replacement(&value, *part))
                    .map_err(|why| ("value", why))?;
                Edit::Path { document: document.clone(), path: path.clone(), new }
            }
            Self::Marker { marker, part, value } => {
                let value = filled(value, context).map_err(|why| ("value", why))?;
                let new = match part {
                    Some(part) => replacement(&value, Some(*part)),
                    None => marked(&value, marker.value()),
                };
                Edit::Marker { marker: marker.clone(), new: new.map_err(|why| ("value", why))? }
            }
            Self::Image { name, new_name, new_tag, digest, create } => {
                let set = ImageFields::new(
                    parsed(new_name.as_ref(), context).map_err(|why| ("newName", why))?,
                    parsed(new_tag.as_ref(), context).map_err(|why| ("newTag", why))?,
                    parsed(digest.as_ref(), context).map_err(|why| ("digest", why))?,
                );
                let set = set.ok_or(("newTag", ValueError::Nothing))?;
                Edit::Image { name: name.clone(), set, create: *create }
            }
            Self::Line { key, value } => {
                let text = filled(value, context)
                    .and_then(|value| Ok(value.parse()?))
                    .map_err(|why| ("value", why))?;
                Edit::Line { key: key.clone(), new: text }
            }
        })
    }
}

/// A template's text, without blanks around it: a value that ends in a blank was never meant to.
fn filled(template: &Template, context: &Context) -> Result<String, ValueError> {
    Ok(template.render(context)?.trim().to_owned())
}

fn parsed<T>(template: Option<&Template>, context: &Context) -> Result<Option<T>, ValueError>
where
    T: std::str::FromStr<Err = ImageError>,
{
    template.map(|template| Ok(filled(template, context)?.parse::<T>()?)).transpose()
}

fn replacement(value: &str, part: Option<Part>) -> Result<Replacement, ValueError> {
    Ok(match part {
        None => Replacement::Whole(value.parse()?),
        Some(Part::Image) => Replacement::Whole(Text::from(&value.parse::<ImageRef>()?)),
        Some(Part::Name) => Replacement::Name(value.parse()?),
        Some(Part::Digest) => Replacement::Digest(value.parse()?),
        Some(Part::Tag) => match value.split_once('@') {
            Some((tag, digest)) => Replacement::Tag(tag.parse()?, Some(digest.parse()?)),
            None => Replacement::Tag(value.parse()?, None),
        },
    })
}

fn marked(value: &str, kind: MarkedValue) -> Result<Replacement, ValueError> {
    Ok(Replacement::Whole(match kind {
        MarkedValue::Tag => Text::from(&value.parse::<ImageTag>()?),
        MarkedValue::Name => Text::from(&value.parse::<ImageName>()?),
        MarkedValue::Digest => Text::from(&value.parse::<ImageDigest>()?),
        MarkedValue::Whole => value.parse()?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(target: EditTarget) -> Result<Edit, String> {
        let template = EditTemplate { file: "a.yaml".parse().unwrap(), target };
        template.render(&Context::example()).map(|edit| edit.edit).map_err(|error| error.to_string())
    }

    fn at(part: Option<Part>, value: &str) -> EditTarget {
        EditTarget::Path {
            document: None,
            path: "image".parse().unwrap(),
            part,
            value: value.parse().unwrap(),
        }
    }

    #[test]
    fn values_are_filled_in_and_checked_by_their_kind() {
        let of = |part, value: &str| match render(at(part, value)) {
            Ok(Edit::Path { new, .. }) => Ok(new),
            Ok(other) => panic!("{other:?}"),
            Err(told) => Err(told),
        };
        assert_eq!(of(None, " {{ outputs.tag }}\n"), Ok(Replacement::Whole("v1.4.0".parse().unwrap())));
        assert_eq!(
            of(Some(Part::Tag), "{{ outputs.tag }}"),
            Ok(Replacement::Tag("v1.4.0".parse().unwrap(), None))
        );
        let hex = "0123456789abcdef".repeat(4);
        let digest = format!("sha256:{hex}").parse::<ImageDigest>().unwrap();
        assert_eq!(
            of(Some(Part::Tag), &format!("v1@{digest}")),
            Ok(Replacement::Tag("v1".parse().unwrap(), Some(digest.clone())))
        );
        assert_eq!(of(Some(Part::Digest), digest.as_str()), Ok(Replacement::Digest(digest)));
        assert_eq!(of(Some(Part::Image), "a/b:v1"), Ok(Replacement::Whole("a/b:v1".parse().unwrap())));
        for (part, value, told) in [
            (Some(Part::Tag), "a b", "a.yaml, value: `a b` is no image tag"),
            (Some(Part::Digest), "sha256:1", "a.yaml, value: `sha256:1` is no image digest"),
            (Some(Part::Name), "A", "a.yaml, value: `A` is no image name"),
            (Some(Part::Image), "a b", "a.yaml, value: `a b` is no image name"),
            (None, "{{ outputs.nope }}", "a.yaml, value: `outputs.nope` is not defined here"),
            (None, "{{ \"a\\nb\" }}", "a.yaml, value: the value has a line break"),
            (None, "{{ \"\" }}", "a.yaml, value: the value is empty"),
        ] {
            let error = of(part, value).unwrap_err();
            assert!(error.starts_with(told), "{error}");
        }
    }

    #[test]
    fn markers_and_kustomizations_say_what_their_values_are() {
        let marker = |marker: &str, value: &str| {
            render(EditTarget::Marker {
                marker: marker.parse().unwrap(),
                part: None,
                value: value.parse().unwrap(),
            })
        };
        assert!(marker("app:tag", "{{ outputs.tag }}").is_ok());
        assert!(marker("app:tag", "a/b:v1").unwrap_err().contains("no image tag"));
        assert!(marker("app:name", "a/b:v1").unwrap_err().contains("no image name"));
        assert!(marker("app", "anything at all").is_ok());
        let image = |tag: Option<&str>| {
            render(EditTarget::Image {
                name: "a/b".parse().unwrap(),
                new_name: None,
                new_tag: tag.map(|tag| tag.parse().unwrap()),
                digest: None,
                create: false,
            })
        };
        assert!(image(Some("{{ pipeline.sha[:8] }}")).is_ok());
        assert!(image(Some("a/b")).unwrap_err().starts_with("a.yaml, newTag: `a/b` is no image tag"));
        assert!(image(None).unwrap_err().contains("nothing to write"));
        let line = EditTarget::Line { key: "TAG".parse().unwrap(), value: "{{ run.seq }}".parse().unwrap() };
        assert_eq!(render(line), Ok(Edit::Line { key: "TAG".parse().unwrap(), new: "3".parse().unwrap() }));
    }
}
