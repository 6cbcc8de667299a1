//! Learns what pipelines do: one follower per (host, project, credential), however many triggers.
//!
//! A list call answers for all pipelines of a group; a single one is asked alone. A pipeline is looked at
//! after a tenth of its age, between 5 s (`--follow-interval`) and 60 s; after a day every 10 minutes. One that has
//! ended is looked at for 6 hours more, ever more rarely, for somebody may run it again; a list that is asked for
//! others tells of it for nothing. What it sees it hands to the runtime as a [`Sighting`], and only what a decision
//! could care about.

mod groups;
mod look;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use pipekick_core::decide::trigger::Follow;
use pipekick_core::domain::{GitLabUrl, ObjectKey, SecretKeyRef, Sighting, Stretch};
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::Record;
use crate::clock;
use crate::cluster::secrets::Secrets;
use crate::gitlab::{self, Fingerprint};
use crate::runtime::{Handle, Rank};
use groups::{GroupKey, Groups, Now};
use look::Look;

/// Looks at the same time, at most: following never takes what firing needs.
const CONCURRENT_LOOKS: usize = 32;
/// Fingerprints remembered at most.
const FINGERPRINTS: usize = 4096;

/// Everything that is followed.
pub struct Follower {
    gitlab: Arc<gitlab::Client>,
    secrets: Arc<Secrets>,
    handle: Handle<Record>,
    default_url: GitLabUrl,
    groups: Mutex<Groups>,
    fingerprints: Mutex<HashMap<(String, SecretKeyRef), Fingerprint>>,
    changed: Notify,
}

/// Every change under these locks is whole before anything can panic.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> Now {
    Now { instant: clock::instant(), wall: clock::now() }
}

impl Follower {
    /// A follower that follows nothing yet.
    #[must_use]
    pub fn new(
        gitlab: Arc<gitlab::Client>,
        secrets: Arc<Secrets>,
        handle: Handle<Record>,
        default_url: GitLabUrl,
        interval_min: Duration,
    ) -> Self {
        let groups = Mutex::new(Groups::new(interval_min));
        let (fingerprints, changed) = (Mutex::default(), Notify::new());
        Self { gitlab, secrets, handle, default_url, groups, fingerprints, changed }
    }

    /// Follows this pipeline for `object` from now on, or none.
    pub fn follow(&self, object: &ObjectKey, wanted: Option<Follow>) {
        if lock(&self.groups).follow(object, wanted, now()) {
            self.changed.notify_one();
        }
    }

    /// Looks at the pipeline that is followed for `object` at once: something was done to it.
    pub fn look_soon(&self, object: &ObjectKey) {
        lock(&self.groups).look_soon(object, clock::instant());
        self.changed.notify_one();
    }

    /// Looks at the pipeline that is followed for `object` at once, if no look was taken for the time since then.
    pub fn look_since(&self, object: &ObjectKey, since: Timestamp) {
        lock(&self.groups).look_since(object, since, clock::instant());
        self.changed.notify_one();
    }

    /// When the look began that last found the pipeline of `object` under way. None if it has ended since, or no look
    /// of this process's told.
    #[must_use]
    pub fn ran_at(&self, object: &ObjectKey) -> Option<Timestamp> {
        lock(&self.groups).ran_at(object)
    }

    /// What was seen last of the pipeline that is followed for `object`.
    #[must_use]
    pub fn sighting(&self, object: &ObjectKey) -> Option<(Stretch, Sighting)> {
        lock(&self.groups).sighting(object)
    }

    /// Forgets what was seen; the next look tells it again.
    pub fn drop_sighting(&self, object: &ObjectKey) {
        lock(&self.groups).drop_sighting(object);
    }

    /// The name of the token last read from this key, for budgets.
    #[must_use]
    pub fn fingerprint(&self, namespace: &str, access: &SecretKeyRef) -> Option<Fingerprint> {
        lock(&self.fingerprints).get(&(namespace.to_owned(), access.clone())).copied()
    }

    /// Remembers the name of the token last read from this key.
    pub fn remember_fingerprint(&self, namespace: &str, access: &SecretKeyRef, fingerprint: Fingerprint) {
        let mut fingerprints = lock(&self.fingerprints);
        if fingerprints.len() >= FINGERPRINTS {
            fingerprints.clear();
        }
        fingerprints.insert((namespace.to_owned(), access.clone()), fingerprint);
    }

    /// Looks when looks are due, for ever.
    pub async fn run(self: Arc<Self>) {
        let mut looks = JoinSet::new();
        loop {
            while let Some(ended) = looks.try_join_next() {
                self.looked(ended);
            }
            let room = CONCURRENT_LOOKS.saturating_sub(looks.len());
            let (due, next) = lock(&self.groups).take_due(room, now());
            for (key, wanted) in due {
                let follower = Arc::clone(&self);
                let began = clock::instant();
                looks.spawn(async move {
                    let look = follower.look(&key, wanted).await;
                    (key, began, look)
                });
            }
            tokio::select! {
                Some(ended) = looks.join_next() => self.looked(ended),
                () = self.changed.notified() => {}
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    fn looked(&self, ended: Result<(GroupKey, Instant, Look), JoinError>) {
        let (key, began, look) = match ended {
            Ok(look) => look,
            Err(error) => {
                tracing::error!(%error, "look at pipelines panicked");
                lock(&self.groups).lost_a_look();
                return;
            }
        };
        let concerned = lock(&self.groups).looked(&key, began, look, now());
        for object in concerned {
            self.handle.poke(&object, Rank::Following);
        }
    }
}
