//! The rows of pipeline schedules and their variables.

use jiff::SignedDuration;
use pipekick_sandbox::gitlab::{ScheduleSettings, Seed};
use serde_json::json;

use super::Drive;

const SCHEDULES: &str = "/projects/shop%2Fnew/pipeline_schedules";

pub(super) async fn drive(drive: &mut Drive) {
    let main = json!({ "description": "x", "ref": "main", "cron": "0 * * * *" });
    let with = |key: &str, value: &str| {
        let mut body = main.clone();
        body[key] = value.into();
        body
    };
    let ambiguous = with("ref", "nope");
    for (row, body) in [
        ("SCHEDULE_PARAMETER", &json!({})),
        ("SCHEDULE_REF_AMBIGUOUS", &ambiguous),
        ("SCHEDULE_CRON_INVALID", &with("cron", "often")),
        ("SCHEDULE_ZONE_INVALID", &with("cron_timezone", "Mars")),
        ("SCHEDULE_DESCRIPTION_BLANK", &with("description", " ")),
        ("SCHEDULE_CREATED", &main),
    ] {
        let call = drive.client.api("POST", SCHEDULES).json(body);
        drive.expect(row, call).await;
    }
    let call = drive.client.api("POST", "/projects/shop%2Fprotected/pipeline_schedules").json(&main);
    drive.expect("SCHEDULE_NOT_AUTHORIZED", call).await;
    let call = drive.client.call("POST", SCHEDULES).header("PRIVATE-TOKEN", "dora").json(&main);
    let doras = drive.expect("SCHEDULE_CREATED", call).await.id();
    drive.get("SCHEDULES", SCHEDULES).await;
    drive.get("SCHEDULE_NOT_FOUND", &format!("{SCHEDULES}/1000")).await;
    let one = format!("{SCHEDULES}/{doras}");
    for (row, method, action) in [
        ("SCHEDULE_SHOWN", "GET", ""),
        ("SCHEDULE_TAKEN", "POST", "/take_ownership"),
        ("SCHEDULE_OWNED", "POST", "/take_ownership"),
        ("SCHEDULE_UPDATED", "PUT", "?active=false"),
        ("SCHEDULE_PLAYED", "POST", "/play"),
    ] {
        let call = drive.client.api(method, &format!("{one}{action}"));
        drive.expect(row, call).await;
    }
    drive.sim.advance(SignedDuration::from_secs(1));
    let played = drive.get("SCHEDULE_PIPELINES", &format!("{one}/pipelines")).await;
    assert_eq!(played.each("source"), ["schedule"]);
    let call = drive.client.api("DELETE", &one);
    drive.expect("SCHEDULE_DELETED", call).await;
    let settings = ScheduleSettings { per_project: 1, ..ScheduleSettings::default() };
    drive.sim.add(Seed { scheduling: Some(settings), ..Seed::default() }).unwrap();
    let call = drive.client.api("POST", SCHEDULES).json(&main);
    drive.expect("SCHEDULE_LIMIT", call).await;
}

pub(super) async fn variables(drive: &mut Drive) {
    let id = drive.get("SCHEDULES", SCHEDULES).await.json()[0]["id"].clone();
    let variables = format!("{SCHEDULES}/{id}/variables");
    let long = "K".repeat(256);
    for (row, method, path, key) in [
        ("SCHEDULE_VARIABLE_KEY", "POST", "", "NOT-A-WORD"),
        ("SCHEDULE_VARIABLE_KEY_LONG", "POST", "", long.as_str()),
        ("SCHEDULE_VARIABLE_CREATED", "POST", "", "ENV"),
        ("SCHEDULE_VARIABLE_TAKEN", "POST", "", "ENV"),
        ("SCHEDULE_VARIABLE_SHOWN", "GET", "/ENV", "ENV"),
        ("SCHEDULE_VARIABLE_UPDATED", "PUT", "/ENV", "ENV"),
        ("SCHEDULE_VARIABLE_DELETED", "DELETE", "/ENV", "ENV"),
        ("SCHEDULE_VARIABLE_NOT_FOUND", "GET", "/ENV", "ENV"),
    ] {
        let body = json!({ "key": key, "value": "prod" });
        let call = drive.client.api(method, &format!("{variables}{path}")).json(&body);
        drive.expect(row, call).await;
    }
}
