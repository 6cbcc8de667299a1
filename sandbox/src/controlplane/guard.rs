//! A child process that cannot outlive us, whatever ends us: return, panic, Ctrl-C, abort or `kill -9`.
//!
//! `prctl(PR_SET_PDEATHSIG)` would need `unsafe` and works on Linux only, so a few lines of shell ([`SCRIPT`])
//! stand between us and the program, with a pipe as the line that must not be cut. The pipe's write end is
//! close-on-exec, so no other child of ours can keep it open. Each guard is the leader of its own process group: a
//! terminal's Ctrl-C reaches us only, and we decide.
//!
//! It does not restart anything, and it does not stop politely: what it runs has nothing worth saving.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

const SCRIPT: &str = include_str!("guard.sh");

/// SIGKILL and `rm -rf` take a few milliseconds; a disk that hangs must not hang us too.
const LONGEST_FAREWELL: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(5);

/// A running program under guard. Dropping it kills the program and removes the directory it was given.
#[derive(Debug)]
pub struct Guarded(Child);

impl Guarded {
    /// The command of the guard for `program`, to which the caller adds arguments, environment and output, and
    /// which [`Guarded::spawn`] starts. `dir` is removed when the guard is let go, but not when the program ends by
    /// itself.
    pub fn command(program: &Path, dir: &Path) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "pipekick-guard"]).arg(dir).arg(program);
        command.stdin(Stdio::piped()).process_group(0);
        command
    }

    /// Starts what [`Guarded::command`] made.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }

    /// The program's status, once it ended by itself.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// Tells the guard to kill the program, without waiting for it: several can go at the same time.
    pub fn let_go(&mut self) {
        drop(self.0.stdin.take());
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.let_go();
        let polls = LONGEST_FAREWELL.as_millis() / POLL.as_millis();
        for _ in 0..polls {
            match self.0.try_wait() {
                Ok(None) => thread::sleep(POLL),
                Ok(Some(_)) | Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::mpsc;

    use super::*;

    fn sh(dir: &Path, script: &str) -> Guarded {
        let mut command = Guarded::command(Path::new("/bin/sh"), dir);
        Guarded::spawn(command.args(["-c", script]).stdout(Stdio::null()).stderr(Stdio::null())).unwrap()
    }

    fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
        for _ in 0..400 {
            if done() {
                return;
            }
            thread::sleep(POLL);
        }
        panic!("did not happen within 2 s: {what}");
    }

    #[test]
    fn letting_go_kills_the_program_and_what_it_started_and_removes_the_directory() {
        let dir = tempfile::tempdir().unwrap().keep();
        let started = dir.join("started");
        let mut command = Guarded::command(Path::new("/bin/sh"), &dir);
        command.args(["-c", "sleep 60 & >started; wait"]).current_dir(&dir);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut guarded = Guarded::spawn(&mut command).unwrap();
        // All of them inherit it, so its end is the end of the last of them. A zombie has closed its files.
        let mut output = guarded.0.stdout.take().unwrap();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send(output.read_to_end(&mut Vec::new()).unwrap()));
        wait_until("the program started", || started.exists());
        assert!(told.try_recv().is_err(), "it runs");

        drop(guarded);

        assert!(!dir.exists());
        told.recv_timeout(Duration::from_secs(2)).expect("every process is gone");
    }

    #[test]
    fn a_program_that_ends_by_itself_ends_its_guard_with_its_status_and_keeps_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(status_of(sh(dir.path(), "exit 7")), Some(7));
        assert!(dir.path().exists());
    }

    #[test]
    fn the_program_holds_neither_end_of_the_pipe() {
        let dir = tempfile::tempdir().unwrap();
        let script = "read -r _ && exit 1; (read -r _ <&3) 2>/dev/null && exit 2; exit 0";
        assert_eq!(status_of(sh(dir.path(), script)), Some(0));
    }

    fn status_of(mut guarded: Guarded) -> Option<i32> {
        let mut status = None;
        wait_until("the guard ended", || {
            status = guarded.ended().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}
