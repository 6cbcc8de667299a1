//! What is looked at by name and was of no use is looked at again after 5 s growing to 60 s, once however many
//! objects wait for it: only the refusal is remembered, never a value.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pipekick_core::domain::Reason;
use tokio::time::Instant;

use crate::clock;

/// First and longest wait before something that was of no use is read again.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// Refusals remembered at most; beyond it, those that have passed are forgotten.
const MAX_REFUSALS: usize = 4096;

/// Something named that cannot be used now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// Why.
    pub reason: Reason,
    /// Names object and key, and says what to do.
    pub message: String,
    /// How long until it is read again.
    pub look_again: Duration,
}

struct Refusal {
    reason: Reason,
    message: String,
    until: Instant,
    delay: Duration,
}

/// Where one thing stands; the lock is held while it is read, so that waiters share the answer.
type Slot = Arc<tokio::sync::Mutex<Option<Refusal>>>;

/// All refusals, by what was refused.
pub(super) struct Refusals<K>(Mutex<HashMap<K, Slot>>);

impl<K> Default for Refusals<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash> Refusals<K> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Slot>> {
        // Every change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `read` brings, unless it was refused a short while ago.
    ///
    /// # Errors
    /// The refusal of now, or that of before.
    pub(super) async fn unless_refused<T>(
        &self,
        key: K,
        read: impl Future<Output = Result<T, (Reason, String)>>,
    ) -> Result<T, Unavailable> {
        let slot = self.lock().get(&key).cloned();
        let Some(slot) = slot else {
            // Nothing is known against it: no need to take turns.
            return read.await.map_err(|(reason, message)| self.remember(key, reason, message));
        };
        let mut refusal = slot.lock().await;
        let now = clock::instant();
        if let Some(known) = refusal.as_ref().filter(|known| known.until > now) {
            return Err(Unavailable {
                reason: known.reason,
                message: known.message.clone(),
                look_again: known.until - now,
            });
        }
        match read.await {
            Ok(value) => {
                *refusal = None;
                self.lock().remove(&key);
                Ok(value)
            }
            Err((reason, message)) => {
                let look_again = next_delay(refusal.as_ref().map(|known| known.delay));
                let until = clock::instant() + look_again;
                *refusal = Some(Refusal { reason, message: message.clone(), until, delay: look_again });
                Err(Unavailable { reason, message, look_again })
            }
        }
    }

    fn remember(&self, key: K, reason: Reason, message: String) -> Unavailable {
        let look_again = next_delay(None);
        let now = clock::instant();
        let mut slots = self.lock();
        if slots.len() >= MAX_REFUSALS {
            slots.retain(|_, slot| {
                slot.try_lock().map_or(true, |known| known.as_ref().is_some_and(|known| known.until > now))
            });
        }
        let refusal =
            Refusal { reason, message: message.clone(), until: now + look_again, delay: look_again };
        slots.entry(key).or_insert_with(|| Arc::new(tokio::sync::Mutex::new(Some(refusal))));
        Unavailable { reason, message, look_again }
    }
}

fn next_delay(before: Option<Duration>) -> Duration {
    before.map_or(BACKOFF.0, |delay| (delay * 2).min(BACKOFF.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_again_slows_down_to_once_a_minute() {
        let mut delay = None;
        let delays: Vec<u64> = (0..6)
            .map(|_| {
                delay = Some(next_delay(delay));
                delay.unwrap().as_secs()
            })
            .collect();
        assert_eq!(delays, [5, 10, 20, 40, 60, 60]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_refused_is_read_once_for_all_who_wait_and_then_forgotten() {
        let refusals = Refusals::default();
        let reads = std::cell::Cell::new(0);
        let read = |answer: Result<u8, ()>| {
            let reads = &reads;
            refusals.unless_refused("key", async move {
                reads.set(reads.get() + 1);
                answer.map_err(|()| (Reason::SecretMissing, "not there".to_owned()))
            })
        };
        for wait in [5, 5, 5] {
            assert_eq!(read(Err(())).await.unwrap_err().look_again.as_secs(), wait);
        }
        assert_eq!(reads.get(), 1, "the others were told what is known");
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(read(Err(())).await.unwrap_err().look_again.as_secs(), 10);
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(read(Ok(7)).await, Ok(7));
        assert_eq!((read(Ok(8)).await, reads.get()), (Ok(8), 4), "nothing is known against it any more");
    }
}
