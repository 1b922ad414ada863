//! What a person does about an operation. Each is one transaction with the event
//! that says who did it.

use sqlx::PgConnection;

use super::{begin_anew, end, load, note};
use crate::model::{
    Action, IncidentId, IncidentKind, Note, Operation, OperationAction, OperationId, OperationState,
};
use crate::store::statement::{run, value};
use crate::store::{self, incidents, queue};

/// What is asked for, by whom, and why.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What.
    pub action: OperationAction,
    /// By whom: a name for the timeline.
    pub by: String,
    /// Why, if they say.
    pub reason: Option<String>,
}

/// Why an action was not done.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// There is no such operation.
    #[error("there is no such operation")]
    NotFound,
    /// The operation does not allow it as it stands.
    #[error("the operation does not allow that now")]
    NotNow(Box<Operation>),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Does what is asked. Call it in a transaction.
///
/// # Errors
/// See [`ActError`]; then roll back.
pub async fn act(db: &mut PgConnection, id: OperationId, asked: &Asked) -> Result<(), ActError> {
    let found = fitting(db, id, asked.action).await?;
    // Before the operation's token: an incident's comes first everywhere.
    let overrides = asked.action == OperationAction::Override;
    let again = overrides || asked.action == OperationAction::Retry;
    if again && retry_incident(db, &found, asked).await? {
        if overrides {
            overrule(db, id, asked).await?;
        }
        return Ok(());
    }
    queue::hold_token(db, queue::Token::Operation(id)).await?;
    fitting(db, id, asked.action).await?;
    match asked.action {
        OperationAction::Retry => begin_anew(db, id, &asked.by).await?,
        OperationAction::Override => {
            overrule(db, id, asked).await?;
            begin_anew(db, id, &asked.by).await?;
        }
        OperationAction::Cancel => {
            let text = match &asked.reason {
                Some(reason) => format!("given up before it was begun: {reason}"),
                None => "given up before it was begun".into(),
            };
            end(db, id, OperationState::Cancelled, &asked.by, &text).await?;
        }
    }
    Ok(())
}

/// A human answers for what drover does not dare: the operation's steps find their word in
/// `params.answers`, with the refusal that it is the answer to.
async fn overrule(db: &mut PgConnection, id: OperationId, asked: &Asked) -> sqlx::Result<()> {
    let reason = asked.reason.as_deref().unwrap_or("no reason given");
    let sql = "update operations
         set params = params || jsonb_build_object(
                 'answers', coalesce(params -> 'answers', '[]')
                     || jsonb_build_object('refusal', memo -> 'refused', 'word', $2::text)),
             revision = revision + 1
         where id = $1 and state = 'open'";
    run(db, sql, (id, format!("{}: {reason}", asked.by))).await?;
    let text = format!("overridden: {reason}");
    note(db, id, &asked.by, &Note::new("override", text)).await
}

/// The operation, if it allows this as it stands.
async fn fitting(
    db: &mut PgConnection,
    id: OperationId,
    action: OperationAction,
) -> Result<Operation, ActError> {
    let found = load(db, id).await?.ok_or(ActError::NotFound)?;
    let now = store::now(db).await?;
    if OperationAction::possible(&found, now).contains(&action) {
        return Ok(found);
    }
    Err(ActError::NotNow(Box::new(found)))
}

/// Where a human was called already, the incident is what is retried: its page is
/// called off, and the operation goes on with it. Tells whether that was so.
async fn retry_incident(
    db: &mut PgConnection,
    operation: &Operation,
    asked: &Asked,
) -> Result<bool, ActError> {
    let Some(subject) = operation.subject else {
        return Ok(false);
    };
    let values = (
        subject,
        IncidentKind::CreationStuck,
        IncidentKind::ChangeStuck,
    );
    let sql = "select id from incidents
               where coalesce(subject_id, '') = $1 and kind in ($2, $3) and state = 'needs_human'
               order by id limit 1";
    let open: Option<IncidentId> = value(db, sql, values).await?;
    let Some(id) = open else {
        return Ok(false);
    };
    let retry = incidents::Asked {
        action: Action::Retry,
        by: asked.by.clone(),
        reason: asked.reason.clone(),
    };
    match incidents::act(db, id, &retry).await {
        Ok(()) => Ok(true),
        // Somebody else was quicker.
        Err(incidents::ActError::NotFound | incidents::ActError::NotNow { .. }) => Ok(false),
        Err(incidents::ActError::Database(error)) => Err(error.into()),
    }
}
