//! An operator process: the real binary, with its own kubeconfig and nothing of our environment.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const TERMINATES_WITHIN: Duration = Duration::from_secs(20);

pub struct Operator {
    process: Child,
    /// Kills the operator should this process end without doing so (Ctrl-C, `kill -9`): its pipe is then cut.
    watchdog: Child,
    log: PathBuf,
    killed: bool,
    /// What it was started with.
    pub gitlab_url: String,
    pub flags: Vec<String>,
    /// Its environment lets it die.
    pub doomed: bool,
}

/// What an operator is started with.
pub struct Start<'a> {
    pub kubeconfig: &'a Path,
    /// The story's. Its log is named after it.
    pub namespace: &'a str,
    /// It watches all namespaces.
    pub sees_all: bool,
    pub gitlab_url: &'a str,
    pub flags: &'a [&'a str],
    /// Beside what every operator gets.
    pub env: &'a [(&'static str, String)],
    /// Tells the operators of one story apart.
    pub number: usize,
}

impl Operator {
    pub fn start(start: &Start<'_>) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stories");
        fs::create_dir_all(&dir).unwrap();
        let log = dir.join(format!("{}.{}.log", start.namespace, start.number));
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipekick"));
        command.arg("run").args(["--gitlab-url", start.gitlab_url]);
        if !start.sees_all {
            command.args(["--namespace", start.namespace]);
        }
        if !start.flags.contains(&"--follow-interval") {
            command.args(["--follow-interval", "1s"]);
        }
        if start.gitlab_url.starts_with("http://") {
            command.arg("--allow-http");
        }
        command.args(["--health-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0"]);
        if !start.flags.contains(&"--log-level") {
            command.args(["--log-level", "pipekick=debug,info"]);
        }
        command.args(start.flags);
        command.env_clear().env("KUBECONFIG", start.kubeconfig).env("RUST_BACKTRACE", "1");
        command.envs(start.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        let process = command.spawn().unwrap();
        let mut watchdog = Command::new("/bin/sh");
        watchdog.args(["-c", "read _; kill -9 $0", &process.id().to_string()]);
        let watchdog = watchdog.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self {
            process,
            watchdog: watchdog.unwrap(),
            log,
            killed: false,
            gitlab_url: start.gitlab_url.to_owned(),
            flags: start.flags.iter().map(|&flag| flag.to_owned()).collect(),
            doomed: start.env.iter().any(|(name, _)| *name == "PIPEKICK_CRASH_AT"),
        }
    }

    /// SIGKILL: it has no time to say goodbye.
    pub fn kill(&mut self) {
        self.killed = true;
        // The watchdog first: it must not fire at a process id that is somebody else's by then.
        for process in [&mut self.watchdog, &mut self.process] {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// SIGTERM, and waits for its end as a kubelet does. It has to come well within the 30 s of a pod.
    pub fn terminate(&mut self) {
        self.killed = true;
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        self.signal("TERM");
        let began = Instant::now();
        while self.process.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < TERMINATES_WITHIN, "it did not end in {TERMINATES_WITHIN:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// This operator, if it ended without being killed.
    pub fn ended_by_itself(&mut self) -> Option<&mut Self> {
        (!self.killed && self.process.try_wait().unwrap().is_some()).then_some(self)
    }

    /// STOP, CONT and the like.
    pub fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.process.id());
        assert!(Command::new("/bin/sh").args(["-c", &kill]).status().unwrap().success());
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where it serves /metrics: it took a free port and logged it.
    pub fn metrics_address(&self) -> String {
        self.address("metrics")
    }

    /// Where it serves /livez and /readyz.
    pub fn health_address(&self) -> String {
        self.address("health")
    }

    fn address(&self, server: &str) -> String {
        let (log, listened) = (self.log(), format!("{server} server listened"));
        let line = log.lines().find(|line| line.contains(&listened)).unwrap();
        line.rsplit_once("address=").unwrap().1.trim().to_owned()
    }

    pub fn is_killed(&self) -> bool {
        self.killed
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The end of its log, and where all of it is.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        let tail = all[all.len().saturating_sub(lines)..].join("\n");
        format!("{} (its last {lines} lines):\n{tail}", self.log.display())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.kill();
    }
}
