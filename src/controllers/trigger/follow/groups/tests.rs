use pipekick_core::domain::{Access, Pipeline, Reason, Report, SecretKeyRef};

use super::*;
use crate::clock;

const MIN: Duration = Duration::from_secs(5);

fn object(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey { namespace: namespace.into(), name: name.into() }
}

/// A pipeline under way.
fn stretch(pipeline_id: u64) -> Stretch {
    Stretch { pipeline_id, retries: 0, next_at: None, retry_at: None, resumed_at: None, finished_at: None }
}

fn follow(url: &str, project: &str, pipeline_id: u64, since: Timestamp) -> Option<Follow> {
    Some(Follow {
        fire_id: "f".into(),
        stretch: stretch(pipeline_id),
        status: PipelineStatus::Created,
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
    Sighting::Seen { pipeline, report: Report { manual_jobs, ..Report::default() } }
}

fn look(id: u64, sighting: Sighting) -> Look {
    Look { found: vec![(id, sighting)], alone: vec![id], due: vec![id], ..Look::default() }
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
    let (first, _) = groups.take_due(32, due);
    let namespaces: Vec<&str> = first.iter().map(|(key, _)| key.namespace.as_str()).collect();
    assert_eq!(namespaces, ["crowd", "quiet", "crowd", "crowd"], "four looks at one host");
    let (more, _) = groups.take_due(28, due);
    assert!(more.is_empty(), "the host has no place left");

    // The crowd fills all four; then whoever ends makes room for the other namespace, not for the crowd's next.
    for (key, ids) in first {
        groups.looked(&key, due.instant, look(ids[0].id, Sighting::Gone), due);
    }
    let mut at = due;
    let mut served = 0;
    for _ in 0..40 {
        at = later(at, 1);
        let (round, _) = groups.take_due(32, at);
        served += usize::from(round.iter().any(|(key, _)| key.namespace == "quiet"));
        for (key, ids) in round {
            groups.looked(&key, at.instant, look(ids[0].id, Sighting::Gone), at);
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
    let (due, _) = groups.take_due(32, later(begin, 60));
    assert_eq!(due.len(), LOOKS_PER_HOST + 1);
    assert!(due.iter().any(|(key, _)| key.url == "https://quick.example.com"));
}

#[test]
fn nothing_is_due_before_its_time_and_the_time_is_told() {
    let begin = now();
    let mut groups = Groups::new(MIN);
    assert_eq!(groups.take_due(1, begin), (vec![], begin.instant + INTERVAL_OLD));
    groups.follow(&object("a", "t"), follow("https://a.example.com", "a/p", 7, begin.wall), begin);
    assert_eq!(groups.take_due(1, begin), (vec![], begin.instant + MIN));
    assert_eq!(groups.take_due(1, later(begin, 5)).0.len(), 1);
}

#[test]
fn a_pipeline_that_two_objects_follow_is_looked_at_once_and_told_to_both() {
    let (begin, url) = (now(), "https://gitlab.example.com");
    let mut groups = Groups::new(MIN);
    let first = object("a", "one");
    groups.follow(&first, follow(url, "a/p", 7, begin.wall), begin);
    let at = later(begin, 5);
    let (mut due, _) = groups.take_due(1, at);
    let (key, ids) = due.remove(0);
    assert_eq!(ids.iter().map(|wanted| wanted.id).collect::<Vec<_>>(), [7]);
    assert_eq!(groups.looked(&key, at.instant, look(7, blocked(&[])), at), [first]);

    // The second comes when the first has been asked for already: they differ in that.
    groups.follow(&object("a", "two"), follow(url, "a/p", 7, begin.wall), at);
    groups.follow(&object("a", "three"), follow(url, "a/p", 8, begin.wall), at);
    let at = later(at, 60);
    let (mut due, _) = groups.take_due(1, at);
    let (key, ids) = due.remove(0);
    assert_eq!(
        ids.iter().map(|wanted| wanted.id).collect::<Vec<_>>(),
        [8, 7],
        "each once, and who was never asked first"
    );
    assert_eq!(groups.looked(&key, at.instant, look(7, blocked(&[])), at), [object("a", "two")]);
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
        let (mut due, _) = groups.take_due(1, at);
        let (key, _) = due.remove(0);
        assert_eq!(
            groups.looked(&key, at.instant, look(7, blocked(jobs)), at).len(),
            usize::from(news),
            "{jobs:?}"
        );
    }
    assert_eq!(groups.sighting(&who), Some((stretch(7), blocked(&["us"]))));
}

// ---- After the end ---------------------------------------------------------------------------------------------

/// A pipeline that has ended as `status` just now.
fn ended(id: u64, status: PipelineStatus, at: Now) -> Option<Follow> {
    let stretch = Stretch { finished_at: Some(at.wall), ..stretch(id) };
    let followed = follow("https://a.example.com", "a/p", id, at.wall);
    followed.map(|followed| Follow { stretch, status, ..followed })
}

fn seen(id: u64, status: &str) -> Sighting {
    let pipeline = serde_json::from_value(serde_json::json!({"id": id, "status": status})).unwrap();
    Sighting::Seen { pipeline, report: Report::default() }
}

#[test]
fn an_ended_pipeline_is_looked_at_some_thirty_times_until_it_is_left() {
    for (age, expected) in [(0, 30), (120, 30), (400, 100), (7200, 1800), (21_000, 1800)] {
        assert_eq!(interval_ended(Duration::from_secs(age), MIN).as_secs(), expected, "{age} s");
    }
    let begin = now();
    let mut groups = Groups::new(MIN);
    groups.follow(&object("a", "t"), ended(7, PipelineStatus::Success, begin), begin);
    let (mut looks, mut at) = (0, begin);
    for _ in 0..8 * 360 {
        at = later(at, 10);
        for (key, wanted) in groups.take_due(8, at).0 {
            looks += wanted.len();
            groups.looked(&key, at.instant, Look { due: vec![7], ..Look::default() }, at);
        }
    }
    assert!((20..40).contains(&looks), "{looks}");
    assert!(groups.of.is_empty() && groups.groups.is_empty(), "left after its time");
}

#[test]
fn one_that_has_ended_is_taken_along_and_asked_for_only_when_it_is_due() {
    let begin = now();
    let mut groups = Groups::new(MIN);
    groups.follow(&object("a", "old"), ended(7, PipelineStatus::Failed, begin), begin);
    groups.follow(&object("a", "new"), follow("https://a.example.com", "a/p", 8, begin.wall), begin);
    let (due, _) = groups.take_due(1, later(begin, 5));
    let asked: Vec<(u64, bool)> = due[0].1.iter().map(|wanted| (wanted.id, wanted.due)).collect();
    assert_eq!(asked, [(7, false), (8, true)]);
}

#[test]
fn of_one_that_has_ended_only_another_life_is_news_and_a_look_from_before_its_end_is_none() {
    let begin = now();
    let mut groups = Groups::new(MIN);
    let who = object("a", "t");
    groups.follow(&who, follow("https://a.example.com", "a/p", 7, begin.wall), begin);
    let before = later(begin, 5);
    let (mut due, _) = groups.take_due(1, before);
    let (key, _) = due.remove(0);
    let after = later(before, 1);
    groups.follow(&who, ended(7, PipelineStatus::Failed, after), after);
    assert!(groups.looked(&key, before.instant, look(7, seen(7, "running")), after).is_empty());
    for (sighting, news) in [
        (Sighting::Gone, false),
        (seen(7, "running"), true),
        (seen(7, "running"), false),
        (seen(7, "success"), true),
    ] {
        let at = later(after, 60);
        assert_eq!(groups.looked(&key, at.instant, look(7, sighting), at).len(), usize::from(news));
    }
}

#[test]
fn an_ended_pipeline_is_unchanged_while_its_status_and_last_change_are() {
    let at = now();
    let as_it_is = |updated_at| Wanted {
        id: 7,
        due: true,
        ended: Some(Ended { status: PipelineStatus::Failed, updated_at, due: at.instant }),
    };
    let shown = |status: PipelineStatus, updated_at| {
        let Sighting::Seen { pipeline, report: _ } = seen(7, "failed") else { panic!() };
        Pipeline { status, updated_at, ..pipeline }
    };
    let (then, later) = (Some(at.wall), Some(later(at, 1).wall));
    assert!(as_it_is(None).is_unchanged(&shown(PipelineStatus::Failed, then)));
    assert!(as_it_is(then).is_unchanged(&shown(PipelineStatus::Failed, then)));
    assert!(!as_it_is(then).is_unchanged(&shown(PipelineStatus::Failed, later)), "it failed anew");
    assert!(!as_it_is(None).is_unchanged(&shown(PipelineStatus::Running, then)));
}

#[test]
fn who_wants_to_know_is_looked_for_at_once_and_once_for_each_time() {
    let (begin, checkout) = (now(), object("shop", "checkout"));
    let mut groups = Groups::new(MIN);
    groups.follow(&checkout, follow("https://gitlab.example.com", "shop/checkout", 7, begin.wall), begin);
    let since = later(begin, 1);
    assert!(groups.take_due(9, since).0.is_empty());
    groups.look_since(&checkout, since.wall, since.instant);
    let key = groups.take_due(9, since).0.remove(0).0;

    // While that look is under way, somebody wants to know of a time after it began.
    let again = later(begin, 2);
    groups.look_since(&checkout, again.wall, again.instant);
    assert!(groups.take_due(9, again).0.is_empty());
    assert_eq!(groups.ran_at(&checkout), None, "nothing was heard yet");
    let heard = later(begin, 3);
    groups.looked(&key, since.instant, look(7, blocked(&[])), heard);
    assert_eq!(groups.ran_at(&checkout), Some(since.wall), "as old as its beginning");
    assert_eq!(groups.take_due(9, heard).0.len(), 1);
    let trouble = Sighting::Trouble { reason: Reason::Unreachable, message: "down".into() };
    groups.looked(&key, heard.instant, Look { trouble: true, ..look(7, trouble) }, heard);
    assert_eq!(groups.ran_at(&checkout), Some(since.wall), "trouble tells nothing of it");

    groups.look_since(&checkout, again.wall, heard.instant);
    assert!(groups.take_due(9, heard).0.is_empty(), "that was looked for");
    let last = later(begin, 9);
    groups.look_since(&checkout, last.wall, last.instant);
    assert_eq!(groups.take_due(9, last).0.len(), 1);
    groups.looked(&key, last.instant, look(7, seen(7, "success")), last);
    assert_eq!(groups.ran_at(&checkout), None, "it has ended; status is about to say so");
}

#[test]
fn a_gitlab_that_answers_every_other_look_is_told_of_once_a_minute_and_an_end_at_once() {
    let (begin, checkout) = (now(), object("shop", "checkout"));
    let mut groups = Groups::new(MIN);
    groups.follow(&checkout, follow("https://gitlab.example.com", "shop/checkout", 7, begin.wall), begin);
    let key = groups.take_due(9, later(begin, 5)).0.remove(0).0;
    let down = |message: &str| Look {
        trouble: true,
        ..look(7, Sighting::Trouble { reason: Reason::CannotFollow, message: message.into() })
    };
    let mut look_at = |seconds, look: Look| {
        let then = later(begin, seconds);
        !groups.looked(&key, then.instant, look, then).is_empty()
    };
    assert!(look_at(5, look(7, seen(7, "running"))));
    assert!(look_at(10, down("502")), "at once, where all was well");
    let told = (11..=610_u64)
        .filter(|seconds| match seconds % 10 {
            5 => look_at(*seconds, look(7, seen(7, "running"))),
            0 if seconds % 20 == 0 => look_at(*seconds, down("502")),
            0 => look_at(*seconds, down("the connection broke")),
            _ => false,
        })
        .count();
    assert!((9..=10).contains(&told), "{told} times in ten minutes");
    assert!(look_at(611, look(7, seen(7, "success"))));
}

#[test]
fn what_a_person_has_to_provide_is_told_and_taken_back_at_once() {
    let (begin, checkout) = (now(), object("shop", "checkout"));
    let mut groups = Groups::new(MIN);
    groups.follow(&checkout, follow("https://gitlab.example.com", "shop/checkout", 7, begin.wall), begin);
    let key = groups.take_due(9, later(begin, 5)).0.remove(0).0;
    for (seconds, sighting) in [
        (5, Sighting::Trouble { reason: Reason::SecretMissing, message: "no Secret".into() }),
        (10, seen(7, "running")),
        (15, Sighting::Trouble { reason: Reason::Unauthorized, message: "401".into() }),
        (20, seen(7, "running")),
    ] {
        let then = later(begin, seconds);
        assert!(!groups.looked(&key, then.instant, look(7, sighting), then).is_empty(), "after {seconds} s");
    }
}
