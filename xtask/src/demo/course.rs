//! How far the examples have come together: done, failed, or neither yet.

use std::time::{Duration, Instant};

use super::examples::Verdict;

/// All examples together take up to 65 s, a minute of it for a tick to come; a loaded CI machine takes its time.
const LIMIT: Duration = Duration::from_secs(150);
/// A pipeline too many would come late.
const SETTLE: Duration = Duration::from_secs(2);

/// The way from the first look to the end.
#[derive(Debug)]
pub struct Course {
    began: Instant,
    reached_since: Option<Instant>,
    end: Option<End>,
}

/// Where it ended; nothing changes it any more, whatever a person does with the examples later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Every example reached its end, so long after the begin.
    Reached(Duration),
    /// Why not.
    Failed(String),
}

/// What is to be seen at one moment.
#[derive(Debug)]
pub struct Sight<'a> {
    /// By the examples' names.
    pub verdicts: &'a [(&'static str, Verdict)],
    /// Fire ids that more than one pipeline carries.
    pub fired_twice: &'a [&'a str],
}

impl Course {
    pub fn new(began: Instant) -> Self {
        Self { began, reached_since: None, end: None }
    }

    pub fn began(&self) -> Instant {
        self.began
    }

    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Takes in what is seen `now`.
    pub fn observe(&mut self, sight: &Sight<'_>, now: Instant) {
        if self.end.is_some() {
            return;
        }
        let Sight { verdicts, fired_twice } = sight;
        if !fired_twice.is_empty() {
            let problem = format!("more than one pipeline carries the fire id {}", fired_twice.join(", "));
            self.end = Some(End::Failed(problem));
            return;
        }
        let (mut missed, mut underway) = (Vec::new(), Vec::new());
        for (name, verdict) in *verdicts {
            match verdict {
                Verdict::Reached | Verdict::Yours => {}
                Verdict::Underway(where_) => underway.push(format!("{name}: {where_}")),
                Verdict::Missed(why) => missed.push(format!("{name}: {why}")),
            }
        }
        if !missed.is_empty() {
            self.end = Some(End::Failed(missed.join("\n  ")));
        } else if underway.is_empty() {
            let since = *self.reached_since.get_or_insert(now);
            if now.duration_since(since) >= SETTLE {
                self.end = Some(End::Reached(since.duration_since(self.began)));
            }
        } else {
            self.reached_since = None;
            if now.duration_since(self.began) >= LIMIT {
                let within = LIMIT.as_secs();
                let problem = format!("not at its end after {within} s\n  {}", underway.join("\n  "));
                self.end = Some(End::Failed(problem));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "an Instant has no other origin")]

    use super::*;

    fn after(verdicts: &[(&'static str, Verdict)], fired_twice: &[&str], seconds: &[u64]) -> Option<End> {
        let mut course = Course::new(Instant::now());
        for seconds in seconds {
            course.observe(&Sight { verdicts, fired_twice }, course.began + Duration::from_secs(*seconds));
        }
        course.end
    }

    fn underway(name: &'static str) -> (&'static str, Verdict) {
        (name, Verdict::Underway("Firing: waits".into()))
    }

    #[test]
    fn it_is_done_once_every_example_has_stayed_at_its_end_for_a_while() {
        let all = [("a", Verdict::Reached), ("b", Verdict::Reached)];
        assert_eq!(after(&all, &[], &[7, 8]), None);
        assert_eq!(after(&all, &[], &[7, 9]), Some(End::Reached(Duration::from_secs(7))));
        assert_eq!(after(&[all[0].clone(), underway("b")], &[], &[7, 20]), None);
    }

    #[test]
    fn leaving_the_end_again_starts_the_while_anew() {
        let mut course = Course::new(Instant::now());
        for (second, verdict) in [(1, Verdict::Reached), (2, underway("a").1), (4, Verdict::Reached)] {
            let verdicts = [("a", verdict)];
            let sight = Sight { verdicts: &verdicts, fired_twice: &[] };
            course.observe(&sight, course.began + Duration::from_secs(second));
        }
        assert_eq!(course.end, None);
    }

    #[test]
    fn an_example_that_missed_its_end_fails_at_once_and_by_name() {
        let verdicts = [underway("a"), ("b", Verdict::Missed("Rejected and not Succeeded: no".into()))];
        let failed = End::Failed("b: Rejected and not Succeeded: no".into());
        assert_eq!(after(&verdicts, &[], &[0]), Some(failed));
    }

    #[test]
    fn time_runs_out_naming_who_is_where() {
        let verdicts = [("a", Verdict::Reached), underway("b")];
        assert_eq!(after(&verdicts, &[], &[149]), None);
        let failed = End::Failed("not at its end after 150 s\n  b: Firing: waits".into());
        assert_eq!(after(&verdicts, &[], &[150]), Some(failed));
    }

    #[test]
    fn a_fire_id_seen_twice_fails_though_every_example_is_at_its_end() {
        let failed = End::Failed("more than one pipeline carries the fire id f1".into());
        assert_eq!(after(&[("a", Verdict::Reached)], &["f1"], &[0]), Some(failed));
    }

    #[test]
    fn what_a_person_takes_over_is_not_waited_for() {
        let all = [("a", Verdict::Reached), ("b", Verdict::Yours)];
        assert_eq!(after(&all, &[], &[7, 9]), Some(End::Reached(Duration::from_secs(7))));
    }

    #[test]
    fn what_a_person_does_after_the_end_does_not_count() {
        let mut course = Course::new(Instant::now());
        for second in [1, 3] {
            let verdicts = [("a", Verdict::Reached)];
            let sight = Sight { verdicts: &verdicts, fired_twice: &[] };
            course.observe(&sight, course.began + Duration::from_secs(second));
        }
        let verdicts = [("a", Verdict::Missed("GitLab made 2".into()))];
        course
            .observe(&Sight { verdicts: &verdicts, fired_twice: &[] }, course.began + Duration::from_secs(9));
        assert_eq!(course.end, Some(End::Reached(Duration::from_secs(1))));
    }
}
