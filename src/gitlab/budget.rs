//! How many requests a GitLab still takes from us.
//!
//! GitLab counts requests with an access token by its user and everything else, trigger calls included, by
//! address. So there is one window per host and credential, and one per host for the address. Pure: the time is
//! an argument, and what is not known is not limited, for many a GitLab counts nothing at all or says so only
//! in a 429.
//!
//! ```text
//! unknown ── rate told ──► window: counts down ── its end, something left ──► unknown
//!    │                                  └──────── its end, used up ──► trying
//!    └────── 429, 503 with Retry-After ──► closed until ── passed ────► trying
//! trying: one request, then two, four, … ── rate told ──► window
//!    │ └── 429 ──► closed                     └── a minute without either ──► unknown
//! ```
//!
//! *Trying* is for the moment at which everybody who waited would go at once, though nobody knows how much there is.

use std::collections::HashMap;
use std::time::Duration;

use pipekick_core::domain::GitLabUrl;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;

use super::ResponseMeta;

/// A 429 that names no time: GitLab's own limiters count by the minute.
pub(super) const UNNAMED_WAIT: Duration = Duration::from_secs(60);
/// Following leaves one part in so many of a window to firing.
const RESERVE: u64 = 5;
/// How soon to ask again while others try how much there is; their answers come sooner, as a rule.
const TRYING_WAIT: Duration = Duration::from_secs(1);
/// `RateLimit-Reset` and `Date` are cut to seconds, so one window is told with ends that differ by this much.
const SAME_WINDOW: Duration = Duration::from_secs(3);

/// Names an access token without holding it: a hash under a key made at random by this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

/// Makes [`Fingerprint`]s that mean nothing to any other process.
#[derive(Debug, Clone, Default)]
pub(super) struct Fingerprints(std::hash::RandomState);

impl Fingerprints {
    pub(super) fn of(&self, token: &SecretString) -> Fingerprint {
        use std::hash::BuildHasher as _;
        Fingerprint(self.0.hash_one(token.expose_secret()))
    }
}

/// On whose account GitLab counts a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Account {
    host: String,
    credential: Option<Fingerprint>,
}

impl Account {
    /// Our address: trigger calls.
    #[must_use]
    pub fn address(url: &GitLabUrl) -> Self {
        Self { host: url.authority().to_owned(), credential: None }
    }

    /// An access token's user.
    #[must_use]
    pub fn access(url: &GitLabUrl, credential: Fingerprint) -> Self {
        Self { host: url.authority().to_owned(), credential: Some(credential) }
    }
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Starts a pipeline, or stops one: may use the last request of a window.
    Firing,
    /// Looks at pipelines: leaves a fifth of the window to firing.
    Following,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    remaining: u64,
    /// Following stops here.
    reserve: u64,
    ends: Instant,
}

/// What there was is used up or was refused, and nobody knows yet what there is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trying {
    /// When it began; names it.
    began: Instant,
    /// Requests at the same time, at most: one more with every answer that is not a refusal.
    allowed: u64,
    under_way: u64,
}

impl Trying {
    fn from(began: Instant) -> Self {
        Self { began, allowed: 1, under_way: 0 }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    window: Option<Window>,
    closed_until: Option<Instant>,
    trying: Option<Trying>,
}

impl State {
    fn forget_the_past(&mut self, now: Instant) {
        let over = self.window.filter(|window| window.ends <= now);
        let used_up = over.filter(|window| window.remaining == 0).map(|window| window.ends);
        let opened = self.closed_until.filter(|end| *end <= now);
        if let Some(began) = used_up.max(opened) {
            self.trying = Some(Trying::from(began));
        }
        if over.is_some() {
            self.window = None;
        }
        if opened.is_some() {
            self.closed_until = None;
        }
        self.trying = self.trying.filter(|trying| trying.began + UNNAMED_WAIT > now);
    }

    fn says_nothing(&self) -> bool {
        let Self { window, closed_until, trying } = self;
        window.is_none() && closed_until.is_none() && trying.is_none()
    }

    fn wait(&self, class: Class, now: Instant) -> Option<Duration> {
        let used_up = self.window.filter(|window| match class {
            Class::Firing => window.remaining == 0,
            Class::Following => window.remaining <= window.reserve,
        });
        if let Some(end) = self.closed_until.max(used_up.map(|window| window.ends)) {
            return Some(end.saturating_duration_since(now)).filter(|wait| !wait.is_zero());
        }
        self.trying.filter(|trying| trying.under_way >= trying.allowed).map(|_| TRYING_WAIT)
    }
}

/// What is left of rate limits: of the account that has least. `None` where nothing is known of any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BudgetLeft {
    /// At the GitLab that was asked about.
    pub own: Option<usize>,
    /// At all others.
    pub others: Option<usize>,
}

/// From what a request was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    window_ends: Option<Instant>,
    trying_began: Option<Instant>,
}

/// The accounts of one process.
#[derive(Debug, Default)]
pub struct Budget {
    accounts: HashMap<Account, State>,
}

impl Budget {
    /// Takes one request.
    ///
    /// # Errors
    /// How long to wait before it may be sent.
    pub(super) fn take(&mut self, who: &Account, class: Class, now: Instant) -> Result<Taken, Duration> {
        let Some(state) = self.accounts.get_mut(who) else {
            return Ok(Taken { window_ends: None, trying_began: None });
        };
        state.forget_the_past(now);
        if let Some(wait) = state.wait(class, now) {
            return Err(wait);
        }
        // Counted at once and not when the answer comes, or a burst would pass as a whole.
        let window_ends = state.window.as_mut().map(|window| {
            window.remaining = window.remaining.saturating_sub(1);
            window.ends
        });
        let trying_began = state.trying.as_mut().map(|trying| {
            trying.under_way = trying.under_way.saturating_add(1);
            trying.began
        });
        Ok(Taken { window_ends, trying_began })
    }

    /// A request that was taken is over. One that was not `spent` was never sent.
    pub(super) fn put_down(&mut self, who: &Account, taken: Taken, spent: bool) {
        let Some(state) = self.accounts.get_mut(who) else { return };
        let Taken { window_ends, trying_began } = taken;
        if let Some(trying) = state.trying.as_mut().filter(|trying| Some(trying.began) == trying_began) {
            trying.under_way = trying.under_way.saturating_sub(1);
        }
        if let Some(window) = state.window.as_mut().filter(|window| Some(window.ends) == window_ends)
            && !spent
        {
            window.remaining = window.remaining.saturating_add(1);
        }
    }

    /// What is left, at the GitLab of this host and at the others.
    pub(super) fn left(&self, host: &str, now: Instant) -> BudgetLeft {
        let mut left = BudgetLeft::default();
        for (account, state) in &self.accounts {
            let mut state = *state;
            state.forget_the_past(now);
            let closed = state.closed_until.map(|_| 0);
            let Some(here) = closed.or_else(|| state.window.map(|window| window.remaining)) else { continue };
            let here = usize::try_from(here).unwrap_or(usize::MAX);
            let least = if account.host == host { &mut left.own } else { &mut left.others };
            *least = Some(least.map_or(here, |least| least.min(here)));
        }
        left
    }

    /// Learns from an answer.
    pub fn observe(&mut self, who: &Account, meta: &ResponseMeta, now: Instant) {
        // What has passed says nothing any more; so tokens that are no longer used do not pile up.
        self.accounts.retain(|_, state| {
            state.forget_the_past(now);
            !state.says_nothing()
        });
        let told =
            meta.rate.map(|rate| (rate.remaining, now + rate.resets_in)).filter(|(_, ends)| *ends > now);
        let closed = match meta.status {
            Some(429) => Some(meta.asked_wait().unwrap_or(UNNAMED_WAIT)),
            Some(503) => meta.retry_after,
            _ => None,
        };
        if told.is_none() && closed.is_none() {
            if let Some(trying) = self.accounts.get_mut(who).and_then(|state| state.trying.as_mut()) {
                trying.allowed = trying.allowed.saturating_add(1);
            }
            return;
        }
        let state = self.accounts.entry(who.clone()).or_default();
        // Those that try beside this one may not be counted yet.
        let beside = state.trying.take().map_or(0, |trying| trying.under_way.saturating_sub(1));
        if let Some(wait) = closed {
            state.closed_until = state.closed_until.max(Some(now + wait));
        }
        let Some((remaining, ends)) = told else { return };
        let remaining = remaining.saturating_sub(beside);
        let fresh = Window { remaining, reserve: remaining.div_ceil(RESERVE), ends };
        state.window = Some(match state.window {
            // An answer that was overtaken by the next window's.
            Some(known) if known.ends > ends + SAME_WINDOW => known,
            // Ours counts what is under way, GitLab's what others sent: the smaller one is right.
            Some(known) if known.ends + SAME_WINDOW >= ends => {
                Window { remaining: known.remaining.min(remaining), ..known }
            }
            Some(_) | None => fresh,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::meta::Rate;
    use super::*;
    use crate::clock;

    fn account(host: &str) -> Account {
        Account::address(&host.parse().unwrap())
    }

    fn rate(remaining: u64, resets_in: u64) -> ResponseMeta {
        let rate = Rate { remaining, resets_in: Duration::from_secs(resets_in) };
        ResponseMeta { status: Some(200), rate: Some(rate), ..ResponseMeta::default() }
    }

    fn status(status: u16, retry_after: Option<u64>) -> ResponseMeta {
        let retry_after = retry_after.map(Duration::from_secs);
        ResponseMeta { status: Some(status), retry_after, ..ResponseMeta::default() }
    }

    /// How long a request would have to wait; `None` if it need not.
    fn wait(budget: &Budget, who: &Account, class: Class, now: Instant) -> Option<Duration> {
        let mut state = *budget.accounts.get(who)?;
        state.forget_the_past(now);
        state.wait(class, now)
    }

    const fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn an_answer_decides_who_waits_and_how_long() {
        let (now, who) = (clock::instant(), account("https://gitlab.example.com"));
        // sentence; answers with the second they came in; asked at; firing waits; following waits
        type Case<'a> = (&'a str, Vec<(u64, ResponseMeta)>, u64, Option<u64>, Option<u64>);
        let cases: Vec<Case<'_>> = vec![
            ("what is not known is not limited", vec![], 0, None, None),
            ("an answer that tells nothing changes nothing", vec![(0, status(200, None))], 0, None, None),
            ("plenty left", vec![(0, rate(100, 60))], 0, None, None),
            (
                "following leaves a fifth of what was seen",
                vec![(0, rate(100, 60)), (10, rate(20, 50))],
                10,
                None,
                Some(50),
            ),
            (
                "one above the reserve is following's",
                vec![(0, rate(100, 60)), (10, rate(21, 50))],
                10,
                None,
                None,
            ),
            (
                "nothing left: firing waits too",
                vec![(0, rate(100, 60)), (10, rate(0, 50))],
                20,
                Some(40),
                Some(40),
            ),
            ("a window that passed is unknown again", vec![(0, rate(0, 60))], 60, None, None),
            ("the next window starts afresh", vec![(0, rate(0, 60)), (61, rate(50, 59))], 61, None, None),
            (
                "a late answer of the last window does not count",
                vec![(0, rate(50, 60)), (1, rate(0, 5))],
                1,
                None,
                None,
            ),
            ("ends a second apart are one window", vec![(0, rate(2, 60)), (1, rate(100, 61))], 1, None, None),
            (
                "a smaller count of GitLab's wins",
                vec![(0, rate(100, 60)), (1, rate(0, 58))],
                1,
                Some(59),
                Some(59),
            ),
            ("a 429 closes for as long as it says", vec![(0, status(429, Some(17)))], 0, Some(17), Some(17)),
            (
                "a 429 that says nothing closes for a minute",
                vec![(0, status(429, None))],
                0,
                Some(60),
                Some(60),
            ),
            (
                "a 429 inside a window with room closes it",
                vec![(0, rate(100, 60)), (1, status(429, Some(5)))],
                2,
                Some(4),
                Some(4),
            ),
            (
                "a shorter wait does not open what is closed longer",
                vec![(0, status(429, Some(30))), (1, status(429, Some(1)))],
                1,
                Some(29),
                Some(29),
            ),
            (
                "an overloaded GitLab is left alone as long as it says",
                vec![(0, status(503, Some(9)))],
                0,
                Some(9),
                Some(9),
            ),
            ("a 503 without a time closes nothing", vec![(0, status(503, None))], 0, None, None),
        ];
        for (sentence, answers, asked, firing, following) in cases {
            let mut budget = Budget::default();
            for (at, meta) in &answers {
                budget.observe(&who, meta, now + secs(*at));
            }
            let wait = |class| wait(&budget, &who, class, now + secs(asked));
            assert_eq!(wait(Class::Firing), firing.map(secs), "{sentence}: firing");
            assert_eq!(wait(Class::Following), following.map(secs), "{sentence}: following");
        }
    }

    #[test]
    fn a_burst_cannot_overrun_a_window() {
        let (now, who) = (clock::instant(), account("https://gitlab.example.com"));
        let mut budget = Budget::default();
        budget.observe(&who, &rate(10, 60), now);
        let mut permits = |class| (0..100).filter(|_| budget.take(&who, class, now).is_ok()).count();
        assert_eq!(permits(Class::Following), 8, "following leaves two");
        assert_eq!(permits(Class::Firing), 2, "firing takes what is left");
        assert_eq!(budget.take(&who, Class::Firing, now + secs(20)), Err(secs(40)));
        // An answer from before the burst does not give back what is under way.
        budget.observe(&who, &rate(9, 59), now + secs(1));
        assert_eq!(budget.take(&who, Class::Firing, now + secs(1)), Err(secs(59)));
        assert!(budget.take(&who, Class::Firing, now + secs(60)).is_ok());
    }

    /// Takes as many as there are, and says how many, and how long the next one waits.
    fn take_all(budget: &mut Budget, who: &Account, now: Instant) -> (Vec<Taken>, Duration) {
        let mut taken = Vec::new();
        loop {
            match budget.take(who, Class::Firing, now) {
                Ok(one) if taken.len() < 1000 => taken.push(one),
                Ok(_) => return (taken, Duration::ZERO),
                Err(wait) => return (taken, wait),
            }
        }
    }

    #[test]
    fn after_a_window_that_was_used_up_one_tries_and_its_answer_tells_how_many_may_follow() {
        let (start, who) = (clock::instant(), account("https://gitlab.example.com"));
        for (sentence, before) in [("used up", rate(0, 60)), ("refused", status(429, Some(60)))] {
            let mut budget = Budget::default();
            budget.observe(&who, &before, start);
            let now = start + secs(60);
            let (first, wait) = take_all(&mut budget, &who, now);
            assert_eq!((first.len(), wait), (1, TRYING_WAIT), "{sentence}");
            budget.observe(&who, &rate(29, 60), now);
            budget.put_down(&who, first[0], true);
            let (others, wait) = take_all(&mut budget, &who, now);
            assert_eq!((others.len(), wait), (29, secs(60)), "{sentence}");
        }
    }

    #[test]
    fn where_no_answer_tells_a_rate_they_double_until_one_is_refused() {
        let (start, who) = (clock::instant(), account("https://gitlab.example.com"));
        let mut budget = Budget::default();
        budget.observe(&who, &status(429, Some(60)), start);
        let now = start + secs(60);
        for expected in [1, 2, 4, 8] {
            let (taken, wait) = take_all(&mut budget, &who, now);
            assert_eq!((taken.len(), wait), (expected, TRYING_WAIT));
            for one in taken {
                budget.observe(&who, &status(201, None), now);
                budget.put_down(&who, one, true);
            }
        }
        budget.observe(&who, &status(429, Some(60)), now);
        assert_eq!(take_all(&mut budget, &who, now).1, secs(60));
        let (again, _) = take_all(&mut budget, &who, now + secs(60));
        assert_eq!(again.len(), 1, "and from one again");
        let (later, _) = take_all(&mut budget, &who, now + secs(121));
        assert_eq!(later.len(), 1000, "a minute without a refusal: nothing is known any more");
    }

    #[test]
    fn what_was_taken_and_not_sent_is_there_for_others() {
        let (start, who) = (clock::instant(), account("https://gitlab.example.com"));
        let mut budget = Budget::default();
        budget.observe(&who, &rate(2, 60), start);
        let (taken, _) = take_all(&mut budget, &who, start);
        assert_eq!(taken.len(), 2);
        budget.put_down(&who, taken[0], false);
        budget.put_down(&who, taken[1], true);
        assert_eq!(take_all(&mut budget, &who, start).0.len(), 1);

        // One that tries and is never answered makes room, and tells nothing.
        let now = start + secs(60);
        for _ in 0..2 {
            let (trying, _) = take_all(&mut budget, &who, now);
            assert_eq!(trying.len(), 1);
            budget.put_down(&who, trying[0], true);
        }
        // Of a window that has passed nothing comes back.
        budget.observe(&who, &rate(5, 60), now);
        budget.put_down(&who, taken[1], false);
        assert_eq!(take_all(&mut budget, &who, now).0.len(), 5);
    }

    #[test]
    fn hosts_credentials_and_the_address_have_accounts_of_their_own() {
        let now = clock::instant();
        let url: GitLabUrl = "https://gitlab.example.com".parse().unwrap();
        let prints = Fingerprints::default();
        let (a, b) = (prints.of(&SecretString::from("token-a")), prints.of(&SecretString::from("token-b")));
        assert_ne!(a, b);
        assert_eq!(a, prints.of(&SecretString::from("token-a")));
        assert_ne!(
            a,
            Fingerprints::default().of(&SecretString::from("token-a")),
            "the key is the process's own"
        );
        let mut budget = Budget::default();
        budget.observe(&Account::access(&url, a), &status(429, Some(60)), now);
        assert!(wait(&budget, &Account::access(&url, a), Class::Firing, now).is_some());
        let others =
            [Account::access(&url, b), Account::address(&url), account("https://gitlab.example.com:8443")];
        for other in others {
            assert_eq!(wait(&budget, &other, Class::Firing, now), None, "{other:?}");
        }
    }

    #[test]
    fn accounts_that_say_nothing_any_more_are_forgotten() {
        let now = clock::instant();
        let mut budget = Budget::default();
        for i in 0..100 {
            budget.observe(&account(&format!("https://gitlab-{i}.example.com")), &rate(1, 60), now);
        }
        assert_eq!(budget.accounts.len(), 100);
        budget.observe(&account("https://gitlab.example.com"), &rate(1, 60), now + secs(61));
        assert_eq!(budget.accounts.len(), 1);
    }
    #[test]
    fn what_is_left_is_that_of_the_account_with_least() {
        let now = clock::instant();
        let url: GitLabUrl = "https://gitlab.example.com".parse().unwrap();
        let token = Account::access(&url, Fingerprints::default().of(&"glpat-x".into()));
        let mut budget = Budget::default();
        let left = |budget: &Budget, at| budget.left("gitlab.example.com", now + secs(at));
        assert_eq!(left(&budget, 0), BudgetLeft::default());
        budget.observe(&token, &rate(100, 60), now);
        budget.observe(&account("https://gitlab.example.com"), &rate(7, 30), now);
        budget.observe(&account("https://other.example.com"), &rate(50, 60), now);
        assert_eq!(left(&budget, 0), BudgetLeft { own: Some(7), others: Some(50) });
        assert_eq!(left(&budget, 30), BudgetLeft { own: Some(100), others: Some(50) });
        budget.observe(&account("https://other.example.com"), &status(429, Some(90)), now);
        assert_eq!(left(&budget, 60), BudgetLeft { own: None, others: Some(0) });
        assert_eq!(left(&budget, 90), BudgetLeft::default());
    }
}
