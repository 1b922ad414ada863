//! The commands about messages to people.

use chrono::Utc;
use drover::api::{ActOnMessage, Message};
use drover::client::Client;
use drover::model::MessageId;

use super::{Answer, Failure, List, answer, listing, table};

/// `drover messages`.
pub async fn list(client: &Client, dead: bool, limit: usize, json: bool) -> Result<(), Failure> {
    let query = if dead { "&state=dead" } else { "" };
    let list: List<Message> = listing::pages(client, "/v1/messages", query, limit).await?;
    answer(&list, json, |list| table::messages(list, Utc::now()))
}

/// `drover message retry`.
pub async fn retry(client: &Client, id: MessageId, json: bool) -> Result<(), Failure> {
    let path = format!("/v1/messages/{}/actions", id.public());
    let message: Answer<Message> = client.post(&path, &ActOnMessage::Retry).await?;
    answer(&message, json, |_| format!("Sending {} again", id.public()))
}

/// What stands on the command line.
pub fn message_id(text: &str) -> Result<MessageId, String> {
    MessageId::from_public(text).map_err(|e| e.to_string())
}
