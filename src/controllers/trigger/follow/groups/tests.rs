use pipekick_core::domain::{Access, Pipeline, SecretKeyRef};

use super::*;
use crate::clock;

const MIN: Duration = Duration::from_secs(5);

fn object(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey { namespace: namespace.into(), name: name.into() }
}

fn follow(url: &str, project: &str, pipeline_id: u64, since: Timestamp) -> Option<Follow> {
    Some(Follow {
        fire_id: "f".into(),
        pipeline_id,
        url: url.into(),
        project: project.into(),
        named_project: project.into(),
        access: Access {
            token: SecretKeyRef { name: "gitlab".into(), key: "access".into() },
            ca_bundle: None,
        },
        since,
    })
}

fn now() -> Now {
    Now { instant: clock::instant(), wall: clock::now() }
}

fn later(now: Now, seconds: u64) -> Now {
    let span = Duration::from_secs(seconds);
    Now { instant: now.instant + span, wall: now.wall + span }
}

fn blocked(jobs: &[&str]) -> Sighting {
    let pipeline: Pipeline =
        serde_json::from_value(serde_json::json!({"id": 7, "status": "manual"})).unwrap();
    let manual_jobs = jobs.iter().map(|name| (*name).to_owned()).collect();
    Sighting::Seen { pipeline, failed_jobs: vec![], manual_jobs }
}

fn look(id: u64, sighting: Sighting) -> Look {
    Look { found: vec![(id, sighting)], alone: vec![id], trouble: false, wait: Duration::ZERO }
}

#[test]
fn a_pipeline_is_looked_at_after_a_tenth_of_its_age_within_bounds() {
    for (age, expected) in [(0, 5), (49, 5), (120, 12), (599, 59), (3600, 60), (86_400, 600), (900_000, 600)]
    {
        assert_eq!(interval(Duration::from_secs(age), MIN).as_secs().abs_diff(expected), 0, "{age} s");
    }
}

/// A thousand projects of one namespace are due, and have been for longer than the one of another.
#[test]
fn a_crowd_of_projects_in_one_namespace_leaves_another_its_places() {
    let (begin, url) = (now(), "https://gitlab.example.com");
    let mut groups = Groups::new(MIN);
    for number in 0..1000 {
        let wanted = follow(url, &format!("crowd/p{number}"), number, begin.wall);
        groups.follow(&object("crowd", &format!("t{number}")), wanted, begin);
    }
    let second = later(begin, 1);
    groups.follow(&object("quiet", "t"), follow(url, "quiet/p", 5000, second.wall), second);
    let due = later(begin, 60);
    let (first, _) = groups.take_due(32, due.instant);
    let namespaces: Vec<&str> = first.iter().map(|(key, _)| key.namespace.as_str()).collect();
    assert_eq!(namespaces, ["crowd", "quiet", "crowd", "crowd"], "four looks at one host");
    let (more, _) = groups.take_due(28, due.instant);
    assert!(more.is_empty(), "the host has no place left");

    // The crowd fills all four; then whoever ends makes room for the other namespace, not for the crowd's next.
    for (key, ids) in first {
        groups.looked(&key, look(ids[0], Sighting::Gone), due);
    }
    let mut at = due;
    let mut served = 0;
    for _ in 0..40 {
        at = later(at, 1);
        let (round, _) = groups.take_due(32, at.instant);
        served += usize::from(round.iter().any(|(key, _)| key.namespace == "quiet"));
        for (key, ids) in round {
            groups.looked(&key, look(ids[0], Sighting::Gone), at);
        }
    }
    // Due at 65 s and every 6 s or so from then on, it is served when it is due.
    assert!((5..=7).contains(&served), "{served} looks in 40 s");
}

#[test]
fn a_slow_host_takes_no_more_than_its_places() {
    let begin = now();
    let mut groups = Groups::new(MIN);
    for number in 0..20 {
        let wanted = follow("https://slow.example.com", &format!("a/p{number}"), number, begin.wall);
        groups.follow(&object("a", &format!("t{number}")), wanted, begin);
    }
    groups.follow(&object("a", "quick"), follow("https://quick.example.com", "a/q", 99, begin.wall), begin);
    let (due, _) = groups.take_due(32, later(begin, 60).instant);
    assert_eq!(due.len(), LOOKS_PER_HOST + 1);
    assert!(due.iter().any(|(key, _)| key.url == "https://quick.example.com"));
}

#[test]
fn nothing_is_due_before_its_time_and_the_time_is_told() {
    let begin = now();
    let mut groups = Groups::new(MIN);
    assert_eq!(groups.take_due(1, begin.instant), (vec![], begin.instant + INTERVAL_OLD));
    groups.follow(&object("a", "t"), follow("https://a.example.com", "a/p", 7, begin.wall), begin);
    assert_eq!(groups.take_due(1, begin.instant), (vec![], begin.instant + MIN));
    assert_eq!(groups.take_due(1, later(begin, 5).instant).0.len(), 1);
}

#[test]
fn a_pipeline_that_two_objects_follow_is_looked_at_once_and_told_to_both() {
    let (begin, url) = (now(), "https://gitlab.example.com");
    let mut groups = Groups::new(MIN);
    let first = object("a", "one");
    groups.follow(&first, follow(url, "a/p", 7, begin.wall), begin);
    let at = later(begin, 5);
    let (mut due, _) = groups.take_due(1, at.instant);
    let (key, ids) = due.remove(0);
    assert_eq!(ids, [7]);
    assert_eq!(groups.looked(&key, look(7, blocked(&[])), at), [first]);

    // The second comes when the first has been asked for already: they differ in that.
    groups.follow(&object("a", "two"), follow(url, "a/p", 7, begin.wall), at);
    groups.follow(&object("a", "three"), follow(url, "a/p", 8, begin.wall), at);
    let at = later(at, 60);
    let (mut due, _) = groups.take_due(1, at.instant);
    let (key, ids) = due.remove(0);
    assert_eq!(ids, [8, 7], "each once, and who was never asked first");
    assert_eq!(groups.looked(&key, look(7, blocked(&[])), at), [object("a", "two")]);
}

#[test]
fn what_is_to_be_played_is_news_when_it_changes_but_not_when_it_could_not_be_read() {
    let begin = now();
    let mut groups = Groups::new(MIN);
    let who = object("a", "t");
    groups.follow(&who, follow("https://a.example.com", "a/p", 7, begin.wall), begin);
    let mut at = begin;
    for (jobs, news) in
        [(&[][..], true), (&["eu"], true), (&["eu"], false), (&[], false), (&["us"], true), (&["us"], false)]
    {
        at = later(at, 60);
        let (mut due, _) = groups.take_due(1, at.instant);
        let (key, _) = due.remove(0);
        assert_eq!(groups.looked(&key, look(7, blocked(jobs)), at).len(), usize::from(news), "{jobs:?}");
    }
    assert_eq!(groups.sighting(&who), Some((7, blocked(&["us"]))));
}
