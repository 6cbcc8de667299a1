//! Both sides are seen: what differs, and the requests that set it right.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Seen;
use crate::domain::GitRef;
use crate::domain::schedule::in_gitlab::{Fields, Held, HeldVariable, Marker, Wanted};

/// One request that sets something right.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Make the token's user the owner: nobody else may change it.
    Take,
    /// Set all fields; of inputs those that differ.
    Fields(Box<Fields>),
    /// Add a variable.
    AddVariable(HeldVariable),
    /// Set a variable that is there.
    SetVariable(HeldVariable),
    /// Take a variable off.
    RemoveVariable(String),
    /// Delete another schedule that carries our mark.
    DeleteOther(u64),
}

/// What is to be changed.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeOrder {
    /// The schedule.
    pub schedule_id: u64,
    /// The requests, in their order.
    pub changes: Vec<Change>,
    /// What differs, in words that quote no value of a variable.
    pub differences: Vec<String>,
    /// Whether it was equal before to the spec as it is now: somebody changed it in GitLab.
    pub drifted: bool,
}

/// What sets `held` right; nothing if it is as it should be.
pub(super) fn compare(
    wanted: &Wanted,
    marker: &Marker,
    active: bool,
    seen: &Seen,
    held: &Held,
) -> (Vec<Change>, Vec<String>) {
    let (mut changes, mut differences) = (Vec::new(), Vec::new());
    for other in &seen.others {
        changes.push(Change::DeleteOther(*other));
        differences.push(format!("there was another one with the same mark, {other}"));
    }
    if let Some(owner) = held.owner.as_ref().filter(|owner| owner.id != seen.user.id) {
        // Everything else is the owner's to do, and what the variables are may not show before.
        changes.push(Change::Take);
        differences.push(format!("it belonged to {}", owner.username));
        return (changes, differences);
    }
    let variables =
        variables(&seen.variables, held.variables.as_deref().unwrap_or_default(), &mut differences);
    let fields = fields(wanted, marker, active, held, &mut differences);
    // Activated last, deactivated first: it never runs half made.
    if active {
        changes.extend(variables);
        changes.extend(fields);
    } else {
        changes.extend(fields);
        changes.extend(variables);
    }
    (changes, differences)
}

fn fields(
    wanted: &Wanted,
    marker: &Marker,
    active: bool,
    held: &Held,
    differences: &mut Vec<String>,
) -> Option<Change> {
    let Held { fields: theirs, .. } = held;
    let before = differences.len();
    let description = marker.description();
    if theirs.description != description {
        differences.push(format!("description was {:?}", shown(&theirs.description)));
    }
    if !is_same_ref(&wanted.git_ref, &theirs.git_ref) {
        differences.push(format!("ref was {:?}", shown(&theirs.git_ref)));
    }
    if theirs.cron != wanted.cron {
        differences.push(format!("cron was {:?}", shown(&theirs.cron)));
    }
    if theirs.zone != wanted.zone {
        differences.push(format!("time zone was {:?}", shown(&theirs.zone)));
    }
    if theirs.active != active {
        differences.push(format!("it was {}", if theirs.active { "active" } else { "inactive" }));
    }
    let inputs = inputs(&wanted.inputs, &theirs.inputs);
    for name in inputs.keys() {
        differences.push(format!("input {} was {}", shown(name), known(theirs.inputs.contains_key(name))));
    }
    (differences.len() > before).then(|| {
        Change::Fields(Box::new(Fields {
            description,
            git_ref: wanted.git_ref.as_str().to_owned(),
            cron: wanted.cron.clone(),
            zone: wanted.zone.clone(),
            active,
            inputs,
        }))
    })
}

const fn known(is_known: bool) -> &'static str {
    if is_known { "another" } else { "missing" }
}

/// Inputs to set, and, as null, to take away.
fn inputs(wanted: &BTreeMap<String, Value>, held: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let set = wanted.iter().filter(|(name, value)| held.get(*name) != Some(*value));
    let set = set.map(|(name, value)| (name.clone(), value.clone()));
    let gone = held.keys().filter(|name| !wanted.contains_key(*name));
    set.chain(gone.map(|name| (name.clone(), Value::Null))).collect()
}

/// GitLab stores `refs/heads/main` for `main`, an old one as it was sent.
fn is_same_ref(wanted: &GitRef, held: &str) -> bool {
    let short = |name: &str| {
        name.strip_prefix("refs/heads/")
            .or_else(|| name.strip_prefix("refs/tags/"))
            .unwrap_or(name)
            .to_owned()
    };
    let one_is_short = wanted.short() == wanted.as_str() || short(held) == held;
    wanted.as_str() == held || (one_is_short && short(held) == wanted.short())
}

fn variables(wanted: &[HeldVariable], held: &[HeldVariable], differences: &mut Vec<String>) -> Vec<Change> {
    let mut changes = Vec::new();
    for extra in held.iter().filter(|theirs| !wanted.iter().any(|ours| ours.name == theirs.name)) {
        differences.push(format!("variable {} is not in spec", shown(&extra.name)));
        changes.push(Change::RemoveVariable(extra.name.clone()));
    }
    for ours in wanted {
        match held.iter().find(|theirs| theirs.name == ours.name) {
            None => {
                differences.push(format!("variable {} was missing", ours.name));
                changes.push(Change::AddVariable(ours.clone()));
            }
            Some(theirs) if theirs == ours => {}
            Some(theirs) => {
                let what = if theirs.value == ours.value { "type" } else { "value" };
                differences.push(format!("variable {} had another {what}", ours.name));
                changes.push(Change::SetVariable(ours.clone()));
            }
        }
    }
    changes
}

/// What somebody typed, short and printable.
fn shown(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ref_is_the_same_in_full_and_short_but_a_branch_is_no_tag() {
        for (wanted, held, same) in [
            ("main", "refs/heads/main", true),
            ("main", "main", true),
            ("refs/heads/main", "main", true),
            ("v1", "refs/tags/v1", true),
            ("refs/heads/v1", "refs/tags/v1", false),
            ("main", "refs/heads/next", false),
            ("feature/a", "refs/heads/feature/a", true),
            ("a", "refs/heads/feature/a", false),
        ] {
            assert_eq!(is_same_ref(&wanted.parse().unwrap(), held), same, "{wanted} {held}");
        }
    }

    #[test]
    fn inputs_that_are_not_wanted_are_taken_away_and_equal_ones_left_alone() {
        let map = |pairs: &[(&str, Value)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        let wanted: BTreeMap<_, _> = map(&[("a", 3.into()), ("b", "x".into()), ("c", true.into())]);
        let held = map(&[("a", 3.into()), ("b", "y".into()), ("d", "z".into())]);
        let expected = map(&[("b", "x".into()), ("c", true.into()), ("d", Value::Null)]);
        assert_eq!(inputs(&wanted, &held), expected);
        assert!(inputs(&wanted, &wanted).is_empty());
    }
}
