//! Store, queue and timers as one value: what happens on an event, a poke, a timer, the end of work.
//!
//! Pure, with the time as an argument: no lock, no task, no call into the worker. Rules kept here:
//!
//! * work on one key never overlaps, and `gone` for a key neither overlaps work on it nor comes after work on a
//!   successor of the same name;
//! * an outcome counts only if the object it speaks of is still there;
//! * a key whose work panicked, or which asked to go again too often, is *held*: only its timer
//!   brings it back, whatever events arrive, so that nothing can make it spin.

use std::{collections::HashMap, sync::Arc, time::Duration};

use pipekick_core::domain::ObjectKey;
use tokio::time::Instant;

use super::{
    Outcome,
    queue::{Queue, Rank},
    store::{Applied, Entry, Scope, Sighted, Store, Version},
    timers::Timers,
};

/// After the first panic a key is held this long, doubling up to [`PANIC_HELD_MAX`].
const PANIC_HELD: Duration = Duration::from_secs(5);
const PANIC_HELD_MAX: Duration = Duration::from_secs(300);

/// More keys under way than this to be fired are a crowd: the API server's part in their work, not ours, is what they wait for.
const CROWD: usize = 32;

/// So many `again` in a row are free (a lost write is decided anew at once); then each waits [`AGAIN_HELD`].
const AGAIN_FREE: u32 = 5;
const AGAIN_HELD: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct State<R> {
    store: Store<R>,
    queue: Queue<Arc<ObjectKey>>,
    timers: Timers<Arc<ObjectKey>, Rank>,
    trouble: HashMap<Arc<ObjectKey>, Trouble>,
    gone: Vec<(Arc<ObjectKey>, Arc<str>)>,
    /// Jobs handed out at [`Rank::Firing`] and not ended.
    firing: usize,
    panics: u64,
}

/// What a key did since it last ended well.
#[derive(Debug, Default)]
struct Trouble {
    panics: u32,
    agains: u32,
    held: bool,
}

/// One hand-out.
#[derive(Debug)]
pub(super) struct Job<R> {
    pub(super) key: Arc<ObjectKey>,
    pub(super) rank: Rank,
    pub(super) entry: Entry<R>,
}

/// What is to be done now, in this order, and when to look again.
#[derive(Debug)]
pub(super) struct Batch<R> {
    pub(super) gone: Vec<(Arc<ObjectKey>, Arc<str>)>,
    pub(super) jobs: Vec<Job<R>>,
    pub(super) next: Option<Instant>,
}

/// Numbers for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Objects in the store.
    pub objects: usize,
    /// Keys that wait, by rank in the order of [`Rank::ALL`].
    pub waiting: [usize; 3],
    /// Keys that are being worked on.
    pub in_flight: usize,
    /// Those of them that are to be fired.
    pub firing: usize,
    /// Timers that are set.
    pub timers: usize,
    /// Panics caught since the start.
    pub panics: u64,
}

impl Stats {
    /// Whether so much is fired, or waits to be, that what can wait should.
    #[must_use]
    pub fn crowded(&self) -> bool {
        self.firing >= CROWD || self.waiting[Rank::Firing as usize] > 0
    }
}

impl<R> Default for State<R> {
    fn default() -> Self {
        Self {
            store: Store::default(),
            queue: Queue::default(),
            timers: Timers::default(),
            trouble: HashMap::new(),
            gone: Vec::new(),
            firing: 0,
            panics: 0,
        }
    }
}

impl<R> State<R> {
    /// The watch, or a list, shows an object.
    pub(super) fn seen(&mut self, seen: Sighted<R>, rank: Rank) {
        match self.store.apply(seen) {
            Applied::Stale => {}
            Applied::Changed(key) => self.push(key, rank),
            Applied::Replaced(key, uid) => {
                self.forget(key.clone(), uid);
                self.push(key, rank);
            }
        }
    }

    /// The watch says that an object was deleted.
    pub(super) fn deleted(&mut self, key: &ObjectKey, uid: Arc<str>) {
        if let Some(key) = self.store.remove(key, &uid) {
            self.forget(key, uid);
        }
    }

    pub(super) fn begin_list(&mut self, scope: &Scope, rewound: bool) {
        self.store.begin_list(scope, rewound);
    }

    pub(super) fn end_list(&mut self, scope: &Scope, version: Version) {
        for (key, uid) in self.store.end_list(scope, version) {
            self.forget(key, uid);
        }
    }

    /// Somebody wants the key to be worked on. `false` if there is no such object.
    pub(super) fn poke(&mut self, key: &ObjectKey, rank: Rank) -> bool {
        let Some((key, _)) = self.store.entry(key) else { return false };
        let key = key.clone();
        self.push(key, rank);
        true
    }

    pub(super) fn put_own(&mut self, seen: Sighted<R>) -> bool {
        self.store.put_own(seen)
    }

    pub(super) fn entry(&self, key: &ObjectKey) -> Option<Entry<R>> {
        self.store.entry(key).map(|(_, entry)| entry.clone())
    }

    /// Hands out what is due, at most `room` jobs.
    pub(super) fn take(&mut self, now: Instant, room: usize) -> Batch<R> {
        for (key, rank) in self.timers.pop_due(now) {
            if let Some(trouble) = self.trouble.get_mut(&key) {
                trouble.held = false;
            }
            self.push(key, rank);
        }
        let gone = self.gone.extract_if(.., |(key, _)| !self.queue.is_out(key)).collect();
        let mut jobs = Vec::new();
        while jobs.len() < room {
            let Some((key, rank)) = self.queue.pop() else { break };
            match self.store.entry(&key) {
                Some((_, entry)) => {
                    self.timers.clear(&key);
                    self.firing += usize::from(rank == Rank::Firing);
                    jobs.push(Job { rank, entry: entry.clone(), key });
                }
                None => self.queue.done(&key),
            }
        }
        Batch { gone, jobs, next: self.timers.next_due() }
    }

    /// The work on a key ended.
    pub(super) fn finished(&mut self, job: &Job<R>, outcome: Outcome, now: Instant) {
        let key = &job.key;
        self.firing -= usize::from(job.rank == Rank::Firing);
        if self.is_current(job) {
            let Outcome { wake, settled, again } = outcome;
            if again {
                self.again(job, now);
            } else {
                self.trouble.remove(key);
                if let Some(version) = settled {
                    self.store.settle(key, version);
                }
                if let Some(wake) = wake {
                    self.timers.set(key.clone(), wake.at, wake.rank);
                }
            }
        }
        self.queue.done(key);
    }

    /// The work on a key panicked.
    pub(super) fn panicked(&mut self, job: &Job<R>, now: Instant) {
        self.panics += 1;
        self.firing -= usize::from(job.rank == Rank::Firing);
        if self.is_current(job) {
            let trouble = self.trouble.entry(job.key.clone()).or_default();
            let doublings = trouble.panics.min(16);
            trouble.panics += 1;
            self.hold(job, now + PANIC_HELD.saturating_mul(1 << doublings).min(PANIC_HELD_MAX));
        }
        self.queue.done(&job.key);
    }

    /// A panic outside of work on a key.
    pub(super) fn count_panic(&mut self) {
        self.panics += 1;
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            objects: self.store.len(),
            waiting: Rank::ALL.map(|rank| self.queue.depth(rank)),
            in_flight: self.queue.out(),
            firing: self.firing,
            timers: self.timers.len(),
            panics: self.panics,
        }
    }

    fn again(&mut self, job: &Job<R>, now: Instant) {
        let trouble = self.trouble.entry(job.key.clone()).or_default();
        trouble.agains += 1;
        if trouble.agains > AGAIN_FREE {
            self.hold(job, now + AGAIN_HELD);
        } else {
            self.push(job.key.clone(), job.rank);
        }
    }

    fn hold(&mut self, job: &Job<R>, until: Instant) {
        self.trouble.entry(job.key.clone()).or_default().held = true;
        self.queue.remove(&job.key);
        self.timers.set(job.key.clone(), until, job.rank);
    }

    fn push(&mut self, key: Arc<ObjectKey>, rank: Rank) {
        if !self.trouble.get(&key).is_some_and(|trouble| trouble.held) {
            let object = key.clone();
            self.queue.push(key, &object.namespace, rank);
        }
    }

    fn forget(&mut self, key: Arc<ObjectKey>, uid: Arc<str>) {
        self.queue.remove(&key);
        self.timers.clear(&key);
        self.trouble.remove(&key);
        self.gone.push((key, uid));
    }

    fn is_current(&self, job: &Job<R>) -> bool {
        self.store.entry(&job.key).is_some_and(|(_, entry)| entry.uid == job.entry.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock, runtime::store::Body};

    fn key(name: &str) -> ObjectKey {
        ObjectKey { namespace: "ns".into(), name: name.into() }
    }

    fn seen(name: &str, uid: &str, version: u64) -> Sighted<u64> {
        let version_text = version.to_string();
        Sighted {
            key: key(name),
            uid: uid.into(),
            version: Version::parse(&version_text),
            record: version.into(),
        }
    }

    fn one(state: &mut State<u64>, now: Instant) -> Job<u64> {
        let mut jobs = state.take(now, 9).jobs;
        assert_eq!(jobs.len(), 1);
        jobs.remove(0)
    }

    fn idle(state: &mut State<u64>, now: Instant) -> bool {
        let batch = state.take(now, 9);
        batch.jobs.is_empty() && batch.gone.is_empty()
    }

    #[test]
    fn a_change_during_work_brings_the_key_back_and_keeps_it_from_settling() {
        let (mut state, now) = (State::default(), clock::instant());
        state.seen(seen("x", "u", 1), Rank::Firing);
        let job = one(&mut state, now);
        state.seen(seen("x", "u", 2), Rank::Following);
        assert!(idle(&mut state, now));
        state.finished(&job, Outcome::done().settled(Version::parse("1")), now);
        let job = one(&mut state, now);
        assert_eq!(job.rank, Rank::Following);
        assert!(matches!(job.entry.body, Body::Whole(record) if *record == 2));
    }

    #[test]
    fn it_is_crowded_while_many_are_fired_or_one_waits_to_be_and_by_nothing_else() {
        let (mut state, now) = (State::default(), clock::instant());
        let crowded = |state: &State<u64>| state.stats().crowded();
        for n in 0..2 * CROWD {
            state.seen(seen(&format!("f{n}"), "u", 1), Rank::Following);
        }
        let following = state.take(now, 2 * CROWD).jobs;
        assert_eq!((following.len(), crowded(&state)), (2 * CROWD, false));
        for n in 0..CROWD {
            state.seen(seen(&format!("x{n}"), "u", 1), Rank::Firing);
            assert!(crowded(&state), "{n} wait");
            assert_eq!(state.take(now, 1).jobs.len(), 1);
            assert_eq!(crowded(&state), n + 1 == CROWD, "{n} are fired, and nobody waits");
        }
        let job = Job { key: key("x0").into(), rank: Rank::Firing, entry: state.entry(&key("x0")).unwrap() };
        state.panicked(&job, now);
        assert!(!crowded(&state));
        for job in following {
            state.finished(&job, Outcome::done(), now);
        }
        let job = Job { key: key("x1").into(), rank: Rank::Firing, entry: state.entry(&key("x1")).unwrap() };
        state.finished(&job, Outcome::done(), now);
        assert_eq!((state.stats().firing, state.stats().in_flight), (CROWD - 2, CROWD - 2));
    }

    #[test]
    fn an_own_write_is_no_reason_to_work_and_its_echo_is_none_either() {
        let (mut state, now) = (State::default(), clock::instant());
        state.seen(seen("x", "u", 1), Rank::Firing);
        let job = one(&mut state, now);
        assert!(state.put_own(seen("x", "u", 2)));
        state.seen(seen("x", "u", 2), Rank::Firing);
        state.finished(&job, Outcome::done().settled(Version::parse("2")), now);
        assert!(idle(&mut state, now));
        assert!(matches!(state.entry(&key("x")), Some(Entry { body: Body::Settled, .. })));
        assert!(state.poke(&key("x"), Rank::Following));
        assert!(matches!(one(&mut state, now).entry.body, Body::Settled));
    }

    #[test]
    fn a_timer_wakes_at_its_rank_and_an_outcome_replaces_it() {
        let (mut state, now) = (State::default(), clock::instant());
        let later = now + Duration::from_secs(60);
        state.seen(seen("x", "u", 1), Rank::Firing);
        let job = one(&mut state, now);
        state.finished(&job, Outcome::done().wake_at(later, Rank::Following), now);
        assert_eq!(state.take(now, 9).next, Some(later));
        let job = one(&mut state, later);
        assert_eq!(job.rank, Rank::Following);
        state.finished(&job, Outcome::done().wake_at(later + AGAIN_HELD, Rank::Bookkeeping), later);
        state.poke(&key("x"), Rank::Following);
        let job = one(&mut state, later);
        state.finished(&job, Outcome::done(), later);
        assert_eq!(state.take(later, 9).next, None);
    }

    #[test]
    fn gone_waits_for_the_work_and_comes_before_the_successor() {
        let (mut state, now) = (State::default(), clock::instant());
        state.seen(seen("x", "old", 1), Rank::Firing);
        let job = one(&mut state, now);
        state.deleted(&key("x"), "old".into());
        state.seen(seen("x", "new", 3), Rank::Firing);
        assert!(idle(&mut state, now));
        state.finished(&job, Outcome::done().wake_at(now, Rank::Firing).settled(Version::parse("3")), now);
        let batch = state.take(now, 9);
        assert_eq!(batch.gone, [(Arc::new(key("x")), Arc::from("old"))]);
        assert_eq!(batch.jobs.len(), 1);
        assert_eq!(&*batch.jobs[0].entry.uid, "new");
        assert_eq!(batch.next, None, "the old object's outcome sets no timer for the new one");
    }

    #[test]
    fn a_panicking_key_is_held_whatever_happens_and_longer_each_time() {
        let (mut state, mut now) = (State::default(), clock::instant());
        state.seen(seen("x", "u", 1), Rank::Firing);
        for (turn, seconds) in [5, 10, 20, 40, 80, 160, 300, 300].into_iter().enumerate() {
            let job = one(&mut state, now);
            state.seen(seen("x", "u", 100 + turn as u64), Rank::Firing);
            state.panicked(&job, now);
            state.poke(&key("x"), Rank::Firing);
            assert!(idle(&mut state, now + Duration::from_secs(seconds - 1)), "turn {turn}");
            now += Duration::from_secs(seconds);
        }
        let job = one(&mut state, now);
        state.finished(&job, Outcome::done(), now);
        assert!(state.trouble.is_empty());
        assert_eq!(state.stats().panics, 8);
    }

    #[test]
    fn again_is_at_once_at_first_and_then_slower() {
        let (mut state, now) = (State::default(), clock::instant());
        state.seen(seen("x", "u", 1), Rank::Following);
        for _ in 0..=AGAIN_FREE {
            let job = one(&mut state, now);
            assert_eq!(job.rank, Rank::Following);
            state.finished(&job, Outcome::again(), now);
        }
        assert!(idle(&mut state, now));
        one(&mut state, now + AGAIN_HELD);
    }

    #[test]
    fn a_list_that_no_longer_names_an_object_makes_it_gone() {
        let (mut state, now) = (State::default(), clock::instant());
        state.seen(seen("x", "u", 1), Rank::Firing);
        state.begin_list(&Scope::All, false);
        state.end_list(&Scope::All, Version::parse("5"));
        let batch = state.take(now, 9);
        assert_eq!((batch.gone.len(), batch.jobs.len()), (1, 0));
        assert!(!state.poke(&key("x"), Rank::Firing));
        assert_eq!(state.stats().objects, 0);
    }
}
