//! Changes that go by merge requests: rules by example, and random walks against a GitLab with people in it. Judged by
//! the branches and merge requests: no run is in two, none is opened beside an open one, the target branch never goes
//! backwards, and everybody is told.

use proptest::prelude::*;

use super::*;
use crate::domain::trailers::{Written, made_for};
use crate::domain::{GitRef, Label, MergeRequest, MergeRequestFields, MergeRequestState, Proposal};

const SOURCE: &str = "pipekick/shop/web-1";

fn main() -> GitRef {
    "main".parse().unwrap()
}

fn proposal() -> Proposal {
    Proposal {
        source: None,
        target: main(),
        title: None,
        description: None,
        labels: vec!["bot".parse::<Label>().unwrap()],
        assignees: vec![],
        reviewers: vec![],
        auto_merge: true,
        remove_source_branch: true,
        pipeline_url: Some("https://gitlab.example.com/p/705".into()),
    }
}

fn web(id: &str, pipeline: u64, tag: &str) -> Change {
    let edits = vec![edit("v.yaml", "web.tag", tag)];
    Change { proposal: Some(Box::new(proposal())), ..change("web", id, pipeline, edits) }
}

fn trailers(id: &str, pipeline: u64) -> Vec<Written> {
    written(&format!(
        "x\n\nPipekick-Fire-Id: {id}\nPipekick-Pipeline: {pipeline}\nPipekick-Wrote: v.yaml:web.tag"
    ))
}

fn request(iid: u64, state: MergeRequestState, written: Vec<Written>) -> MergeRequest {
    MergeRequest {
        iid,
        state,
        title: "web.tag v2".into(),
        web_url: None,
        target: Some("main".into()),
        sha: None,
        merged_as: None,
        auto_merge: false,
        detailed_status: None,
        written,
    }
}

/// A branch with `tag`, whose newest commit is by this run.
fn branch(tag: &str, by: Option<(&str, u64)>) -> Snapshot {
    let text = format!("web: {{tag: {tag}}}\n");
    let mut seen = snapshot(&[("v.yaml", &text)], &[]);
    let commits = by.map(|(id, pipeline)| CommitSeen {
        id: format!("c-{id}"),
        at: None,
        written: trailers(id, pipeline),
    });
    if let Some(commit) = &commits {
        seen.head.clone_from(&commit.id);
    }
    seen.history.insert(path("v.yaml"), commits.into_iter().collect());
    seen
}

fn look(target: Snapshot, source: Option<(Snapshot, bool)>, requests: Vec<MergeRequest>) -> RequestSeen {
    let source = source.map(|(snapshot, is_ours)| SourceSeen { snapshot, is_ours, ahead: None });
    RequestSeen { target, source, requests, people: BTreeMap::new() }
}

fn decided(change: Change, seen: RequestSeen) -> Plan {
    let flight = Flight { changes: vec![change], tries: 0, stage: Stage::Read { not_before: at(0.0) } };
    let (policy, seen) = (&Policy::default(), Seen::Request(Box::new(seen)));
    let (flight, seen) = (Some(&flight), Some(&seen));
    decide(&Observed { now: at(9.0), policy, waiting: &[], coming: 0, flight, seen })
}

/// The plan in a word or two.
fn brief(plan: &Plan) -> String {
    if let [(_, verdict)] = &plan.settled[..] {
        return match verdict {
            Verdict::Proposed { request, source, .. } => {
                format!("!{} from {source} {:?}", request.iid, request.state)
            }
            Verdict::Refused { message } => message.clone(),
            other => format!("{other:?}"),
        };
    }
    match &plan.effect {
        Effect::Commit { onto: Onto::NewSource(source), .. } => format!("begin {source}"),
        Effect::Commit { onto: Onto::Source(source), .. } => format!("commit on {source}"),
        Effect::Request { deed, .. } => match &**deed {
            MergeRequestDeed::Open { .. } => "open".into(),
            MergeRequestDeed::Describe { iid, .. } => format!("describe !{iid}"),
            MergeRequestDeed::Close { iid } => format!("close !{iid}"),
            MergeRequestDeed::DeleteSource { .. } => "delete".into(),
        },
        other => format!("{other:?}"),
    }
}

use MergeRequestState::{Closed, Merged, Opened};

/// An earlier run's is open, and this is why GitLab does not merge it.
fn outdated(why: &str, ahead: Option<Vec<Written>>) -> RequestSeen {
    let open = MergeRequest { detailed_status: Some(why.into()), ..request(3, Opened, trailers("f4", 704)) };
    let snapshot = branch("v0", Some(("f4", 704)));
    let source = Some(SourceSeen { snapshot, is_ours: true, ahead });
    RequestSeen { source, ..look(branch("by-hand", None), None, vec![open]) }
}

#[test]
fn a_user_who_is_not_there_closes_nothing() {
    let seen = RequestSeen {
        people: BTreeMap::from([("nobody".parse().unwrap(), None)]),
        ..outdated("conflict", Some(trailers("f4", 704)))
    };
    assert!(brief(&decided(web("f5", 705, "v2"), seen)).contains("no user `nobody`"));
}

#[test]
fn what_is_squashed_keeps_the_trailers() {
    let message = request(3, Opened, trailers("f4", 704)).squash_message();
    assert!(message.starts_with("web.tag v2\n\nPipekick-Fire-Id: f4\n"), "{message}");
    assert_eq!(written(&message), trailers("f4", 704));
}

#[test]
fn what_is_seen_says_what_is_next() {
    let ours = |tag: &str, id: &str, pipeline| Some((branch(tag, Some((id, pipeline))), true));
    let (v1, v2) = (|| branch("v1", None), || branch("v2", None));
    for (name, seen, next) in [
        ("nothing is there", look(v1(), None, vec![]), "begin pipekick/shop/web-1"),
        ("it is on the branch", look(v1(), ours("v2", "f5", 705), vec![]), "open"),
        (
            "and an open one tells of it",
            look(v1(), ours("v2", "f5", 705), vec![request(3, Opened, trailers("f5", 705))]),
            "!3 from pipekick/shop/web-1 Opened",
        ),
        (
            "an open one tells of an earlier run",
            look(v1(), ours("v2", "f5", 705), vec![request(3, Opened, trailers("f4", 704))]),
            "describe !3",
        ),
        (
            "an earlier run's is open",
            look(v1(), ours("v0", "f4", 704), vec![request(3, Opened, trailers("f4", 704))]),
            "commit on pipekick/shop/web-1",
        ),
        (
            "a later run's is open",
            look(v1(), ours("v9", "f9", 709), vec![request(3, Opened, trailers("f9", 709))]),
            "Superseded { by: 709 }",
        ),
        (
            "an earlier run's was merged and its branch kept",
            look(
                branch("v0", Some(("f4", 704))),
                ours("v0", "f4", 704),
                vec![request(3, Merged, trailers("f4", 704))],
            ),
            "delete",
        ),
        (
            "an earlier run's was closed",
            look(v1(), ours("v0", "f4", 704), vec![request(3, Closed, trailers("f4", 704))]),
            "delete",
        ),
        (
            "its own was merged, and the branch is gone",
            look(v2(), None, vec![request(3, Merged, trailers("f5", 705))]),
            "!3 from pipekick/shop/web-1 Merged",
        ),
        (
            "its own was closed",
            look(v1(), ours("v2", "f5", 705), vec![request(3, Closed, trailers("f5", 705))]),
            "!3 from pipekick/shop/web-1 Closed",
        ),
        (
            "a later run's was squashed, which dropped the trailers",
            look(branch("v9", None), None, vec![request(3, Merged, trailers("f9", 709))]),
            "Superseded { by: 709 }",
        ),
        (
            "a later run's went by another branch and was squashed",
            look(Snapshot { merged: trailers("f9", 709), ..branch("v9", None) }, None, vec![]),
            "Superseded { by: 709 }",
        ),
        (
            "an earlier run's is open and in conflict, and it holds earlier values of the same",
            outdated("conflict", Some(trailers("f4", 704))),
            "close !3",
        ),
        (
            "or where the project wants it rebased first",
            outdated("need_rebase", Some(trailers("f4", 704))),
            "close !3",
        ),
        (
            "and once that is closed",
            look(
                branch("by-hand", None),
                ours("v0", "f4", 704),
                vec![MergeRequest { sha: Some("c-f4".into()), ..request(3, Closed, trailers("f4", 704)) }],
            ),
            "delete",
        ),
        (
            "one in conflict that somebody else committed to is theirs to resolve",
            outdated("conflict", None),
            "commit on pipekick/shop/web-1",
        ),
        (
            "one in conflict that holds another's value as well is a person's to resolve",
            outdated(
                "conflict",
                Some(written(
                    "x\n\nPipekick-Fire-Id: f4\nPipekick-Pipeline: 704\nPipekick-Wrote: v.yaml:api.tag",
                )),
            ),
            "commit on pipekick/shop/web-1",
        ),
        (
            "one in conflict that holds a later value is not begun anew with an older one",
            outdated("conflict", Some(trailers("f9", 709))),
            "commit on pipekick/shop/web-1",
        ),
        (
            "the target is as wanted, and an open one would change it",
            look(v2(), ours("v0", "f4", 704), vec![request(3, Opened, trailers("f4", 704))]),
            "close !3",
        ),
        (
            "a later pipeline wrote the target, and an open one would take it back",
            look(
                branch("v9", Some(("f9", 709))),
                ours("v0", "f4", 704),
                vec![request(3, Opened, trailers("f4", 704))],
            ),
            "close !3",
        ),
        (
            "an open one that is about something else too is left alone",
            look(
                v2(),
                ours("v0", "f4", 704),
                vec![request(
                    3,
                    Opened,
                    written(
                        "x\n\nPipekick-Fire-Id: f\nPipekick-Pipeline: 1\nPipekick-Wrote: v.yaml:web.tag\nPipekick-Wrote: v.yaml:api.tag",
                    ),
                )],
            ),
            "UpToDate",
        ),
        ("the target is as wanted", look(v2(), None, vec![]), "UpToDate"),
        (
            "somebody else's branch has that name",
            look(v1(), Some((branch("v1", None), false)), vec![]),
            "the branch pipekick/shop/web-1 is there already, and its last commit is somebody else's: delete it, or name another in mergeRequest.branch",
        ),
        (
            "the branch has one to another target",
            look(
                v1(),
                ours("v0", "f4", 704),
                vec![MergeRequest { target: Some("prod".into()), ..request(4, Opened, vec![]) }],
            ),
            "!4 goes from the branch pipekick/shop/web-1 to prod: merge or close it, or name another in mergeRequest.branch",
        ),
    ] {
        assert_eq!(brief(&decided(web("f5", 705, "v2"), seen)), next, "{name}");
    }
}

#[test]
fn it_says_who_made_it_and_what_changes_and_its_trailers_are_read_back() {
    let seen = look(branch("v1", None), Some((branch("v2", Some(("f5", 705))), true)), vec![]);
    let plan = decided(web("f5", 705, "v2"), seen.clone());
    let Effect::Request { deed, .. } = plan.effect else { panic!("{plan:?}") };
    let MergeRequestDeed::Open { fields, commit, .. } = *deed else { panic!("{deed:?}") };
    let MergeRequestFields { title, description, labels, remove_source_branch } = fields;
    assert_eq!((title.as_str(), commit.as_str(), labels.len()), ("web.tag v2", "c-f5", 1));
    assert!(remove_source_branch);
    assert_eq!(
        description,
        "Made by shop/web after pipeline [705](https://gitlab.example.com/p/705).\n\n\
         ```text\nv.yaml:1 web.tag: v1 → v2\n```\n\n\
         ```text\nPipekick-Fire-Id: f5\nPipekick-Pipeline: 705\nPipekick-Wrote: v.yaml:web.tag\n```\n"
    );
    assert_eq!(written(&description), trailers("f5", 705));
    // As spec says it.
    let own = Proposal { title: Some("Bump".into()), description: Some("Please.\n".into()), ..proposal() };
    let plan = decided(Change { proposal: Some(Box::new(own)), ..web("f5", 705, "v2") }, seen);
    let Effect::Request { deed, .. } = plan.effect else { panic!("{plan:?}") };
    let MergeRequestDeed::Open { fields, .. } = *deed else { panic!("{deed:?}") };
    assert_eq!(fields.title, "Bump");
    assert!(fields.description.starts_with("Please.\n\n```text\nPipekick-Fire-Id"), "{}", fields.description);
}

#[test]
fn a_user_who_is_not_there_is_told_before_anything_is_written() {
    let name = "nobody".parse().unwrap();
    let change = web("f5", 705, "v2");
    let seen =
        RequestSeen { people: BTreeMap::from([(name, None)]), ..look(branch("v1", None), None, vec![]) };
    assert!(brief(&decided(change, seen)).contains("no user `nobody`"));
}

#[test]
fn nothing_is_asked_while_a_lost_request_may_still_take_effect() {
    let lost = Change { sent_at: Some(at(5.0)), ..web("f5", 705, "v2") };
    for source in [None, Some((branch("v2", Some(("f5", 705))), true))] {
        let plan = decided(lost.clone(), look(branch("v1", None), source, vec![]));
        assert_eq!((plan.effect, plan.settled), (Effect::Nothing, vec![]));
        assert!(plan.wake.is_some());
    }
}

#[test]
fn what_another_run_has_left_is_deleted_when_that_can_no_longer_go_on() {
    let left = || Some((branch("v0", Some(("f4", 704))), true));
    let plan = decided(web("f5", 705, "v2"), look(branch("v1", None), left(), vec![]));
    assert_eq!(plan.effect, Effect::Nothing);
    let flight = plan.flight.unwrap();
    let since = flight.changes[0].sent_at.unwrap();
    assert_eq!(since, at(9.0));
    let long_ago = Change { sent_at: Some(at(9.0 - 90.0)), ..web("f5", 705, "v2") };
    assert_eq!(brief(&decided(long_ago, look(branch("v1", None), left(), vec![]))), "delete");
}

#[test]
fn given_up_it_is_looked_for_and_not_made() {
    let given_up = Change { give_up: true, ..web("f5", 705, "v2") };
    let ours = Some((branch("v2", Some(("f5", 705))), true));
    assert_eq!(brief(&decided(given_up.clone(), look(branch("v1", None), ours.clone(), vec![]))), "Absent");
    let open = vec![request(3, Opened, trailers("f5", 705))];
    let seen = look(branch("v1", None), ours, open);
    assert_eq!(brief(&decided(given_up, seen)), "!3 from pipekick/shop/web-1 Opened");
}

#[test]
fn the_branch_of_a_trigger_and_of_a_schedule_of_one_name_differ() {
    let key = ObjectKey { namespace: "shop".into(), name: "a.lock".into() };
    let names = [Owner::Trigger(key.clone()), Owner::Schedule(key)].map(|owner| default_source(&owner, 1));
    assert_eq!(
        names.map(|name| name.to_string()),
        ["pipekick/shop/a.lock-2", "pipekick/shop/schedule/a.lock-2"]
    );
}

/// A branch of the walk: the tag that is written, a line of others, and its commits.
#[derive(Debug, Clone)]
struct Line {
    tag: u64,
    rival: u64,
    commits: Vec<(String, String)>,
}

struct GitLab {
    main: Line,
    /// The branch, and `main` as it began there.
    source: Option<(Line, Line)>,
    requests: Vec<(MergeRequest, String)>,
    made: u64,
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Works,
    ReplyLost,
    RequestLost,
    Late,
    NotSent,
    Crash,
}

/// What people do between two decisions.
#[derive(Debug, Clone, Copy)]
enum Person {
    Merges { squash: bool, keeps: bool },
    Closes,
    CommitsToMain,
}

#[derive(Debug, Clone)]
enum Ask {
    Commit(CommitOrder, Onto),
    Deed(MergeRequestDeed),
}

impl GitLab {
    fn look(&self) -> RequestSeen {
        let seen = |line: &Line| {
            let text = format!("web: {{tag: p{}}}\nrival: r{}\n", line.tag, line.rival);
            let mut seen = snapshot(&[("v.yaml", &text)], &[]);
            seen.head.clone_from(&line.commits.last().unwrap().0);
            let commit = |(id, message): &(String, String)| CommitSeen {
                id: id.clone(),
                at: None,
                written: written(message),
            };
            seen.history.insert(path("v.yaml"), line.commits.iter().rev().map(commit).collect());
            seen
        };
        let source = self
            .source
            .as_ref()
            .map(|(line, _)| (seen(line), made_for(&line.commits.last().unwrap().1) == Some(SOURCE)));
        look(
            seen(&self.main),
            source,
            self.requests.iter().rev().map(|(request, _)| request.clone()).collect(),
        )
    }

    fn open(&mut self) -> Option<&mut MergeRequest> {
        self.requests.iter_mut().map(|(request, _)| request).find(|request| request.is_open())
    }

    fn commit(&mut self, order: &CommitOrder, onto: &Onto) -> CommitAnswer {
        let conflict = CommitAnswer::Conflict { message: "changed".into() };
        self.made += 1;
        let id = format!("c{}", self.made);
        let text = &order.files[0].content;
        let tag = text.split("tag: p").nth(1).unwrap().split('}').next().unwrap().parse().unwrap();
        let rival = text.split("rival: r").nth(1).unwrap().trim().parse().unwrap();
        let line = match (onto, &mut self.source) {
            (Onto::NewSource(_), source @ None) => {
                if !self.main.commits.iter().any(|(id, _)| *id == order.head) {
                    return conflict;
                }
                &mut source.insert((self.main.clone(), self.main.clone())).0
            }
            (Onto::Source(_), Some((line, _))) if line.commits.last().unwrap().0 == order.head => line,
            _ => return conflict,
        };
        (line.tag, line.rival) = (tag, rival);
        line.commits.push((id.clone(), order.message.clone()));
        if let Some(open) = self.open() {
            open.sha = Some(id.clone());
        }
        CommitAnswer::Committed { commit: id }
    }

    fn deed(&mut self, deed: &MergeRequestDeed, is_late: bool) -> Result<RequestAnswer, TestCaseError> {
        let refused = RequestAnswer::Refused { message: "no such branch".into() };
        let already = RequestAnswer::Unknown { message: "another is open".into() };
        Ok(match deed {
            MergeRequestDeed::Open { fields, commit, .. } => {
                // As GitLab keeps it.
                let Some((line, _)) =
                    self.source.as_ref().filter(|_| self.requests.iter().all(|(r, _)| !r.is_open()))
                else {
                    return Ok(if self.open().is_some() { already } else { refused });
                };
                let iid = self.requests.len() as u64 + 1;
                let sha = Some(line.commits.last().unwrap().0.clone());
                let new = MergeRequest { sha, ..request(iid, Opened, written(&fields.description)) };
                self.requests.push((new.clone(), fields.description.clone()));
                RequestAnswer::Shown { request: Box::new(new), commit: commit.clone() }
            }
            MergeRequestDeed::Describe { iid, fields, commit } => {
                let (known, text) = &mut self.requests[usize::try_from(*iid).unwrap() - 1];
                (known.written, *text) = (written(&fields.description), fields.description.clone());
                RequestAnswer::Shown { request: Box::new(known.clone()), commit: commit.clone() }
            }
            MergeRequestDeed::Close { iid } => {
                let (known, _) = &mut self.requests[usize::try_from(*iid).unwrap() - 1];
                if known.is_open() {
                    known.state = Closed;
                }
                RequestAnswer::Done
            }
            MergeRequestDeed::DeleteSource { .. } => {
                // One that comes too late, of a process that is gone. GitLab closes what lost its branch.
                prop_assert!(is_late || self.open().is_none(), "the branch of an open one is deleted");
                if let Some(open) = self.open() {
                    open.state = Closed;
                }
                self.source = None;
                RequestAnswer::Done
            }
        })
    }

    fn person(&mut self, person: Person) {
        match person {
            Person::CommitsToMain => {
                self.main.rival += 1;
                self.made += 1;
                self.main.commits.push((format!("c{}", self.made), "by hand".into()));
            }
            Person::Closes => {
                if let Some(open) = self.open() {
                    open.state = Closed;
                }
            }
            Person::Merges { squash, keeps } => {
                let Some((line, base)) = self.source.clone() else { return };
                let changed = self.main.tag != base.tag;
                let Some(open) = self.open().filter(|_| !changed) else { return };
                // One that is squashed before it is told of leaves no trace.
                let newest = written(&line.commits.last().unwrap().1);
                let told = newest.iter().all(|new| open.written.iter().any(|w| w.fire_id == new.fire_id));
                open.state = Merged;
                open.merged_as = Some("merged".into());
                self.main.tag = line.tag;
                let news = line.commits[base.commits.len()..].iter().cloned();
                let news: Vec<(String, String)> =
                    if squash && told { vec![("squashed".into(), "web".into())] } else { news.collect() };
                self.main.commits.extend(news);
                if !keeps {
                    self.source = None;
                }
            }
        }
    }
}

struct Walk {
    now: Timestamp,
    gitlab: GitLab,
    coming: Vec<Change>,
    waiting: Vec<Change>,
    flight: Option<Flight>,
    seen: Option<Seen>,
    late: Vec<(Timestamp, Ask)>,
    verdicts: BTreeMap<ChangeKey, Verdict>,
    highest: u64,
}

impl Walk {
    fn new(gaps: &[f64], order: &[usize]) -> Self {
        let mut clock = 0.0;
        let coming = order.iter().zip(gaps).map(|(i, gap)| {
            clock += gap;
            let pipeline = *i as u64 + 1;
            Change { arrived_at: at(clock), ..web(&format!("f{i}"), pipeline, &format!("p{pipeline}")) }
        });
        let main = Line { tag: 0, rival: 0, commits: vec![("c0".into(), "begin".into())] };
        Self {
            now: at(0.0),
            coming: coming.collect(),
            gitlab: GitLab { main, source: None, requests: vec![], made: 0 },
            waiting: vec![],
            flight: None,
            seen: None,
            late: vec![],
            verdicts: BTreeMap::new(),
            highest: 0,
        }
    }

    fn pass(&mut self, person: Option<Person>) -> Result<(), TestCaseError> {
        let now = self.now;
        for (_, ask) in self.late.extract_if(.., |(due, _)| *due <= now).collect::<Vec<_>>() {
            self.perform(&ask, true)?;
        }
        if let Some(person) = person {
            self.gitlab.person(person);
        }
        prop_assert!(self.gitlab.main.tag >= self.highest, "main went back from {}", self.highest);
        self.highest = self.gitlab.main.tag;
        self.waiting.extend(self.coming.extract_if(.., |change| change.arrived_at <= now));
        Ok(())
    }

    fn perform(&mut self, ask: &Ask, is_late: bool) -> Result<Seen, TestCaseError> {
        Ok(match ask {
            Ask::Commit(order, onto) => Seen::Answer(self.gitlab.commit(order, onto)),
            Ask::Deed(deed) => Seen::Asked(self.gitlab.deed(deed, is_late)?),
        })
    }

    fn send(&mut self, ask: &Ask, fate: Fate) -> Result<(), TestCaseError> {
        let (message, is_commit) = ("lost".to_owned(), matches!(ask, Ask::Commit(..)));
        let lost = || match is_commit {
            true => Seen::Answer(CommitAnswer::Unknown { message: message.clone() }),
            false => Seen::Asked(RequestAnswer::Unknown { message: message.clone() }),
        };
        self.seen = Some(match fate {
            Fate::Works => self.perform(ask, false)?,
            Fate::ReplyLost => {
                self.perform(ask, false)?;
                lost()
            }
            Fate::RequestLost => lost(),
            Fate::Late | Fate::Crash => {
                self.late.push((later(self.now, Duration::from_secs(7)), ask.clone()));
                lost()
            }
            Fate::NotSent if is_commit => Seen::Answer(CommitAnswer::NotSent { message }),
            Fate::NotSent => Seen::Asked(RequestAnswer::NotDone { message, until: None }),
        });
        if matches!(fate, Fate::Crash) {
            self.seen = None;
            self.waiting.extend(self.flight.take().map(|flight| flight.changes).unwrap_or_default());
        }
        Ok(())
    }

    fn step(&mut self, fates: &mut dyn Iterator<Item = Fate>) -> Result<bool, TestCaseError> {
        let mut plan = decide(&Observed {
            now: self.now,
            policy: &Policy::default(),
            waiting: &self.waiting,
            coming: self.coming.len(),
            flight: self.flight.as_ref(),
            seen: self.seen.take().as_ref(),
        });
        let settled = settle(&mut plan, &mut self.waiting, self.flight.take(), &mut self.verdicts)?;
        self.flight = plan.flight;
        match plan.effect {
            Effect::Nothing if settled => {}
            Effect::Nothing => {
                let arrivals = self.coming.iter().map(|change| change.arrived_at);
                let late = self.late.iter().map(|(due, _)| *due);
                let Some(next) = arrivals.chain(late).chain(plan.wake).min() else { return Ok(false) };
                prop_assert!(next > self.now, "it would wake for nothing");
                self.now = next;
            }
            Effect::ReadRequest { source, .. } => {
                prop_assert_eq!(source.short(), SOURCE);
                self.seen = Some(Seen::Request(Box::new(self.gitlab.look())));
            }
            Effect::Commit { order, onto, .. } => {
                self.send(&Ask::Commit(*order, onto), fates.next().unwrap_or(Fate::Works))?;
            }
            Effect::Request { deed, .. } => {
                self.send(&Ask::Deed(*deed), fates.next().unwrap_or(Fate::Works))?;
            }
            Effect::Read { .. } => prop_assert!(false, "it goes by a merge request"),
        }
        Ok(true)
    }

    fn judge(&self, runs: usize) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.verdicts.len(), runs, "everybody is told");
        for number in 0..runs {
            let id = FireId::from(&*format!("f{number}"));
            let of = |(request, _): &&(MergeRequest, String)| request.written.iter().any(|w| w.fire_id == id);
            prop_assert!(self.gitlab.requests.iter().filter(of).count() <= 1, "two tell of {}", id);
        }
        for (key, verdict) in &self.verdicts {
            let fine = match verdict {
                Verdict::Proposed { .. } | Verdict::Superseded { .. } | Verdict::Committed { .. } => true,
                Verdict::UpToDate => true,
                Verdict::Refused { .. }
                | Verdict::DryRun { .. }
                | Verdict::Absent
                | Verdict::PutBack { .. } => false,
            };
            prop_assert!(fine, "{:?} {:?}", key, verdict);
        }
        // The latest run's change is on main, or waits for a person, or a person closed it.
        let last = &self.verdicts[&ChangeKey { fire_id: FireId::from(&*format!("f{}", runs - 1)), entry: 0 }];
        let waits = self.gitlab.source.as_ref().is_some_and(|(line, _)| line.tag == runs as u64);
        let closed = self.gitlab.requests.iter().any(|(r, _)| r.state == Closed);
        prop_assert!(self.gitlab.main.tag == runs as u64 || waits || closed, "{:?}", last);
        Ok(())
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Works),
        1 => Just(Fate::ReplyLost),
        1 => Just(Fate::RequestLost),
        1 => Just(Fate::Late),
        1 => Just(Fate::NotSent),
        1 => Just(Fate::Crash),
    ]
}

fn person() -> impl Strategy<Value = Option<Person>> {
    prop_oneof![
        8 => Just(None),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(squash, keeps)| Some(Person::Merges { squash, keeps })),
        1 => Just(Some(Person::Closes)),
        1 => Just(Some(Person::CommitsToMain)),
    ]
}

/// More of them with `WALKS=10000`.
fn cases() -> u32 {
    std::env::var("WALKS").ok().and_then(|text| text.parse().ok()).unwrap_or(150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]
    #[test]
    fn no_run_is_in_two_merge_requests_and_nothing_goes_backwards(
        (gaps, order) in prop::collection::vec(prop::sample::select(vec![0.0, 0.3, 5.0, 200.0]), 1..6)
            .prop_flat_map(|gaps| {
                let order: Vec<usize> = (0..gaps.len()).collect();
                (Just(gaps), Just(order).prop_shuffle())
            }),
        fates in prop::collection::vec(fate(), 0..16),
        people in prop::collection::vec(person(), 0..60),
    ) {
        let mut walk = Walk::new(&gaps, &order);
        let (mut fates, mut people) = (fates.into_iter(), people.into_iter());
        for steps in 0.. {
            walk.pass(people.next().flatten())?;
            prop_assert!(steps < 4000, "it never ends");
            if !walk.step(&mut fates)? {
                break;
            }
        }
        walk.judge(gaps.len())?;
    }
}
