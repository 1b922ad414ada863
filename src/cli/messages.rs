//! The commands about messages to people.

use chrono::Utc;
use drover::api::{ActOnMessage, Message};
use drover::model::MessageId;

use super::{Answer, Failure, List, Session, table};

/// `drover messages`.
pub async fn list(to: &Session<'_>, dead: bool, limit: usize) -> Result<(), Failure> {
    let query = if dead { "&state=dead" } else { "" };
    let show = |list: &List<_>| table::messages(list, Utc::now());
    to.pages("/v1/messages", query, limit, show).await
}

/// `drover message retry`.
pub async fn retry(to: &Session<'_>, id: MessageId) -> Result<(), Failure> {
    let path = format!("/v1/messages/{}/actions", id.public());
    let message: Answer<Message> = to.client.post(&path, &ActOnMessage::Retry).await?;
    to.answer(&message, |_| format!("Sending {} again", id.public()))
}

/// What stands on the command line.
pub fn message_id(text: &str) -> Result<MessageId, String> {
    MessageId::from_public(text).map_err(|e| e.to_string())
}
