//! The metrics as a page shows them, read from an exposition: what is not served is not listed, and the other way round.

use std::fmt::Write as _;
use std::time::Duration;

use pipekick_core::decide::image_update::CommitAnswer;
use pipekick_core::domain::Answer;

use super::{Metrics, SpanEnd};
use crate::gitlab::BudgetLeft;
use crate::runtime::Handle;

/// The metrics as a Markdown table.
#[must_use]
pub fn metrics_table() -> String {
    let mut table = String::from("| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n");
    for family in families(&exposition()) {
        let Family { name, kind, labels, meaning } = family;
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(table, "| `{name}` | {kind} | {} | {meaning} |", labels.join(", "));
    }
    table
}

/// One in which every metric with labels has a sample, for only that shows them.
fn exposition() -> String {
    let metrics = Metrics::new();
    metrics.observe_runtime("PipelineTrigger", Handle::<()>::new());
    metrics.fired(&Answer::Unknown { message: String::new() });
    metrics.gitlab_request("/projects/:id/pipeline", Some(201));
    metrics.cause_to_post(Duration::ZERO);
    metrics.tick_fired(Duration::ZERO);
    metrics.observe_budget(|| BudgetLeft { own: Some(0), others: Some(0) });
    metrics.committed(&CommitAnswer::Committed { commit: String::new() }, 1);
    metrics.spans(SpanEnd::Dropped, 0);
    metrics.encode()
}

struct Family<'a> {
    /// As a query writes it.
    name: &'a str,
    kind: &'a str,
    labels: Vec<&'a str>,
    meaning: &'a str,
}

fn families(exposition: &str) -> impl Iterator<Item = Family<'_>> {
    exposition.split("# HELP ").skip(1).filter_map(family)
}

/// `name meaning`, `# TYPE name kind`, and samples.
fn family(text: &str) -> Option<Family<'_>> {
    let mut lines = text.lines();
    let (family, meaning) = lines.next()?.split_once(' ')?;
    let (_, kind) = lines.next()?.rsplit_once(' ')?;
    let sample = lines.next()?;
    let (name, labels) = match sample.split_once('{') {
        Some((name, labels)) => (name, labels.split_once('}')?.0),
        None => (sample.split_once(' ')?.0, ""),
    };
    // Samples of a histogram have names of their own, and a label that is none of ours.
    if kind == "histogram" {
        return Some(Family { name: family, kind, labels: Vec::new(), meaning });
    }
    // No value has a quotation mark: they come from closed sets.
    let labels = labels.split('"').step_by(2).map(|label| label.trim_matches([',', '=']));
    Some(Family { name, kind, labels: labels.filter(|label| !label.is_empty()).collect(), meaning })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_that_is_served_is_listed_as_a_query_writes_it() {
        let table = metrics_table();
        assert_eq!(table.lines().count() - 2, exposition().matches("# TYPE ").count(), "{table}");
        for row in [
            "| `pipekick_build_info` | info | `version` | The operator's version. |",
            "| `pipekick_commits_total` | counter | `outcome` | Commits of image updates that were sent, by what became of them. |",
            "| `pipekick_gitlab_requests_total` | counter | `route`, `status` | Requests to GitLab, by route and HTTP status; \"none\" without an answer. |",
            "| `pipekick_objects` | gauge | `kind` | Objects that are known. |",
            "| `pipekick_unknown_runs` | gauge |  | Runs of which nobody knows yet whether a pipeline exists. |",
        ] {
            assert!(table.lines().any(|found| found == row), "{row} is not in\n{table}");
        }
        assert!(table.contains("| `pipekick_cause_to_post_seconds` | histogram |  | "), "{table}");
    }
}
