//! All timers in one heap: one per key, a later `set` replaces the earlier.
//!
//! A replaced or cleared timer stays in the heap until it surfaces; the heap is rebuilt before such stale
//! entries outnumber the live ones. It sleeps for nobody: the caller asks when, and what is due.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, HashMap},
    hash::Hash,
};

use tokio::time::Instant;

/// So many stale entries are kept whatever the number of live ones: a rebuild should be worth its while.
const STALE_KEPT: usize = 32;

/// Timers by key, each carrying a value that comes back when it is due.
#[derive(Debug)]
pub struct Timers<K, V> {
    heap: BinaryHeap<Reverse<Entry<K>>>,
    live: HashMap<K, (u64, V)>,
    ticket: u64,
}

#[derive(Debug)]
struct Entry<K> {
    at: Instant,
    ticket: u64,
    key: K,
}

impl<K, V> Default for Timers<K, V> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), live: HashMap::new(), ticket: 0 }
    }
}

impl<K: Clone + Eq + Hash, V> Timers<K, V> {
    /// Sets the timer of `key`, in place of an earlier one.
    pub fn set(&mut self, key: K, at: Instant, value: V) {
        self.ticket += 1;
        self.live.insert(key.clone(), (self.ticket, value));
        self.heap.push(Reverse(Entry { at, ticket: self.ticket, key }));
        self.sweep();
    }

    /// Takes the timer of `key` away.
    pub fn clear(&mut self, key: &K) {
        if self.live.remove(key).is_some() {
            self.sweep();
        }
    }

    /// When the next timer is due.
    pub fn next_due(&mut self) -> Option<Instant> {
        while let Some(Reverse(entry)) = self.heap.peek() {
            if self.is_live(entry) {
                return Some(entry.at);
            }
            self.heap.pop();
        }
        None
    }

    /// Takes out what is due at `now`, the earliest first.
    pub fn pop_due(&mut self, now: Instant) -> Vec<(K, V)> {
        let mut due = Vec::new();
        while self.next_due().is_some_and(|at| at <= now) {
            if let Some(Reverse(Entry { key, .. })) = self.heap.pop()
                && let Some((_, value)) = self.live.remove(&key)
            {
                due.push((key, value));
            }
        }
        due
    }

    /// How many timers are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether none is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    fn is_live(&self, entry: &Entry<K>) -> bool {
        self.live.get(&entry.key).is_some_and(|(ticket, _)| *ticket == entry.ticket)
    }

    fn sweep(&mut self) {
        let stale = self.heap.len() - self.live.len();
        if stale > self.live.len().max(STALE_KEPT) {
            let live = &self.live;
            self.heap.retain(|Reverse(entry)| live.get(&entry.key).is_some_and(|(t, _)| *t == entry.ticket));
        }
    }
}

impl<K> Ord for Entry<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.ticket).cmp(&(other.at, other.ticket))
    }
}

impl<K> PartialOrd for Entry<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> PartialEq for Entry<K> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<K> Eq for Entry<K> {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_due_comes_out_in_order_and_once() {
        let start = clock::instant();
        let mut timers = Timers::default();
        timers.set("late", after(start, 9), ());
        timers.set("soon", after(start, 1), ());
        timers.set("also soon", after(start, 1), ());
        assert_eq!(timers.next_due(), Some(after(start, 1)));
        assert_eq!(timers.pop_due(start), []);
        assert_eq!(timers.pop_due(after(start, 5)), [("soon", ()), ("also soon", ())]);
        assert_eq!(timers.pop_due(after(start, 5)), []);
        assert_eq!(timers.len(), 1);
    }

    #[test]
    fn a_later_set_replaces_the_earlier_one_both_ways() {
        let start = clock::instant();
        let mut timers = Timers::default();
        timers.set("x", after(start, 1), 'a');
        timers.set("x", after(start, 5), 'b');
        assert_eq!(timers.next_due(), Some(after(start, 5)));
        timers.set("x", after(start, 2), 'c');
        assert_eq!(timers.pop_due(after(start, 9)), [("x", 'c')]);
        assert_eq!(timers.next_due(), None);
    }

    #[test]
    fn stale_entries_are_bounded_when_one_key_is_set_for_ever() {
        let start = clock::instant();
        let mut timers = Timers::default();
        for turn in 0..10_000 {
            timers.set("x", after(start, turn), ());
        }
        assert!(timers.heap.len() <= 2 + STALE_KEPT, "{}", timers.heap.len());
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_map_of_instants(steps in prop::collection::vec((0_u8..12, prop::option::of(0_u64..50), 0_u64..50), 0..400)) {
            let start = clock::instant();
            let (mut timers, mut model) = (Timers::default(), HashMap::new());
            for (key, set, now) in steps {
                match set {
                    Some(at) => {
                        timers.set(key, after(start, at), at);
                        model.insert(key, at);
                    }
                    None => {
                        timers.clear(&key);
                        model.remove(&key);
                    }
                }
                prop_assert_eq!(timers.next_due(), model.values().min().map(|at| after(start, *at)));
                prop_assert!(timers.heap.len() <= 2 * timers.len().max(STALE_KEPT) + 1);
                if key == 0 {
                    let due = timers.pop_due(after(start, now));
                    prop_assert!(due.iter().map(|(_, at)| at).is_sorted());
                    for (key, at) in due {
                        prop_assert!(at <= now);
                        prop_assert_eq!(model.remove(&key), Some(at));
                    }
                    prop_assert!(model.values().all(|at| *at > now));
                }
                prop_assert_eq!(timers.len(), model.len());
            }
        }
    }
}
