//! What this process knows of an object and status does not say yet. It may be lost at any time: the next
//! process then knows less, never something wrong.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pipekick_core::domain::{Answer, AttemptKey, ObjectKey};
use tokio::time::Instant;

use crate::clock;

/// Answers kept of one object: the current POST's, and those of intents whose write was not confirmed.
const ANSWERS: usize = 4;

#[derive(Default)]
struct Memory {
    /// What became of POSTs whose outcome is not in status yet, oldest first.
    answers: Vec<(AttemptKey, Answer)>,
    /// The intent in status, and when this process first saw it there.
    intent: Option<(AttemptKey, Instant)>,
}

/// The memories of all objects that have some. A settled object has none.
#[derive(Default)]
pub(super) struct Memories(Mutex<HashMap<ObjectKey, Memory>>);

impl Memories {
    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, Memory>> {
        // Every change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn answered(&self, key: &ObjectKey, attempt: AttemptKey, answer: Answer) {
        let mut all = self.lock();
        let answers = &mut all.entry(key.clone()).or_default().answers;
        answers.push((attempt, answer));
        let excess = answers.len().saturating_sub(ANSWERS);
        answers.drain(..excess);
    }

    pub(super) fn answers(&self, key: &ObjectKey) -> Vec<(AttemptKey, Answer)> {
        self.lock().get(key).map(|memory| memory.answers.clone()).unwrap_or_default()
    }

    /// How long ago `intent` was first seen; now, if it is new.
    pub(super) fn age_of(&self, key: &ObjectKey, intent: AttemptKey) -> Duration {
        let now = clock::instant();
        let mut all = self.lock();
        let memory = all.entry(key.clone()).or_default();
        match &memory.intent {
            Some((known, since)) if *known == intent => now.saturating_duration_since(*since),
            _ => {
                memory.intent = Some((intent, now));
                Duration::ZERO
            }
        }
    }

    pub(super) fn forget(&self, key: &ObjectKey) {
        self.lock().remove(key);
    }
}
