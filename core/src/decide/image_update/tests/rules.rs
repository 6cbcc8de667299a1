//! The rules, one by one.

use super::*;
use crate::yaml::ImageFields;

const VALUES: &str = "web: {tag: v1}\napi: {tag: v1} # mine\n";

fn seen(now: Timestamp, flight: &Flight, seen: &Seen) -> Plan {
    let policy = &Policy::default();
    decide(&Observed { now, policy, waiting: &[], coming: 0, flight: Some(flight), seen: Some(seen) })
}

fn begun(now: f64, waiting: &[Change], coming: usize) -> Plan {
    let policy = &Policy::default();
    decide(&Observed { now: at(now), policy, waiting, coming, flight: None, seen: None })
}

fn web(id: &str, pipeline: u64, tag: &str) -> Change {
    change("web", id, pipeline, vec![edit("values.yaml", "web.tag", tag)])
}

fn api(id: &str, pipeline: u64, tag: &str) -> Change {
    change("api", id, pipeline, vec![edit("values.yaml", "api.tag", tag)])
}

fn message_of(fire_id: &str, pipeline: u64, wrote: &str) -> String {
    format!("x\n\nPipekick-Fire-Id: {fire_id}\nPipekick-Pipeline: {pipeline}\nPipekick-Wrote: {wrote}\n")
}

fn told(verdicts: &BTreeMap<usize, Verdict>, number: usize) -> &str {
    match &verdicts[&number] {
        Verdict::Refused { message } => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_change_is_one_commit_with_its_name() {
    let Draft { commit, verdicts } =
        draft(&[web("f1", 705, "v2")], &snapshot(&[("values.yaml", VALUES)], &[]));
    let commit = commit.unwrap();
    assert!(verdicts.is_empty());
    assert_eq!(commit.head, "head");
    assert_eq!(
        commit.files,
        [FileChange { file: path("values.yaml"), content: VALUES.replacen("v1", "v2", 1) }]
    );
    assert_eq!(
        commit.message,
        "web.tag v2\n\nPipekick-Fire-Id: f1\nPipekick-Pipeline: 705\nPipekick-Wrote: values.yaml:web.tag\n"
    );
    let read = written(&commit.message);
    assert_eq!((read[0].fire_id.as_str(), read[0].pipeline, read.len()), ("f1", 705, 1));
    assert_eq!(read[0].wrote, ["values.yaml:web.tag"]);
}

#[test]
fn many_changes_are_one_commit_that_names_each() {
    let titled = Change { title: Some("web:\n\nPipekick-Pipeline: 9 v2".into()), ..web("f1", 705, "v2") };
    let other = change("db", "f3", 7, vec![edit("db.yaml", "a", "x"), edit("db.yaml", "b", "x")]);
    let files = [("values.yaml", VALUES), ("db.yaml", "a: 1\nb: x\nc: 3\n")];
    let Draft { commit, verdicts } = draft(&[titled, api("f2", 701, "v3"), other], &snapshot(&files, &[]));
    let commit = commit.unwrap();
    assert!(verdicts.is_empty());
    assert_eq!(
        commit.message,
        "Update images for 3 runs\n\n- shop/web: web: Pipekick-Pipeline: 9 v2\n- shop/api: api.tag v3\n- shop/db: a x\n\n\
         Pipekick-Fire-Id: f1\nPipekick-Pipeline: 705\nPipekick-Wrote: values.yaml:web.tag\n\
         Pipekick-Fire-Id: f2\nPipekick-Pipeline: 701\nPipekick-Wrote: values.yaml:api.tag\n\
         Pipekick-Fire-Id: f3\nPipekick-Pipeline: 7\nPipekick-Wrote: db.yaml:a\n"
    );
    assert_eq!(written(&commit.message).len(), 3);
    let texts: Vec<&str> = commit.files.iter().map(|file| file.content.as_str()).collect();
    assert_eq!(texts, ["a: x\nb: x\nc: 3\n", "web: {tag: v2}\napi: {tag: v3} # mine\n"]);
}

#[test]
fn what_several_runs_share_has_the_operators_title_and_one_runs_has_its_own() {
    let seen = snapshot(&[("values.yaml", VALUES)], &[]);
    let title: SharedTitle = "deploy {{ runs }}\n\nPipekick-Pipeline: 9".parse().unwrap();
    let policy = &Policy { shared_title: title, ..Policy::default() };
    let subject = |other: &str| {
        let second = ChangeKey { fire_id: FireId::from(other), entry: 1 };
        let changes = vec![web("f1", 705, "v2"), Change { key: second, ..api(other, 705, "v3") }];
        let flight = Flight { changes, tries: 0, stage: Stage::Read { not_before: at(0.0) } };
        let (now, look) = (at(0.0), Seen::Branch(seen.clone()));
        let (waiting, coming, flight, seen) = (&[][..], 0, Some(&flight), Some(&look));
        match decide(&Observed { now, policy, waiting, coming, flight, seen }).effect {
            Effect::Commit { order, .. } => order.message,
            effect => panic!("{effect:?}"),
        }
    };
    let shared = "deploy 2 Pipekick-Pipeline: 9\n\n- shop/web: web.tag v2\n- shop/api: api.tag v3\n\nPipekick-Fire-Id: f1\n";
    assert!(subject("f2").starts_with(shared), "{}", subject("f2"));
    assert!(
        subject("f1").starts_with("web.tag v2\n\n- shop/web: web.tag v2\n- shop/api"),
        "{}",
        subject("f1")
    );
}

#[test]
fn trailers_are_read_from_the_last_paragraph_alone() {
    for (message, pipelines) in [
        ("x\n\nPipekick-Fire-Id: a\nPipekick-Pipeline: 1\n\nReviewed-by: me\n", vec![]),
        ("Pipekick-Fire-Id: a\nPipekick-Pipeline: 1\n", vec![]),
        (
            "x\n\nPipekick-Fire-Id: a\nPipekick-Pipeline: 1\nSigned-off-by: me\nPipekick-Fire-Id: b\nPipekick-Pipeline: 2",
            vec![1, 2],
        ),
        (
            "x\n\nPipekick-Pipeline: 1\nPipekick-Fire-Id: a\nPipekick-Wrote: f:x\nPipekick-Pipeline: two\n",
            vec![],
        ),
        ("", vec![]),
    ] {
        let found: Vec<u64> = written(message).iter().map(|written| written.pipeline).collect();
        assert_eq!(found, pipelines, "{message}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_and_the_others_go_on() {
    let changes = [
        change(
            "a",
            "f1",
            1,
            vec![edit("values.yaml", "web.tag", "v2"), edit("values.yaml", "web.nope", "v2")],
        ),
        change("b", "f2", 2, vec![edit("gone.yaml", "x", "v2")]),
        change("c", "f3", 3, vec![edit("broken.yaml", "x", "v2")]),
        change(
            "d",
            "f4",
            4,
            vec![edit("values.yaml", "web.tag", "v2"), edit("values.yaml", "\"web\".tag", "v3")],
        ),
        api("f5", 5, "v2"),
    ];
    let files = [("values.yaml", VALUES), ("broken.yaml", "a: b: c\n")];
    let Draft { commit, verdicts } = draft(&changes, &snapshot(&files, &[]));
    for (number, wanted) in [
        (0, "values.yaml:1: there is no `web.nope`"),
        (1, "gone.yaml: there is no such file on the branch"),
        (2, "broken.yaml:1: the file cannot be parsed"),
        (3, "values.yaml:1: two edits write `web.tag`"),
    ] {
        assert!(told(&verdicts, number).starts_with(wanted), "{}", told(&verdicts, number));
    }
    assert_eq!(verdicts.len(), 4);
    assert_eq!(commit.unwrap().files[0].content, "web: {tag: v1}\napi: {tag: v2} # mine\n");
}

#[test]
fn what_is_as_wanted_makes_no_commit() {
    let changes = [web("f1", 705, "v1"), api("f2", 706, "v1")];
    let Draft { commit, verdicts } = draft(&changes, &snapshot(&[("values.yaml", VALUES)], &[]));
    assert_eq!(commit, None);
    assert_eq!(verdicts, BTreeMap::from([(0, Verdict::UpToDate), (1, Verdict::UpToDate)]));
}

#[test]
fn the_later_pipeline_wins_whichever_ends_first() {
    // On the branch, below a commit of somebody else.
    let later = message_of("f9", 706, "values.yaml:web.tag");
    let history = [("values.yaml", "c2", "by hand"), ("values.yaml", "c1", later.as_str())];
    let seen = snapshot(&[("values.yaml", VALUES)], &history);
    let Draft { commit, verdicts } = draft(&[web("f1", 705, "v2"), api("f2", 705, "v2")], &seen);
    assert_eq!(verdicts, BTreeMap::from([(0, Verdict::Superseded { by: 706 })]));
    assert!(
        commit.unwrap().files[0].content.contains("api: {tag: v2}"),
        "another scalar of the same file goes on"
    );
    // In one batch.
    let changes = [web("f3", 707, "v3"), web("f4", 708, "v4"), web("f5", 706, "v5")];
    let Draft { commit, verdicts } = draft(&changes, &seen);
    let by = Verdict::Superseded { by: 708 };
    assert_eq!(verdicts, BTreeMap::from([(0, by.clone()), (2, by)]));
    assert!(commit.unwrap().files[0].content.contains("web: {tag: v4}"));
    // A pipeline is not later than itself.
    assert!(draft(&[web("f6", 706, "v6")], &seen).commit.is_some());
}

#[test]
fn who_wrote_before_a_pipeline_was_made_is_not_later_whatever_the_number() {
    let wrote = |at| {
        let written = written(&message_of("f9", 90_000, "values.yaml:web.tag"));
        let history = vec![CommitSeen { id: "c1".into(), at, written }];
        let seen = snapshot(&[("values.yaml", VALUES)], &[]);
        Snapshot { history: BTreeMap::from([(path("values.yaml"), history)]), ..seen }
    };
    let begun = |begun| [Change { begun, ..web("f1", 7, "v2") }];
    let made = Some(at(10_000.0));
    for (begun, committed, is_late) in [
        (begun(made), Some(at(9_399.0)), false),
        // As far as clocks may differ.
        (begun(made), Some(at(9_401.0)), true),
        (begun(made), Some(at(10_001.0)), true),
        (begun(made), None, true),
        (begun(None), Some(at(0.0)), true),
    ] {
        let Draft { commit, verdicts } = draft(&begun, &wrote(committed));
        assert_eq!(commit.is_none(), is_late, "{committed:?}");
        assert_eq!(verdicts.contains_key(&0), is_late);
    }
    // A lost reply of its own is recognised all the same.
    let own = Change { key: ChangeKey { fire_id: FireId::from("f9"), entry: 0 }, ..begun(made)[0].clone() };
    let Draft { verdicts, .. } = draft(&[own], &wrote(Some(at(0.0))));
    assert_eq!(verdicts[&0], Verdict::Committed { commit: "c1".into() });
}

#[test]
fn an_entry_that_a_later_pipeline_added_is_not_set_back() {
    const FILE: &str = "kustomization.yaml";
    let add = |id: &str, pipeline: u64, tag: &str, digest: Option<&str>| {
        let set = ImageFields::new(None, Some(tag.parse().unwrap()), digest.map(|d| d.parse().unwrap()));
        let edit = Edit::Image { name: "shop/web".parse().unwrap(), set: set.unwrap(), create: true };
        change("web", id, pipeline, vec![FileEdit { file: path(FILE), edit }])
    };
    let digest = format!("sha256:{}", "0".repeat(64));
    let none = snapshot(&[(FILE, "images: []\n")], &[]);
    let later = draft(&[add("f9", 706, "v9", Some(&digest))], &none).commit.unwrap();
    for wrote in ["newTag", "digest"] {
        let line = format!("Pipekick-Wrote: {FILE}:images[name=shop/web].{wrote}\n");
        assert!(later.message.contains(&line), "{}", later.message);
    }
    let by = BTreeMap::from([(0, Verdict::Superseded { by: 706 })]);
    for text in [later.files[0].content.as_str(), "images: []\n"] {
        let seen = snapshot(&[(FILE, text)], &[(FILE, "c1", &later.message)]);
        let early = draft(&[add("f1", 705, "v1", Some(&digest))], &seen);
        assert_eq!((early.commit, early.verdicts), (None, by.clone()), "{text}");
        // A lost reply is recognised by them too.
        let again = draft(&[add("f9", 706, "v9", Some(&digest))], &seen);
        assert_eq!(again.verdicts, BTreeMap::from([(0, Verdict::Committed { commit: "c1".into() })]));
    }
    // Together, the later adds it.
    let both = draft(&[add("f1", 705, "v1", None), add("f9", 706, "v9", None)], &none);
    assert_eq!(both.verdicts, by);
    assert!(both.commit.unwrap().files[0].content.contains("newTag: v9"));
}

#[test]
fn two_entries_of_one_run_that_write_one_scalar_are_refused() {
    let entry = |number: usize, tag: &str| {
        let change = web("f1", 705, tag);
        Change { key: ChangeKey { entry: number, ..change.key.clone() }, ..change }
    };
    let seen = snapshot(&[("values.yaml", VALUES)], &[]);
    let Draft { commit, verdicts } = draft(&[entry(0, "v2"), entry(1, "v3"), api("f1", 705, "v2")], &seen);
    for (number, other) in [(0, 2), (1, 1)] {
        let says =
            format!("values.yaml: `web.tag` is written by entry {other} of this trigger as well: keep one");
        assert_eq!(told(&verdicts, number), says);
    }
    assert!(commit.unwrap().files[0].content.contains("api: {tag: v2}"));
    // What is only told is in nobody's way; and runs of one schedule follow one another.
    let dry = Change { dry_run: true, ..entry(1, "v3") };
    assert!(draft(&[entry(0, "v2"), dry], &seen).commit.is_some());
    assert!(draft(&[web("f1", 705, "v2"), web("f2", 706, "v3")], &seen).commit.is_some());
}

#[test]
fn a_later_pipeline_that_found_what_it_wanted_has_won_too() {
    let affirmed = BTreeMap::from([("values.yaml:web.tag".to_owned(), 706)]);
    let seen = Snapshot { affirmed, ..snapshot(&[("values.yaml", VALUES)], &[]) };
    let Draft { commit, verdicts } = draft(&[web("f1", 705, "v2"), api("f2", 705, "v2")], &seen);
    assert_eq!(verdicts, BTreeMap::from([(0, Verdict::Superseded { by: 706 })]));
    assert!(commit.unwrap().files[0].content.contains("api: {tag: v2}"));
    assert!(draft(&[web("f3", 706, "v3")], &seen).commit.is_some());
}

#[test]
fn history_is_read_back_to_when_the_earliest_pipeline_was_made() {
    let of = |begun| Change { begun, ..web("f1", 705, "v2") };
    let lost = Change { sent_at: Some(at(50.0)), since: Some(at(40.0)), ..of(Some(at(60.0))) };
    for (changes, back_to) in [
        (vec![of(None)], None),
        (vec![of(Some(at(30.0))), Change { begun: Some(at(20.0)), ..api("f2", 706, "v2") }], Some(at(20.0))),
        (vec![lost], Some(at(40.0))),
    ] {
        let effect = begun(100.0, &changes, 0).effect;
        assert!(matches!(effect, Effect::Read { since, .. } if since == back_to), "{effect:?}");
    }
}

#[test]
fn whatever_cannot_be_written_beside_the_others_is_dropped_alone() {
    // The value needs quotes, above a line that is blank but for a tab.
    let text: String = (0..40).map(|n| format!("a{n}: v1\nb{n}: v1\n\t\n")).collect();
    let write = |n: usize| {
        let (key, id) = (format!("{}{}", ["a", "b"][n % 2], n / 2), format!("f{n}"));
        change("web", &id, 705, vec![edit("values.yaml", &key, "1.10")])
    };
    let changes: Vec<Change> = (0..80).map(write).collect();
    let Draft { commit, verdicts } = draft(&changes, &snapshot(&[("values.yaml", &text)], &[]));
    assert_eq!(verdicts.keys().copied().collect::<Vec<_>>(), (1..80).step_by(2).collect::<Vec<_>>());
    assert!(
        told(&verdicts, 79).contains("values.yaml:119: the new value needs quotes"),
        "{}",
        told(&verdicts, 79)
    );
    let written = text.replace("a0: v1", "a0: \"1.10\"");
    let content = &commit.unwrap().files[0].content;
    assert!(content.starts_with(&written[..written.find("a1").unwrap()]));
    assert_eq!(content.matches("1.10").count(), 40);
}

#[test]
fn a_lost_reply_is_recognised_by_the_runs_name_and_scalar() {
    let mine = message_of("f1", 705, "values.yaml:web.tag");
    let later = message_of("f9", 706, "values.yaml:web.tag");
    let history = [("values.yaml", "c2", later.as_str()), ("values.yaml", "c1", mine.as_str())];
    let seen = snapshot(&[("values.yaml", VALUES)], &history);
    let Draft { commit, verdicts } = draft(&[web("f1", 705, "v2")], &seen);
    assert_eq!(commit, None);
    assert_eq!(verdicts, BTreeMap::from([(0, Verdict::Committed { commit: "c1".into() })]));
    assert!(
        draft(&[api("f1", 705, "v2")], &seen).commit.is_some(),
        "another entry of the run is another change"
    );
    let gone = Snapshot { files: BTreeMap::from([(path("values.yaml"), FileSeen::Missing)]), ..seen };
    let Draft { verdicts, .. } = draft(&[web("f1", 705, "v2")], &gone);
    assert_eq!(
        verdicts[&0],
        Verdict::Committed { commit: "c1".into() },
        "done, even if the file is gone since"
    );
}

#[test]
fn several_owners_of_one_scalar_are_told_unless_all_allow_it() {
    let mine = web("f1", 705, "v2");
    let theirs = Change { owner: owner("other"), allow_shared: true, ..web("f2", 706, "v3") };
    let seen = snapshot(&[("values.yaml", VALUES)], &[]);
    let Draft { commit, verdicts } = draft(&[mine.clone(), theirs.clone(), api("f3", 1, "v2")], &seen);
    assert!(told(&verdicts, 0).starts_with("values.yaml: `web.tag` is written by shop/other as well"));
    assert!(told(&verdicts, 1).contains("is written by shop/web as well"));
    assert!(commit.unwrap().files[0].content.contains("api: {tag: v2}"));
    let both = [Change { allow_shared: true, ..mine.clone() }, theirs.clone()];
    let Draft { commit, verdicts } = draft(&both, &seen);
    assert_eq!(verdicts, BTreeMap::from([(0, Verdict::Superseded { by: 706 })]));
    assert!(commit.unwrap().files[0].content.contains("web: {tag: v3}"));
    // What would be written is in nobody's way.
    let Draft { commit, verdicts } = draft(&[mine, Change { dry_run: true, ..theirs }], &seen);
    assert!(told(&verdicts, 1).contains("is written by shop/web as well"), "{verdicts:?}");
    assert!(commit.unwrap().files[0].content.contains("web: {tag: v2}"));
}

#[test]
fn what_a_dry_run_tells_is_bounded() {
    let keys: Vec<String> = (0..400).map(|number| format!("key{number}")).collect();
    let text: String = keys.iter().map(|key| format!("{key}: v1\n")).collect();
    let edits = keys.iter().map(|key| edit("values.yaml", key, "v2")).collect();
    let dry = Change { dry_run: true, ..change("web", "f1", 1, edits) };
    let Draft { commit, mut verdicts } = draft(&[dry], &snapshot(&[("values.yaml", &text)], &[]));
    let Some(Verdict::DryRun { diff }) = verdicts.remove(&0) else { panic!("{verdicts:?}") };
    assert_eq!(commit, None);
    assert!(diff.starts_with("values.yaml:1 key0: v1 → v2\n") && diff.ends_with("→ v2\n…\n"), "{diff}");
    assert!((2_000..=2_048 + "…\n".len()).contains(&diff.len()), "{}", diff.len());
}

#[test]
fn a_dry_run_tells_and_writes_nothing() {
    let dry = |change: Change| Change { dry_run: true, ..change };
    let seen = snapshot(&[("values.yaml", VALUES)], &[]);
    let changes = [dry(web("f1", 709, "v2")), dry(api("f2", 1, "v1")), web("f3", 1, "v3")];
    let Draft { commit, verdicts } = draft(&changes, &seen);
    let diff = "values.yaml:1 web.tag: v1 → v2\n".to_owned();
    assert_eq!(verdicts, BTreeMap::from([(0, Verdict::DryRun { diff }), (1, Verdict::UpToDate)]));
    assert!(commit.unwrap().files[0].content.contains("web: {tag: v3}"), "it supersedes nobody either");
}

#[test]
fn alone_it_goes_at_once_and_with_others_coming_it_waits_for_them() {
    let waiting = [web("f1", 1, "v2"), api("f2", 2, "v2")];
    assert_eq!(begun(0.0, &[], 5).effect, Effect::Nothing);
    let alone = begun(0.0, &waiting[..1], 0);
    assert_eq!(alone.taken.len(), 1);
    assert!(matches!(&alone.effect, Effect::Read { files, .. } if files.contains(&path("values.yaml"))));
    let collects = begun(0.5, &waiting, 3);
    assert_eq!((collects.effect, collects.wake, collects.flight), (Effect::Nothing, Some(at(2.0)), None));
    assert_eq!(begun(2.0, &waiting, 3).taken.len(), 2);
    let policy = &Policy { most: 2, ..Policy::default() };
    let full =
        decide(&Observed { now: at(0.0), policy, waiting: &waiting, coming: 3, flight: None, seen: None });
    assert_eq!(full.taken.len(), 2, "a full commit waits for nobody");
}

#[test]
fn no_token_carries_anothers_change() {
    let mut other = api("f2", 2, "v2");
    other.credential.namespace = "elsewhere".into();
    let plan = begun(9.0, &[web("f1", 1, "v2"), other, web("f3", 3, "v3")], 0);
    let taken: Vec<&str> = plan.taken.iter().map(|key| key.fire_id.as_str()).collect();
    assert_eq!(taken, ["f1", "f3"]);
}

#[test]
fn no_commit_is_said_to_be_by_anothers_author() {
    let author = |name: &str| Some(Box::new(Author::new(name, "ci@example.com").unwrap()));
    let by = |change: Change, name: &str| Change { author: author(name), ..change };
    let waiting = [by(web("f1", 1, "v2"), "one"), api("f2", 2, "v2"), by(api("f3", 3, "v3"), "one")];
    let plan = begun(9.0, &waiting, 0);
    let taken: Vec<&str> = plan.taken.iter().map(|key| key.fire_id.as_str()).collect();
    assert_eq!(taken, ["f1", "f3"]);
    let Draft { commit, .. } =
        draft(&plan.flight.unwrap().changes, &snapshot(&[("values.yaml", VALUES)], &[]));
    assert_eq!(commit.unwrap().author, author("one"));
}

#[test]
fn what_was_put_back_rests() {
    let waiting = [Change { not_before: Some(at(60.0)), ..web("f1", 1, "v2") }];
    let rests = begun(59.0, &waiting, 0);
    assert_eq!((rests.effect, rests.wake), (Effect::Nothing, Some(at(60.0))));
    assert_eq!(begun(60.0, &waiting, 0).taken.len(), 1);
}

#[test]
fn every_answer_says_what_follows() {
    let flight = Flight { changes: vec![web("f1", 1, "v2")], tries: 0, stage: Stage::Sent };
    let plan = |answer: CommitAnswer| seen(at(10.0), &flight, &Seen::Answer(answer));
    let said = || "said".to_owned();
    let committed = plan(CommitAnswer::Committed { commit: "c1".into() });
    assert_eq!(committed.settled[0].1, Verdict::Committed { commit: "c1".into() });
    assert_eq!(committed.flight, None);
    let refused = plan(CommitAnswer::Refused { message: said() });
    assert_eq!(refused.settled[0].1, Verdict::Refused { message: said() });
    for (answer, wake, in_doubt) in [
        (CommitAnswer::Conflict { message: said() }, at(10.1), false),
        (CommitAnswer::NotSent { message: said() }, at(10.1), false),
        (CommitAnswer::Throttled { message: said(), until: at(40.0) }, at(40.0), false),
        (CommitAnswer::Unknown { message: said() }, at(10.1), true),
    ] {
        let plan = plan(answer);
        let flight = plan.flight.unwrap();
        assert_eq!((plan.wake, flight.tries, plan.settled.len()), (Some(wake), 1, 0));
        assert_eq!(flight.changes[0].sent_at.is_some(), in_doubt);
        let policy = &Policy::default();
        let next = decide(&Observed {
            now: wake,
            policy,
            waiting: &[],
            coming: 0,
            flight: Some(&flight),
            seen: None,
        });
        assert!(matches!(next.effect, Effect::Read { .. }), "then the branch is read again");
    }
}

#[test]
fn a_batch_that_meets_nothing_but_rivals_is_put_back() {
    let mut flight = Flight { changes: vec![web("f1", 1, "v2")], tries: 0, stage: Stage::Sent };
    let conflict = Seen::Answer(CommitAnswer::Conflict { message: "rival".into() });
    let mut waited = Duration::ZERO;
    let verdict = loop {
        let plan = seen(at(0.0), &flight, &conflict);
        if let Some((_, verdict)) = plan.settled.first() {
            break verdict.clone();
        }
        waited += Duration::try_from(plan.wake.unwrap().duration_since(at(0.0))).unwrap();
        flight = Flight { stage: Stage::Sent, ..plan.flight.unwrap() };
    };
    assert_eq!(
        verdict,
        Verdict::PutBack {
            reason: Reason::UpdateDelayed,
            message: "rival".into(),
            until: at(60.0),
            sent_at: None
        }
    );
    assert!(waited > Duration::from_secs(30) && waited < Duration::from_secs(60), "{waited:?}");
}

#[test]
fn a_commit_that_may_still_arrive_is_not_sent_again() {
    let lost = Change { sent_at: Some(at(0.0)), ..web("f1", 705, "v2") };
    let flight = Flight { changes: vec![lost], tries: 0, stage: Stage::Read { not_before: at(0.0) } };
    let empty = Seen::Branch(snapshot(&[("values.yaml", VALUES)], &[]));
    let waits = seen(at(5.0), &flight, &empty);
    assert_eq!((waits.effect, waits.settled.len()), (Effect::Nothing, 0));
    assert!(waits.wake.is_some() && waits.flight.is_some());
    assert!(matches!(seen(at(90.0), &flight, &empty).effect, Effect::Commit { .. }));
    let mine = message_of("f1", 705, "values.yaml:web.tag");
    let found = Seen::Branch(snapshot(&[("values.yaml", VALUES)], &[("values.yaml", "c1", &mine)]));
    assert_eq!(seen(at(5.0), &flight, &found).settled[0].1, Verdict::Committed { commit: "c1".into() });
    let same = Seen::Branch(snapshot(&[("values.yaml", "web: {tag: v2}\n")], &[]));
    assert_eq!(seen(at(5.0), &flight, &same).settled[0].1, Verdict::UpToDate);
}

#[test]
fn a_long_wait_is_told_with_its_reason() {
    let policy = &Policy::default();
    let told = |tries: u32, change: Change, seen: Seen| {
        let flight = Flight { changes: vec![change], tries, stage: Stage::Sent };
        let (now, waiting, coming) = (at(100.0), &[][..], 0);
        let observed = Observed { now, policy, waiting, coming, flight: Some(&flight), seen: Some(&seen) };
        waits_for(&observed, &decide(&observed))
    };
    let web = || web("f1", 705, "v2");
    let sent = || Change { sent_at: Some(at(99.0)), ..web() };
    let branch = || Seen::Branch(snapshot(&[("values.yaml", VALUES)], &[]));
    let message = || "429".to_owned();
    let throttled = |until| Seen::Answer(CommitAnswer::Throttled { message: message(), until: at(until) });
    assert_eq!(told(0, web(), throttled(160.0)), Some(message()));
    assert_eq!(told(0, web(), throttled(101.0)), None, "over before anybody looks");
    let trouble = |until| Seen::Trouble { message: message(), until };
    assert_eq!(told(0, web(), trouble(Some(at(130.0)))), Some(message()));
    assert_eq!(told(0, web(), trouble(None)), None);
    assert_eq!(told(7, web(), trouble(None)), Some(message()));
    assert_eq!(told(7, web(), Seen::Answer(CommitAnswer::Conflict { message: message() })), Some(message()));
    for (tries, change, is_told) in [(0, sent(), false), (7, sent(), true), (7, web(), false)] {
        let told = told(tries, change, branch());
        assert_eq!(told.is_some_and(|told| told.contains("its outcome is not known")), is_told, "{tries}");
    }
    assert_eq!(told(11, web(), trouble(None)), None, "it is put back, and told so");
}

#[test]
fn when_a_batch_has_ended_those_who_wait_are_next_at_once() {
    let flight = Flight { changes: vec![web("f1", 705, "v2")], tries: 0, stage: Stage::Sent };
    let policy = &Policy::default();
    let answer = Seen::Answer(CommitAnswer::Committed { commit: "c1".into() });
    let wake = |waiting: &[Change]| {
        let (flight, seen) = (Some(&flight), Some(&answer));
        decide(&Observed { now: at(7.0), policy, waiting, coming: 0, flight, seen }).wake
    };
    assert_eq!((wake(&[]), wake(&[api("f2", 706, "v2")])), (None, Some(at(7.0))));
}

#[test]
fn what_is_refused_among_lost_commits_is_told_while_the_others_are_waited_for() {
    let lost = |change| Change { sent_at: Some(at(0.0)), ..change };
    let gone = change("db", "f3", 3, vec![edit("gone.yaml", "a", "x")]);
    let changes = vec![lost(web("f1", 705, "v2")), lost(gone)];
    let flight = Flight { changes, tries: 0, stage: Stage::Read { not_before: at(0.0) } };
    let plan = seen(at(5.0), &flight, &Seen::Branch(snapshot(&[("values.yaml", VALUES)], &[])));
    let settled: Vec<&str> = plan.settled.iter().map(|(key, _)| key.fire_id.as_str()).collect();
    assert_eq!((settled, plan.effect), (vec!["f3"], Effect::Nothing));
    assert_eq!(plan.flight.unwrap().changes.len(), 1);
}

#[test]
fn a_branch_is_not_read_before_its_time_and_at_once_after_it() {
    let stage = Stage::Read { not_before: at(5.0) };
    let flight = Flight { changes: vec![web("f1", 705, "v2")], tries: 1, stage };
    let look = |now: f64| {
        let policy = &Policy::default();
        decide(&Observed { now: at(now), policy, waiting: &[], coming: 0, flight: Some(&flight), seen: None })
    };
    assert_eq!((look(4.9).effect, look(4.9).wake), (Effect::Nothing, Some(at(5.0))));
    for late in [5.0, 5.1] {
        assert!(matches!(look(late).effect, Effect::Read { .. }) && look(late).wake.is_none(), "{late}");
    }
}

#[test]
fn only_a_commit_that_may_still_arrive_and_has_not_is_put_back_beside_others() {
    let sent = |seconds, change| Change { sent_at: Some(at(seconds)), ..change };
    let db = change("db", "f3", 3, vec![edit("db.yaml", "a", "x")]);
    let cache = change("cache", "f4", 4, vec![edit("db.yaml", "b", "x")]);
    let flight = Flight {
        // The reply of the first was lost long ago; of the second just now, and it has arrived; of the third just now.
        changes: vec![sent(0.0, web("f1", 1, "v2")), sent(995.0, api("f2", 2, "v2")), sent(995.0, db), cache],
        tries: 0,
        stage: Stage::Read { not_before: at(0.0) },
    };
    let arrived = message_of("f2", 2, "values.yaml:api.tag");
    let files = [("values.yaml", VALUES), ("db.yaml", "a: 1\nb: 1\n")];
    let branch = Seen::Branch(snapshot(&files, &[("values.yaml", "c1", &arrived)]));
    let plan = seen(at(1000.0), &flight, &branch);
    let settled: Vec<(&str, bool)> = plan
        .settled
        .iter()
        .map(|(key, verdict)| (key.fire_id.as_str(), matches!(verdict, Verdict::PutBack { .. })))
        .collect();
    assert_eq!(settled, [("f3", true), ("f2", false)]);
    let Effect::Commit { .. } = &plan.effect else { panic!("{:?}", plan.effect) };
    let flying: Vec<String> =
        plan.flight.unwrap().changes.iter().map(|change| change.key.fire_id.to_string()).collect();
    assert_eq!(flying, ["f1", "f4"]);
}

#[test]
fn a_branch_that_cannot_be_read_is_told_or_tried_again() {
    let flight =
        Flight { changes: vec![web("f1", 1, "v2")], tries: 3, stage: Stage::Read { not_before: at(0.0) } };
    let never = seen(at(1.0), &flight, &Seen::Unreadable { message: "no such branch".into() });
    assert_eq!(never.settled[0].1, Verdict::Refused { message: "no such branch".into() });
    let trouble = seen(at(1.0), &flight, &Seen::Trouble { message: "503".into(), until: None });
    assert_eq!((trouble.wake, trouble.flight.unwrap().tries), (Some(at(1.8)), 4));
}

#[test]
fn what_others_write_too_is_refused_and_the_rest_of_the_batch_goes_on() {
    let changes = vec![web("f1", 705, "v2"), api("f2", 706, "v2")];
    let flight = Flight { changes: changes.clone(), tries: 0, stage: Stage::Read { not_before: at(0.0) } };
    let told = Seen::Contended(BTreeMap::from([(changes[0].key.clone(), "theirs".to_owned())]));
    let plan = seen(at(1.0), &flight, &told);
    assert_eq!(plan.settled, [(changes[0].key.clone(), Verdict::Refused { message: "theirs".into() })]);
    assert_eq!(plan.flight.unwrap().changes, [changes[1].clone()]);
    assert!(matches!(plan.effect, Effect::Read { .. }), "{:?}", plan.effect);
    let alone = Flight { changes: vec![changes[0].clone()], ..flight };
    let plan = seen(at(1.0), &alone, &told);
    assert_eq!((plan.flight, plan.effect, plan.settled.len()), (None, Effect::Nothing, 1));
}

#[test]
fn what_was_squashed_lately_counts_where_others_may_write_the_same() {
    let shared = Change { allow_shared: true, ..web("f1", 705, "v2") };
    for (change, asks) in [(web("f1", 705, "v2"), false), (shared.clone(), true)] {
        let effect = begun(0.0, &[change], 0).effect;
        assert!(matches!(effect, Effect::Read { merged, .. } if merged == asks), "{effect:?}");
    }
    let merged = written(&message_of("f9", 709, "values.yaml:web.tag"));
    let seen = Snapshot { merged, ..snapshot(&[("values.yaml", VALUES)], &[]) };
    let Draft { commit, verdicts } = draft(&[shared, api("f2", 701, "v2")], &seen);
    assert_eq!(verdicts, BTreeMap::from([(0, Verdict::Superseded { by: 709 })]));
    assert!(commit.unwrap().files[0].content.contains("api: {tag: v2}"));
}
