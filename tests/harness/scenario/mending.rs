//! The scenes in which drover mends, advises, calls a human, and holds still.

use std::time::Duration;

use anyhow::{Result, ensure};
use drover::api::{ActOnIncident, Incident, IncidentTimeline, ModeSet, Page, SetMode};
use drover::model::{Action, IncidentKind, IncidentState, Kind, Mode, State};

use super::asking::{
    alarms, all_clear, events, heading, incident, last, nth, open_alerts, resolved, runs,
    tell_runs, timeline, told,
};
use super::{People, RESOURCES, SERVERS, SUBJECTS, guests, pick, transitions, who};
use crate::pagerduty::AlertState;
use crate::{Deployment, PATIENCE, until, when};

/// A killed postmaster is restarted by drover itself.
pub(super) async fn restart(drover: &mut Deployment, tell: &mut impl FnMut(&str)) -> Result<f64> {
    let victim = pick(drover, Kind::Resource).await?;
    let (id, name) = who(&victim);
    drover.local(&["kill", &id]).await?;
    tell(&format!("{name}: postmaster and children killed"));
    let down = drover.turn_until(&id, "unavailable", PATIENCE).await?;
    tell(&format!("{name}: unavailable ({down:.1} s)"));
    let states = IncidentState::ALL;
    let incident = incident(drover, &id, IncidentKind::ResourceDown, states, PATIENCE).await?;
    tell(&format!("{name}: {}", heading(&incident)));
    let back = drover.turn_until(&id, "available", PATIENCE).await?;
    let took = down + back;
    tell(&format!(
        "{name}: restarted by drover, available ({took:.1} s since the kill)"
    ));
    let path = transitions(drover, &id).await?;
    let path: Vec<State> = path.iter().map(|t| t.to).collect();
    ensure!(
        path.ends_with(&[State::Uncertain, State::Unavailable, State::Available]),
        "expected uncertain, unavailable, available; seen: {path:?}"
    );
    let closed = resolved(drover, &incident.id.to_string(), PATIENCE).await?;
    tell_runs(&closed, tell);
    ensure!(
        !closed.runs.is_empty(),
        "expected a resolver's run; seen: {closed:?}"
    );
    Ok(took)
}

/// An unplugged server is rebooted by drover, and its databases raise nothing.
pub(super) async fn reboot(drover: &mut Deployment, tell: &mut impl FnMut(&str)) -> Result<f64> {
    let server = pick(drover, Kind::Server).await?;
    let (id, name) = who(&server);
    let guests = guests(drover, &id).await?;
    ensure!(
        guests.len() == RESOURCES,
        "expected {RESOURCES} databases on {name}"
    );
    let before = alarms(drover, &guests).await?;
    drover.local(&["unplug", &id]).await?;
    tell(&format!("{name}: unplugged, everything on it is dead"));
    let down = drover.turn_until(&id, "unavailable", PATIENCE).await?;
    tell(&format!("{name}: unavailable ({down:.1} s)"));
    let states = IncidentState::ALL;
    let incident = incident(drover, &id, IncidentKind::ServerDown, states, PATIENCE).await?;
    tell(&format!("{name}: {}", heading(&incident)));
    let back = drover.all_available(SUBJECTS, PATIENCE).await?;
    let took = down + back;
    tell(&format!(
        "{name}: rebooted by drover, all {SUBJECTS} subjects available ({took:.1} s)"
    ));
    let closed = resolved(drover, &incident.id.to_string(), PATIENCE).await?;
    tell_runs(&closed, tell);
    let after = alarms(drover, &guests).await?;
    ensure!(
        after == before,
        "expected no alarm of its databases' own; seen: {after} instead of {before}"
    );
    tell(&format!(
        "{name}: its {RESOURCES} databases raised nothing of their own"
    ));
    Ok(took)
}

/// In `advise` nothing is touched; in `act` a retry mends.
pub(super) async fn advise(
    drover: &mut Deployment,
    people: &People,
    tell: &mut impl FnMut(&str),
) -> Result<()> {
    set(drover, Mode::Advise).await?;
    tell("mode advise for the whole herd");
    let victim = last(drover).await?;
    let (id, name) = who(&victim);
    drover.local(&["kill", &id]).await?;
    let found = needs_human(drover, &id, PATIENCE).await?;
    let id_of = found.id.to_string();
    let seen = timeline(drover, &id_of).await?;
    let advice = events(&seen, "advised");
    ensure!(
        !advice.is_empty(),
        "expected advice in the timeline; seen: {seen:?}"
    );
    ensure!(
        seen.runs.is_empty(),
        "expected nothing to be touched; seen: {seen:?}"
    );
    ensure!(
        drover.state(&id).await? == State::Unavailable,
        "expected {name} to be left alone"
    );
    tell(&format!(
        "{name}: killed, and left alone; the timeline says: {}",
        advice[0]
    ));
    set(drover, Mode::Act).await?;
    let retry = ActOnIncident {
        action: Action::Retry,
        reason: Some("the herd is in act again".into()),
        by: None,
    };
    let path = format!("/v1/incidents/{id_of}/actions");
    drover.api.post::<IncidentTimeline>(&path, &retry).await?;
    let back = drover.turn_until(&id, "available", PATIENCE).await?;
    tell(&format!(
        "mode act, and retry: {name} available ({back:.1} s)"
    ));
    resolved(drover, &id_of, PATIENCE).await?;
    all_clear(people).await
}

/// What cannot be restarted ends with one ticket and one page, and both end when
/// a human has mended it.
pub(super) async fn call_a_human(
    drover: &mut Deployment,
    people: &People,
    tell: &mut impl FnMut(&str),
) -> Result<f64> {
    let victim = nth(drover, 1).await?;
    let (id, name) = who(&victim);
    drover.local(&["break", &id]).await?;
    tell(&format!(
        "{name}: killed, and its data directory made unreadable"
    ));
    let began = std::time::Instant::now();
    let found = needs_human(drover, &id, PATIENCE).await?;
    let id_of = found.id.to_string();
    let called = began.elapsed().as_secs_f64();
    let key = format!("drover/{id_of}");
    until("one page", PATIENCE, || async {
        let alert = people.pager.alerts().remove(&key);
        Ok(match alert {
            Some(alert) if alert.state == AlertState::Open && alert.triggers == 1 => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
    .await?;
    until("one ticket", PATIENCE, || async {
        let n = told(people, &id_of);
        when(n == 1, format!("{n}"))
    })
    .await?;
    let seen = timeline(drover, &id_of).await?;
    for failure in events(&seen, "failed").iter().take(1) {
        tell(&format!("{name}: {failure}"));
    }
    tell(&format!(
        "{name}: after {} attempts a human is needed ({called:.1} s): one ticket, one page",
        seen.incident.attempts
    ));
    drover.local(&["mend", &id]).await?;
    drover.local(&["start", &id]).await?;
    tell(&format!("{name}: mended and started by hand"));
    resolved(drover, &id_of, PATIENCE).await?;
    all_clear(people).await?;
    until("the ticket closed", PATIENCE, || async {
        let n = told(people, &id_of);
        when(n == 2, format!("{n} events"))
    })
    .await?;
    tell(&format!(
        "{name}: the incident is resolved, the page and the ticket with it"
    ));
    Ok(called)
}

/// All but one server unplugged at once: the brake.
pub(super) async fn blind(
    drover: &mut Deployment,
    people: &People,
    tell: &mut impl FnMut(&str),
) -> Result<()> {
    let runs = runs(drover).await?;
    let servers = drover.subjects().await?.into_iter();
    let ids: Vec<String> = servers
        .filter(|s| s.core().kind == Kind::Server)
        .take(SERVERS - 1)
        .map(|s| s.core().id.to_string())
        .collect();
    for id in &ids {
        drover.local(&["unplug", id]).await?;
    }
    tell(&format!(
        "{} of {SERVERS} servers unplugged at once",
        ids.len()
    ));
    let (found, seconds) = until("blind, and a human called", PATIENCE, || async {
        let path = "/v1/incidents?state=open&kind=blind";
        let page: Page<Incident> = drover.api.get(path).await?;
        let first = page.items.into_iter().next();
        Ok(first
            .filter(|incident| incident.state == IncidentState::NeedsHuman)
            .ok_or_else(|| "no such incident".to_owned()))
    })
    .await?;
    let id_of = found.id.to_string();
    let key = format!("drover/{id_of}");
    until("one page", PATIENCE, || async {
        let open: Vec<String> = open_alerts(people);
        when(open == [key.clone()], format!("{open:?}"))
    })
    .await?;
    tell(&format!(
        "blind ({seconds:.1} s): {}; one page",
        found.reason
    ));
    // Long enough for any of them to be rebooted, if drover would.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let after = super::asking::runs(drover).await?;
    ensure!(
        after == runs,
        "expected no resolver to act; seen: {} runs",
        after - runs
    );
    let open = open_alerts(people);
    ensure!(open == [key], "expected one page; open: {open:?}");
    tell("no resolver has acted");
    for id in &ids {
        drover.local(&["plug", id]).await?;
    }
    let back = drover.all_available(SUBJECTS, PATIENCE).await?;
    resolved(drover, &id_of, PATIENCE).await?;
    all_clear(people).await?;
    until("every incident closed", PATIENCE, || async {
        let path = "/v1/incidents?state=open";
        let page: Page<Incident> = drover.api.get(path).await?;
        Ok(match page.items[..] {
            [] => Ok(()),
            _ => Err(format!("{:?}", page.items)),
        })
    })
    .await?;
    tell(&format!(
        "plugged in: all {SUBJECTS} available ({back:.1} s), all go on"
    ));
    Ok(())
}

/// Waits until a human is needed for a resource that is down.
async fn needs_human(drover: &Deployment, id: &str, deadline: Duration) -> Result<Incident> {
    let states = [IncidentState::NeedsHuman];
    incident(drover, id, IncidentKind::ResourceDown, &states, deadline).await
}

/// Sets the herd's mode.
async fn set(drover: &Deployment, mode: Mode) -> Result<()> {
    let body = SetMode {
        mode,
        reason: Some("the demo's scene".into()),
    };
    drover.api.put::<ModeSet>("/v1/modes/herd", &body).await?;
    Ok(())
}
