//! The two ends of a runtime that others hold: [`Handle`] for those who poke, [`Feed`] for the watch.
//!
//! Neither waits: each call takes a short lock, changes the [`State`], and wakes the runtime if there is
//! something to do. Neither calls the worker with the lock held.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pipekick_core::domain::ObjectKey;
use tokio::sync::Notify;

use super::{
    Worker,
    queue::Rank,
    state::{State, Stats},
    store::{Entry, Scope, Sighted, Version},
    vitals::Vitals,
};
use crate::clock;

pub(super) struct Inner<R> {
    state: Mutex<State<R>>,
    pub(super) wake: Notify,
    pub(super) vitals: Arc<Vitals>,
}

impl<R> Inner<R> {
    pub(super) fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A runtime as its workers and followers see it. Cheap to clone; it exists before the runtime does, so that
/// a worker can hold one.
pub struct Handle<R>(pub(super) Arc<Inner<R>>);

impl<R> Clone for Handle<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R> fmt::Debug for Handle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.stats()).finish()
    }
}

impl<R> Default for Handle<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> Handle<R> {
    /// A handle to an empty store.
    #[must_use]
    pub fn new() -> Self {
        let vitals = Arc::new(Vitals::new(clock::instant()));
        Self(Arc::new(Inner { state: Mutex::default(), wake: Notify::new(), vitals }))
    }

    /// Asks for work on `key`. If it is being worked on, it will be again. `false` if no such object is known.
    pub fn poke(&self, key: &ObjectKey, rank: Rank) -> bool {
        let known = self.0.lock().poke(key, rank);
        if known {
            self.0.wake.notify_one();
        }
        known
    }

    /// Puts in the response to an own write, ahead of the watch. It asks for no work. `false` if
    /// something newer is known, or the object is gone.
    pub fn put_own(&self, seen: Sighted<R>) -> bool {
        self.0.lock().put_own(seen)
    }

    /// What is known of an object.
    #[must_use]
    pub fn entry(&self, key: &ObjectKey) -> Option<Entry<R>> {
        self.0.lock().entry(key)
    }

    /// How many objects are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stats().objects
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Numbers for metrics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.lock().stats()
    }

    /// Signs of life, for the health endpoints.
    #[must_use]
    pub fn vitals(&self) -> Arc<Vitals> {
        self.0.vitals.clone()
    }
}

/// Where a watch puts what it hears.
pub struct Feed<W: Worker> {
    pub(super) inner: Arc<Inner<W::Record>>,
    pub(super) worker: Arc<W>,
    /// What its watch covers.
    pub(super) scope: Scope,
}

impl<W: Worker> Clone for Feed<W> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), worker: self.worker.clone(), scope: self.scope.clone() }
    }
}

impl<W: Worker> fmt::Debug for Feed<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}

impl<W: Worker> Feed<W> {
    /// The API server was heard of.
    pub fn contact(&self) {
        self.inner.vitals.contact(&self.scope, clock::instant());
    }

    /// A list begins; see [`super::store::Store::begin_list`].
    pub fn begin_list(&self, rewound: bool) {
        self.inner.lock().begin_list(&self.scope, rewound);
    }

    /// An object is there, in a list or in an event.
    pub fn seen(&self, seen: Sighted<W::Record>) {
        let rank = catch_unwind(AssertUnwindSafe(|| self.worker.classify(&seen.record)));
        let mut state = self.inner.lock();
        let rank = rank.unwrap_or_else(|_| {
            state.count_panic();
            tracing::error!(object = %seen.key, "classifying panicked");
            Rank::Following
        });
        state.seen(seen, rank);
        drop(state);
        self.inner.wake.notify_one();
    }

    /// An object was deleted.
    pub fn deleted(&self, key: &ObjectKey, uid: Arc<str>) {
        self.inner.lock().deleted(key, uid);
        self.inner.wake.notify_one();
    }

    /// The list is complete.
    pub fn end_list(&self, version: Version) {
        self.inner.lock().end_list(&self.scope, version);
        self.inner.vitals.listed(&self.scope);
        self.inner.wake.notify_one();
    }

    /// Runs what may panic on one object, so that the watch of the others goes on. Logs and counts a panic.
    pub(super) fn guarded<T>(&self, object: &ObjectKey, f: impl FnOnce() -> T) -> Option<T> {
        catch_unwind(AssertUnwindSafe(f))
            .inspect_err(|_| {
                self.inner.lock().count_panic();
                tracing::error!(%object, "converting an object panicked; it is left out");
            })
            .ok()
    }
}
