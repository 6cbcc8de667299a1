//! Scalars that a pipeline found saying what it wanted. No commit tells of that, and yet an earlier pipeline that ends
//! afterwards is late.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Most scalars that are kept in mind. Those of the earliest pipelines go first: what is earlier still has ended by then.
const MOST: usize = 10_000;

/// By branch and scalar, the latest pipeline that found it so; for as long as the process lives.
#[derive(Debug)]
pub struct Affirmed<B> {
    by: HashMap<B, BTreeMap<String, u64>>,
    scalars: usize,
}

impl<B> Default for Affirmed<B> {
    fn default() -> Self {
        Self { by: HashMap::new(), scalars: 0 }
    }
}

impl<B: Eq + Hash> Affirmed<B> {
    /// These scalars of a branch say what this pipeline wants.
    pub fn put(&mut self, branch: B, scalars: impl IntoIterator<Item = String>, pipeline: u64) {
        let on_branch = self.by.entry(branch).or_default();
        for scalar in scalars {
            let known = on_branch.entry(scalar).or_insert_with(|| {
                self.scalars += 1;
                0
            });
            *known = pipeline.max(*known);
        }
        if self.scalars > MOST {
            self.forget();
        }
    }

    /// All of a branch.
    #[must_use]
    pub fn on(&self, branch: &B) -> BTreeMap<String, u64> {
        self.by.get(branch).cloned().unwrap_or_default()
    }

    /// The earlier half.
    fn forget(&mut self) {
        let mut pipelines: Vec<u64> =
            self.by.values().flat_map(|scalars| scalars.values().copied()).collect();
        pipelines.sort_unstable();
        let from = pipelines.get(pipelines.len() / 2).copied().unwrap_or_default();
        for scalars in self.by.values_mut() {
            scalars.retain(|_, pipeline| *pipeline > from);
        }
        self.by.retain(|_, scalars| !scalars.is_empty());
        self.scalars = self.by.values().map(BTreeMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_pipeline_of_each_scalar_is_kept() {
        let mut affirmed = Affirmed::default();
        affirmed.put("main", ["a".to_owned(), "b".to_owned()], 7);
        affirmed.put("main", ["a".to_owned()], 6);
        affirmed.put("main", ["b".to_owned()], 9);
        affirmed.put("other", ["a".to_owned()], 8);
        assert_eq!(affirmed.on(&"main"), BTreeMap::from([("a".to_owned(), 7), ("b".to_owned(), 9)]));
        assert_eq!(affirmed.on(&"none"), BTreeMap::new());
    }

    #[test]
    fn of_very_many_the_earliest_are_forgotten() {
        let mut affirmed = Affirmed::default();
        for n in 0..25_000 {
            affirmed.put(n % 7, [n.to_string()], n);
            assert!(affirmed.scalars <= MOST);
        }
        let left: Vec<u64> = (0..7).flat_map(|branch| affirmed.on(&branch).into_values()).collect();
        assert_eq!((left.len(), left.iter().max()), (affirmed.scalars, Some(&24_999)));
        assert!(left.len() > MOST / 3 && left.iter().all(|pipeline| *pipeline > 12_000));
    }
}
