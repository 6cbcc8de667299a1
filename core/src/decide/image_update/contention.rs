//! Triggers that mean to write the same scalar of the same file, as their specs say.
//!
//! Found before any of them fires, by what is written in the specs: the same path, marker, image or key of the same
//! file on the same branch. Two spellings of one scalar, a path and a marker say, are found when both are in one
//! batch, by the scalar's address.

use std::collections::{BTreeMap, BTreeSet};

use super::Owner;
use crate::domain::image_update::EditTarget;
use crate::domain::{ImageUpdate, RepoPath};

/// A branch of a project of a GitLab.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Branch {
    /// The instance, normalised.
    pub url: String,
    /// The project: its numeric id where that is known.
    pub project: String,
    /// The branch's short name.
    pub name: String,
}

/// One scalar that one owner means to write.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// Where.
    pub branch: Branch,
    /// The file.
    pub file: RepoPath,
    /// What of it, normalised.
    pub scalar: String,
    /// Who.
    pub owner: Owner,
    /// Whether they let others.
    pub allow_shared: bool,
}

/// What `update` of `owner` means to write on `branch`.
#[must_use]
pub fn claims(branch: &Branch, owner: &Owner, update: &ImageUpdate) -> Vec<Claim> {
    let of = |file: &RepoPath, scalar: String| Claim {
        branch: branch.clone(),
        file: file.clone(),
        scalar,
        owner: owner.clone(),
        allow_shared: update.allow_shared,
    };
    let mut claims = Vec::new();
    for edit in &update.edits {
        match &edit.target {
            EditTarget::Path { document, path, .. } => {
                let document = document.as_ref().map_or_else(String::new, |document| format!("{document}:"));
                claims.push(of(&edit.file, format!("path {document}{path}")));
            }
            EditTarget::Marker { marker, .. } => {
                claims.push(of(&edit.file, format!("marker {}", marker.as_str())));
            }
            EditTarget::Image { name, new_name, new_tag, digest, create: _ } => {
                // A tag beside a digest means nothing: the two are one scalar here.
                let version = new_tag.is_some() || digest.is_some();
                claims.extend(version.then(|| of(&edit.file, format!("image {name}"))));
                claims.extend(new_name.is_some().then(|| of(&edit.file, format!("image {name} newName"))));
            }
            EditTarget::Line { key, .. } => claims.push(of(&edit.file, format!("line {key}"))),
        }
    }
    claims
}

/// Who stands in whose way: for each owner, the claims of others that are the same as one of its own, where not
/// all of them allow that.
#[must_use]
pub fn contention(claims: &[Claim]) -> BTreeMap<Owner, BTreeSet<Claim>> {
    let mut same: BTreeMap<(&Branch, &RepoPath, &str), Vec<&Claim>> = BTreeMap::new();
    for claim in claims {
        same.entry((&claim.branch, &claim.file, &claim.scalar)).or_default().push(claim);
    }
    let mut found: BTreeMap<Owner, BTreeSet<Claim>> = BTreeMap::new();
    for group in same.values().filter(|group| !group.iter().all(|claim| claim.allow_shared)) {
        for claim in group {
            let others =
                group.iter().filter(|other| other.owner != claim.owner).map(|other| (*other).clone());
            let others: BTreeSet<Claim> = others.collect();
            if !others.is_empty() {
                found.entry(claim.owner.clone()).or_default().extend(others);
            }
        }
    }
    found
}
