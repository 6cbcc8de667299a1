//! What the user is told while something takes its time.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Where the control plane says what it is doing. Lines are without newline, and fit an 80-column terminal
/// where they can.
pub trait Progress: Send + Sync {
    /// A rare and slow thing: binaries are fetched or built, once per machine and version.
    fn installing(&self, line: &str);

    /// How far the current installation is; several times a second.
    fn so_far(&self, line: &str);

    /// What happens at each start.
    fn starting(&self, line: &str);
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn installing(&self, _line: &str) {}
    fn so_far(&self, _line: &str) {}
    fn starting(&self, _line: &str) {}
}

/// Prints to standard error: one moving line on a terminal, elsewhere (a CI log) a plain line now and then.
#[derive(Debug)]
pub struct Printer {
    starts_too: bool,
    moving: bool,
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    at: Option<Instant>,
    unfinished: bool,
}

const BETWEEN_MOVES: Duration = Duration::from_millis(200);
const BETWEEN_PLAIN_LINES: Duration = Duration::from_secs(20);

impl Printer {
    /// Everything; for the demo.
    pub fn verbose() -> Self {
        Self::new(true)
    }

    /// Only what happens once per machine; for tests, which start many control planes.
    pub fn installs_only() -> Self {
        Self::new(false)
    }

    fn new(starts_too: bool) -> Self {
        let last = Mutex::new(Last { at: None, unfinished: false });
        Self { starts_too, moving: io::stderr().is_terminal(), last }
    }

    fn line(&self, line: &str) {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let after = if last.unfinished { "\n" } else { "" };
        *last = Last { at: Some(Instant::now()), unfinished: false };
        // Nobody to tell is no reason to fail.
        let _ = writeln!(io::stderr(), "{after}{line}");
    }
}

impl Progress for Printer {
    fn installing(&self, line: &str) {
        self.line(line);
    }

    fn so_far(&self, line: &str) {
        let between = if self.moving { BETWEEN_MOVES } else { BETWEEN_PLAIN_LINES };
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.at.is_some_and(|at| at.elapsed() < between) {
            return;
        }
        *last = Last { at: Some(Instant::now()), unfinished: self.moving };
        let mut out = io::stderr();
        let _ = if self.moving {
            write!(out, "\r\x1b[K  {line}").and_then(|()| out.flush())
        } else {
            writeln!(out, "  {line}")
        };
    }

    fn starting(&self, line: &str) {
        if self.starts_too {
            self.line(line);
        }
    }
}
