//! Turns at what GitLab's rate limit leaves: who may fire while there is not enough for all.
//!
//! Leave for a POST is taken before its intent is written, so that who gets none has written nothing and counts no
//! attempt. They are parked, and called when there is leave again, namespaces by turns: a crowd in one of them
//! cannot eat every window of a limit that all share. Leave is kept for those who were called until their turn of work
//! is over.
//!
//! How much leave there is the client's budget knows; after a window that was used up it lets one try first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pipekick_core::domain::ObjectKey;

use crate::gitlab::{Account, Class, Client, Permit};
use crate::runtime::Rank;
use crate::runtime::queue::Queue;

type Call = Arc<dyn Fn(&ObjectKey) + Send + Sync>;

/// Who waits for leave on one account.
#[derive(Default)]
struct Line {
    parked: Queue<ObjectKey>,
    /// Somebody looks again when there may be more.
    is_watched: bool,
}

/// `P` is leave for one POST.
struct Lines<P> {
    by_account: HashMap<Account, Line>,
    /// Who was called and has not come yet.
    called: HashMap<ObjectKey, (Account, P)>,
}

impl<P> Default for Lines<P> {
    fn default() -> Self {
        Self { by_account: HashMap::new(), called: HashMap::new() }
    }
}

/// What a hand-out came to.
struct HandedOut {
    called: Vec<ObjectKey>,
    /// How long the others wait, if there are any.
    wait: Option<Duration>,
}

impl<P> Lines<P> {
    fn park(&mut self, account: &Account, key: &ObjectKey) {
        let line = self.by_account.entry(account.clone()).or_default();
        line.parked.push(key.clone(), &key.namespace, Rank::Firing);
    }

    /// Calls as many of those who are parked at `account` as there is leave for.
    fn hand_out(&mut self, account: &Account, mut take: impl FnMut() -> Result<P, Duration>) -> HandedOut {
        let mut handed_out = HandedOut { called: Vec::new(), wait: None };
        let Some(line) = self.by_account.get_mut(account) else { return handed_out };
        while line.parked.depth(Rank::Firing) > 0 {
            let leave = match take() {
                Ok(leave) => leave,
                Err(wait) => {
                    handed_out.wait = Some(wait);
                    return handed_out;
                }
            };
            let Some((key, _)) = line.parked.pop() else { break };
            line.parked.done(&key);
            self.called.insert(key.clone(), (account.clone(), leave));
            handed_out.called.push(key);
        }
        if !line.is_watched {
            self.by_account.remove(account);
        }
        handed_out
    }

    /// Leave that is kept for `key` on this account.
    fn claim(&mut self, account: &Account, key: &ObjectKey) -> Option<P> {
        self.called.get(key).filter(|(of, _)| of == account)?;
        self.called.remove(key).map(|(_, leave)| leave)
    }

    fn forget(&mut self, key: &ObjectKey) {
        self.by_account.values_mut().for_each(|line| line.parked.remove(key));
    }
}

struct Inner {
    gitlab: Arc<Client>,
    lines: Mutex<Lines<Permit>>,
    call: Call,
}

/// All accounts' lines.
pub(in crate::controllers) struct Ration(Arc<Inner>);

impl Ration {
    /// One that calls the parked with `call`.
    pub(in crate::controllers) fn new(
        gitlab: Arc<Client>,
        call: impl Fn(&ObjectKey) + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner { gitlab, lines: Mutex::default(), call: Arc::new(call) }))
    }

    /// Leave for the next POST of `key`.
    ///
    /// # Errors
    /// How long there is none, at least. Then `key` is parked, and called when it is its turn.
    pub(in crate::controllers) fn enter(
        &self,
        account: &Account,
        key: &ObjectKey,
    ) -> Result<Permit, Duration> {
        if let Some(permit) = self.0.lines().claim(account, key) {
            return Ok(permit);
        }
        // Called on another account, which its spec names no more.
        self.leave(key);
        self.0.lines().park(account, key);
        let wait = self.0.hand_out(account, Some(key));
        self.0.lines().claim(account, key).ok_or(wait)
    }

    /// An answer came on `account`, or leave was given back: there may be some for those who are parked.
    pub(in crate::controllers) fn go_on(&self, account: &Account) {
        self.0.hand_out(account, None);
    }

    /// A turn of work on `key` is over. If it was called and needed no leave after all, the next one is called.
    pub(in crate::controllers) fn leave(&self, key: &ObjectKey) {
        let called = self.0.lines().called.remove(key);
        if let Some((account, permit)) = called {
            drop(permit);
            self.0.hand_out(&account, None);
        }
    }

    /// `key` is gone, and is not called any more.
    pub(in crate::controllers) fn forget(&self, key: &ObjectKey) {
        self.0.lines().forget(key);
        self.leave(key);
    }
}

impl Inner {
    fn lines(&self) -> MutexGuard<'_, Lines<Permit>> {
        // Every change is whole before anything can panic.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls whose turn it is, but not `asking`, who is here. Answers how long the others wait.
    fn hand_out(self: &Arc<Self>, account: &Account, asking: Option<&ObjectKey>) -> Duration {
        let mut lines = self.lines();
        let HandedOut { called, wait } =
            lines.hand_out(account, || self.gitlab.permit(account, Class::Firing));
        let watch = wait.filter(|_| {
            let line = lines.by_account.get_mut(account);
            line.is_some_and(|line| !std::mem::replace(&mut line.is_watched, true))
        });
        drop(lines);
        called.iter().filter(|key| Some(*key) != asking).for_each(|key| (self.call)(key));
        if let Some(wait) = watch {
            let (inner, account) = (Arc::clone(self), account.clone());
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                if let Some(line) = inner.lines().by_account.get_mut(&account) {
                    line.is_watched = false;
                }
                inner.hand_out(&account, None);
            });
        }
        wait.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account() -> Account {
        Account::address(&"https://gitlab.example.com".parse().unwrap())
    }

    fn key(namespace: &str, number: usize) -> ObjectKey {
        ObjectKey { namespace: namespace.into(), name: format!("t{number}") }
    }

    /// Leave for so many.
    fn stock(many: usize) -> impl FnMut() -> Result<(), Duration> {
        let mut left = many;
        move || {
            left = left.checked_sub(1).ok_or(Duration::from_secs(60))?;
            Ok(())
        }
    }

    fn names(handed_out: &HandedOut) -> Vec<String> {
        handed_out.called.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_crowd_of_five_thousand_leaves_another_namespace_its_turn_in_the_next_window() {
        let (mut lines, account) = (Lines::default(), account());
        (0..5000).for_each(|number| lines.park(&account, &key("crowd", number)));
        let first = lines.hand_out(&account, stock(3));
        assert_eq!((names(&first), first.wait), (names_of("crowd", 0..3), Some(Duration::from_secs(60))));
        lines.park(&account, &key("quiet", 0));
        assert_eq!(names(&lines.hand_out(&account, stock(2))), ["crowd/t3", "quiet/t0"]);
    }

    fn names_of(namespace: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
        numbers.map(|number| key(namespace, number).to_string()).collect()
    }

    #[test]
    fn leave_is_kept_for_who_was_called_on_that_account_alone() {
        let (mut lines, account) = (Lines::default(), account());
        let other = Account::address(&"https://other.example.com".parse().unwrap());
        for at in [&account, &other] {
            lines.park(at, &key("ns", 0));
            lines.hand_out(at, stock(1));
            assert_eq!(lines.claim(&account, &key("ns", 0)).is_some(), *at == account);
            assert!(lines.claim(&account, &key("ns", 0)).is_none(), "and only once");
        }
    }

    #[test]
    fn nothing_is_kept_of_those_who_wait_no_more() {
        let (mut lines, account) = (Lines::default(), account());
        (0..3).for_each(|number| lines.park(&account, &key("ns", number)));
        lines.forget(&key("ns", 1));
        let handed_out = lines.hand_out(&account, stock(5));
        assert_eq!((names(&handed_out), handed_out.wait), (vec!["ns/t0".into(), "ns/t2".into()], None));
        assert!(lines.by_account.is_empty());
    }

    proptest! {
        /// Whoever waits and in whatever windows leave comes: while a namespace has somebody parked, no other is served
        /// twice between two of its turns, and all leave is used.
        #[test]
        fn no_namespace_waits_for_more_than_one_turn_of_each_other(
            crowds in prop::collection::vec(1usize..40, 2..5),
            windows in prop::collection::vec(1usize..9, 1..60),
        ) {
            let (mut lines, account) = (Lines::default(), account());
            for (number, crowd) in crowds.iter().enumerate() {
                (0..*crowd).for_each(|n| lines.park(&account, &key(&format!("ns{number}"), n)));
            }
            let mut waiting: Vec<usize> = crowds.clone();
            let mut since: Vec<Vec<usize>> = vec![vec![0; crowds.len()]; crowds.len()];
            for window in windows {
                let left: usize = waiting.iter().sum();
                let handed_out = lines.hand_out(&account, stock(window));
                prop_assert_eq!(handed_out.called.len(), window.min(left));
                for called in handed_out.called {
                    let served: usize = called.namespace[2..].parse().unwrap();
                    waiting[served] -= 1;
                    since[served].fill(0);
                    for (other, turns) in since.iter_mut().enumerate() {
                        if other != served && waiting[other] > 0 {
                            turns[served] += 1;
                            prop_assert!(turns[served] <= 1, "ns{other} waits while ns{served} has {} turns", turns[served]);
                        }
                    }
                }
            }
        }
    }
}
