//! Reads that are shared: whoever wants what somebody else is about to ask for waits for that answer.
//!
//! Only a read that has not begun is joined, so every answer is younger than the wish for it: a value that
//! was rotated before is never missed, and nothing is kept. In a crowd of triggers that name one Secret this saves
//! the API server nearly all of their reads.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::sync::Semaphore;

/// Reads under way at a time. Those that wait for their turn are the ones that can be joined.
const UNDER_WAY: usize = 8;

type Answer<V> = Shared<BoxFuture<'static, Arc<V>>>;

/// See the module's head.
pub(super) struct SharedReads<K, V> {
    inner: Arc<Inner<K, V>>,
}

struct Inner<K, V> {
    /// Reads that have not begun.
    waiting: Mutex<HashMap<K, Answer<V>>>,
    turns: Semaphore,
}

impl<K, V> SharedReads<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    pub(super) fn new() -> Self {
        let turns = Semaphore::new(UNDER_WAY);
        Self { inner: Arc::new(Inner { waiting: Mutex::default(), turns }) }
    }

    /// What `read` answers for `key`, or what a read of the same key answers that begins after this call.
    pub(super) async fn read<F>(&self, key: K, read: impl FnOnce() -> F) -> Arc<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let answer = {
            let mut waiting = self.inner.lock();
            match waiting.get(&key) {
                Some(answer) => answer.clone(),
                None => {
                    let (inner, reading, of) = (Arc::clone(&self.inner), read(), key.clone());
                    let answer = async move {
                        let turn = inner.turns.acquire().await;
                        // From here on nobody joins.
                        inner.lock().remove(&of);
                        let value = Arc::new(reading.await);
                        drop(turn);
                        value
                    };
                    let answer = answer.boxed().shared();
                    waiting.insert(key, answer.clone());
                    answer
                }
            }
        };
        answer.await
    }
}

impl<K, V> Inner<K, V> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Answer<V>>> {
        // Every change is whole before anything can panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn a_crowd_shares_reads_and_nobody_gets_an_answer_older_than_the_wish() {
        let reads: SharedReads<&str, usize> = SharedReads::new();
        let begun = Arc::new(AtomicUsize::new(0));
        let read = || {
            let begun = Arc::clone(&begun);
            async move {
                let number = begun.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                number
            }
        };
        // Polled in this order: the first takes its turn at once, so the second cannot join it any more.
        let (first, second) = tokio::join!(reads.read("a", read), reads.read("a", read));
        assert_eq!((*first, *second), (0, 1));
        // With no turn free, everybody joins the one that waits.
        let turns = reads.inner.turns.acquire_many(8).await.unwrap();
        let mut crowd = futures::future::join_all((0..100).map(|_| reads.read("a", read))).boxed_local();
        assert!(crowd.as_mut().now_or_never().is_none());
        drop(turns);
        let answers: Vec<usize> = crowd.await.into_iter().map(|answer| *answer).collect();
        assert_eq!(answers, vec![2; 100]);
        assert!(reads.inner.lock().is_empty());
    }

    #[tokio::test]
    async fn a_reader_that_gives_up_leaves_the_others_their_answer() {
        let reads: SharedReads<&str, usize> = SharedReads::new();
        let turns = reads.inner.turns.acquire_many(8).await.unwrap();
        let mut first = reads.read("a", || async { 1 }).boxed_local();
        let mut second = reads.read("a", || async { 2 }).boxed_local();
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        drop(turns);
        assert_eq!(*second.await, 1);
    }
}
