//! The first contact with a server just adopted. The web has no SSH: it waits
//! for what the feel workers write into the record.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Web;
use super::error::Result;
use crate::model::{Cause, Kind, Observation, SubjectId};
use crate::store::subjects::{ForgetError, Known};
use crate::store::{observations, subjects};

/// How long a caller waits for the first contact.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the record is asked meanwhile.
const EVERY: Duration = Duration::from_millis(100);

/// What the first contact told.
pub enum Contact {
    /// The server answered, and its host key is pinned.
    Seen,
    /// The server did not answer as it should: why.
    Failed(String),
    /// It showed another host key than the pinned one: which.
    WrongHostKey(String),
    /// No worker has tried yet.
    Unseen,
}

/// Waits for the first contact, at most ten seconds.
pub async fn wait(web: &Web, id: SubjectId) -> Result<Contact> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(contact) = look(web, id).await? {
            return Ok(contact);
        }
        if Instant::now() >= deadline {
            return Ok(Contact::Unseen);
        }
        sleep(EVERY).await;
    }
}

async fn look(web: &Web, id: SubjectId) -> Result<Option<Contact>> {
    let mut db = web.pool.acquire().await?;
    let pinned = match subjects::find(&mut db, Kind::Server, id).await? {
        Some(Known::Server(server)) => server.host_key.is_some(),
        Some(Known::Resource(..)) | None => return Ok(Some(Contact::Unseen)),
    };
    let Some(seen) = observations::list(&mut db, id, None, 1).await?.pop() else {
        return Ok(None);
    };
    Ok(match seen.attributes.cause {
        // Read, and about to be pinned by think.
        Some(Cause::HostKeyUnknown) if !pinned => None,
        None | Some(Cause::HostKeyUnknown) => Some(Contact::Seen),
        Some(Cause::HostKeyChanged) => Some(Contact::WrongHostKey(message(seen))),
        Some(_) => Some(Contact::Failed(message(seen))),
    })
}

fn message(seen: Observation) -> String {
    let cause = seen.attributes.cause.map(Cause::as_str);
    let message = seen.attributes.message;
    message.unwrap_or_else(|| cause.unwrap_or("it does not do its service").to_owned())
}

/// Takes an adoption back. Tells whether it did: a server that was given
/// resources meanwhile stays.
pub async fn undo(web: &Web, id: SubjectId) -> Result<bool> {
    let mut db = web.pool.begin().await?;
    match subjects::forget(&mut db, Kind::Server, id).await {
        Ok(()) => {
            db.commit().await?;
            Ok(true)
        }
        Err(ForgetError::NotFound) => Ok(true),
        Err(ForgetError::HasResources(_)) => Ok(false),
        Err(ForgetError::Database(e)) => Err(e.into()),
    }
}
