//! The runtime of a controller: watch → store → queue → worker.
//!
//! ```text
//!  API server ─▶ watch ─▶ Feed ─▶ ┌───────── State ─────────┐ ─▶ Runtime ─▶ Worker::work
//!                                 │ store   queue   timers  │               │
//!   followers ───────▶ Handle ──▶ └─────────────────────────┘ ◀── Outcome ──┘
//! ```
//!
//! One runtime serves one kind. A key is worked on when the watch changed it, when its timer is due, or when
//! somebody poked it; never twice at a time, at most [`Options::concurrency`] keys at a time, and in the order of
//! [`queue`]. All timers are one sleep. A worker's panic is its key's trouble alone.
//!
//! It knows nothing of GitLab, or of what a record means; which of several processes runs at all is [`election`]'s. From an event to the start of its work it takes
//! some 3 µs, and a settled object some 340 bytes (release build, 100,000 objects in 100 namespaces).

pub mod election;
pub mod handle;
pub mod lenient;
pub mod queue;
mod state;
pub mod store;
#[cfg(test)]
mod tests;
pub mod timers;
pub mod vitals;
pub mod watch;

use std::{
    any::Any,
    collections::HashMap,
    convert::Infallible,
    fmt,
    future::Future,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use pipekick_core::domain::ObjectKey;
use thiserror::Error;
use tokio::{
    task::{Id, JoinError, JoinSet, yield_now},
    time::{Instant, sleep_until, timeout},
};

pub use election::Election;
pub use handle::{Feed, Handle};
pub use lenient::Lenient;
pub use queue::Rank;
pub use state::Stats;
pub use store::{Body, Entry, Scope, Sighted, Version};
pub use vitals::Vitals;
pub use watch::watch;

use crate::clock;
use state::Job;

/// An idle runtime turns this often, so that a hanging one can be told from it.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Keys handed out in one turn. Of a list most are settled and end where they begin: handed out all at once, each would
/// have a flight of its own waiting for that, and what they needed together stays resident.
const LOT: usize = 16;

/// What a controller does with its objects.
pub trait Worker: Send + Sync + 'static {
    /// What is kept of an object.
    type Record: Send + Sync + 'static;

    /// How urgent an object is that the watch has just shown. Called for every event: keep it cheap.
    fn classify(&self, record: &Self::Record) -> Rank;

    /// One turn of work on an object. It may panic; it should not block. It is given [`Body::Settled`] if a poke or
    /// a timer brings back what it had settled: then it reads the object itself if it needs it.
    fn work(&self, key: &ObjectKey, entry: Entry<Self::Record>) -> impl Future<Output = Outcome> + Send;

    /// [`work`](Self::work) panicked with this message. The key is held for 5 s, doubling to 5 min, in which no
    /// event brings it back.
    fn panicked(&self, key: &ObjectKey, message: &str);

    /// The process is about to end: nothing is put off any more. Each of these objects, whose last turn put off what only
    /// this process knows, has one more turn.
    fn closing(&self) -> Vec<ObjectKey> {
        Vec::new()
    }

    /// The object with this uid is gone. Never called during work on `key`, and before any work on a
    /// successor of the same name.
    fn gone(&self, key: &ObjectKey, uid: &str);
}

/// What a turn of work came to. It replaces the key's earlier timer, whether it sets one or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Outcome {
    /// When to work on it again if nothing happens before.
    pub wake: Option<Wake>,
    /// The version at which nothing is left to do: the record is dropped if that is still the newest.
    pub settled: Option<Version>,
    /// Work on it again at once and at the same rank (a write lost a race). After five in a row, in a second.
    /// The rest of the outcome is void.
    pub again: bool,
}

/// A timer to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wake {
    /// When.
    pub at: Instant,
    /// The rank it will wait at.
    pub rank: Rank,
}

impl Outcome {
    /// Nothing to do until something happens.
    pub fn done() -> Self {
        Self { wake: None, settled: None, again: false }
    }

    /// Start over at once.
    pub fn again() -> Self {
        Self { wake: None, settled: None, again: true }
    }

    /// And wake it at this time.
    pub fn wake_at(self, at: Instant, rank: Rank) -> Self {
        Self { wake: Some(Wake { at, rank }), ..self }
    }

    /// And wake it after so long.
    pub fn wake_in(self, delay: Duration, rank: Rank) -> Self {
        self.wake_at(clock::instant() + delay, rank)
    }

    /// And keep no record of it, if this version is still the newest.
    pub fn settled(self, version: Version) -> Self {
        Self { settled: Some(version), ..self }
    }
}

/// Bounds.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many keys are worked on at a time.
    pub concurrency: NonZeroUsize,
    /// How long a shutdown waits for work in flight.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        // 64: work is waiting for the network; the operator sets its own by --concurrency.
        // 9 s: with the release of the Lease and the last Events a process ends within 10 s, well within Kubernetes' 30 s
        // for a pod. A POST that takes longer is Unknown then, and looked up.
        Self { concurrency: NonZeroUsize::MIN.saturating_add(63), grace: Duration::from_secs(9) }
    }
}

/// The watch ended, which it does only by a panic: without it the runtime would see nothing more.
#[derive(Debug, Error)]
#[error("the watch ended")]
pub struct WatchEnded;

/// See the module's head.
pub struct Runtime<W: Worker> {
    handle: Handle<W::Record>,
    worker: Arc<W>,
    options: Options,
    flights: JoinSet<Outcome>,
    jobs: HashMap<Id, Job<W::Record>>,
}

impl<W: Worker> fmt::Debug for Runtime<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl<W: Worker> Runtime<W> {
    /// A runtime that works on what `handle` knows.
    #[must_use]
    pub fn new(handle: Handle<W::Record>, worker: Arc<W>, options: Options) -> Self {
        Self { handle, worker, options, flights: JoinSet::new(), jobs: HashMap::new() }
    }

    /// Where the watch of `scope` puts what it hears. There is one for all namespaces, or one for each that is watched;
    /// the runtime is ready when all have listed.
    #[must_use]
    pub fn feed(&self, scope: Scope) -> Feed<W> {
        self.handle.0.vitals.expect(scope.clone(), clock::instant());
        Feed { inner: self.handle.0.clone(), worker: self.worker.clone(), scope }
    }

    /// Runs `watch` in a task of its own, and works until `shutdown` is ready. Then nothing more is handed out but what
    /// the worker had put off ([`Worker::closing`]), and that and what is in flight has [`Options::grace`] to end; returns how many did not, and are dropped.
    ///
    /// # Errors
    /// The watch ended. What was in flight had its grace too.
    pub async fn run(
        mut self,
        watch: impl Future<Output = Infallible> + Send + 'static,
        shutdown: impl Future<Output = ()>,
    ) -> Result<usize, WatchEnded> {
        let mut watching = JoinSet::new();
        watching.spawn(watch);
        let mut shutdown = pin!(shutdown);
        let inner = self.handle.0.clone();
        inner.vitals.start(clock::instant());
        let result = loop {
            let (next, more) = self.turn();
            tokio::select! {
                biased;
                () = &mut shutdown => break Ok(()),
                Some(Err(error)) = watching.join_next() => {
                    tracing::error!(%error, "watch ended");
                    break Err(WatchEnded);
                }
                Some(ended) = self.flights.join_next_with_id() => self.landed(ended),
                () = inner.wake.notified() => {}
                () = yield_now(), if more => {}
                () = sleep_until(next) => {}
            }
        };
        watching.abort_all();
        let left = self.drain().await;
        result.map(|()| left)
    }

    /// Hands out what is due, a [`LOT`] at most; returns when to turn again, or that there may be more at once.
    fn turn(&mut self) -> (Instant, bool) {
        while let Some(ended) = self.flights.try_join_next_with_id() {
            self.landed(ended);
        }
        let now = clock::instant();
        self.handle.0.vitals.beat(now);
        let room = self.options.concurrency.get().saturating_sub(self.flights.len()).min(LOT);
        let batch = self.handle.0.lock().take(now, room);
        for (key, uid) in batch.gone {
            self.guarded(|worker| worker.gone(&key, &uid));
        }
        let more = batch.jobs.len() == LOT;
        for job in batch.jobs {
            let (worker, key, entry) = (self.worker.clone(), job.key.clone(), job.entry.clone());
            let flight = self.flights.spawn(async move { worker.work(&key, entry).await });
            self.jobs.insert(flight.id(), job);
        }
        let heartbeat = now + HEARTBEAT;
        (batch.next.map_or(heartbeat, |at| at.min(heartbeat)), more)
    }

    /// A flight ended, well or by a panic.
    fn landed(&mut self, ended: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, Ok(outcome)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(job) = self.jobs.remove(&id) else { return };
        let now = clock::instant();
        match outcome {
            Ok(outcome) => self.handle.0.lock().finished(&job, outcome, now),
            Err(error) => {
                let message = error.try_into_panic().map_or_else(|e| e.to_string(), |p| panic_message(&*p));
                tracing::error!(object = %job.key, panic = message, "work panicked");
                self.handle.0.lock().panicked(&job, now);
                self.guarded(|worker| worker.panicked(&job.key, &message));
            }
        }
    }

    async fn drain(&mut self) -> usize {
        let (grace, mut last) = (self.options.grace, JoinSet::new());
        let drained = timeout(grace, async {
            let put_off = self.worker.closing();
            while let Some(ended) = self.flights.join_next_with_id().await {
                self.landed(ended);
            }
            for key in put_off {
                let Some(entry) = self.handle.entry(&key) else { continue };
                if last.len() >= self.options.concurrency.get() {
                    last.join_next().await;
                }
                let worker = self.worker.clone();
                last.spawn(async move { worker.work(&key, entry).await });
            }
            while last.join_next().await.is_some() {}
        });
        let in_time = drained.await.is_ok();
        let left = self.flights.len() + last.len();
        if !in_time {
            tracing::warn!(left, "work in flight did not end in time and was dropped");
        }
        left
    }

    fn guarded(&self, f: impl FnOnce(&W)) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| f(&self.worker))) {
            self.handle.0.lock().count_panic();
            tracing::error!(panic = panic_message(&*payload), "a call to the worker panicked");
        }
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
        .to_owned()
}
