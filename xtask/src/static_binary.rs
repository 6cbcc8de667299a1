//! `cargo xtask static`: the binary as the image carries it: one file that needs no other, weighed, and started where
//! there is nothing else.
//!
//! ```text
//! rust-std for musl is installed? ─yes─▶ musl ────────────────┐
//!                  └─no──▶ glibc, linked into the binary ─────┴─▶ weigh ─▶ an empty root, without and with CA certificates
//! ```

use std::ffi::OsStr;
use std::fmt;
use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, bail, ensure};
use pipekick_sandbox::controlplane::Kubeconfig;
use pipekick_sandbox::gitlab::{GitlabSim, Seed};

use crate::ci::target_dir;
use crate::ci_steps::{End, Steps, cargo, line_of, output, program, run};
use crate::controlplane;

/// What people pull; the CA certificates beside it add a tenth of a megabyte.
const MOST_COMPRESSED: u64 = 7_000_000;
/// Where distributions keep the CA certificates.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
/// Known to nobody but the `/etc/hosts` of the empty root.
const GITLAB: &str = "gitlab.test";
/// As in the Dockerfile.
const NOBODY: &str = "--userspec=65532:65532";
/// How to give a process another root: as root, in a user namespace of its own, or by sudo.
const WAYS: [(&[&str], &[&str]); 3] = [
    (&[], &["chroot", NOBODY]),
    (&["unshare", "--map-root-user"], &["chroot"]),
    (&["sudo", "--non-interactive"], &["chroot", NOBODY]),
];
/// What `chroot` ends with when it could do its part and there is nothing to start.
const NOTHING_THERE: i32 = 127;

/// Builds, weighs and starts it.
pub fn static_binary() -> anyhow::Result<()> {
    let mut steps = Steps::default();
    take(&mut steps);
    steps.table();
    steps.summary("cargo xtask static")
}

/// The same as steps of something larger.
pub fn take(steps: &mut Steps) {
    let libc = match Libc::here() {
        Ok(Some(libc)) => libc,
        Ok(None) => {
            steps.take("static binary", || {
                Ok(End::Skipped("it is made for Linux, and this is another system".into()))
            });
            return;
        }
        Err(error) => {
            steps.take("static binary", || Err(error));
            return;
        }
    };
    if steps.take("static binary", || libc.build()) {
        steps.take("static binary in an empty root", || in_an_empty_root(&libc.binary()));
    }
}

/// Builds the operator as people run it: the file that the image carries, or on another system than Linux the ordinary
/// release build.
pub fn build_for_people() -> anyhow::Result<End> {
    match Libc::here()? {
        Some(libc) => libc.build(),
        None => run(cargo(["build", "--release", "--locked", "--package", "pipekick"])),
    }
}

/// What [`build_for_people`] built.
pub fn for_people() -> anyhow::Result<PathBuf> {
    Ok(Libc::here()?.map_or_else(|| target_dir().join("release/pipekick"), Libc::binary))
}

/// What the binary is linked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Libc {
    /// As the Dockerfile does it.
    Musl,
    Glibc,
}

impl Libc {
    /// Musl where rustc can build for it; nothing on a system that is not Linux.
    fn here() -> anyhow::Result<Option<Self>> {
        if !cfg!(target_os = "linux") {
            return Ok(None);
        }
        let library =
            output(program("rustc", ["--print", "target-libdir", "--target", &Self::Musl.target()]))?;
        let musl = Path::new(library.trim()).is_dir();
        Ok(Some(if musl { Self::Musl } else { Self::Glibc }))
    }

    fn target(self) -> String {
        let suffix = match self {
            Self::Musl => "musl",
            Self::Glibc => "gnu",
        };
        format!("{}-unknown-linux-{suffix}", std::env::consts::ARCH)
    }

    fn binary(self) -> PathBuf {
        target_dir().join(self.target()).join("release/pipekick")
    }

    fn build(self) -> anyhow::Result<End> {
        let target = self.target();
        let mut build =
            cargo(["build", "--release", "--locked", "--package", "pipekick", "--target", &target]);
        match self {
            Self::Musl => {
                // ring's C calls no libc, so any compiler will do; asked for by name would be one that few have.
                let compiler = format!("CC_{}", target.replace('-', "_"));
                if std::env::var_os(&compiler).is_none() {
                    build.env(compiler, "cc");
                }
            }
            Self::Glibc => {
                let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
                build.env("RUSTFLAGS", format!("{flags} -C target-feature=+crt-static").trim());
            }
        }
        run(build)?;
        let weight = Weight::of(&self.binary())?;
        ensure!(
            weight.compressed <= MOST_COMPRESSED,
            "{weight}, and the most it may have is {MOST_COMPRESSED} bytes compressed"
        );
        Ok(End::Passed(format!("{target}, {weight}")))
    }
}

/// In bytes.
struct Weight {
    plain: u64,
    compressed: u64,
}

impl Weight {
    fn of(file: &Path) -> anyhow::Result<Self> {
        let plain = std::fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len();
        // The program: unoptimised, as this one is, a library of ours takes half a minute.
        let compressed =
            Command::new("gzip").args(["-9", "-c"]).arg(file).output().context("cannot run gzip")?;
        ensure!(compressed.status.success(), "gzip: {}", compressed.status);
        Ok(Self { plain, compressed: compressed.stdout.len() as u64 })
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[allow(clippy::cast_precision_loss, reason = "sizes for a person to read")]
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        write!(f, "{:.1} MB, {:.2} MB compressed", megabytes(self.plain), megabytes(self.compressed))
    }
}

/// A directory that a process can have for its root, with the binary and what little is put there.
struct EmptyRoot {
    dir: tempfile::TempDir,
    way: (&'static [&'static str], &'static [&'static str]),
}

impl EmptyRoot {
    /// Nothing where this machine lets nobody change his root.
    fn new(binary: &Path) -> anyhow::Result<Option<Self>> {
        let dir = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir()?;
        let mut root = Self { dir, way: WAYS[0] };
        for way in WAYS {
            root.way = way;
            // Of the three some are not even installed.
            let tried = root.command("/nothing", &[]).output();
            if tried.is_ok_and(|tried| tried.status.code() == Some(NOTHING_THERE)) {
                std::fs::copy(binary, root.dir.path().join("pipekick"))
                    .with_context(|| format!("cannot copy {}", binary.display()))?;
                return Ok(Some(root));
            }
        }
        Ok(None)
    }

    /// Readable by anybody: who is root here is nobody in there.
    fn put(&self, path: &str, content: &[u8]) -> anyhow::Result<()> {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().context("a file has a directory")?)?;
        let mut file = std::fs::File::create(&path)?;
        file.write_all(content)?;
        Ok(file.set_permissions(Permissions::from_mode(0o644))?)
    }

    fn command(&self, file: &str, args: &[&str]) -> Command {
        let (before, chroot) = self.way;
        // `env` because sudo passes no environment on.
        let env = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "KUBECONFIG=/kubeconfig"];
        let words = before.iter().chain(&env).chain(chroot).map(OsStr::new);
        let words: Vec<&OsStr> = words
            .chain([self.dir.path().as_os_str(), OsStr::new(file)])
            .chain(args.iter().map(OsStr::new))
            .collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(std::process::Stdio::null());
        command
    }

    /// Runs the binary to its end.
    fn pipekick(&self, args: &[&str]) -> anyhow::Result<Output> {
        let mut command = self.command("/pipekick", args);
        let line = line_of(&command);
        eprintln!("$ {line}");
        command.output().with_context(|| format!("cannot run {line}"))
    }

    /// The same for what it must refuse, and say so.
    fn refuses(&self, args: &[&str], says: &str) -> anyhow::Result<()> {
        let Output { status, stdout: _, stderr } = self.pipekick(args)?;
        let stderr = String::from_utf8_lossy(&stderr);
        eprint!("{stderr}");
        ensure!(
            status.code() == Some(1) && stderr.contains(says) && !stderr.contains("panicked"),
            "{status}, and not one line with {says:?}"
        );
        Ok(())
    }
}

/// The image has no shell, no libraries and no files but the two that the Dockerfile puts there.
fn in_an_empty_root(binary: &Path) -> anyhow::Result<End> {
    let Some(root) = EmptyRoot::new(binary)? else {
        let why = "neither chroot nor a user namespace nor sudo is allowed here";
        // There somebody relies on it.
        ensure!(std::env::var_os("CI").is_none(), why);
        return Ok(End::Skipped(why.into()));
    };
    let version = root.pipekick(&["--version"])?;
    ensure!(
        version.status.success(),
        "--version: {}: {}",
        version.status,
        String::from_utf8_lossy(&version.stderr)
    );
    root.refuses(&["run"], "does the image carry CA certificates")?;

    let bundle = BUNDLES.iter().find(|path| Path::new(path).is_file());
    let Some(bundle) = bundle else { bail!("this machine has no CA certificates to put there: {BUNDLES:?}") };
    root.put("etc/ssl/certs/ca-certificates.crt", &std::fs::read(bundle)?)?;
    root.refuses(&["run"], "cannot connect to the Kubernetes API")?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (plane, operator) = controlplane::start().await?;
        let found = finds_its_way(&root, &operator);
        plane.stop().await;
        found
    })?;
    Ok(End::Passed(String::new()))
}

/// It reaches a cluster over TLS, and a GitLab by a name.
fn finds_its_way(root: &EmptyRoot, operator: &Kubeconfig) -> anyhow::Result<()> {
    // It has a thread of its own, and the cluster processes: they answer while this thread waits.
    let gitlab = GitlabSim::start(Seed::one_project("shop/checkout"))?;
    let (_, port) = gitlab.url().rsplit_once(':').context("the simulator has a port")?;
    let url = format!("http://{GITLAB}:{port}");
    root.put("etc/hosts", format!("127.0.0.1 {GITLAB}\n").as_bytes())?;
    root.put("kubeconfig", operator.yaml().as_bytes())?;
    let Output { status, stdout, stderr } =
        root.pipekick(&["check", "--allow-http", "--gitlab-url", &url])?;
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    eprint!("{stdout}{stderr}");
    ensure!(status.success(), "pipekick check: {status}");
    ensure!(stdout.contains(&format!("✔ {url} answers as a GitLab does")), "GitLab was not asked");
    Ok(())
}
