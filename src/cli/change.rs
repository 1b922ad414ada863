//! The small commands that change something.

use drover::api::{AskForJob, JobAskedFor, PutTier, Subject, Tier};
use serde_json::{Value, json};

use super::who::Who;
use super::{Answer, Failure, Session, listing};

/// `drover forget`.
pub async fn forget(to: &Session<'_>, who: Who) -> Result<(), Failure> {
    let id = who.find(&to.client).await?;
    to.client
        .delete::<Option<Subject>>(&listing::path(id))
        .await?;
    to.answer(&json!({"forgotten": id}), |_| format!("{id} is forgotten"))
}

/// `drover feel`.
pub async fn feel(to: &Session<'_>, who: Who) -> Result<(), Failure> {
    let id = who.find(&to.client).await?;
    let body = AskForJob::Feel { subject: id };
    let asked: Answer<JobAskedFor> = to.client.post("/v1/jobs", &body).await?;
    to.answer(&asked, |asked| match asked.brought_forward {
        true => format!("Feeling {id} now"),
        false => format!("{id} is already being felt or thought about"),
    })
}

/// `drover tier`.
pub async fn tier(to: &Session<'_>, name: &str, rules: &str) -> Result<(), Failure> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(Failure::WrongUse(
            "a tier's name has lower-case letters, digits, `-` and `_` only".into(),
        ));
    }
    let rules: Value = serde_json::from_str(rules)
        .map_err(|e| Failure::WrongUse(format!("--rules is not JSON: {e}")))?;
    let path = format!("/v1/tiers/{name}");
    let tier: Answer<Tier> = to.client.put(&path, &PutTier { rules }).await?;
    to.answer(&tier, |_| {
        format!("Tier {name} uses these rules from its next laps on")
    })
}
