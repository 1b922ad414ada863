//! The small commands that change something.

use drover::api::{AskForJob, JobAskedFor, PutTier, Subject, Tier};
use drover::client::Client;
use drover::model::PublicId;
use serde_json::{Value, json};

use super::{Answer, Failure, answer, listing};

/// `drover forget`.
pub async fn forget(client: &Client, id: PublicId, json: bool) -> Result<(), Failure> {
    client.delete::<Option<Subject>>(&listing::path(id)).await?;
    answer(&json!({"forgotten": id}), json, |_| {
        format!("{id} is forgotten")
    })
}

/// `drover feel`.
pub async fn feel(client: &Client, id: PublicId, json: bool) -> Result<(), Failure> {
    let body = AskForJob::Feel { subject: id };
    let asked: Answer<JobAskedFor> = client.post("/v1/jobs", &body).await?;
    answer(&asked, json, |asked| match asked.brought_forward {
        true => format!("Feeling {id} now"),
        false => format!("{id} is already being felt or thought about"),
    })
}

/// `drover tier`.
pub async fn tier(client: &Client, name: &str, rules: &str, json: bool) -> Result<(), Failure> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(Failure::WrongUse(
            "a tier's name has lower-case letters, digits, `-` and `_` only".into(),
        ));
    }
    let rules: Value = serde_json::from_str(rules)
        .map_err(|e| Failure::WrongUse(format!("--rules is not JSON: {e}")))?;
    let path = format!("/v1/tiers/{name}");
    let tier: Answer<Tier> = client.put(&path, &PutTier { rules }).await?;
    answer(&tier, json, |_| {
        format!("Tier {name} uses these rules from its next laps on")
    })
}
