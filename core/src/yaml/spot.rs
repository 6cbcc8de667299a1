//! Where an edit writes, whatever it writes: for telling whether two edits mean one scalar, however each spells it.

use super::locate::{Look, marks};
use super::path::{Path, Step};
use super::{DocumentSelector, EnvKey, Marker, Source, env_file, kustomize};
use crate::domain::ImageName;
use crate::domain::repo_path::Format;

/// What an edit points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spot {
    /// The scalar at a path.
    Path {
        /// The document, where the file has several.
        document: Option<DocumentSelector>,
        /// The way to it.
        path: Path,
    },
    /// The scalar on each line that carries the marker.
    Marker(Marker),
    /// A key of the entry for an image under `images` of a kustomization.
    Image {
        /// The entry's `name`.
        name: ImageName,
        /// `newTag`, `digest` or `newName`.
        key: &'static str,
    },
    /// The value of a `KEY=value` line.
    Line(EnvKey),
}

/// The addresses of the scalars that `spot` means, as [`super::Site::address`] has them; none where an edit of it would be
/// refused.
pub(super) fn addresses(source: &Source<'_>, spot: &Spot) -> Vec<String> {
    if let Spot::Line(key) = spot {
        let is_there = env_file::assignments(source.text).iter().any(|found| found.key == key.as_str());
        return (source.file.format() == Format::Env && is_there)
            .then(|| key.to_string())
            .into_iter()
            .collect();
    }
    if source.file.format() == Format::Env {
        return Vec::new();
    }
    let Ok(tree) = source.tree() else { return Vec::new() };
    let look = Look { source, tree };
    match spot {
        Spot::Path { document, path } => {
            let target = look.document(document.as_ref()).and_then(|root| look.walk(root, path));
            target.map(|target| look.address(target)).into_iter().collect()
        }
        Spot::Marker(marker) => {
            let marked = tree.comments.iter().filter(|comment| marks(&comment.text, marker).is_some());
            let targets = marked.filter_map(|comment| look.on_line_of(comment, marker).ok());
            targets.map(|target| look.address(target)).collect()
        }
        Spot::Image { name, key } => {
            let entry = look.document(None).and_then(|root| kustomize::entry(&look, root, name));
            let Ok(Some(entry)) = entry else { return Vec::new() };
            match look.walk(entry, &Path::of(Step::Key((*key).into()))) {
                Ok(target) => vec![look.address(target)],
                // As one that is added has it.
                Err(_) => vec![format!("{}.{key}", look.address(entry))],
            }
        }
        Spot::Line(_) => Vec::new(),
    }
}
