//! A project's repository: a bare one on disk, which people can clone and tests can hold to account with `git`.
//!
//! Driven through the plumbing of the `git` binary (2.38 or newer). Whoever has this source has that binary, the tests
//! judge by it anyway, and content hashes, history by path, lost races and merges are then git's own and not our
//! reading of them. gix would build for minutes and git2 brings C along; what they would save, a few milliseconds a
//! call, matters to nobody here.
//!
//! Nothing is remembered between calls, so what somebody pushes by path counts at once.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use jiff::Timestamp;

/// The mode of a file that is not executable.
pub(crate) const PLAIN: &str = "100644";
const EXECUTABLE: &str = "100755";

/// Git said no, or is not there.
#[derive(Debug, thiserror::Error)]
#[error("git {command}: {said}")]
pub struct GitError {
    command: String,
    said: String,
}

impl GitError {
    pub(crate) fn of(command: &str, why: &dyn std::fmt::Display) -> Self {
        Self { command: command.to_owned(), said: why.to_string() }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Repository {
    path: PathBuf,
}

/// Names and the commits they point at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Refs {
    pub(crate) branches: BTreeMap<String, String>,
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) email: String,
}

#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) id: String,
    pub(crate) parents: Vec<String>,
    pub(crate) author: Person,
    /// As git writes it, with its offset.
    pub(crate) authored_at: String,
    pub(crate) committer: Person,
    pub(crate) committed_at: String,
    pub(crate) message: String,
    /// In the order they stand in.
    pub(crate) trailers: Vec<(String, String)>,
}

/// A file at a commit.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) id: String,
    pub(crate) executable: bool,
    pub(crate) content: Vec<u8>,
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    File { executable: bool },
    Directory,
}

/// What a commit does to one path.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Put { path: String, executable: bool, content: Vec<u8> },
    Delete { path: String },
}

impl Change {
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Put { path, .. } | Self::Delete { path } => path,
        }
    }
}

pub(crate) struct NewCommit<'a> {
    pub(crate) branch: &'a str,
    /// None: the first commit of all.
    pub(crate) parent: Option<&'a str>,
    pub(crate) changes: &'a [Change],
    pub(crate) message: &'a str,
    pub(crate) author: &'a Person,
    pub(crate) committer: &'a Person,
    pub(crate) at: Timestamp,
    /// Whatever the branch points at.
    pub(crate) force: bool,
}

/// Which commits are listed, newest first.
#[derive(Debug, Default)]
pub(crate) struct Log<'a> {
    pub(crate) path: Option<&'a str>,
    pub(crate) since: Option<&'a str>,
    pub(crate) until: Option<&'a str>,
    pub(crate) first_parent: bool,
    pub(crate) skip: usize,
    pub(crate) most: usize,
}

/// One file of a comparison.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) path: String,
    pub(crate) old_mode: String,
    pub(crate) new_mode: String,
    pub(crate) patch: String,
}

struct Output {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

impl Repository {
    pub(crate) fn create(path: PathBuf, default_branch: &str) -> Result<Self, GitError> {
        let repository = Self { path };
        let head = format!("--initial-branch={default_branch}");
        let path = repository.path.display().to_string();
        let init = ["init", "--quiet", "--bare", &head, &path];
        run(Command::new("git").args(init), "init", &[])?.must("init")?;
        Ok(repository)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn refs(&self) -> Result<Refs, GitError> {
        // A tag that is an object of its own stands for the commit it names.
        let format = "--format=%(refname) %(objectname) %(*objectname)";
        let listed = self.text(&["for-each-ref", format, "refs/heads", "refs/tags"])?;
        let mut refs = Refs::default();
        for line in listed.lines() {
            let mut words = line.split(' ');
            let (name, id) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let id = words.next().filter(|peeled| !peeled.is_empty()).unwrap_or(id).to_owned();
            if let Some(name) = name.strip_prefix("refs/heads/") {
                refs.branches.insert(name.to_owned(), id);
            } else if let Some(name) = name.strip_prefix("refs/tags/") {
                refs.tags.insert(name.to_owned(), id);
            }
        }
        Ok(refs)
    }

    /// The commit that a name or an abbreviation means.
    pub(crate) fn resolve(&self, name: &str) -> Result<Option<String>, GitError> {
        let wanted = format!("{name}^{{commit}}");
        let found = self.git(&["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted], &[])?;
        Ok((found.code == Some(0)).then(|| found.line()))
    }

    pub(crate) fn valid_branch_name(&self, name: &str) -> Result<bool, GitError> {
        Ok(self.git(&["check-ref-format", "--branch", name], &[])?.code == Some(0))
    }

    pub(crate) fn entry(&self, commit: &str, path: &str) -> Result<Option<Entry>, GitError> {
        Ok(self.listed(commit, path)?.map(|(entry, _)| entry))
    }

    fn listed(&self, commit: &str, path: &str) -> Result<Option<(Entry, String)>, GitError> {
        let listed = self.text(&["ls-tree", "-z", commit, "--", path])?;
        // `<mode> <type> <id>\t<path>`
        let head = listed.split('\t').next().unwrap_or_default();
        let words: Vec<&str> = head.split(' ').collect();
        Ok(match words[..] {
            [_, "tree", id] => Some((Entry::Directory, id.to_owned())),
            [mode, "blob", id] => Some((Entry::File { executable: mode == EXECUTABLE }, id.to_owned())),
            _ => None,
        })
    }

    pub(crate) fn blob(&self, commit: &str, path: &str) -> Result<Option<Blob>, GitError> {
        let Some((Entry::File { executable }, id)) = self.listed(commit, path)? else { return Ok(None) };
        let content = self.git(&["cat-file", "blob", &id], &[])?.must("cat-file")?.stdout;
        Ok(Some(Blob { id, executable, content }))
    }

    /// The last commit that touched a path, as of this one.
    pub(crate) fn last_commit(&self, commit: &str, path: &str) -> Result<Option<String>, GitError> {
        let found = self.text(&["rev-list", "--max-count=1", commit, "--", path])?;
        Ok(Some(found.trim().to_owned()).filter(|id| !id.is_empty()))
    }

    pub(crate) fn show(&self, commit: &str) -> Result<Option<Commit>, GitError> {
        Ok(self.log(commit, &Log { most: 1, ..Log::default() })?.into_iter().next())
    }

    /// Of a commit and its past, or of a range.
    pub(crate) fn log(&self, range: &str, log: &Log<'_>) -> Result<Vec<Commit>, GitError> {
        const FIELDS: [&str; 9] =
            ["%H", "%P", "%an", "%ae", "%aI", "%cn", "%ce", "%cI", "%(trailers:only=true,unfold=true)"];
        let format = format!("--format=tformat:{}%x00%B", FIELDS.join("%x00"));
        let (most, skip) = (format!("--max-count={}", log.most), format!("--skip={}", log.skip));
        let mut args = vec!["log".to_owned(), "-z".to_owned(), format, most, skip];
        args.extend(log.since.map(|since| format!("--since={since}")));
        args.extend(log.until.map(|until| format!("--until={until}")));
        args.extend(log.first_parent.then(|| "--first-parent".to_owned()));
        args.extend(["--end-of-options".to_owned(), range.to_owned(), "--".to_owned()]);
        args.extend(log.path.map(str::to_owned));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let text = self.text(&args)?;
        let fields: Vec<&str> = text.split('\0').collect();
        let person = |name: &str, email: &str| Person { name: name.to_owned(), email: email.to_owned() };
        let read = |record: &[&str]| Commit {
            id: record[0].to_owned(),
            parents: record[1].split_whitespace().map(str::to_owned).collect(),
            author: person(record[2], record[3]),
            authored_at: record[4].to_owned(),
            committer: person(record[5], record[6]),
            committed_at: record[7].to_owned(),
            trailers: record[8].lines().filter_map(|line| line.split_once(": ")).map(owned).collect(),
            message: record[9].to_owned(),
        };
        Ok(fields.chunks_exact(FIELDS.len() + 1).map(read).collect())
    }

    /// Added and deleted lines of a commit, against its first parent.
    pub(crate) fn stats(&self, commit: &str) -> Result<(u64, u64), GitError> {
        let lines = self.text(&["diff-tree", "--root", "--no-commit-id", "--numstat", "-r", "-m", commit])?;
        let counts = lines.lines().map(|line| {
            let mut numbers = line.split('\t').map(|text| text.parse().unwrap_or(0));
            (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
        });
        Ok(counts.fold((0, 0), |(added, deleted), (more, less)| (added + more, deleted + less)))
    }

    /// What `to` has beyond the point where it left `from`.
    pub(crate) fn differences(&self, from: &str, to: &str) -> Result<Vec<Difference>, GitError> {
        let range = format!("{from}...{to}");
        let raw = self.text(&["diff", "--raw", "--no-renames", "-z", &range])?;
        let fields: Vec<&str> = raw.split('\0').collect();
        let mut all = Vec::new();
        for pair in fields.chunks_exact(2) {
            // `:<old mode> <new mode> <old id> <new id> <letter>`, then the path.
            let modes: Vec<&str> = pair[0].trim_start_matches(':').split(' ').collect();
            let patch = self.text(&["diff", "--no-color", "--no-renames", &range, "--", pair[1]])?;
            let hunks = patch.find("@@").map_or("", |at| &patch[at..]);
            all.push(Difference {
                path: pair[1].to_owned(),
                old_mode: modes.first().copied().unwrap_or_default().to_owned(),
                new_mode: modes.get(1).copied().unwrap_or_default().to_owned(),
                patch: hunks.to_owned(),
            });
        }
        Ok(all)
    }

    /// Writes a commit and moves the branch to it. None: somebody else moved the branch first, and it stays there.
    pub(crate) fn commit(&self, new: &NewCommit<'_>) -> Result<Option<String>, GitError> {
        let NewCommit { branch, parent, changes, message, author, committer, at, force } = new;
        let mut stream = Vec::new();
        let mut line = |text: String| {
            stream.extend_from_slice(text.as_bytes());
            stream.push(b'\n');
        };
        let seconds = at.as_second();
        line(format!("commit refs/heads/{branch}\nmark :1"));
        line(format!("author {} <{}> {seconds} +0000", plain(&author.name), plain(&author.email)));
        line(format!("committer {} <{}> {seconds} +0000", plain(&committer.name), plain(&committer.email)));
        line(format!("data {}\n{message}", message.len()));
        if let Some(parent) = parent {
            line(format!("from {parent}"));
        }
        for change in *changes {
            match change {
                Change::Put { path, executable, content } => {
                    let mode = if *executable { EXECUTABLE } else { PLAIN };
                    let head = format!("M {mode} inline {}\ndata {}\n", quoted(path), content.len());
                    stream.extend_from_slice(head.as_bytes());
                    stream.extend_from_slice(content);
                    stream.push(b'\n');
                }
                Change::Delete { path } => {
                    stream.extend_from_slice(format!("D {}\n", quoted(path)).as_bytes());
                }
            }
        }
        stream.extend_from_slice(b"\nget-mark :1\n");
        let mut args = vec!["fast-import", "--quiet", "--date-format=raw"];
        args.extend(force.then_some("--force"));
        let done = self.git(&args, &stream)?;
        if done.code == Some(1) && done.stderr.contains("Not updating") {
            return Ok(None);
        }
        Ok(Some(done.must("fast-import")?.line()))
    }

    /// Moves a branch, if it still points where it is thought to; an empty id is no branch.
    pub(crate) fn point(&self, branch: &str, to: &str, from: &str) -> Result<bool, GitError> {
        let name = format!("refs/heads/{branch}");
        let from = if from.is_empty() { "0000000000000000000000000000000000000000" } else { from };
        Ok(self.git(&["update-ref", &name, to, from], &[])?.code == Some(0))
    }

    pub(crate) fn tag(&self, name: &str, at: &str) -> Result<(), GitError> {
        self.text(&["update-ref", &format!("refs/tags/{name}"), at]).map(|_| ())
    }

    pub(crate) fn delete_branch(&self, branch: &str) -> Result<(), GitError> {
        self.text(&["update-ref", "-d", &format!("refs/heads/{branch}")]).map(|_| ())
    }

    /// The tree of both together; none if they conflict.
    pub(crate) fn merged_tree(&self, ours: &str, theirs: &str) -> Result<Option<String>, GitError> {
        let merged = self.git(&["merge-tree", "--write-tree", "--no-messages", ours, theirs], &[])?;
        match merged.code {
            Some(0) => Ok(Some(merged.line())),
            Some(1) => Ok(None),
            _ => merged.must("merge-tree").map(|_| None),
        }
    }

    /// A commit of a tree, on no branch yet.
    pub(crate) fn commit_tree(
        &self,
        tree: &str,
        parents: &[&str],
        message: &str,
        by: &Person,
        at: Timestamp,
    ) -> Result<String, GitError> {
        let mut args = vec!["commit-tree", tree];
        args.extend(parents.iter().flat_map(|parent| ["-p", parent]));
        let date = format!("{} +0000", at.as_second());
        let mut command = self.command(&args);
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), plain(&by.name));
            command.env(format!("GIT_{role}_EMAIL"), plain(&by.email));
            command.env(format!("GIT_{role}_DATE"), &date);
        }
        Ok(run(&mut command, "commit-tree", message.as_bytes())?.must("commit-tree")?.line())
    }

    fn text(&self, args: &[&str]) -> Result<String, GitError> {
        let done = self.git(args, &[])?.must(args[0])?;
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }

    fn git(&self, args: &[&str], input: &[u8]) -> Result<Output, GitError> {
        run(&mut self.command(args), args[0], input)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.arg("--git-dir").arg(&self.path).arg("--literal-pathspecs").args(args);
        command
    }
}

/// Runs git apart from whatever configuration the machine has.
fn run(command: &mut Command, what: &str, input: &[u8]) -> Result<Output, GitError> {
    let failed = |error: std::io::Error| GitError::of(what, &error);
    command.env_remove("GIT_DIR").env_remove("GIT_INDEX_FILE").env_remove("GIT_WORK_TREE");
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("LC_ALL", "C");
    command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // Whoever ends before reading it all says why on stderr.
        drop(stdin.write_all(input));
    }
    let output = child.wait_with_output().map_err(failed)?;
    Ok(Output {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

impl Output {
    fn must(self, what: &str) -> Result<Self, GitError> {
        match self.code {
            Some(0) => Ok(self),
            _ => Err(GitError::of(what, &self.stderr.trim())),
        }
    }

    fn line(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }
}

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// A name without what would end it.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '<' | '>' | '\n' | '\0')).collect()
}

/// A path as `fast-import` reads it.
fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
