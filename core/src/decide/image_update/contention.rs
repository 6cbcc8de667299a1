//! Which triggers mean to write which scalars, as their specs say, so that two that mean the same one are told before
//! either writes.
//!
//! Compared is what is written in the specs: the same path, marker, image or key of the same file on the same branch. Two
//! spellings of one scalar, a path and a marker say, are found when the file was read ([`Claims::elsewhere`]): what others
//! mean to write there is looked for in it.
//!
//! What a dry run would write is nobody's: it is told of the others, and they are not told of it.
//!
//! A project that one spec names by its path and another by its id is two, until GitLab was asked: whoever works on its
//! branch asks, and only where both spellings claim the same scalar of a branch of that name.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::Owner;
use crate::domain::image_update::EditTarget;
use crate::domain::{GitLabUrl, GitRef, ImageUpdate, ObjectKey, ProjectRef, RepoPath};
use crate::yaml::Spot;

/// A branch of a project of a GitLab.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Branch {
    /// The instance, normalised.
    url: String,
    /// The project: its numeric id where that is known, else its path in lower case.
    project: String,
    /// The branch's short name.
    name: String,
}

/// One scalar that one owner means to write.
#[derive(Debug, Clone)]
struct Claim {
    scalar: Scalar,
    owner: Owner,
    /// Whether they let others.
    allow_shared: bool,
    dry_run: bool,
    /// Where it is in the file.
    spots: Vec<Spot>,
}

/// What somebody means to write into a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Who.
    pub owner: Owner,
    /// Whether they let others.
    pub allow_shared: bool,
    /// The file.
    pub file: RepoPath,
    /// Where in it.
    pub spots: Vec<Spot>,
}

/// Where, and what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Scalar {
    branch: Branch,
    file: RepoPath,
    /// What of the file, normalised.
    name: String,
}

/// What `update` of `owner` means to write on `branch`.
fn claims(branch: &Branch, owner: &Owner, update: &ImageUpdate) -> Vec<Claim> {
    let of = |file: &RepoPath, name: String, spots: Vec<Spot>| Claim {
        scalar: Scalar { branch: branch.clone(), file: file.clone(), name },
        owner: owner.clone(),
        allow_shared: update.allow_shared,
        dry_run: update.dry_run,
        spots,
    };
    let mut claims = Vec::new();
    for edit in &update.edits {
        match &edit.target {
            EditTarget::Path { document, path, .. } => {
                let spot = Spot::Path { document: document.clone(), path: path.clone() };
                let document = document.as_ref().map_or_else(String::new, |document| format!("{document}:"));
                claims.push(of(&edit.file, format!("path {document}{path}"), vec![spot]));
            }
            EditTarget::Marker { marker, .. } => {
                let spot = Spot::Marker(marker.clone());
                claims.push(of(&edit.file, format!("marker {}", marker.as_str()), vec![spot]));
            }
            EditTarget::Image { name, new_name, new_tag, digest, create: _ } => {
                // A tag beside a digest means nothing: the two are one scalar here.
                let version = new_tag.is_some() || digest.is_some();
                let keys = |keys: &[&'static str]| {
                    keys.iter().map(|key| Spot::Image { name: name.clone(), key }).collect()
                };
                let versions = || of(&edit.file, format!("image {name}"), keys(&["newTag", "digest"]));
                let names = || of(&edit.file, format!("image {name} newName"), keys(&["newName"]));
                claims.extend(version.then(versions));
                claims.extend(new_name.is_some().then(names));
            }
            EditTarget::Line { key, .. } => {
                claims.push(of(&edit.file, format!("line {key}"), vec![Spot::Line(key.clone())]));
            }
        }
    }
    claims
}

/// All claims of all triggers.
#[derive(Debug, Default)]
pub struct Claims {
    /// By entry.
    of: HashMap<ObjectKey, Vec<Vec<Claim>>>,
    /// Who claims a scalar.
    on: HashMap<Scalar, Vec<(ObjectKey, Claim)>>,
    /// Ids of projects that go by a path, by GitLab and path. Claims name those by their ids.
    ids: HashMap<(String, String), u64>,
    /// Projects that GitLab was asked about, as they were spelled.
    asked: HashSet<(String, String)>,
}

impl Claims {
    /// What a trigger means to write now, entry by entry; `project` is that of entries that name none.
    pub fn put(
        &mut self,
        key: &ObjectKey,
        owner: &Owner,
        (url, project): (&GitLabUrl, &ProjectRef),
        updates: &[ImageUpdate],
    ) {
        self.remove(key);
        if updates.is_empty() {
            return;
        }
        let each = updates.iter().map(|update| {
            let (url, project) = spelled(url, update.project.as_ref().unwrap_or(project));
            claims(&Branch { url, project, name: update.branch.short().to_owned() }, owner, update)
        });
        let each = each.collect();
        self.file(key.clone(), each);
    }

    fn file(&mut self, key: ObjectKey, mut each: Vec<Vec<Claim>>) {
        for claim in each.iter_mut().flatten() {
            self.by_id(&mut claim.scalar.branch);
            if !claim.dry_run {
                self.on.entry(claim.scalar.clone()).or_default().push((key.clone(), claim.clone()));
            }
        }
        self.of.insert(key, each);
    }

    fn by_id(&self, branch: &mut Branch) {
        let Branch { url, project, name: _ } = branch;
        if let Some(id) = self.ids.get(&(url.clone(), project.clone())) {
            *project = id.to_string();
        }
    }

    /// Whether `entries` of triggers, all of one project, claim what others claim who name theirs the other way, and
    /// GitLab is to be asked whether it is the same.
    #[must_use]
    pub fn is_unsure(&self, url: &GitLabUrl, project: &ProjectRef, entries: &[(ObjectKey, usize)]) -> bool {
        let (url, project) = spelled(url, project);
        let by_id = is_id(&project);
        let other_way = |scalar: &&Scalar| scalar.branch.url == url && is_id(&scalar.branch.project) != by_id;
        let others: HashSet<_> = self.on.keys().filter(other_way).map(place).collect();
        let mut own = entries.iter().filter_map(|(key, entry)| self.of.get(key)?.get(*entry)).flatten();
        own.any(|claim| others.contains(&place(&claim.scalar))) && !self.asked.contains(&(url, project))
    }

    /// GitLab says which project it is that is spelled so.
    pub fn learn(&mut self, url: &GitLabUrl, project: &ProjectRef, id: u64, path: Option<&str>) {
        let spelled = spelled(url, project);
        let path = path.map(|path| (spelled.0.clone(), path.to_lowercase()));
        for path in path.into_iter().chain([spelled.clone()]).filter(|(_, project)| !is_id(project)) {
            self.ids.insert(path, id);
        }
        self.asked.insert(spelled);
        self.on.clear();
        for (key, each) in std::mem::take(&mut self.of) {
            self.file(key, each);
        }
    }

    /// A trigger is gone.
    pub fn remove(&mut self, key: &ObjectKey) {
        for claim in self.of.remove(key).into_iter().flatten().flatten() {
            if let Some(all) = self.on.get_mut(&claim.scalar) {
                all.retain(|(of, _)| of != key);
                if all.is_empty() {
                    self.on.remove(&claim.scalar);
                }
            }
        }
    }

    /// What anybody means to write into these files of a branch.
    #[must_use]
    pub fn elsewhere(
        &self,
        (url, project, branch): (&GitLabUrl, &ProjectRef, &GitRef),
        files: &BTreeSet<RepoPath>,
    ) -> Vec<Claimed> {
        let (url, project) = spelled(url, project);
        let mut on = Branch { url, project, name: branch.short().to_owned() };
        self.by_id(&mut on);
        let here = self.on.iter().filter(|(scalar, _)| scalar.branch == on && files.contains(&scalar.file));
        let claims = here.flat_map(|(_, all)| all.iter().map(|(_, claim)| claim));
        let mut claimed: Vec<Claimed> = claims
            .map(|Claim { scalar, owner, allow_shared, dry_run: _, spots }| Claimed {
                owner: owner.clone(),
                allow_shared: *allow_shared,
                file: scalar.file.clone(),
                spots: spots.clone(),
            })
            .collect();
        // So that the same one is named each time.
        claimed.sort_by(|one, other| one.owner.cmp(&other.owner));
        claimed
    }

    /// For the entries of this trigger that somebody else means to write too, and not all allow that: a sentence.
    #[must_use]
    pub fn contended(&self, key: &ObjectKey) -> BTreeMap<usize, String> {
        let Some(each) = self.of.get(key) else { return BTreeMap::new() };
        let told = each.iter().enumerate().filter_map(|(entry, claims)| {
            let told = claims.iter().find_map(|own| {
                let all = self.on.get(&own.scalar)?;
                let (_, other) = all.iter().find(|(_, other)| other.owner != own.owner)?;
                let allowed = own.allow_shared && all.iter().all(|(_, claim)| claim.allow_shared);
                (!allowed).then(|| {
                    format!(
                        "{}: {} is written by {} as well: let one of them write it, or set `allowShared: true` on both",
                        own.scalar.file, own.scalar.name, other.owner
                    )
                })
            });
            Some((entry, told?))
        });
        told.collect()
    }
}

/// GitLab tells no two projects apart by the case of their paths.
fn spelled(url: &GitLabUrl, project: &ProjectRef) -> (String, String) {
    (url.to_string(), project.to_string().to_lowercase())
}

fn is_id(project: &str) -> bool {
    matches!(project.parse(), Ok(ProjectRef::Id(_)))
}

/// A scalar of a branch of whatever project.
fn place(Scalar { branch, file, name }: &Scalar) -> (&str, &RepoPath, &str) {
    (&branch.name, file, name)
}
