//! Which triggers mean to write which scalars, as their specs say, so that two that mean the same one are told before
//! either writes.

use std::collections::{BTreeMap, HashMap};

use pipekick_core::decide::image_update::Owner;
use pipekick_core::decide::image_update::contention::{Branch, Claim, claims};
use pipekick_core::domain::{ObjectKey, Spec, Trigger};

/// All claims of all triggers.
#[derive(Debug, Default)]
pub(super) struct Claims {
    of: HashMap<ObjectKey, Vec<Vec<Claim>>>,
    /// Who claims a scalar, by branch, file and scalar.
    on: HashMap<Scalar, Vec<(ObjectKey, Claim)>>,
}

type Scalar = (Branch, String, String);

fn scalar(claim: &Claim) -> Scalar {
    let Claim { branch, file, scalar, owner: _, allow_shared: _ } = claim;
    (branch.clone(), file.to_string(), scalar.clone())
}

impl Claims {
    /// What a trigger means to write now, entry by entry. A spec that cannot be read claims what it did before.
    pub(super) fn put(&mut self, trigger: &Trigger, owner: &Owner) {
        let Ok(spec) = &trigger.spec else { return };
        if spec.image_updates.is_empty() && !self.of.contains_key(&trigger.key) {
            return;
        }
        self.remove(&trigger.key);
        if spec.image_updates.is_empty() {
            return;
        }
        let each: Vec<Vec<Claim>> = claimed(spec, owner);
        for claim in each.iter().flatten() {
            self.on.entry(scalar(claim)).or_default().push((trigger.key.clone(), claim.clone()));
        }
        self.of.insert(trigger.key.clone(), each);
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) {
        for claim in self.of.remove(key).into_iter().flatten().flatten() {
            let scalar = scalar(&claim);
            if let Some(all) = self.on.get_mut(&scalar) {
                all.retain(|(of, _)| of != key);
                if all.is_empty() {
                    self.on.remove(&scalar);
                }
            }
        }
    }

    /// For the entries of this trigger that somebody else means to write too, and not all allow that: a sentence.
    pub(super) fn contended(&self, key: &ObjectKey) -> BTreeMap<usize, String> {
        let Some(each) = self.of.get(key) else { return BTreeMap::new() };
        let told = each.iter().enumerate().filter_map(|(entry, claims)| {
            let told = claims.iter().find_map(|own| {
                let all = self.on.get(&scalar(own))?;
                let (_, other) = all.iter().find(|(_, other)| other.owner != own.owner)?;
                let allowed = all.iter().all(|(_, claim)| claim.allow_shared);
                (!allowed).then(|| {
                    format!(
                        "{}: {} is written by {} as well: let one of them write it, or set `allowShared: true` on both",
                        own.file, own.scalar, other.owner
                    )
                })
            });
            Some((entry, told?))
        });
        told.collect()
    }
}

fn claimed(spec: &Spec, owner: &Owner) -> Vec<Vec<Claim>> {
    let each = spec.image_updates.iter().map(|update| {
        let project = update.project.as_ref().unwrap_or(&spec.project);
        let branch = Branch {
            url: spec.url.to_string(),
            // GitLab tells no two projects apart by the case of their paths.
            project: project.to_string().to_lowercase(),
            name: update.branch.short().to_owned(),
        };
        claims(&branch, owner, update)
    });
    each.collect()
}
