//! What fires, in each mode of `fireOn`; and the same while the trigger is suspended or the operator paused.

use super::scene::{MODES, Move, Scene, accepted, fires, seen};
use crate::decide::trigger::FirstSight;
use crate::domain::run::CauseKind::{self, Apply, Change, Request};
use crate::domain::status::Answered;
use crate::domain::{
    FireOn, Phase, PipelineStatus, Reason, ValueSource, Variable, VariableType, VariableValue,
};

struct Case {
    sentence: &'static str,
    before: Move,
    then: Move,
    /// With fireOn Apply, Change, Request.
    fires: [Option<CauseKind>; 3],
    /// The same when it happens while nothing may be fired, and that ends.
    resumed: [Option<CauseKind>; 3],
}

const NEVER: [Option<CauseKind>; 3] = [None; 3];
const EDITED: [Option<CauseKind>; 3] = [Some(Change), Some(Change), None];
const ASKED: [Option<CauseKind>; 3] = [Some(Request); 3];

const CASES: &[Case] = &[
    Case {
        sentence: "the first sight",
        before: |s| s,
        then: |s| s,
        fires: [Some(Apply), None, None],
        resumed: [Some(Apply), None, None],
    },
    Case {
        sentence: "the first sight of an object that is annotated",
        before: |s| s,
        then: |s| s.ask("a"),
        fires: [Some(Request), None, None],
        resumed: [Some(Apply), None, None],
    },
    Case { sentence: "nothing at all", before: |s| s.settle(), then: |s| s, fires: NEVER, resumed: NEVER },
    Case {
        sentence: "an edit of a firing field",
        before: |s| s.settle(),
        then: |s| s.git_ref("B"),
        fires: EDITED,
        resumed: EDITED,
    },
    Case {
        sentence: "two edits that nobody saw one by one",
        before: |s| s.settle(),
        then: |s| s.git_ref("B").git_ref("C"),
        fires: EDITED,
        resumed: EDITED,
    },
    Case {
        sentence: "an edit and its undoing that nobody saw",
        before: |s| s.settle(),
        then: |s| s.git_ref("B").git_ref("A"),
        fires: NEVER,
        resumed: NEVER,
    },
    Case {
        sentence: "an edit of another field",
        before: |s| s.settle(),
        then: |s| s.other_token(),
        fires: NEVER,
        resumed: NEVER,
    },
    Case {
        sentence: "the end of a run during which a field went from A to B",
        before: on_run,
        then: |s| {
            s.git_ref("B").step();
            end_run(s)
        },
        fires: EDITED,
        resumed: EDITED,
    },
    Case {
        sentence: "the end of a run during which a field went from A to B and back",
        before: on_run,
        then: |s| {
            s.git_ref("B").step();
            s.git_ref("A").step();
            end_run(s)
        },
        fires: NEVER,
        resumed: NEVER,
    },
    Case {
        sentence: "a request",
        before: |s| s.settle(),
        then: |s| s.ask("a"),
        fires: ASKED,
        resumed: NEVER,
    },
    Case {
        sentence: "a request and an edit at once: one run, which the asker finds",
        before: |s| s.settle(),
        then: |s| s.git_ref("B").ask("a"),
        fires: ASKED,
        resumed: EDITED,
    },
    Case {
        sentence: "the same old value applied again, as a GitOps tool does",
        before: |s| {
            s.settle().ask("a").settle();
            s.trigger.fire = None;
            s.settle()
        },
        then: |s| s.ask("a"),
        fires: NEVER,
        resumed: NEVER,
    },
    Case {
        sentence: "a value asked again that stands in history",
        before: |s| s.settle().ask("a").settle().ask("b").settle(),
        then: |s| s.ask("a"),
        fires: NEVER,
        resumed: NEVER,
    },
    Case {
        sentence: "a value asked again that history forgot",
        before: |s| s.edit(|spec| spec.history_limit = 0).settle().ask("a").settle().ask("b").settle(),
        then: |s| s.ask("a"),
        fires: ASKED,
        resumed: NEVER,
    },
    Case {
        sentence: "the value of the last run, asked again after another was dropped",
        before: |s| {
            s.settle().ask("a").settle().suspend(true).ask("b").step();
            s.suspend(false).settle()
        },
        then: |s| s.ask("a"),
        fires: NEVER,
        resumed: NEVER,
    },
    Case {
        sentence: "an empty annotation",
        before: |s| s.settle(),
        then: |s| s.ask(""),
        fires: NEVER,
        resumed: NEVER,
    },
];

/// Leaves a run whose pipeline runs.
fn on_run(scene: &mut Scene) -> &mut Scene {
    scene.settle().ask("run").step();
    scene.answer(accepted());
    scene
}

fn end_run(scene: &mut Scene) -> &mut Scene {
    scene.facts.sighting = scene.run().stretch().map(|of| (of, seen(PipelineStatus::Success)));
    scene
}

fn each_mode(case: &Case) -> impl Iterator<Item = (usize, Scene, String)> {
    MODES.into_iter().enumerate().map(|(i, mode)| {
        let mut scene = Scene::new(mode);
        (case.before)(&mut scene);
        scene.posts.clear();
        (i, scene, format!("{} (fireOn: {mode:?})", case.sentence))
    })
}

#[test]
fn what_fires() {
    for case in CASES {
        for (i, mut scene, sentence) in each_mode(case) {
            (case.then)(&mut scene);
            assert_eq!(fires(&scene.step()), case.fires[i], "{sentence}");
            assert!(fires(&scene.step()).is_none(), "{sentence}: and only once");
        }
    }
}

#[test]
fn while_suspended_nothing_fires_and_resuming_fires_what_differs() {
    for case in CASES {
        for (i, mut scene, sentence) in each_mode(case) {
            scene.suspend(true).step();
            (case.then)(&mut scene);
            scene.step();
            assert_eq!((scene.posts.len(), scene.phase()), (0, Phase::Suspended), "{sentence}");
            assert_eq!(fires(&scene.suspend(false).step()), case.resumed[i], "{sentence}, resumed");
        }
    }
}

#[test]
fn a_paused_operator_fires_nothing_and_the_next_one_fires_what_differs() {
    for case in CASES {
        for (i, mut scene, sentence) in each_mode(case) {
            scene.policy.paused = true;
            scene.step();
            (case.then)(&mut scene);
            scene.step();
            assert_eq!((scene.posts.len(), scene.phase()), (0, Phase::Suspended), "{sentence}");
            scene.restart().policy.paused = false;
            assert_eq!(fires(&scene.step()), case.resumed[i], "{sentence}, resumed");
        }
    }
}

#[test]
fn an_annotation_is_answered_and_the_answer_says_how() {
    let cases: &[(&str, FireOn, Move, Answered)] = &[
        ("fired at first sight with Apply", FireOn::Apply, |s| s.ask("v"), Answered::Fired),
        ("recorded at first sight with Change", FireOn::Change, |s| s.ask("v"), Answered::Recorded),
        ("recorded at first sight with Request", FireOn::Request, |s| s.ask("v"), Answered::Recorded),
        ("fired when asked later", FireOn::Request, |s| s.settle().ask("v"), Answered::Fired),
        (
            "dropped while suspended",
            FireOn::Apply,
            |s| s.settle().suspend(true).ask("v"),
            Answered::Suspended,
        ),
        (
            "recorded, not dropped, where a suspended object is first seen",
            FireOn::Change,
            |s| s.suspend(true).ask("v"),
            Answered::Recorded,
        ),
    ];
    for (sentence, mode, given, answer) in cases {
        let mut scene = Scene::new(*mode);
        given(&mut scene);
        scene.step();
        let handled = scene.trigger.status.last_handled.fire.as_ref().unwrap();
        assert_eq!((handled.value.as_str(), handled.answer), ("v", *answer), "{sentence}");
    }
}

#[test]
fn the_write_of_the_intent_answers_the_request_and_unsets_success() {
    let mut scene = Scene::new(FireOn::Apply);
    scene.settle().git_ref("B").ask("deploy");
    let plan = scene.step();
    let status = plan.status.as_ref().unwrap();
    let succeeded = status.conditions.iter().find(|c| c.kind == "Succeeded").unwrap();
    assert_eq!(succeeded.status, crate::domain::status::Truth::Unknown);
    assert_eq!(scene.answered(), Some(Answered::Fired));
    assert_eq!(scene.run().request.as_deref(), Some("deploy"));
    scene.settle();
    assert_eq!(scene.posts.len(), 2, "the edit and the request were one run, after the first");
}

#[test]
fn long_annotations_are_told_apart_by_their_first_256_characters() {
    let mut scene = Scene::new(FireOn::Request);
    scene.settle().ask(&format!("{}-one", "ü".repeat(256))).settle();
    assert_eq!(scene.run().request.as_ref().unwrap().chars().count(), 256);
    assert!(fires(&scene.ask(&format!("{}-two", "ü".repeat(256))).step()).is_none());
}

#[test]
fn held_at_first_sight_until_asked() {
    let held = |mode| {
        let mut scene = Scene::new(mode);
        scene.policy.first_sight = FirstSight::Hold;
        scene.ask("from the backup").step();
        scene
    };
    let mut scene = held(FireOn::Apply);
    assert_eq!((scene.phase(), scene.run().reason), (Phase::Held, Some(Reason::FirstSight)));
    assert_eq!(scene.answered(), Some(Answered::Recorded));
    assert!(scene.step().status.is_none(), "it rests");
    assert!(fires(&scene.other_token().step()).is_none(), "an edit of another field leaves it held");
    scene.restart().policy.first_sight = FirstSight::Fire;
    assert!(fires(&scene.step()).is_none(), "so does an operator that would not have held it");
    assert!(
        fires(&scene.git_ref("B").step()).is_none(),
        "and an edit of a firing field, for it was not asked"
    );
    assert_eq!(fires(&scene.ask("go").step()), Some(Request));
    assert_eq!((scene.run().seq, scene.past()), (2, vec![(1, Phase::Superseded)]));
    assert_eq!(scene.run().target.git_ref, "B", "what stands there when it is asked");

    for mode in [FireOn::Change, FireOn::Request] {
        let scene = held(mode);
        assert_eq!((scene.phase(), scene.answered()), (Phase::Idle, Some(Answered::Recorded)), "{mode:?}");
    }
}

#[test]
fn what_was_edited_in_request_mode_fires_nothing_in_another() {
    for mode in MODES {
        let mut scene = Scene::new(FireOn::Request);
        scene.settle().git_ref("B").settle();
        assert!(fires(&scene.fire_on(mode).step()).is_none(), "{mode:?}");
    }
}

#[test]
fn a_request_is_marked_only_where_the_mark_is_certain_to_travel() {
    let text = || VariableValue::Text(String::new());
    let from = |optional| VariableValue::From {
        source: ValueSource::ConfigMap { name: "notes".into(), key: "text".into() },
        optional,
    };
    let cases = [
        ("a trigger token always carries it", true, vec![], true),
        ("an access token has no place for it but beside variables", false, vec![], false),
        ("beside one with a value", false, vec![text()], true),
        ("beside one that is waited for", false, vec![from(false)], true),
        ("not beside one that may be left out", false, vec![from(true)], false),
        ("unless another one stays", false, vec![from(true), text()], true),
    ];
    for (sentence, by_trigger, values, marked) in cases {
        let mut scene = Scene::new(FireOn::Apply);
        scene.edit(|spec| {
            spec.trigger_token = spec.trigger_token.take().filter(|_| by_trigger);
            let variable = |(n, value)| Variable {
                name: format!("V{n}").parse().unwrap(),
                kind: VariableType::EnvVar,
                raw: false,
                value,
            };
            spec.variables = values.into_iter().enumerate().map(variable).collect();
        });
        scene.step();
        assert_eq!(scene.run().attempt.as_ref().unwrap().marked, marked, "{sentence}");
    }
}
