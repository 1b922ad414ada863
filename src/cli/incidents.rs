//! The commands about incidents.

use chrono::Utc;
use clap::Args;
use drover::api::{ActOnIncident, IncidentTimeline};
use drover::model::{Action, IncidentId, IncidentKind, IncidentState};

use super::who::Who;
use super::{Answer, Failure, List as Page, Session, timeline};

/// `drover incidents`.
#[derive(Args)]
pub struct List {
    /// The resolved ones too.
    #[arg(long)]
    all: bool,
    /// Only those in this state.
    #[arg(long, conflicts_with = "all")]
    state: Option<IncidentState>,
    /// Only those of this kind.
    #[arg(long)]
    kind: Option<IncidentKind>,
    /// Only those of this server or resource: srv_…, db_… or a name.
    #[arg(long)]
    subject: Option<Who>,
    /// At most this many.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

/// What is to be done about an incident.
#[derive(Args)]
pub struct Act {
    /// acknowledge, retry, hold, release or resolve; without one, it is shown.
    action: Option<Action>,
    /// Why, for the timeline; `resolve` must have one.
    #[arg(long, requires = "action")]
    reason: Option<String>,
    /// Who does it, for the timeline [default: $USER].
    #[arg(long, requires = "action", value_name = "NAME")]
    by: Option<String>,
}

/// Reads an incident's id on the command line.
pub fn id(text: &str) -> Result<IncidentId, String> {
    IncidentId::from_public(text).map_err(|e| e.to_string())
}

/// Lists them.
pub async fn list(to: &Session<'_>, list: List) -> Result<(), Failure> {
    let mut query = match list.state {
        Some(state) => format!("&state={state}"),
        None if list.all => String::new(),
        None => "&state=open".into(),
    };
    if let Some(kind) = list.kind {
        query += &format!("&kind={kind}");
    }
    if let Some(who) = list.subject {
        query += &format!("&subject={}", who.find(&to.client).await?);
    }
    let what = if list.all || list.state.is_some() {
        "incidents"
    } else {
        "open incidents"
    };
    let show = |found: &Page<_>| timeline::incidents(found, what, Utc::now());
    to.pages("/v1/incidents", &query, list.limit, show).await
}

/// Shows one, or does something about it.
pub async fn one(to: &Session<'_>, id: IncidentId, asked: Act) -> Result<(), Failure> {
    let path = format!("/v1/incidents/{}", id.public());
    let Some(action) = asked.action else {
        let show = |incident: &_| timeline::incident(incident, Utc::now());
        return to.show(&path, show).await;
    };
    if action == Action::Resolve && asked.reason.is_none() {
        return Err(Failure::WrongUse(
            "resolve needs --reason: what was wrong, and why it is over".into(),
        ));
    }
    let body = ActOnIncident {
        action,
        reason: asked.reason,
        by: to.by(asked.by),
    };
    let path = format!("{path}/actions");
    let acted: Answer<IncidentTimeline> = to.client.post(&path, &body).await?;
    to.answer(&acted, |acted| timeline::done(action, &acted.incident))
}
