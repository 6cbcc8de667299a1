//! Random walks: many runs of a few triggers finish in any order, rivals commit, replies and requests are lost or
//! late, GitLab throttles, the process dies. Judged by the branch: no run is committed twice, no scalar goes
//! backwards, what the rivals wrote stands, and in the end each scalar says what its latest pipeline wanted.

use proptest::prelude::*;

use super::*;

/// What happens to one commit that is sent.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Works,
    /// A rival commits between our look and our commit.
    Rival,
    /// It works, and the reply is lost.
    ReplyLost,
    /// It never arrives.
    RequestLost,
    /// It arrives some seconds later, and nobody hears of it.
    Late,
    Throttled,
    NotSent,
    /// The process dies with it in the air; it arrives later. What is known is what stands in status.
    Crash,
}

/// A branch with one file, and GitLab's check that the file is still as it was read.
struct Repository {
    commits: Vec<(String, String)>,
    content: String,
    rivals: u64,
}

impl Repository {
    fn new(scalars: usize) -> Self {
        let lines: String = (0..scalars).map(|i| format!("s{i}: {{tag: p0}} # c\n")).collect();
        Self { commits: vec![("c0".into(), "begin".into())], content: lines + "rival: r0\n", rivals: 0 }
    }

    fn head(&self) -> String {
        self.commits.last().unwrap().0.clone()
    }

    fn push(&mut self, message: String) {
        self.commits.push((format!("c{}", self.commits.len()), message));
    }

    fn rival(&mut self) {
        let old = format!("rival: r{}", self.rivals);
        self.rivals += 1;
        self.content = self.content.replace(&old, &format!("rival: r{}", self.rivals));
        self.push("by hand".into());
    }

    fn commit(&mut self, order: &CommitOrder) -> CommitAnswer {
        if order.head != self.head() {
            return CommitAnswer::Conflict { message: "the file has changed".into() };
        }
        self.content = order.files[0].content.clone();
        self.push(order.message.clone());
        CommitAnswer::Committed { commit: self.head() }
    }

    fn look(&self) -> Snapshot {
        let seen = |(id, message): &(String, String)| CommitSeen {
            id: id.clone(),
            at: None,
            written: written(message),
        };
        Snapshot {
            head: self.head(),
            files: BTreeMap::from([(path("v.yaml"), FileSeen::Content(self.content.clone().into_bytes()))]),
            history: BTreeMap::from([(path("v.yaml"), self.commits.iter().rev().map(seen).collect())]),
            merged: Vec::new(),
            claimed: Vec::new(),
            affirmed: BTreeMap::new(),
        }
    }

    fn says(&self, scalar: usize) -> u64 {
        let line = self.content.lines().nth(scalar).unwrap();
        line.split("tag: p").nth(1).unwrap().split('}').next().unwrap().parse().unwrap()
    }
}

/// One walk.
struct Walk {
    now: Timestamp,
    repository: Repository,
    coming: Vec<Change>,
    waiting: Vec<Change>,
    flight: Option<Flight>,
    seen: Option<Seen>,
    /// Commits in the air that nobody waits for.
    late: Vec<(Timestamp, CommitOrder)>,
    verdicts: BTreeMap<ChangeKey, Verdict>,
    highest: [u64; 3],
}

impl Walk {
    fn new(runs: &[(usize, f64)], order: &[usize]) -> Self {
        let mut clock = 0.0;
        let coming = order.iter().map(|i| {
            let (scalar, gap) = runs[*i];
            clock += gap;
            let pipeline = *i as u64 + 1;
            let edits = vec![edit("v.yaml", &format!("s{scalar}.tag"), &format!("p{pipeline}"))];
            let change = change(&format!("t{scalar}"), &format!("f{i}"), pipeline, edits);
            Change { arrived_at: at(clock), ..change }
        });
        Self {
            now: at(0.0),
            repository: Repository::new(3),
            coming: coming.collect(),
            waiting: Vec::new(),
            flight: None,
            seen: None,
            late: Vec::new(),
            verdicts: BTreeMap::new(),
            highest: [0; 3],
        }
    }

    /// The world moves on to `now`.
    fn pass(&mut self) -> Result<(), TestCaseError> {
        let now = self.now;
        for (_, order) in self.late.extract_if(.., |(due, _)| *due <= now) {
            let _ = self.repository.commit(&order);
        }
        for (scalar, known) in self.highest.iter_mut().enumerate() {
            let says = self.repository.says(scalar);
            prop_assert!(says >= *known, "scalar {} went back from {} to {}", scalar, known, says);
            *known = says;
        }
        self.waiting.extend(self.coming.extract_if(.., |change| change.arrived_at <= now));
        Ok(())
    }

    /// One decision and what follows from it; false at the end.
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
            // What waits may have changed.
            Effect::Nothing if settled => {}
            Effect::Nothing => {
                let arrivals = self.coming.iter().map(|change| change.arrived_at);
                let late = self.late.iter().map(|(due, _)| *due);
                if let Some(wake) = plan.wake {
                    prop_assert!(wake > self.now, "it would wake for nothing");
                }
                let Some(next) = arrivals.chain(late).chain(plan.wake).min() else {
                    return Ok(false);
                };
                self.now = next;
            }
            Effect::Read { .. } => self.seen = Some(Seen::Branch(self.repository.look())),
            Effect::Commit { order, onto: _, credential: _ } => {
                self.send(&order, fates.next().unwrap_or(Fate::Works));
            }
            Effect::ReadRequest { .. } | Effect::Request { .. } => {
                prop_assert!(false, "no merge request was asked for");
            }
        }
        Ok(true)
    }

    fn send(&mut self, order: &CommitOrder, fate: Fate) {
        let lost = CommitAnswer::Unknown { message: "timeout".into() };
        let answer = match fate {
            Fate::Works => self.repository.commit(order),
            Fate::Rival => {
                self.repository.rival();
                self.repository.commit(order)
            }
            Fate::ReplyLost => {
                let _ = self.repository.commit(order);
                lost
            }
            Fate::RequestLost => lost,
            Fate::Late | Fate::Crash => {
                self.late.push((later(self.now, Duration::from_secs(7)), order.clone()));
                lost
            }
            Fate::Throttled => CommitAnswer::Throttled {
                message: "429".into(),
                until: later(self.now, Duration::from_secs(30)),
            },
            Fate::NotSent => CommitAnswer::NotSent { message: "connect".into() },
        };
        if matches!(fate, Fate::Crash) {
            // The statuses say Committing, and since when: the next process finds them all waiting.
            self.waiting.extend(self.flight.take().map(|flight| flight.changes).unwrap_or_default());
        } else {
            self.seen = Some(Seen::Answer(answer));
        }
    }

    fn judge(&self, runs: &[(usize, f64)]) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.verdicts.len(), runs.len(), "everybody is told");
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for written in self.repository.commits.iter().flat_map(|(_, message)| written(message)) {
            *times.entry(written.fire_id.to_string()).or_default() += 1;
        }
        prop_assert!(times.values().all(|times| *times == 1), "committed twice: {:?}", times);
        for scalar in 0..3 {
            let latest =
                runs.iter().enumerate().filter(|(_, run)| run.0 == scalar).map(|(i, _)| i as u64 + 1).max();
            prop_assert_eq!(self.repository.says(scalar), latest.unwrap_or(0));
        }
        let rival = format!("rival: r{}\n", self.repository.rivals);
        prop_assert!(self.repository.content.contains(&rival), "what the rival wrote stands");
        for (key, verdict) in &self.verdicts {
            let on_branch = times.contains_key(key.fire_id.as_str());
            match verdict {
                Verdict::Committed { .. } => prop_assert!(on_branch, "{:?} is told to be there", key),
                // One whose outcome was not known may have arrived before the later one; the later one stands.
                Verdict::Superseded { .. } => {}
                other => prop_assert!(false, "{:?} {:?}", key, other),
            }
        }
        Ok(())
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        5 => Just(Fate::Works),
        2 => Just(Fate::Rival),
        1 => Just(Fate::ReplyLost),
        1 => Just(Fate::RequestLost),
        1 => Just(Fate::Late),
        1 => Just(Fate::Throttled),
        1 => Just(Fate::NotSent),
        1 => Just(Fate::Crash),
    ]
}

fn gap() -> impl Strategy<Value = f64> {
    prop::sample::select(vec![0.0, 0.0, 0.3, 5.0, 30.0])
}

/// More of them with `WALKS=10000`.
fn cases() -> u32 {
    std::env::var("WALKS").ok().and_then(|text| text.parse().ok()).unwrap_or(150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]
    #[test]
    fn every_run_is_written_once_and_nothing_goes_backwards(
        (runs, order) in prop::collection::vec((0usize..3, gap()), 1..12).prop_flat_map(|runs| {
            let order: Vec<usize> = (0..runs.len()).collect();
            (Just(runs), Just(order).prop_shuffle())
        }),
        fates in prop::collection::vec(fate(), 0..16),
    ) {
        let mut walk = Walk::new(&runs, &order);
        let mut fates = fates.into_iter();
        for steps in 0.. {
            walk.pass()?;
            prop_assert!(steps < 4000, "it never ends");
            if !walk.step(&mut fates)? {
                break;
            }
        }
        walk.judge(&runs)?;
    }
}

#[test]
fn a_hundred_at_once_are_one_commit() {
    let changes: Vec<Change> = (0..100)
        .map(|i| {
            let edits = vec![edit("v.yaml", &format!("s{i}.tag"), &format!("p{}", i + 1))];
            change(&format!("t{i}"), &format!("f{i}"), i + 1, edits)
        })
        .collect();
    let mut repository = Repository::new(100);
    let policy = &Policy::default();
    let (mut flight, mut seen) = (None, None);
    for _ in 0..3 {
        let waiting = if flight.is_none() && seen.is_none() { &changes[..] } else { &[] };
        let (flown, looked) = (flight.as_ref(), seen.as_ref());
        let plan =
            decide(&Observed { now: at(3.0), policy, waiting, coming: 0, flight: flown, seen: looked });
        seen = match plan.effect {
            Effect::Read { .. } => Some(Seen::Branch(repository.look())),
            Effect::Commit { order, .. } => Some(Seen::Answer(repository.commit(&order))),
            Effect::Nothing | Effect::ReadRequest { .. } | Effect::Request { .. } => None,
        };
        flight = plan.flight;
    }
    assert_eq!(repository.commits.len(), 2);
    assert!((0..100).all(|i| repository.says(i) == i as u64 + 1));
}
