//! The table, as lines of text. Pure: the screen puts them where they belong.

use jiff::Timestamp;
use pipekick_core::domain::schedule::ScheduleStatus;
use pipekick_core::domain::{Phase, TriggerStatus};

use super::course::End;
use super::examples::Verdict;

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub mark: Mark,
    pub name: String,
    /// None until the operator has looked.
    pub phase: Option<Phase>,
    pub pipeline: Option<u64>,
    /// Of the pipeline; while it is under way, up to now.
    pub seconds: Option<u64>,
    pub message: String,
}

/// Whether an example is where it is meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Reached,
    Underway,
    Missed,
    /// No example of ours.
    None,
}

impl From<&Verdict> for Mark {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Reached => Self::Reached,
            Verdict::Underway(_) => Self::Underway,
            Verdict::Missed(_) => Self::Missed,
            Verdict::Yours => Self::None,
        }
    }
}

impl Row {
    pub fn new(mark: Mark, name: &str, status: Option<&TriggerStatus>, now: Timestamp) -> Self {
        let run = status.and_then(|status| status.run.as_ref());
        let pipeline = run.and_then(|run| run.pipeline.as_ref());
        let running = || {
            let run = run.filter(|run| run.is_active())?;
            let since = run.fired_at.unwrap_or(run.intended_at);
            u64::try_from(now.duration_since(since).as_secs()).ok()
        };
        Self {
            mark,
            name: name.to_owned(),
            phase: status.and_then(|status| status.phase),
            pipeline: pipeline.map(|pipeline| pipeline.id),
            seconds: pipeline.and_then(|pipeline| pipeline.duration_seconds).or_else(running),
            message: status.and_then(|status| status.message.clone()).unwrap_or_default(),
        }
    }

    /// A schedule: what its newest child does, and what it says itself.
    pub fn of_schedule(
        mark: Mark,
        name: &str,
        schedule: Option<&ScheduleStatus>,
        newest: Option<&TriggerStatus>,
        now: Timestamp,
    ) -> Self {
        let message = schedule.and_then(|status| status.message.clone()).unwrap_or_default();
        Self { message, ..Self::new(mark, name, newest, now) }
    }

    fn phase(&self) -> String {
        self.phase.map_or_else(|| "-".into(), |phase| format!("{phase:?}"))
    }

    fn pipeline(&self) -> String {
        self.pipeline.map_or_else(|| "-".into(), |id| id.to_string())
    }

    fn seconds(&self) -> String {
        self.seconds.map_or_else(|| "-".into(), |s| format!("{s}s"))
    }

    /// As a line of its own, for a log: `elapsed` since the begin.
    pub fn line(&self, elapsed: std::time::Duration) -> String {
        let (name, phase, pipeline) = (&self.name, self.phase(), self.pipeline());
        format!("{:>5.1}s  {name:<12} {phase:<10} {pipeline:<5} {}", elapsed.as_secs_f32(), self.message)
            .trim_end()
            .to_owned()
    }
}

/// Whether escape sequences for colours are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    Colours,
    Plain,
}

const GREEN: &str = "32";
const RED: &str = "31";
const YELLOW: &str = "33";
const CYAN: &str = "36";
const DIM: &str = "2";
const BOLD: &str = "1";

impl Paint {
    fn with(self, colour: &str, text: &str) -> String {
        match self {
            Self::Colours => format!("\x1b[{colour}m{text}\x1b[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

fn colour(phase: Option<Phase>) -> &'static str {
    match phase {
        Some(Phase::Succeeded | Phase::Fired) => GREEN,
        Some(Phase::Failed | Phase::Rejected | Phase::TimedOut) => RED,
        Some(Phase::Unknown | Phase::Held) => YELLOW,
        Some(Phase::Pending | Phase::Firing | Phase::Running | Phase::Retrying) => CYAN,
        Some(Phase::Canceled | Phase::Skipped | Phase::Superseded | Phase::Suspended | Phase::Idle)
        | None => DIM,
    }
}

/// Below this the message is left out rather than cut to nothing.
const LEAST_MESSAGE: usize = 8;
const HEAD: [&str; 5] = ["NAME", "PHASE", "PIPELINE", "TIME", "MESSAGE"];

/// The table: a head, and a line for each row, none wider than `width`.
pub fn table(rows: &[Row], width: usize, paint: Paint) -> Vec<String> {
    let cells: Vec<[String; 4]> =
        rows.iter().map(|row| [row.name.clone(), row.phase(), row.pipeline(), row.seconds()]).collect();
    let widths: [usize; 4] = std::array::from_fn(|column| {
        let longest = cells.iter().map(|cells| cells[column].chars().count()).max().unwrap_or_default();
        longest.max(HEAD[column].len())
    });
    let pad = |column: usize, text: &str| format!("{text:<width$}", width = widths[column]);
    // A mark, and two blanks after each column but the mark's one.
    let before_message = 2 + widths.iter().sum::<usize>() + 2 * widths.len();
    let room = width.saturating_sub(before_message);

    let head: Vec<String> = (0..4).map(|column| pad(column, HEAD[column])).collect();
    let message = if room < LEAST_MESSAGE { "" } else { HEAD[4] };
    let head = cut(&format!("  {}  {message}", head.join("  ")), width);
    let mut lines = vec![paint.with(BOLD, head.trim_end())];
    for (row, cells) in rows.iter().zip(&cells) {
        let mark = match row.mark {
            Mark::Reached => ("✓", GREEN),
            Mark::Underway => ("·", DIM),
            Mark::Missed => ("✗", RED),
            Mark::None => (" ", DIM),
        };
        let message = if room < LEAST_MESSAGE { String::new() } else { fitting(&row.message, room) };
        let [name, phase, pipeline, seconds] = std::array::from_fn(|column| pad(column, &cells[column]));
        if width < before_message {
            // No room for colours among the pieces: what is left is cut as one.
            lines.push(cut(&format!("{} {name}  {phase}  {pipeline}  {seconds}", mark.0), width));
            continue;
        }
        let (mark, phase) = (paint.with(mark.1, mark.0), paint.with(colour(row.phase), &phase));
        lines.push(format!("{mark} {name}  {phase}  {pipeline}  {seconds}  {message}").trim_end().to_owned());
    }
    lines
}

/// What of a message fits. GitLab's own words come first in it; where not all fits, what they mean is worth more.
fn fitting(message: &str, room: usize) -> String {
    let means = message.strip_prefix("GitLab answered ").and_then(|rest| rest.split_once("\": "));
    match means {
        Some((_, means)) if message.chars().count() > room => cut(means, room),
        Some(_) | None => cut(message, room),
    }
}

/// `text` in at most `width` characters, told by an ellipsis if it is not all. One line, whatever it was.
fn cut(text: &str, width: usize) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().count() <= width {
        return text;
    }
    let mut kept: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        kept.push('…');
    }
    kept
}

/// What the line below the table tells.
#[derive(Debug)]
pub struct Summary<'a> {
    pub end: Option<&'a End>,
    pub reached: usize,
    pub examples: usize,
    /// In GitLab, of all projects.
    pub pipelines: usize,
    pub fired_twice: usize,
    pub elapsed: std::time::Duration,
    /// At its end.
    pub hint: &'static str,
}

impl Summary<'_> {
    /// The line, no wider than `width`.
    pub fn line(&self, width: usize, paint: Paint) -> String {
        let Self { end, reached, examples, pipelines, fired_twice, elapsed, hint } = self;
        let twice = match fired_twice {
            0 => "none twice".to_owned(),
            n => format!("{n} twice"),
        };
        let (colour, state) = match end {
            None => {
                (CYAN, format!("{reached} of {examples} examples at their ends, {} s", elapsed.as_secs()))
            }
            Some(End::Reached(took)) => {
                (GREEN, format!("all {examples} examples at their ends after {:.1} s", took.as_secs_f32()))
            }
            Some(End::Failed(why)) => {
                let why = why.replace("\n  ", "; ");
                return paint.with(RED, &cut(&format!("FAILED {why}"), width));
            }
        };
        let colour = if *fired_twice > 0 { RED } else { colour };
        let line = format!("{state}{hint} | {pipelines} pipelines in GitLab, {twice}");
        paint.with(colour, &cut(&line, width))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn row(name: &str, phase: Phase, pipeline: Option<u64>, message: &str) -> Row {
        let seconds = pipeline.map(|_| 5);
        Row {
            mark: Mark::Reached,
            name: name.into(),
            phase: Some(phase),
            pipeline,
            seconds,
            message: message.into(),
        }
    }

    fn rows() -> [Row; 2] {
        [
            row("succeeds", Phase::Succeeded, Some(1001), "pipeline 1001 succeeded in 5s"),
            Row { mark: Mark::Missed, ..row("bad", Phase::Rejected, None, "GitLab answered\n400") },
        ]
    }

    #[test]
    fn columns_stand_below_their_heads_and_a_message_keeps_to_its_line() {
        let expected = [
            "  NAME      PHASE      PIPELINE  TIME  MESSAGE",
            "✓ succeeds  Succeeded  1001      5s    pipeline 1001 succeeded in 5s",
            "✗ bad       Rejected   -         -     GitLab answered 400",
        ];
        assert_eq!(table(&rows(), 80, Paint::Plain), expected);
    }

    #[test]
    fn what_gitlab_meant_is_shown_where_its_own_words_leave_no_room_for_it() {
        let message = "GitLab answered 404 \"404 Not Found\": the trigger token is not known";
        assert_eq!(fitting(message, 80), message);
        assert_eq!(fitting(message, 20), cut("the trigger token is not known", 20));
        assert_eq!(fitting("pipeline 7 is under way", 10), cut("pipeline 7 is under way", 10));
    }

    #[test]
    fn a_narrow_terminal_cuts_the_message_then_leaves_it_out() {
        assert_eq!(table(&rows(), 50, Paint::Plain)[1], "✓ succeeds  Succeeded  1001      5s    pipeline 1…");
        assert_eq!(table(&rows(), 42, Paint::Plain)[1], "✓ succeeds  Succeeded  1001      5s");
        assert_eq!(table(&rows(), 20, Paint::Plain)[1], "✓ succeeds  Succeed…");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let end = End::Failed("a: b\n  c: d".into());
        let summary = |end| Summary {
            end,
            reached: 1,
            examples: 6,
            pipelines: 2,
            fired_twice: 0,
            elapsed: Duration::ZERO,
            hint: "",
        };
        for width in 0..100 {
            let mut lines = table(&rows(), width, Paint::Plain);
            lines.push(summary(None).line(width, Paint::Plain));
            lines.push(summary(Some(&end)).line(width, Paint::Plain));
            for line in lines {
                assert!(line.chars().count() <= width, "{width}: {line:?}");
            }
        }
    }

    #[test]
    fn colours_change_nothing_but_the_colours() {
        for width in [20, 42, 80] {
            let (painted, plain) =
                (table(&rows(), width, Paint::Colours), table(&rows(), width, Paint::Plain));
            assert!(painted[0].contains('\x1b') && !plain.concat().contains('\x1b'));
            for (painted, plain) in painted.iter().zip(&plain) {
                let mut bare = painted.clone();
                for code in [GREEN, RED, YELLOW, CYAN, DIM, BOLD, "0"] {
                    bare = bare.replace(&format!("\x1b[{code}m"), "");
                }
                assert_eq!(bare.trim_end(), plain);
            }
        }
    }

    #[test]
    fn the_summary_tells_how_far_it_is_and_what_gitlab_has() {
        let took = End::Reached(Duration::from_millis(14_300));
        let mut summary = Summary {
            end: None,
            reached: 2,
            examples: 6,
            pipelines: 3,
            fired_twice: 0,
            elapsed: Duration::from_secs(4),
            hint: " | Ctrl-C ends",
        };
        assert_eq!(
            summary.line(120, Paint::Plain),
            "2 of 6 examples at their ends, 4 s | Ctrl-C ends | 3 pipelines in GitLab, none twice"
        );
        summary.end = Some(&took);
        summary.fired_twice = 1;
        assert_eq!(
            summary.line(120, Paint::Plain),
            "all 6 examples at their ends after 14.3 s | Ctrl-C ends | 3 pipelines in GitLab, 1 twice"
        );
    }
}
