//! Who may lead: every follower is asked live, all at once, and one that cannot be asked
//! holds up nobody.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use drover::model::{Durability, Resource, Server, SubjectId};
use drover::store::operations::failover as record;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, timeout_at};

use super::super::create_resource::plan;
use super::super::follow::followers;
use super::super::{Context, Outcome, script};

/// How long a follower may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the others are waited for once one has answered that may lead.
const OTHERS: Duration = Duration::from_millis(1500);

/// A place in the WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::resolve::operations) struct Lsn(pub(in crate::resolve::operations) u64);

impl FromStr for Lsn {
    type Err = ();

    /// As PostgreSQL writes it: `16/B374D848`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (high, low) = text.split_once('/').ok_or(())?;
        let part = |text| u32::from_str_radix(text, 16).map_err(|_| ());
        Ok(Self(u64::from(part(high)?) << 32 | u64::from(part(low)?)))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// A follower that has answered and may lead.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) id: SubjectId,
    pub(super) name: String,
    /// How far it has received its leader's WAL, and keeps it.
    pub(super) lsn: Lsn,
    /// Whose WAL that is.
    pub(super) timeline: u32,
    /// Whether its server has a size of its plan's.
    pub(super) fits: bool,
    /// Seconds since it has heard from the leader, if it is still connected to it.
    pub(super) heard_s: Option<f64>,
}

/// A leader that a follower has heard from this lately lives: its receiver asks for a
/// word every 2.5 s where there is nothing to send (half of `wal_receiver_timeout`).
const LATELY_S: f64 = 3.5;

/// What the followers have said.
#[derive(Clone, Debug, Default)]
pub(super) struct Votes {
    pub(super) able: Vec<Candidate>,
    /// Those that cannot be asked, and why.
    pub(super) silent: Vec<String>,
    /// Those that have answered and may not lead, and why.
    pub(super) unfit: Vec<String>,
}

impl Votes {
    /// The one with the most of the newest timeline; of those that have as much, one
    /// of the intended size.
    pub(super) fn best(&self) -> Option<&Candidate> {
        self.able
            .iter()
            .max_by_key(|one| (one.timeline, one.lsn, one.fits))
    }

    /// Who has heard from the leader just now, if anybody has.
    pub(super) fn witness(&self) -> Option<&Candidate> {
        self.able
            .iter()
            .find(|one| one.heard_s.is_some_and(|heard| heard < LATELY_S))
    }

    /// How many bytes of what is known to have been written it does not have.
    pub(super) fn behind(&self, best: &Candidate, last: Option<Lsn>) -> u64 {
        let known = self.able.iter().map(|one| one.lsn).chain(last).max();
        known.map_or(0, |known| known.0.saturating_sub(best.lsn.0))
    }

    /// Who is passed over, for people.
    pub(super) fn passed_over(&self, what: &str) -> String {
        let all: Vec<&str> = self
            .silent
            .iter()
            .chain(&self.unfit)
            .map(String::as_str)
            .collect();
        match all.is_empty() {
            true => format!("{what}: there is none"),
            false => format!("{what}: {}", all.join("; ")),
        }
    }
}

const STANDING: &str = include_str!("../../../host/scripts/candidate_standing.sh");

/// Asks every follower of a leader.
///
/// # Errors
/// If the record cannot be read.
pub(super) async fn ask_all(turn: &Context<'_>, leader: &Resource) -> Result<Votes, Outcome> {
    let plan = plan(turn, leader).await?;
    let nodes = followers(turn, leader.subject.id).await?;
    let ids: Vec<SubjectId> = nodes.iter().map(|(one, _)| one.subject.id).collect();
    let in_hands = {
        let failed = |e: sqlx::Error| Outcome::failed(format!("the record cannot be read: {e}"));
        let mut db = turn.tools.pool.acquire().await.map_err(failed)?;
        record::in_hands(&mut db, &ids).await.map_err(failed)?
    };
    let named = turn.operation.params["to"].as_str();
    let mut votes = Votes::default();
    let mut asked = FuturesUnordered::new();
    for (follower, server) in &nodes {
        let id = follower.subject.id;
        let name = follower.subject.name.clone();
        if in_hands.contains(&id) {
            votes.unfit.push(format!("{name} is being made to follow"));
        } else if named.is_some_and(|to| to != id.to_string()) {
            votes.unfit.push(format!("{name} was not asked for"));
        } else {
            let fits = server.cloud.is_none_or(|cloud| {
                let sizes = plan.sizes_in(cloud);
                server.size.as_ref().is_none_or(|size| sizes.contains(size))
            });
            asked.push(async move { (name, ask(turn, follower, server, fits).await) });
        }
    }
    let mut deadline = Instant::now() + ANSWER;
    loop {
        match timeout_at(deadline, asked.next()).await {
            Ok(None) => break,
            Ok(Some((_, Ok(able)))) => {
                votes.able.push(able);
                // Where all have a say, all are waited for.
                if leader.durability == Durability::Async {
                    deadline = deadline.min(Instant::now() + OTHERS);
                }
            }
            Ok(Some((name, Err(Refusal::Silent(why))))) => {
                votes.silent.push(format!("{name}: {why}"));
            }
            Ok(Some((name, Err(Refusal::Unfit(why))))) => {
                votes.unfit.push(format!("{name}: {why}"));
            }
            Err(_) => {
                let count = asked.len();
                votes.silent.push(format!("{count} did not answer in time"));
                break;
            }
        }
    }
    Ok(votes)
}

enum Refusal {
    Silent(String),
    Unfit(String),
}

async fn ask(
    turn: &Context<'_>,
    follower: &Resource,
    server: &Server,
    fits: bool,
) -> Result<Candidate, Refusal> {
    let said = script::as_superuser(turn, (follower, server), STANDING, &[], b"").await;
    let said = said.map_err(|outcome| Refusal::Silent(outcome.note))?;
    let words: Vec<&str> = said.out.trim().split('|').collect();
    let [recovers, received, replayed, timeline, heard] = words[..] else {
        return Err(Refusal::Unfit("its answer cannot be read".into()));
    };
    if recovers != "t" {
        return Err(Refusal::Unfit("it is no standby".into()));
    }
    let lsn = [received, replayed]
        .iter()
        .filter_map(|lsn| lsn.parse::<Lsn>().ok())
        .max();
    match (lsn, timeline.parse()) {
        (Some(lsn), Ok(timeline)) => Ok(Candidate {
            id: follower.subject.id,
            name: follower.subject.name.clone(),
            lsn,
            timeline,
            fits,
            heard_s: heard.parse().ok(),
        }),
        (_, _) => Err(Refusal::Unfit("it has received nothing".into())),
    }
}
