//! What a person does with an incident. Each is one transaction with the event
//! that says who did it.
//!
//! Lock order: the token, the subject (its lease), the incident.

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{Incident, IncidentId, Note, close, load, lock, note};
use crate::model::{Action, Channel, Deed, Evidence, IncidentState, Severity};
use crate::store::outbox::{self, NewMessage};
use crate::store::statement::run;
use crate::store::{operations, queue};

/// What is asked for, by whom, and why.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What.
    pub action: Action,
    /// By whom: a name for the timeline.
    pub by: String,
    /// Why; `resolve` must have one.
    pub reason: Option<String>,
}

/// Why an action was not done.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// There is no such incident.
    #[error("there is no such incident")]
    NotFound,
    /// The incident does not allow it as it stands.
    #[error("the incident does not allow that now")]
    NotNow {
        /// Where it stands.
        state: IncidentState,
        /// What it does allow.
        possible: Vec<Action>,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Does what is asked, and has the incident's next turn come at once. Call it in a
/// transaction.
///
/// # Errors
/// See [`ActError`]; then roll back.
pub async fn act(db: &mut PgConnection, id: IncidentId, asked: &Asked) -> Result<(), ActError> {
    queue::hold_token(db, queue::Token::Incident(id)).await?;
    load(db, id).await?.ok_or(ActError::NotFound)?;
    let mut incident = lock(db, id).await?.ok_or(ActError::NotFound)?;
    if !asked.action.fits(&incident) {
        return Err(ActError::NotNow {
            state: incident.state,
            possible: Action::possible(&incident),
        });
    }
    match asked.action {
        Action::Acknowledge => acknowledge(db, &incident, asked).await?,
        Action::Retry => retry(db, &incident, asked).await?,
        Action::Hold => hold(db, &incident, asked).await?,
        Action::Release => release(db, &incident, asked).await?,
        Action::Resolve => resolve(db, &mut incident, asked).await?,
    }
    queue::wake(db, queue::Token::Incident(id)).await?;
    Ok(())
}

async fn acknowledge(
    db: &mut PgConnection,
    incident: &Incident,
    asked: &Asked,
) -> sqlx::Result<()> {
    let sql = "update incidents set acknowledged_at = now(), acknowledged_by = $2 where id = $1";
    run(db, sql, (incident.id, &asked.by)).await?;
    say(db, incident, asked, "acknowledged", "a human is at it").await?;
    if incident.paged_at.is_some() {
        let new = NewMessage {
            incident: incident.id,
            channel: Channel::Page,
            action: Deed::Acknowledge,
            severity: Severity::Info,
            summary: format!("acknowledged by {}", asked.by),
            detail: Value::Object(Default::default()),
        };
        outbox::write(db, &new).await?;
    }
    Ok(())
}

/// The playbook begins anew, with all of its attempts and time.
///
/// The page is called off, so that the one on call is called anew if this fails
/// too: a second trigger to an alert that is still open wakes nobody. The
/// customer's ticket stays open until the incident is over; a second one would
/// tell nothing new. What a remedy owes to take back (`memo.undo`) stays owed.
async fn retry(db: &mut PgConnection, incident: &Incident, asked: &Asked) -> sqlx::Result<()> {
    let paged_only = Incident {
        ticketed_at: None,
        ..incident.clone()
    };
    let reason = format!("{} has drover try again", asked.by);
    outbox::call_off(db, &paged_only, &reason).await?;
    let sql = "update incidents
               set state = 'triggered', state_since = now(), revision = revision + 1,
                   deadline = null, remedy = null, attempt = 0, attempts = 0,
                   wait_until = null, resting = null, reopened = 0,
                   acknowledged_at = null, acknowledged_by = null, paged_at = null
               where id = $1";
    run(db, sql, [incident.id]).await?;
    let token = queue::Token::Incident(incident.id);
    queue::change_lane(db, token, incident.kind.profile().lane).await?;
    // What is stuck goes on by itself, more slowly; now it goes on at once.
    let stuck = incident.kind.profile().evidence == Evidence::Operation;
    if let (true, Some(subject)) = (stuck, incident.subject) {
        operations::kick(db, subject, &asked.by).await?;
    }
    say(db, incident, asked, "retried", "the playbook begins anew").await
}

/// Neither this nor the acknowledgement counts as a change of the incident
/// (`revision`): what a resolver is about to write does not touch them.
async fn hold(db: &mut PgConnection, incident: &Incident, asked: &Asked) -> sqlx::Result<()> {
    set_held(db, incident.id, true).await?;
    say(db, incident, asked, "held", "resolvers are kept off it").await
}

async fn release(db: &mut PgConnection, incident: &Incident, asked: &Asked) -> sqlx::Result<()> {
    set_held(db, incident.id, false).await?;
    say(db, incident, asked, "released", "resolvers may go on").await
}

async fn set_held(db: &mut PgConnection, id: IncidentId, held: bool) -> sqlx::Result<()> {
    let sql = "update incidents set held_at = case when $2 then now() end where id = $1";
    run(db, sql, (id, held)).await
}

async fn resolve(
    db: &mut PgConnection,
    incident: &mut Incident,
    asked: &Asked,
) -> sqlx::Result<()> {
    let reason = asked.reason.as_deref().unwrap_or("no reason given");
    if incident.memo["undo"] == true {
        let set: Vec<&str> = incident.memo["read_only"]
            .as_object()
            .into_iter()
            .flat_map(|set| set.values().filter_map(|one| one["of"].as_str()))
            .collect();
        let text = format!(
            "what drover did for the time being is not taken back by it any more \
             (read-only: {}); docs/playbooks/{}.md says how",
            set.join(", "),
            incident.kind
        );
        note(db, incident.id, &asked.by, &Note::new("owed", text)).await?;
    }
    close(db, incident, "operator", &asked.by, reason).await?;
    // Whoever this incident stood for goes on.
    match incident.subject {
        Some(subject) => queue::wake_incidents(db, &[subject]).await,
        None => queue::wake_all_incidents(db, None).await,
    }
}

async fn say(
    db: &mut PgConnection,
    incident: &Incident,
    asked: &Asked,
    kind: &str,
    what: &str,
) -> sqlx::Result<()> {
    let text = match &asked.reason {
        Some(reason) => format!("{what}: {reason}"),
        None => what.to_owned(),
    };
    let mut event = Note::new(kind, text);
    event.detail = json!({ "reason": asked.reason });
    note(db, incident.id, &asked.by, &event).await
}
