//! What the scenes ask of the API, the record and the people who are told.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{PATIENCE, People, RESOURCES, SERVERS, text};
use crate::pagerduty::AlertState;
use crate::{Deployment, until};

pub(super) const ANY: [&str; 5] = [
    "triggered",
    "resolving",
    "waiting",
    "needs_human",
    "resolved",
];

/// Waits for a subject's newest incident of a kind to be in one of these states.
pub(super) async fn incident(
    drover: &Deployment,
    subject: &str,
    kind: &str,
    states: &[&str],
    deadline: Duration,
) -> Result<Value> {
    let path = format!("/v1/incidents?subject={subject}&kind={kind}&limit=1");
    let what = format!("{kind} of {subject} in {}", states.join(" or "));
    let (found, _) = until(&what, deadline, || async {
        let page = drover.api.get(&path).await?;
        let newest = page["items"].as_array().and_then(|items| items.first());
        Ok(match newest {
            Some(incident) if states.contains(&text(incident, "state").as_str()) => {
                Ok(incident.clone())
            }
            Some(incident) => Err(text(incident, "state")),
            None => Err("none".to_owned()),
        })
    })
    .await?;
    Ok(found)
}

/// Waits for an incident to be in one of these states; returns all of it.
pub(super) async fn stands(
    drover: &Deployment,
    id: &str,
    states: &[&str],
    deadline: Duration,
) -> Result<Value> {
    let what = format!("{id} {}", states.join(" or "));
    let (seen, _) = until(&what, deadline, || async {
        let seen = drover.api.get(&format!("/v1/incidents/{id}")).await?;
        let state = text(&seen, "state");
        Ok(if states.contains(&state.as_str()) {
            Ok(seen)
        } else {
            Err(state)
        })
    })
    .await?;
    Ok(seen)
}

/// Waits until no alert is open or acknowledged any more.
pub(super) async fn all_clear(people: &People) -> Result<()> {
    until("every page resolved", PATIENCE, || async {
        let open = open_alerts(people);
        Ok(if open.is_empty() {
            Ok(())
        } else {
            Err(format!("{open:?}"))
        })
    })
    .await?;
    let refused: Vec<_> = people
        .pager
        .calls()
        .into_iter()
        .filter(|c| c.status != 202)
        .collect();
    if let Some(call) = refused.first() {
        bail!("the pager refused a call: {call:?}");
    }
    ensure!(
        people.customer.refused() == 0,
        "the customer's endpoint refused a call"
    );
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

pub(super) async fn runs(drover: &Deployment) -> Result<i64> {
    let count = "select count(*) from resolver_runs";
    Ok(sqlx::query_scalar(count).fetch_one(&drover.pool).await?)
}

pub(super) async fn alarms(drover: &Deployment, subjects: &[String]) -> Result<usize> {
    let mut alarms = 0;
    for subject in subjects {
        let page = drover
            .api
            .get(&format!("/v1/incidents?subject={subject}&limit=500"))
            .await?;
        alarms += page["items"].as_array().context("no items")?.len();
    }
    Ok(alarms)
}

pub(super) async fn nth(drover: &Deployment, prefix: &str, n: usize) -> Result<Value> {
    let subjects = drover.subjects().await?;
    let mut found = subjects
        .into_iter()
        .filter(|s| text(s, "id").starts_with(prefix));
    found
        .nth(n)
        .with_context(|| format!("no {prefix} number {n}"))
}

pub(super) async fn last(drover: &Deployment, prefix: &str) -> Result<Value> {
    nth(drover, prefix, SERVERS * RESOURCES - 1).await
}

pub(super) fn heading(incident: &Value) -> String {
    format!(
        "{} opened: {}",
        text(incident, "kind"),
        text(incident, "reason")
    )
}

pub(super) fn events(incident: &Value, kind: &str) -> Vec<String> {
    let all = incident["events"].as_array().into_iter().flatten();
    all.filter(|e| e["kind"] == kind)
        .map(|e| text(e, "text"))
        .collect()
}

pub(super) fn tell_runs(incident: &Value, tell: &mut impl FnMut(&str)) {
    for run in incident["runs"].as_array().into_iter().flatten() {
        tell(&format!(
            "  {} / {}: {} ({})",
            text(run, "remedy"),
            text(run, "step"),
            text(run, "detail"),
            text(run, "outcome"),
        ));
    }
}
