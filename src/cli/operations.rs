//! The commands about operations.

use chrono::Utc;
use clap::Args;
use drover::api::{ActOnOperation, OperationTimeline};
use drover::model::{OperationAction, OperationId, OperationState};

use super::who::Who;
use super::{Answer, Failure, List as Page, Session, work};

/// `drover operations`.
#[derive(Args)]
pub struct List {
    /// Those that are over too.
    #[arg(long)]
    all: bool,
    /// Only those in this state.
    #[arg(long, conflicts_with = "all")]
    state: Option<OperationState>,
    /// Only those that need a human.
    #[arg(long)]
    stuck: bool,
    /// Only those of this server or resource: srv_…, db_… or a name.
    #[arg(long)]
    subject: Option<Who>,
    /// At most this many.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

/// What is to be done about an operation.
#[derive(Args)]
pub struct Act {
    /// retry, override or cancel; without one, it is shown.
    action: Option<OperationAction>,
    /// Why, for the timeline.
    #[arg(long, requires = "action")]
    reason: Option<String>,
    /// Who does it, for the timeline [default: $USER].
    #[arg(long, requires = "action", value_name = "NAME")]
    by: Option<String>,
}

/// Reads an operation's id on the command line.
pub fn id(text: &str) -> Result<OperationId, String> {
    OperationId::from_public(text).map_err(|e| e.to_string())
}

/// Lists them.
pub async fn list(to: &Session<'_>, list: List) -> Result<(), Failure> {
    let mut query = match list.state {
        Some(state) => format!("&state={state}"),
        None if list.all => String::new(),
        None => "&state=open".into(),
    };
    if list.stuck {
        query += "&stuck=true";
    }
    if let Some(who) = list.subject {
        query += &format!("&subject={}", who.find(&to.client).await?);
    }
    let what = match (list.stuck, list.all || list.state.is_some()) {
        (true, _) => "stuck operations",
        (false, true) => "operations",
        (false, false) => "open operations",
    };
    let show = |found: &Page<_>| work::operations(found, what, Utc::now());
    to.pages("/v1/operations", &query, list.limit, show).await
}

/// Shows one, or does something about it.
pub async fn one(to: &Session<'_>, id: OperationId, asked: Act) -> Result<(), Failure> {
    let path = format!("/v1/operations/{}", id.public());
    let Some(action) = asked.action else {
        let show = |operation: &_| work::operation(operation, Utc::now());
        return to.show(&path, show).await;
    };
    let body = ActOnOperation {
        action,
        reason: asked.reason,
        by: to.by(asked.by),
    };
    let path = format!("{path}/actions");
    let acted: Answer<OperationTimeline> = to.client.post(&path, &body).await?;
    to.answer(&acted, |_| match action {
        OperationAction::Retry => format!("Retrying {}", id.public()),
        OperationAction::Override => {
            format!("{} continues without proof that it is safe", id.public())
        }
        OperationAction::Cancel => format!("{} is cancelled", id.public()),
    })
}
