//! `xid_wraparound`: the transaction ids of a cluster run out.

use std::time::Duration;

use drover::model::{
    Incident, IncidentKind, IncidentState, Observation, OperationKind, Rules, Severity,
};

use super::playbook::{Blast, Budget, Playbook, Remedy};

pub const PLAYBOOK: Playbook = Playbook {
    title: "the transaction ids of a database run out",
    opened_when: "the oldest transaction or multixact id is older than limits.xid_age",
    severity: Severity::Error,
    budget: Budget::new(3, 4 * 3600),
    blast_radius: Blast::Resource,
    remedies: &[Remedy::new(
        "freeze",
        "vacuum (freeze) the oldest tables of the oldest databases, for no longer than \
         limits.vacuum",
        OperationKind::Freeze,
    )
    .tried(2)
    .settling(Duration::from_secs(90))],
    ..Playbook::of(IncidentKind::XidWraparound)
};

/// The step of the operation `freeze` by which freezing is under way.
const WATCH: &str = "watch";
/// How long the remedy may take to begin before a human is called for the age alone.
const BEGUN_WITHIN: Duration = Duration::from_secs(60);

/// Near the end a human is called whatever drover does; but not before freezing has
/// begun, which goes on by itself. `at_work` is the step that the incident's operation
/// is at, if one is at work.
pub fn urgent(
    incident: &Incident,
    seen: Option<&Observation>,
    rules: &Rules,
    at_work: Option<&str>,
) -> Option<String> {
    let seen = seen?;
    let age = seen.attributes.resource.oldest_id()?;
    let limit = rules.limits.xid_page_age;
    let since = (seen.created_at - incident.state_since).to_std();
    let late = since.is_ok_and(|since| since > BEGUN_WITHIN);
    let begun = match incident.state {
        IncidentState::Triggered => late,
        IncidentState::Resolving => late || at_work == Some(WATCH),
        IncidentState::Waiting | IncidentState::NeedsHuman | IncidentState::Resolved => true,
    };
    (age > limit && begun).then(|| {
        format!("the oldest transaction or multixact id is {age} old, more than {limit}; at 2100 million writes stop")
    })
}
