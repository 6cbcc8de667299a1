//! What happens to a call between the wire and GitLab: it is dated and recorded, faults strike,
//! GitLab answers (or not, or later), and what the caller will see is decided.

use std::time::Duration;

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};

use super::{
    auth,
    call::Call,
    clock::http_date,
    faults::{Fault, Show},
    ledger::{CallRecord, Credential},
    params,
    routes::{self, Match},
    row::Answer,
    state::{Named, World},
};

/// What the caller will see, and after how much real time.
pub(crate) struct Delivery {
    pub(crate) wait: Duration,
    pub(crate) wire: Wire,
}

pub(crate) enum Wire {
    Answer(Reply),
    /// The headers promise more than the body holds.
    Truncated(Reply),
    Reset,
}

/// An answer with the headers every answer has.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl World {
    /// Takes a call in; its number and time are given here.
    pub(crate) fn receive(&mut self, mut call: Call) -> Delivery {
        call.at = self.clock.now();
        self.catch_up(call.at);
        call.number = self.ledger.calls.len() as u64 + 1;
        let route = match routes::find(&call, self.version) {
            Match::Route(route, _) => Some(route.name),
            Match::OtherMethod | Match::ApiV3 | Match::Nothing | Match::OutsideApi => None,
        };
        let path = call.open_path();
        let fault = route.and_then(|route| self.strike(route, &path));
        self.ledger.calls.push(CallRecord {
            number: call.number,
            at: call.at,
            method: call.method.to_string(),
            path,
            route,
            credential: None,
            status: None,
            row: None,
            fault: fault.as_ref().map(Fault::name),
            effect: None,
            pipeline: None,
            commit: None,
            merge_request: None,
        });
        let number = call.number;
        let latency = route.map_or(Duration::ZERO, |route| self.faults.latency(route));
        let (wait, wire) = self.deliver(call, fault);
        if let Wire::Answer(reply) | Wire::Truncated(reply) = &wire
            && let Some(record) = self.ledger.call_mut(number)
        {
            record.status = Some(reply.status);
        }
        Delivery { wait: latency + wait, wire }
    }

    /// The fault that strikes this call, if any.
    fn strike(&mut self, route: &str, path: &str) -> Option<Fault> {
        let named = path.split_once("/projects/").and_then(|(_, rest)| rest.split(['/', '?']).next());
        let named = percent_encoding::percent_decode_str(named.unwrap_or_default()).decode_utf8_lossy();
        let mut faults = std::mem::take(&mut self.faults);
        let number = |name: &str| self.named(name).map(|(Named::Current(id) | Named::Moved(id))| id);
        let is_about =
            |meant: &str| named == meant || number(meant).is_some_and(|it| number(&named) == Some(it));
        let struck = faults.strike(route, is_about);
        self.faults = faults;
        struck
    }

    /// Applies what is due by itself: late effects and schedules, each at its own time, and what bridges make.
    pub(crate) fn catch_up(&mut self, now: Timestamp) {
        loop {
            let late = self.late.first_key_value().map(|((at, _), _)| *at);
            let planned = self.schedules.next_due();
            let Some(at) = late.into_iter().chain(planned).min().filter(|at| *at <= now) else { break };
            if late != Some(at) {
                self.run_schedules(at);
            } else if let Some((_, call)) = self.late.pop_first() {
                self.act(&call, None);
            }
        }
        self.bridge(now);
        if let Err(error) = self.merge_armed(now) {
            tracing::error!(%error, "a repository of the simulator is broken");
        }
    }

    fn deliver(&mut self, call: Call, fault: Option<Fault>) -> (Duration, Wire) {
        let (number, at) = (call.number, call.at);
        let Some(fault) = fault else {
            let answer = self.act(&call, None);
            return (Duration::ZERO, Wire::Answer(self.reply(number, at, answer)));
        };
        let acted = if fault.acts() {
            Some(self.act(&call, fault.lag()))
        } else {
            let credential = self.credential(&call);
            self.note(number, |record| record.credential = credential);
            None
        };
        if let Fault::LateEffect { after } = &fault {
            let due = at + *after;
            self.late.insert((due, number), Call { at: due, ..call });
        }
        let seen = match fault.shows() {
            Show::Answer(answer) => Some(answer),
            Show::GitlabsOwn => acted,
            Show::Nothing => None,
        };
        let wire = match seen.map(|answer| self.reply(number, at, answer)) {
            Some(reply) if fault == Fault::TruncatedBody => Wire::Truncated(reply),
            Some(reply) => Wire::Answer(reply),
            None => Wire::Reset,
        };
        (fault.waits(), wire)
    }

    /// GitLab's answer, recorded as the call's effect.
    fn act(&mut self, call: &Call, lag: Option<SignedDuration>) -> Answer {
        let answered = routes::answer(self, call, lag);
        let row = answered.answer.row.name;
        self.note(call.number, |record| {
            record.effect = Some(row);
            record.credential = answered.credential;
        });
        answered.answer
    }

    fn reply(&mut self, number: u64, at: Timestamp, answer: Answer) -> Reply {
        let Answer { row, mut headers, body } = answer;
        self.note(number, |record| record.row = Some(row.name));
        headers.push(("Date", http_date(at)));
        headers.push(("X-Request-Id", format!("sim-{number}")));
        headers.extend(row.content_type().map(|kind| ("Content-Type", kind.to_owned())));
        Reply { status: row.status, headers, body }
    }

    fn note(&mut self, number: u64, write: impl FnOnce(&mut CallRecord)) {
        if let Some(record) = self.ledger.call_mut(number) {
            write(record);
        }
    }

    /// Whose call it is, for the record of a call that GitLab never saw.
    fn credential(&self, call: &Call) -> Option<Credential> {
        auth::identify(self, call)
            .credential
            .or_else(|| routes::trigger_credential(self, &params::of(call).unwrap_or_default()))
    }
}

impl Reply {
    pub(crate) fn header_map(&self) -> HeaderMap {
        let pair = |(name, value): &(&'static str, String)| Some((name.parse().ok()?, value.parse().ok()?));
        self.headers.iter().filter_map(pair).collect()
    }
}
