//! What the scenes ask of the API, the record and the people who are told.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use drover::api::{Incident, IncidentTimeline, Page, Subject};
use drover::model::{IncidentKind, IncidentState, Kind};

use super::{People, RESOURCES, SERVERS};
use crate::pagerduty::AlertState;
use crate::{Deployment, PATIENCE, until, when};

/// Waits for a subject's newest incident of a kind to be in one of these states.
pub(super) async fn incident(
    drover: &Deployment,
    subject: &str,
    kind: IncidentKind,
    states: &[IncidentState],
    deadline: Duration,
) -> Result<Incident> {
    let path = format!("/v1/incidents?subject={subject}&kind={kind}&limit=1");
    let what = format!("{kind} of {subject} in one of {states:?}");
    let (found, _) = until(&what, deadline, || async {
        let page: Page<Incident> = drover.api.get(&path).await?;
        Ok(match page.items.into_iter().next() {
            Some(incident) if states.contains(&incident.state) => Ok(incident),
            Some(incident) => Err(incident.state.to_string()),
            None => Err("none".to_owned()),
        })
    })
    .await?;
    Ok(found)
}

/// One incident with all that is known of it.
pub(super) async fn timeline(drover: &Deployment, id: &str) -> Result<IncidentTimeline> {
    Ok(drover.api.get(&format!("/v1/incidents/{id}")).await?)
}

/// Waits for an incident to be resolved; returns all of it.
pub(super) async fn resolved(
    drover: &Deployment,
    id: &str,
    deadline: Duration,
) -> Result<IncidentTimeline> {
    let (seen, _) = until(&format!("{id} resolved"), deadline, || async {
        let seen = timeline(drover, id).await?;
        let state = seen.incident.state;
        when(state == IncidentState::Resolved, seen)
    })
    .await?;
    Ok(seen)
}

/// Waits until no alert is open or acknowledged any more.
pub(super) async fn all_clear(people: &People) -> Result<()> {
    until("every page resolved", PATIENCE, || async {
        let open = open_alerts(people);
        when(open.is_empty(), format!("{open:?}"))
    })
    .await?;
    if let Some(call) = people.pager.calls().iter().find(|c| c.status != 202) {
        bail!("the pager refused a call: {call:?}");
    }
    let refused = people.customer.refused();
    ensure!(refused == 0, "the customer's endpoint refused a call");
    Ok(())
}

/// How often the customer was told something of this incident.
pub(super) fn told(people: &People, incident: &str) -> usize {
    let received = people.customer.received().into_iter();
    received
        .filter(|message| message.event.to_string().contains(incident))
        .count()
}

pub(super) fn open_alerts(people: &People) -> Vec<String> {
    let alerts = people.pager.alerts().into_iter();
    alerts
        .filter(|(_, alert)| alert.state != AlertState::Resolved)
        .map(|(key, _)| key)
        .collect()
}

/// How much was done by resolvers; to look is to do nothing.
pub(super) async fn runs(drover: &Deployment) -> Result<i64> {
    let count =
        "select count(*) from resolver_runs where incident_id is not null and step <> 'look'";
    Ok(sqlx::query_scalar(count).fetch_one(&drover.pool).await?)
}

pub(super) async fn alarms(drover: &Deployment, subjects: &[String]) -> Result<usize> {
    let mut alarms = 0;
    for subject in subjects {
        let path = format!("/v1/incidents?subject={subject}&limit=500");
        let page: Page<Incident> = drover.api.get(&path).await?;
        alarms += page.items.len();
    }
    Ok(alarms)
}

/// The resource of this number.
pub(super) async fn nth(drover: &Deployment, n: usize) -> Result<Subject> {
    let subjects = drover.subjects().await?.into_iter();
    let mut found = subjects.filter(|s| s.core().kind == Kind::Resource);
    found
        .nth(n)
        .with_context(|| format!("no resource number {n}"))
}

pub(super) async fn last(drover: &Deployment) -> Result<Subject> {
    nth(drover, SERVERS * RESOURCES - 1).await
}

pub(super) fn heading(incident: &Incident) -> String {
    format!("{} opened: {}", incident.kind, incident.reason)
}

pub(super) fn events(timeline: &IncidentTimeline, kind: &str) -> Vec<String> {
    let all = timeline.events.iter().filter(|event| event.kind == kind);
    all.map(|event| event.text.clone()).collect()
}

pub(super) fn tell_runs(timeline: &IncidentTimeline, tell: &mut impl FnMut(&str)) {
    for run in &timeline.runs {
        tell(&format!(
            "  {} / {}: {} ({})",
            run.remedy,
            run.step,
            run.detail.as_deref().unwrap_or_default(),
            run.outcome.as_deref().unwrap_or_default(),
        ));
    }
}
