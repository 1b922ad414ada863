//! `drover mode`: what resolvers may do.

use std::str::FromStr;

use chrono::Utc;
use drover::client::Client;
use drover::model::{Mode, PublicId};
use serde_json::{Value, json};

use super::table::{ago, items, mode as mode_of, shown, text, with_header};
use super::who::Who;
use super::{Failure, answer, listing};

/// What stands behind `drover mode`.
#[derive(clap::Args)]
pub struct Args {
    /// For whom: herd, tier:NAME, srv_…, db_… or a subject's name; without one,
    /// all that were set are listed.
    scope: Option<Scope>,
    /// act, advise or hold; without one, it is shown.
    mode: Option<Mode>,
    /// Why, for everybody who wonders; advise and hold must have one.
    #[arg(long, requires = "mode")]
    reason: Option<String>,
}

/// For whom, as people write it.
#[derive(Clone, Debug)]
enum Scope {
    Herd,
    Tier(String),
    Subject(Who),
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(mode) = text.parse::<Mode>() {
            return Err(format!("for whom? such as: drover mode herd {mode}"));
        }
        if text == "herd" {
            return Ok(Scope::Herd);
        }
        let Some(tier) = text.strip_prefix("tier:") else {
            return text.parse().map(Scope::Subject);
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
        if tier.is_empty() || !tier.bytes().all(plain) {
            let message = "a tier's name has lower-case letters, digits, `-` and `_` only";
            return Err(message.into());
        }
        Ok(Scope::Tier(tier.into()))
    }
}

/// Shows or sets it.
pub async fn run(client: &Client, args: Args, json: bool) -> Result<(), Failure> {
    let Some(scope) = args.scope else {
        return answer(&client.get("/v1/modes").await?, json, all);
    };
    if matches!(args.mode, Some(Mode::Advise | Mode::Hold)) && args.reason.is_none() {
        return Err(Failure::WrongUse(
            "advise and hold need --reason: others will wonder why nothing is mended".into(),
        ));
    }
    let at = match scope {
        Scope::Herd => At::Scope("herd".into(), "/v1/modes/herd".into()),
        Scope::Tier(name) => At::Scope(format!("tier:{name}"), format!("/v1/modes/tiers/{name}")),
        Scope::Subject(who) => At::Subject(who.find(client).await?),
    };
    let Some(mode) = args.mode else {
        return answer(&at.look(client).await?, json, one);
    };
    let path = match &at {
        At::Scope(_, path) => path.clone(),
        At::Subject(id) => format!("/v1/modes/subjects/{id}"),
    };
    let body = json!({"mode": mode, "reason": args.reason});
    let set = client.put(&path, &body).await?;
    // For a subject, a more cautious word on the herd, its tier or its server stands.
    let holds = match at {
        At::Subject(_) if !json => at.look(client).await?,
        At::Subject(_) | At::Scope(..) => set.clone(),
    };
    answer(&set, json, |set| {
        let whose = text(&set["scope"]);
        if holds["mode"] == set["mode"] {
            format!("{whose} is in mode {mode} now")
        } else {
            format!(
                "{whose} is set to {mode}, but {} holds for it",
                mode_of(&holds)
            )
        }
    })
}

/// Where the API has it.
enum At {
    Scope(String, String),
    Subject(PublicId),
}

impl At {
    /// What holds there: for a subject, whoever it was set for.
    async fn look(&self, client: &Client) -> Result<Value, Failure> {
        match self {
            At::Subject(id) => Ok(client.get(&listing::path(*id)).await?["mode"].take()),
            At::Scope(scope, _) => {
                if let Some(name) = scope.strip_prefix("tier:") {
                    let tiers = client.get("/v1/tiers").await?;
                    if items(&tiers).all(|tier| tier["name"] != name) {
                        let why = format!("there is no tier {name}; drover tiers lists them");
                        return Err(Failure::Failed(why));
                    }
                }
                let list = client.get("/v1/modes").await?;
                let found = items(&list).find(|set| set["scope"] == scope.as_str());
                Ok(found.cloned().unwrap_or_else(|| {
                    json!({"mode": "act", "scope": scope, "name": null, "reason": null, "set_at": null})
                }))
            }
        }
    }
}

fn one(mode: &Value) -> String {
    mode_of(mode)
}

fn all(list: &Value) -> String {
    let mut table = with_header(&["FOR", "NAME", "MODE", "SET", "REASON"]);
    for set in items(list) {
        table.add_row(vec![
            text(&set["scope"]),
            text(&set["name"]),
            text(&set["mode"]),
            ago(&set["set_at"], Utc::now()),
            text(&set["reason"]),
        ]);
    }
    shown(&table)
}
