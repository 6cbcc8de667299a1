//! What one search looks at: how far it goes, which credentials there are, and what is broken on purpose.

use crate::world::Left;

/// A protocol or an environment that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// The POST goes out although the write of its intent was not confirmed.
    SendUnconfirmed,
    /// The POST goes out however long ago its intent was written: nobody looked at the clock, or the process
    /// was stopped between that look and the POST.
    SendOld,
    /// A lost reply is taken for a request that was never sent.
    LostIsNotSent,
    /// The API server takes a write whatever version it was decided on.
    IgnoreConflicts,
    /// One look that finds nothing is proof.
    LookOnce,
    /// The second look comes without the resolution delay.
    LookTwiceAtOnce,
    /// What is sent is the spec of the moment, not what the intent names.
    SendNewest,
    /// A remembered answer is filed under run and number of the POST, not under the write of its intent.
    AnswersByNumber,
    /// No decision asks to be woken.
    ForgetTheTimer,
    /// GitLab lets a request take effect up to 25 s after it was sent; the resolution delay is 10 s.
    EffectTooLate,
    /// Lists may miss a pipeline for 30 s; it must show within the resolution delay of 10 s.
    ListTooLate,
    /// A look counts from its reply, however long ago its list was read.
    LookDatedAtReply,
    /// Nobody looks for a second pipeline after a repeat was accepted.
    NobodyChecks,
    /// A lost reply to a request to start failed jobs again is taken for one that was never sent.
    LostRetryIsNotSent,
    /// Such a request goes out however long ago its intent was written.
    RetryOld,
}

/// Which credentials the trigger names.
#[derive(Debug, Clone, Copy)]
pub struct Tokens {
    pub trigger: bool,
    pub access: bool,
}

/// One search.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    pub name: &'static str,
    pub operators: u8,
    pub left: Left,
    pub tokens: Tokens,
    /// `onUnknown: Refire`.
    pub refire: bool,
    /// How many seconds the second operator's wall clock is ahead.
    pub skew: i64,
    /// `--resolution-delay`, in seconds: a request takes effect, and shows in lists, within it or never.
    pub delay: u16,
    /// A look may take long: its list is read at its beginning and its reply comes [`crate::moves::SLOW_LOOK`]
    /// later.
    pub slow_looks: bool,
    /// Effects come up to 25 s late, and rule 1 is not looked at: what comes of a second pipeline is.
    pub duplicates_happen: bool,
    /// `spec.retry.limit`; the back-off is one step of time. 0: no `spec.retry`.
    pub retries: u8,
    /// The search begins with a run whose pipeline runs, as every operator knows it.
    pub begins_running: bool,
    pub broken: Option<Break>,
    /// From every state, the system must come to rest where every cause is answered.
    pub liveness: bool,
}

impl Config {
    /// Two operators, both tokens, one fault, and half a minute.
    pub const fn small(name: &'static str) -> Self {
        let left = Left {
            faults: 1,
            edits: 0,
            asks: 0,
            recreations: 0,
            resolutions: 0,
            restores: 0,
            ticks: 6,
            jumps: 0,
            failures: 0,
        };
        Self {
            name,
            operators: 2,
            left,
            tokens: Tokens { trigger: true, access: true },
            refire: false,
            skew: 0,
            delay: 10,
            slow_looks: true,
            duplicates_happen: false,
            retries: 0,
            begins_running: false,
            broken: None,
            liveness: true,
        }
    }

    pub const fn operators(self, operators: u8) -> Self {
        Self { operators, ..self }
    }

    pub const fn faults(self, faults: u8) -> Self {
        Self { left: Left { faults, ..self.left }, ..self }
    }

    pub const fn edits(self, edits: u8) -> Self {
        Self { left: Left { edits, ..self.left }, ..self }
    }

    pub const fn asks(self, asks: u8) -> Self {
        Self { left: Left { asks, ..self.left }, ..self }
    }

    pub const fn recreations(self, recreations: u8) -> Self {
        Self { left: Left { recreations, ..self.left }, ..self }
    }

    pub const fn resolutions(self, resolutions: u8) -> Self {
        Self { left: Left { resolutions, ..self.left }, ..self }
    }

    pub const fn restores(self, restores: u8) -> Self {
        Self { left: Left { restores, ..self.left }, ..self }
    }

    pub const fn ticks(self, ticks: u8) -> Self {
        Self { left: Left { ticks, ..self.left }, ..self }
    }

    /// A pipeline that runs, fails so often, and is retried so often.
    pub const fn failing(self, failures: u8, retries: u8) -> Self {
        Self { left: Left { failures, ..self.left }, retries, begins_running: true, ..self }
    }

    pub const fn jumps(self, jumps: u8) -> Self {
        Self { left: Left { jumps, ..self.left }, ..self }
    }

    pub const fn breaking(self, broken: Break) -> Self {
        Self { broken: Some(broken), ..self }
    }

    /// Whether the run's name travels with its POST.
    pub const fn marked(&self) -> bool {
        self.tokens.trigger
    }
}
