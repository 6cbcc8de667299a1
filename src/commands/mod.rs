//! Commands beside the operator, for people and scripts. Each talks to the cluster that the kubeconfig names, or as a pod
//! to its own, with the rights of whoever runs it.

pub mod check;
pub mod release;
pub mod wait;

use std::io::{self, ErrorKind, Write as _};

/// Runs one command.
///
/// # Errors
/// As the command does.
pub fn run<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}

/// Writes an answer; whoever reads it may have read enough.
///
/// # Errors
/// It cannot be written.
pub fn say(answer: &str) -> io::Result<()> {
    let mut out = io::stdout();
    match out.write_all(answer.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
