//! From changes and a look at the branch to one commit, and to a verdict for every change that is not in it.
//!
//! | rule, in this order | verdict |
//! | --- | --- |
//! | a commit on the branch carries the change's fire id and entry's scalars | `Committed`: the reply to it was lost |
//! | it was given up | `Absent` |
//! | a file is missing, or an edit of it cannot be done exactly | `Refused`, by file and line |
//! | two owners write one scalar, and not all of them allow that; or two entries of one run do | `Refused`, told to each |
//! | a later pipeline wrote one of its scalars, on the branch or in this batch, or found it as wanted | `Superseded` |
//! | `dryRun` | `DryRun`, with what would change |
//! | every scalar is as wanted | `UpToDate` |
//! | else | in the commit |
//!
//! A change is all of its edits or none. That a file said already what a later pipeline wanted leaves no trace on
//! the branch: this process remembers it (`affirmed.rs`). After a restart, and by another operator, an earlier pipeline that
//! ends afterwards and wants something else is not known to be late.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use super::contention::Claimed;
use super::message::{self, Entry, Target};
use super::{
    Change, ChangeKey, CommitOrder, CommitSeen, FileChange, FileSeen, Owner, Snapshot, Verdict, Written,
};
use crate::domain::{RepoPath, SharedTitle};
use crate::yaml::{Refusal, Site, Source};

/// Clocks that date pipelines and commits may differ by this much.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(10);
/// Longest text of a dry run, in bytes; it goes into a status.
const MAX_DIFF: usize = 2048;

/// What is to be committed, and what became of the rest; verdicts in the order of the changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The commit, if anything is to be written.
    pub commit: Option<CommitOrder>,
    /// By the number of the change in the batch; one that is missing here is in the commit.
    pub verdicts: BTreeMap<usize, Verdict>,
}

/// A change that is still in the running, with what its edits mean in the files as they are.
struct Candidate<'a> {
    number: usize,
    change: &'a Change,
    sites: Vec<(&'a RepoPath, Site)>,
}

impl Candidate<'_> {
    fn scalars(&self) -> impl Iterator<Item = (&RepoPath, String)> {
        self.sites.iter().flat_map(|(file, site)| site.scalars().into_iter().map(|scalar| (*file, scalar)))
    }

    fn writes(&self) -> bool {
        self.sites.iter().any(|(_, site)| !site.is_up_to_date())
    }
}

/// As [`draft`], on one change, which shares its commit with none.
pub(super) fn draft_one(change: &Change, snapshot: &Snapshot) -> Draft {
    draft(std::slice::from_ref(change), snapshot, &SharedTitle::default())
}

/// Decides on `changes` against the branch as `snapshot` shows it; a commit of several runs has this first line.
#[must_use]
pub fn draft(changes: &[Change], snapshot: &Snapshot, title: &SharedTitle) -> Draft {
    let mut verdicts = BTreeMap::new();
    let mut sources: BTreeMap<&RepoPath, Result<Source<'_>, String>> = BTreeMap::new();
    for file in changes.iter().flat_map(|change| &change.edits).map(|edit| &edit.file) {
        sources.entry(file).or_insert_with(|| read(file, snapshot));
    }
    let mut candidates = Vec::new();
    for (number, change) in changes.iter().enumerate() {
        match locate(change, &sources) {
            Err(message) => {
                // Sent before, and found on the branch, it is done whatever the files say now.
                let verdict = match on_branch(change, None, snapshot) {
                    Some(commit) => Verdict::Committed { commit },
                    None if change.give_up => Verdict::Absent,
                    None => Verdict::Refused { message },
                };
                verdicts.insert(number, verdict);
            }
            Ok(sites) => match on_branch(change, Some(&sites), snapshot) {
                Some(commit) => {
                    verdicts.insert(number, Verdict::Committed { commit });
                }
                None if change.give_up => {
                    verdicts.insert(number, Verdict::Absent);
                }
                None => candidates.push(Candidate { number, change, sites }),
            },
        }
    }
    refuse_contention(&mut candidates, &mut verdicts, (&sources, snapshot));
    supersede(&mut candidates, &mut verdicts, snapshot);
    candidates.retain(|candidate| {
        let verdict = if candidate.change.dry_run && candidate.writes() {
            Verdict::DryRun { diff: diff(candidate) }
        } else if candidate.writes() {
            return true;
        } else {
            Verdict::UpToDate
        };
        verdicts.insert(candidate.number, verdict);
        false
    });
    let commit = write(candidates, (&sources, snapshot, title), &mut verdicts);
    Draft { commit, verdicts }
}

fn read<'a>(file: &'a RepoPath, snapshot: &'a Snapshot) -> Result<Source<'a>, String> {
    match snapshot.files.get(file) {
        Some(FileSeen::Content(bytes)) => Source::read(file, bytes).map_err(|refusal| refusal.to_string()),
        Some(FileSeen::Missing) | None => {
            Err(format!("{file}: there is no such file on the branch: mend the path, or add the file first"))
        }
    }
}

fn locate<'a>(
    change: &'a Change,
    sources: &BTreeMap<&RepoPath, Result<Source<'_>, String>>,
) -> Result<Vec<(&'a RepoPath, Site)>, String> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for edit in &change.edits {
        let Some(source) = sources.get(&edit.file) else { continue };
        let source = source.as_ref().map_err(Clone::clone)?;
        for site in source.locate(&edit.edit).map_err(|refusal| refusal.to_string())? {
            if !seen.insert((&edit.file, site.address.clone())) {
                return Err(format!(
                    "{}:{}: two edits write `{}`: keep one",
                    edit.file, site.line, site.address
                ));
            }
            found.push((&edit.file, site));
        }
    }
    Ok(found)
}

/// The commit that carries this change, if the branch has one.
pub(super) fn on_branch_already(change: &Change, snapshot: &Snapshot) -> Option<String> {
    let mut sources = BTreeMap::new();
    for file in change.edits.iter().map(|edit| &edit.file) {
        sources.entry(file).or_insert_with(|| read(file, snapshot));
    }
    let sites = locate(change, &sources).ok();
    on_branch(change, sites.as_deref(), snapshot)
}

/// The scalars that a change means to write, as trailers name them; none if one of its edits cannot be made.
#[must_use]
pub fn scalars(change: &Change, snapshot: &Snapshot) -> BTreeSet<String> {
    let mut sources = BTreeMap::new();
    for file in change.edits.iter().map(|edit| &edit.file) {
        sources.entry(file).or_insert_with(|| read(file, snapshot));
    }
    let sites = locate(change, &sources).unwrap_or_default();
    wrote(&sites)
}

/// The scalars of these sites, as trailers name them.
fn wrote(sites: &[(&RepoPath, Site)]) -> BTreeSet<String> {
    let each =
        sites.iter().flat_map(|(file, site)| site.scalars().into_iter().map(move |scalar| (file, scalar)));
    each.map(|(file, scalar)| message::wrote(file, &scalar)).collect()
}

/// The commit that carries this change: its run's name, and one of the scalars it means, since another entry
/// of the same run may have been committed before it.
fn on_branch(change: &Change, sites: Option<&[(&RepoPath, Site)]>, snapshot: &Snapshot) -> Option<String> {
    let mine = sites.map(wrote);
    let files: BTreeSet<&RepoPath> = change.edits.iter().map(|edit| &edit.file).collect();
    files.into_iter().filter_map(|file| snapshot.history.get(file).map(|commits| (file, commits))).find_map(
        |(file, commits)| {
            commits.iter().find_map(|commit| {
                let carries = commit.written.iter().any(|written| {
                    written.fire_id == change.key.fire_id
                        && match &mine {
                            Some(mine) => written.wrote.iter().any(|wrote| mine.contains(wrote)),
                            None => written.wrote.iter().any(|wrote| wrote.starts_with(&format!("{file}:"))),
                        }
                });
                carries.then(|| commit.id.clone())
            })
        },
    )
}

/// Who writes a scalar, whether they let others, and by which change, if that is in the batch.
type Writer<'a> = (&'a Owner, bool, Option<&'a ChangeKey>);

/// What a dry run would write is nobody's: it is told of the others, and they are not told of it.
fn refuse_contention(
    candidates: &mut Vec<Candidate<'_>>,
    verdicts: &mut BTreeMap<usize, Verdict>,
    (sources, snapshot): (&BTreeMap<&RepoPath, Result<Source<'_>, String>>, &Snapshot),
) {
    let mut writers: HashMap<(RepoPath, String), Vec<Writer<'_>>> = HashMap::new();
    for candidate in candidates.iter().filter(|candidate| !candidate.change.dry_run) {
        let Change { owner, allow_shared, key, .. } = candidate.change;
        for (file, address) in candidate.scalars() {
            writers.entry((file.clone(), address)).or_default().push((owner, *allow_shared, Some(key)));
        }
    }
    for Claimed { owner, allow_shared, file, spots } in &snapshot.claimed {
        let Some(Ok(source)) = sources.get(file) else { continue };
        for address in spots.iter().flat_map(|spot| source.addresses(spot)) {
            writers.entry((file.clone(), address)).or_default().push((owner, *allow_shared, None));
        }
    }
    let mut refused = BTreeMap::new();
    for candidate in candidates.iter() {
        let clash = candidate.scalars().find_map(|(file, address)| {
            let all = writers.get(&(file.clone(), address.clone()))?;
            let why = clash(candidate.change, all)?;
            Some(format!("{file}: `{address}` is written by {why}"))
        });
        if let Some(message) = clash {
            refused.insert(candidate.number, Verdict::Refused { message });
        }
    }
    candidates.retain(|candidate| !refused.contains_key(&candidate.number));
    verdicts.extend(refused);
}

/// Who else writes what this change writes, and what to do about it, if that may not be.
fn clash(change: &Change, writers: &[Writer<'_>]) -> Option<String> {
    if let Some((other, ..)) = writers.iter().find(|(owner, ..)| *owner != &change.owner) {
        let allowed = change.allow_shared && writers.iter().all(|(_, allow_shared, _)| *allow_shared);
        return (!allowed).then(|| {
            format!("{other} as well: let one of them write it, or set `allowShared: true` on both")
        });
    }
    let of_its_run = |key: &&ChangeKey| key.fire_id == change.key.fire_id && key.entry != change.key.entry;
    let other = writers.iter().filter_map(|(_, _, key)| *key).find(of_its_run);
    other
        .filter(|_| !change.dry_run)
        .map(|other| format!("entry {} of this trigger as well: keep one", other.entry.saturating_add(1)))
}

/// The later pipeline wins, whichever ends first.
fn supersede(
    candidates: &mut Vec<Candidate<'_>>,
    verdicts: &mut BTreeMap<usize, Verdict>,
    snapshot: &Snapshot,
) {
    let written = by_scalar(snapshot);
    // Later pipelines first; of one pipeline, what came last.
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse((candidates[i].change.pipeline, candidates[i].number)));
    let mut taken: HashMap<String, u64> = HashMap::new();
    let mut late = BTreeSet::new();
    for i in order {
        let candidate = &candidates[i];
        let names: Vec<String> =
            candidate.scalars().map(|(file, address)| message::wrote(file, &address)).collect();
        let by_branch =
            names.iter().filter_map(|name| later(candidate.change, written.get(name.as_str())?)).max();
        let by_batch = names.iter().filter_map(|name| taken.get(name)).copied().max();
        let by = by_branch.or(by_batch);
        if let Some(by) = by {
            verdicts.insert(candidate.number, Verdict::Superseded { by });
            late.insert(candidate.number);
        } else if !candidate.change.dry_run {
            taken.extend(names.into_iter().map(|name| (name, candidate.change.pipeline)));
        }
    }
    candidates.retain(|candidate| !late.contains(&candidate.number));
}

/// A pipeline that wrote a scalar, or found it as it wanted, and when, where a commit tells.
type By = (u64, Option<Timestamp>);

fn by_scalar(snapshot: &Snapshot) -> HashMap<&str, Vec<By>> {
    let committed = snapshot
        .history
        .values()
        .flatten()
        .flat_map(|CommitSeen { id: _, at, written }| written.iter().map(|written| (written, *at)));
    let merged = snapshot.merged.iter().map(|written| (written, None));
    let mut by_scalar: HashMap<&str, Vec<By>> = HashMap::new();
    for (Written { fire_id: _, pipeline, wrote }, at) in committed.chain(merged) {
        for wrote in wrote {
            by_scalar.entry(wrote).or_default().push((*pipeline, at));
        }
    }
    for (wrote, pipeline) in &snapshot.affirmed {
        by_scalar.entry(wrote).or_default().push((*pipeline, None));
    }
    by_scalar
}

/// The latest of these pipelines, if it is later than the change's. One that has written before that was made is not,
/// whatever its number: a GitLab that was built anew counts from 1 again, and people can write trailers too.
fn later(change: &Change, by: &[By]) -> Option<u64> {
    let begun = change.begun.and_then(|begun| begun.checked_sub(CLOCKS_DIFFER).ok());
    let is_later = |(pipeline, at): &&By| {
        *pipeline > change.pipeline && at.zip(begun).is_none_or(|(at, begun)| at >= begun)
    };
    by.iter().filter(is_later).map(|(pipeline, _)| *pipeline).max()
}

/// One commit of all that is left. Should an edit turn out not to be exact beside the others, its change is
/// refused and the others go on.
fn write(
    mut candidates: Vec<Candidate<'_>>,
    (sources, snapshot, title): (&BTreeMap<&RepoPath, Result<Source<'_>, String>>, &Snapshot, &SharedTitle),
    verdicts: &mut BTreeMap<usize, Verdict>,
) -> Option<CommitOrder> {
    if texts(&candidates, sources).is_err() {
        // One by one: what cannot be written with those before it is dropped.
        let mut fitting = 0;
        while fitting < candidates.len() {
            match texts(&candidates[..=fitting], sources) {
                Ok(_) => fitting += 1,
                Err(refusal) => {
                    let dropped = candidates.remove(fitting);
                    verdicts.insert(dropped.number, Verdict::Refused { message: refusal.to_string() });
                }
            }
        }
    }
    let texts = texts(&candidates, sources).ok()?;
    if texts.is_empty() {
        return None;
    }
    let targets: Vec<Vec<Target>> = candidates.iter().map(targets).collect();
    let entries: Vec<Entry<'_>> = candidates
        .iter()
        .zip(&targets)
        .map(|(candidate, targets)| Entry { change: candidate.change, targets: targets.iter().collect() })
        .collect();
    let files = texts.into_iter().map(|(file, content)| FileChange { file: file.clone(), content }).collect();
    // All of a batch have the same.
    let author = candidates.first().and_then(|candidate| candidate.change.author.clone());
    Some(CommitOrder {
        head: snapshot.head.clone(),
        message: message::message(&entries, title),
        author,
        files,
    })
}

fn texts<'a>(
    candidates: &'a [Candidate<'_>],
    sources: &BTreeMap<&RepoPath, Result<Source<'_>, String>>,
) -> Result<BTreeMap<&'a RepoPath, String>, Refusal> {
    let mut by_file: BTreeMap<&RepoPath, Vec<Site>> = BTreeMap::new();
    for (file, site) in candidates.iter().flat_map(|candidate| &candidate.sites) {
        by_file.entry(file).or_default().push(site.clone());
    }
    let mut texts = BTreeMap::new();
    for (file, sites) in by_file {
        // Located in it, so it was read.
        let Some(Ok(source)) = sources.get(file) else { continue };
        if let Some(text) = source.splice(&sites)? {
            texts.insert(file, text);
        }
    }
    Ok(texts)
}

fn targets(candidate: &Candidate<'_>) -> Vec<Target> {
    let written = candidate.sites.iter().filter(|(_, site)| !site.is_up_to_date());
    written
        .map(|(file, site)| Target {
            file: (*file).clone(),
            address: site.address.clone(),
            scalars: site.scalars(),
            new: site.new.clone(),
        })
        .collect()
}

/// What a dry run would change, a line each.
fn diff(candidate: &Candidate<'_>) -> String {
    let mut out = String::new();
    for (file, site) in candidate.sites.iter().filter(|(_, site)| !site.is_up_to_date()) {
        let line = format!("{file}:{} {}: {} → {}\n", site.line, site.address, site.old, site.new);
        if out.len() + line.len() > MAX_DIFF {
            out.push_str("…\n");
            break;
        }
        out.push_str(&line);
    }
    out
}
