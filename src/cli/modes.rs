//! `drover mode`: what resolvers may do.

use std::str::FromStr;

use chrono::Utc;
use drover::api::{ModeSet, SetMode, Subject, Tier};
use drover::client::Client;
use drover::model::{Mode, PublicId};

use super::table::{Columns, ago, mode as mode_of, or_dash, text};
use super::who::Who;
use super::{Answer, Failure, List, Session, listing};

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
pub async fn run(to: &Session<'_>, args: Args) -> Result<(), Failure> {
    let Some(scope) = args.scope else {
        return to.list("/v1/modes", all).await;
    };
    if matches!(args.mode, Some(Mode::Advise | Mode::Hold)) && args.reason.is_none() {
        return Err(Failure::WrongUse(
            "advise and hold need --reason: others will wonder why nothing is mended".into(),
        ));
    }
    let at = match scope {
        Scope::Herd => At::Scope("herd".into(), "/v1/modes/herd".into()),
        Scope::Tier(name) => At::Scope(format!("tier:{name}"), format!("/v1/modes/tiers/{name}")),
        Scope::Subject(who) => At::Subject(who.find(&to.client).await?),
    };
    let Some(mode) = args.mode else {
        return to.answer(&at.look(&to.client).await?, mode_of);
    };
    let path = match &at {
        At::Scope(_, path) => path.clone(),
        At::Subject(id) => format!("/v1/modes/subjects/{id}"),
    };
    let body = SetMode {
        mode,
        reason: args.reason,
    };
    let set: Answer<ModeSet> = to.client.put(&path, &body).await?;
    // For a subject, a more cautious word on the herd, its tier or its server stands.
    let holds = match at {
        At::Subject(_) if !to.json => at.look(&to.client).await?,
        At::Subject(_) | At::Scope(..) => ModeSet::clone(&set),
    };
    to.answer(&set, |set| {
        let whose = or_dash(set.scope.as_ref());
        if holds.mode == set.mode {
            format!("{whose} is now in mode {mode}")
        } else {
            format!(
                "{whose} is set to {mode}, but {} applies to it",
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
    async fn look(&self, client: &Client) -> Result<ModeSet, Failure> {
        match self {
            At::Subject(id) => {
                let subject: Subject = client.get(&listing::path(*id)).await?;
                Ok(subject.standing().mode.clone())
            }
            At::Scope(scope, _) => {
                if let Some(name) = scope.strip_prefix("tier:") {
                    let tiers: List<Tier> = client.get("/v1/tiers").await?;
                    if tiers.items.iter().all(|tier| tier.name != name) {
                        let why = format!("there is no tier {name}; drover tiers lists them");
                        return Err(Failure::Failed(why));
                    }
                }
                let list: List<ModeSet> = client.get("/v1/modes").await?;
                let mut all = list.items.into_iter().map(Answer::into_known);
                let found = all.find(|set| set.scope.as_ref() == Some(scope));
                Ok(found.unwrap_or_else(|| ModeSet::act(Some(scope.clone()))))
            }
        }
    }
}

fn all(list: &List<ModeSet>) -> String {
    Columns::of(list)
        .column("SCOPE", |set| or_dash(set.scope.as_ref()))
        .column("NAME", |set| or_dash(set.name.as_ref()))
        .column("MODE", |set| text(set.mode))
        .column("SET", |set| {
            or_dash(set.set_at.map(|at| ago(at, Utc::now())))
        })
        .column("REASON", |set| or_dash(set.reason.as_ref()))
        .listed("modes")
}
