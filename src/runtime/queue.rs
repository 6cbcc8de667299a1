//! A fair queue with priorities: what to hand out next.
//!
//! * Ranks: [`Rank::Firing`] goes before [`Rank::Following`] before [`Rank::Bookkeeping`]. Every
//!   [`LEAP`]th hand-out ignores that, so that no rank waits for ever.
//! * Within a rank namespaces take turns; within a namespace the first come is the first served.
//! * A key waits at most once, and is out at most once:
//!
//! ```text
//!           push            pop             done
//! (absent) ─────▶ Waiting ─────▶ Out ──────────────▶ (absent)
//!                    ▲            │ push: dirty
//!                    └────────────┴──── done, dirty
//! ```
//!
//! It does no I/O, knows no clock and does not bound what is out: the caller stops popping.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::Arc,
};

/// One hand-out in this many serves a rank that is not the best. At 64 in flight and 100 ms each the lowest
/// rank still gets some 40 turns a second under full load, and firing loses 6 % of its rate.
const LEAP: u32 = 16;

/// After a burst (the list at start queues every object) an idle queue gives its memory back down to here.
const KEPT_CAPACITY: usize = 1024;

/// How urgent a key's work is. Less is sooner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rank {
    /// A pipeline is to be started.
    Firing,
    /// A pipeline that was started is looked at.
    Following,
    /// Events, settled statuses, cleaning up.
    Bookkeeping,
}

impl Rank {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Firing, Self::Following, Self::Bookkeeping];

    /// The name metrics use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Following => "following",
            Self::Bookkeeping => "bookkeeping",
        }
    }
}

/// See the module's head. Every operation costs O(log n).
#[derive(Debug)]
pub struct Queue<K> {
    lanes: [Lane<K>; 3],
    places: HashMap<K, Place>,
    out: usize,
    pops: u32,
    ticket: u64,
}

/// Where a key is.
#[derive(Debug)]
enum Place {
    Waiting { rank: Rank, namespace: Arc<str>, ticket: u64 },
    Out { dirty: Option<(Rank, Arc<str>)> },
}

/// What waits at one rank.
#[derive(Debug)]
struct Lane<K> {
    len: usize,
    /// Namespaces in the order of their turns.
    turns: BTreeMap<u64, Arc<str>>,
    namespaces: HashMap<Arc<str>, Line<K>>,
}

/// What waits in one namespace, oldest ticket first. Never empty.
#[derive(Debug)]
struct Line<K> {
    turn: u64,
    keys: BTreeMap<u64, K>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            lanes: [Lane::default(), Lane::default(), Lane::default()],
            places: HashMap::new(),
            out: 0,
            pops: 0,
            ticket: 0,
        }
    }
}

impl<K> Default for Lane<K> {
    fn default() -> Self {
        Self { len: 0, turns: BTreeMap::new(), namespaces: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// Lets `key` wait at `rank`. A key that waits already keeps the better of both ranks and, if that is the
    /// old one, its place; a key that is out comes back when it is [`done`](Self::done).
    pub fn push(&mut self, key: K, namespace: &str, rank: Rank) {
        match self.places.get_mut(&key) {
            None => self.wait(key, namespace.into(), rank),
            Some(Place::Out { dirty }) => match dirty {
                Some((waiting, _)) => *waiting = (*waiting).min(rank),
                None => *dirty = Some((rank, namespace.into())),
            },
            Some(Place::Waiting { rank: waiting, namespace, ticket }) if rank < *waiting => {
                let (waiting, namespace, ticket) = (*waiting, namespace.clone(), *ticket);
                self.lanes[waiting as usize].remove(&namespace, ticket);
                self.wait(key, namespace, rank);
            }
            Some(Place::Waiting { .. }) => {}
        }
    }

    /// Hands out the next key, with the rank it waited at.
    pub fn pop(&mut self) -> Option<(K, Rank)> {
        let rank = self.next_rank()?;
        self.pops = self.pops.wrapping_add(1);
        self.ticket += 1;
        let key = self.lanes[rank as usize].pop(self.ticket)?;
        self.places.insert(key.clone(), Place::Out { dirty: None });
        self.out += 1;
        Some((key, rank))
    }

    /// The work on `key` is over; if it was pushed meanwhile it waits again.
    pub fn done(&mut self, key: &K) {
        if !self.is_out(key) {
            return;
        }
        self.out -= 1;
        if let Some((key, Place::Out { dirty: Some((rank, namespace)) })) = self.places.remove_entry(key) {
            self.wait(key, namespace, rank);
        }
        if self.places.is_empty() && self.places.capacity() > KEPT_CAPACITY {
            self.places.shrink_to_fit();
        }
    }

    /// Forgets that `key` waits, or that it was pushed while out. It stays out if it is out.
    pub fn remove(&mut self, key: &K) {
        match self.places.get_mut(key) {
            None => {}
            Some(Place::Out { dirty }) => *dirty = None,
            Some(Place::Waiting { rank, namespace, ticket }) => {
                self.lanes[*rank as usize].remove(namespace, *ticket);
                self.places.remove(key);
            }
        }
    }

    /// Whether `key` was handed out and is not done.
    #[must_use]
    pub fn is_out(&self, key: &K) -> bool {
        matches!(self.places.get(key), Some(Place::Out { .. }))
    }

    /// How many keys wait at `rank`.
    #[must_use]
    pub fn depth(&self, rank: Rank) -> usize {
        self.lanes[rank as usize].len
    }

    /// How many keys are handed out.
    #[must_use]
    pub fn out(&self) -> usize {
        self.out
    }

    fn wait(&mut self, key: K, namespace: Arc<str>, rank: Rank) {
        self.ticket += 1;
        let ticket = self.ticket;
        let namespace = self.lanes[rank as usize].push(key.clone(), namespace, ticket);
        self.places.insert(key, Place::Waiting { rank, namespace, ticket });
    }

    /// The best rank in which something waits; on a leap the one after it and the lowest by turns.
    fn next_rank(&self) -> Option<Rank> {
        let mut waiting = Rank::ALL.into_iter().filter(|rank| self.depth(*rank) > 0);
        let best = waiting.next()?;
        let leaps = (self.pops + 1) / LEAP;
        if !(self.pops + 1).is_multiple_of(LEAP) {
            return Some(best);
        }
        let lower = if leaps.is_multiple_of(2) { waiting.next() } else { waiting.next_back() };
        Some(lower.unwrap_or(best))
    }
}

impl<K> Lane<K> {
    /// Returns the namespace as it is kept here, so that equal names share memory.
    fn push(&mut self, key: K, namespace: Arc<str>, ticket: u64) -> Arc<str> {
        self.len += 1;
        if let Some(line) = self.namespaces.get_mut(&namespace) {
            line.keys.insert(ticket, key);
            return self.turns.get(&line.turn).cloned().unwrap_or(namespace);
        }
        self.turns.insert(ticket, namespace.clone());
        self.namespaces
            .insert(namespace.clone(), Line { turn: ticket, keys: BTreeMap::from([(ticket, key)]) });
        namespace
    }

    /// The oldest key of the namespace whose turn it is; its next turn is number `turn`, the last of all.
    fn pop(&mut self, turn: u64) -> Option<K> {
        let (_, namespace) = self.turns.pop_first()?;
        let line = self.namespaces.get_mut(&namespace)?;
        let (_, key) = line.keys.pop_first()?;
        self.len -= 1;
        if line.keys.is_empty() {
            self.namespaces.remove(&namespace);
        } else {
            line.turn = turn;
            self.turns.insert(turn, namespace);
        }
        Some(key)
    }

    fn remove(&mut self, namespace: &Arc<str>, ticket: u64) {
        let Some(line) = self.namespaces.get_mut(namespace) else { return };
        if line.keys.remove(&ticket).is_some() {
            self.len -= 1;
        }
        if line.keys.is_empty() {
            self.turns.remove(&line.turn);
            self.namespaces.remove(namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn drain(queue: &mut Queue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop().map(|(key, _)| key)).collect()
    }

    #[test]
    fn firing_goes_before_following_before_bookkeeping() {
        let mut queue = Queue::default();
        queue.push("c", "ns", Rank::Bookkeeping);
        queue.push("b", "ns", Rank::Following);
        queue.push("a", "ns", Rank::Firing);
        assert_eq!(drain(&mut queue), ["a", "b", "c"]);
    }

    #[test]
    fn namespaces_take_turns_and_keep_their_order() {
        let mut queue = Queue::default();
        for key in ["a1", "a2", "a3"] {
            queue.push(key, "a", Rank::Firing);
        }
        queue.push("b1", "b", Rank::Firing);
        queue.push("c1", "c", Rank::Firing);
        queue.push("c2", "c", Rank::Firing);
        assert_eq!(drain(&mut queue), ["a1", "b1", "c1", "a2", "c2", "a3"]);
    }

    #[test]
    fn five_thousand_in_one_namespace_delay_none_in_another_beyond_its_turn() {
        let mut queue = Queue::default();
        for key in 0..5_000_u32 {
            queue.push(key, "crowd", Rank::Firing);
        }
        // It works through the crowd when the others come.
        for _ in 0..64 {
            queue.pop();
        }
        queue.push(10_000, "quiet", Rank::Firing);
        queue.push(10_001, "quiet", Rank::Firing);
        queue.push(20_000, "third", Rank::Firing);
        let next: Vec<u32> = (0..5).map(|_| queue.pop().unwrap().0).collect();
        assert_eq!(next, [64, 10_000, 20_000, 65, 10_001]);
        // The crowd itself goes on in its order, and nobody of it is lost.
        let rest: Vec<u32> = std::iter::from_fn(|| queue.pop().map(|(key, _)| key)).collect();
        assert_eq!(rest, (66..5_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_crowd_that_is_followed_or_tidied_up_does_not_delay_a_firing() {
        let mut queue = Queue::default();
        for key in 0..5_000_u32 {
            queue.push(key, "crowd", Rank::Following);
            queue.push(10_000 + key, "crowd", Rank::Bookkeeping);
        }
        for _ in 0..LEAP {
            queue.pop();
        }
        queue.push(20_000, "crowd", Rank::Firing);
        assert_eq!(queue.pop(), Some((20_000, Rank::Firing)));
    }

    #[test]
    fn a_second_push_keeps_the_better_rank_and_one_place() {
        let mut queue = Queue::default();
        queue.push("x", "ns", Rank::Following);
        queue.push("y", "ns", Rank::Following);
        queue.push("y", "ns", Rank::Firing);
        queue.push("y", "ns", Rank::Bookkeeping);
        assert_eq!((queue.depth(Rank::Firing), queue.depth(Rank::Following)), (1, 1));
        assert_eq!(queue.pop(), Some(("y", Rank::Firing)));
        assert_eq!(queue.pop(), Some(("x", Rank::Following)));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn a_key_that_is_out_comes_back_once_and_only_when_done() {
        let mut queue = Queue::default();
        queue.push("x", "ns", Rank::Firing);
        queue.pop();
        queue.push("x", "ns", Rank::Bookkeeping);
        queue.push("x", "ns", Rank::Following);
        assert_eq!(queue.pop(), None);
        queue.done(&"x");
        assert_eq!(queue.pop(), Some(("x", Rank::Following)));
        queue.done(&"x");
        assert_eq!(queue.pop(), None);
        assert_eq!(queue.out(), 0);
    }

    #[test]
    fn a_removed_key_does_not_wait_and_does_not_come_back() {
        let mut queue = Queue::default();
        queue.push("x", "a", Rank::Firing);
        queue.push("y", "b", Rank::Firing);
        queue.remove(&"x");
        assert_eq!(queue.pop(), Some(("y", Rank::Firing)));
        queue.push("y", "b", Rank::Firing);
        queue.remove(&"y");
        assert!(queue.is_out(&"y"));
        queue.done(&"y");
        assert_eq!(queue.pop(), None);
        assert!(queue.places.is_empty() && queue.lanes.iter().all(|lane| lane.turns.is_empty()));
    }

    #[test]
    fn no_rank_starves_while_firing_never_ends() {
        let mut queue = Queue::default();
        for key in 0..1_000_u32 {
            queue.push(key, "busy", Rank::Firing);
            queue.push(10_000 + key, "busy", Rank::Following);
            queue.push(20_000 + key, "busy", Rank::Bookkeeping);
        }
        let mut served = [0; 3];
        for _ in 0..320 {
            let (_, rank) = queue.pop().unwrap();
            served[rank as usize] += 1;
        }
        assert_eq!(served, [300, 10, 10]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(u8, Rank),
        Pop,
        Done(usize),
        Remove(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0_u8..24, prop::sample::select(Rank::ALL.to_vec())).prop_map(|(key, rank)| Step::Push(key, rank)),
            3 => Just(Step::Pop),
            2 => any::<usize>().prop_map(Step::Done),
            1 => (0_u8..24).prop_map(Step::Remove),
        ]
    }

    fn namespace(key: u8) -> String {
        format!("ns-{}", key % 5)
    }

    proptest! {
        /// Against the plainest model there is: a set that waits, a set that is out, a set that is dirty.
        #[test]
        fn a_key_is_out_once_and_none_is_lost(steps in prop::collection::vec(step(), 0..300)) {
            let mut queue = Queue::default();
            let (mut waiting, mut out, mut dirty) = (HashMap::new(), Vec::<u8>::new(), HashMap::new());
            for step in steps {
                match step {
                    Step::Push(key, rank) => {
                        queue.push(key, &namespace(key), rank);
                        let place = if out.contains(&key) { &mut dirty } else { &mut waiting };
                        let entry = place.entry(key).or_insert(rank);
                        *entry = rank.min(*entry);
                    }
                    Step::Pop => match queue.pop() {
                        Some((key, rank)) => {
                            prop_assert_eq!(waiting.remove(&key), Some(rank));
                            prop_assert!(!out.contains(&key));
                            out.push(key);
                        }
                        None => prop_assert!(waiting.is_empty()),
                    },
                    Step::Done(at) if !out.is_empty() => {
                        let key = out.swap_remove(at % out.len());
                        queue.done(&key);
                        if let Some(rank) = dirty.remove(&key) {
                            waiting.insert(key, rank);
                        }
                    }
                    Step::Done(_) => {}
                    Step::Remove(key) => {
                        queue.remove(&key);
                        waiting.remove(&key);
                        dirty.remove(&key);
                    }
                }
                let depth: usize = Rank::ALL.iter().map(|rank| queue.depth(*rank)).sum();
                prop_assert_eq!(depth, waiting.len());
                prop_assert_eq!(queue.out(), out.len());
            }
        }

        /// Between two turns of a namespace everyone else who waits has had one.
        #[test]
        fn no_namespace_has_two_turns_before_another_has_one(keys in prop::collection::hash_set(any::<u8>(), 1..100)) {
            let mut queue = Queue::default();
            for key in &keys {
                queue.push(*key, &namespace(*key), Rank::Firing);
            }
            let mut left: HashSet<u8> = keys;
            let mut round = HashSet::new();
            while let Some((key, _)) = queue.pop() {
                if !round.insert(namespace(key)) {
                    let waits: HashSet<String> = left.iter().map(|key| namespace(*key)).collect();
                    prop_assert!(waits.is_subset(&round));
                    round = HashSet::from([namespace(key)]);
                }
                left.remove(&key);
            }
            prop_assert!(left.is_empty());
        }
    }
}
