//! The commands beside the operator, as a person types them.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{POLL, Story};
use crate::DEADLINE;

/// A command under way.
pub struct Typed(Child);

/// How it ended.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Answer {
    pub fn last_line(&self) -> &str {
        self.out.lines().last().unwrap_or_default()
    }
}

impl Story {
    /// Types a command line, with all rights in the cluster.
    pub fn types(&self, line: &[&str]) -> Typed {
        self.types_with(&self.admin_kubeconfig, line)
    }

    /// The same with another kubeconfig.
    pub fn types_with(&self, kubeconfig: &Path, line: &[&str]) -> Typed {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipekick"));
        command.args(line).args(["--namespace", &self.namespace]);
        command.env_clear().env("KUBECONFIG", kubeconfig);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Typed(command.spawn().unwrap())
    }

    /// Types a command line and waits for its answer.
    pub async fn answer(&self, line: &[&str]) -> Answer {
        self.types(line).answer().await
    }
}

impl Typed {
    /// Waits for its end. What it prints is little, and fits into the pipes.
    pub async fn answer(mut self) -> Answer {
        let began = Instant::now();
        while self.0.try_wait().unwrap().is_none() {
            if began.elapsed() > DEADLINE {
                self.0.kill().unwrap();
                panic!("no answer: {:?}", self.ended());
            }
            tokio::time::sleep(POLL).await;
        }
        self.ended()
    }

    /// Lets so much time pass, in which it must not end.
    pub async fn goes_on(&mut self, time: Duration) {
        tokio::time::sleep(time).await;
        assert!(self.0.try_wait().unwrap().is_none(), "it should go on");
    }

    fn ended(self) -> Answer {
        let output = self.0.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap_or_default();
        Answer { code, out: text(output.stdout), err: text(output.stderr) }
    }
}
