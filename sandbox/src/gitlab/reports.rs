//! What the test reports of a pipeline say. They are made up from numbers: one suite, named after the first job.

use serde_json::{Value, json};

use super::{pipeline::Pipeline, script::Tests};

/// The tests of a pipeline that has ended; before, nothing has been reported.
fn reported(p: &Pipeline) -> Tests {
    if p.finished_at.is_some() { p.play.tests } else { Tests::default() }
}

pub(crate) fn test_summary(p: &Pipeline) -> Value {
    let Tests { success, failed, skipped, error } = reported(p);
    let count = success + failed + skipped + error;
    let suite = json!({
        "name": p.play.jobs[0].name, "total_time": 0, "total_count": count, "success_count": success,
        "failed_count": failed, "skipped_count": skipped, "error_count": error,
        "build_ids": p.jobs.iter().take(1).map(|job| job.id).collect::<Vec<_>>(), "suite_error": null,
    });
    json!({
        "total": { "time": 0, "count": count, "success": success, "failed": failed, "skipped": skipped,
                   "error": error, "suite_error": null },
        "test_suites": if count > 0 { vec![suite] } else { Vec::new() },
    })
}

pub(crate) fn test_report(p: &Pipeline) -> Value {
    let Tests { success, failed, skipped, error } = reported(p);
    let count = success + failed + skipped + error;
    let mut report = json!({
        "total_time": 0, "total_count": count, "success_count": success, "failed_count": failed,
        "skipped_count": skipped, "error_count": error,
    });
    let statuses = [("success", success), ("failed", failed), ("skipped", skipped), ("error", error)];
    let cases = statuses.into_iter().flat_map(|(status, count)| (1..=count).map(move |n| (status, n)));
    let case = |(status, n)| {
        json!({
            "status": status, "name": format!("{status} {n}"), "classname": "Tests", "file": null,
            "execution_time": 0, "system_output": null, "stack_trace": null,
        })
    };
    let mut suite = report.clone();
    suite["name"] = p.play.jobs[0].name.clone().into();
    suite["suite_error"] = Value::Null;
    suite["test_cases"] = cases.map(case).collect();
    report["test_suites"] = if count > 0 { json!([suite]) } else { json!([]) };
    report
}
