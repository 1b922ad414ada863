//! Who may lead: every follower is asked live, all at once, and one that cannot be asked
//! holds up nobody.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use drover::model::{Durability, Receiver, Resource, Server, SubjectId, slot_of};
use drover::store::counted;
use drover::store::operations::failover as record;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, timeout_at};

use super::super::create_resource::plan;
use super::super::follow::followers;
use super::super::{Context, Outcome, script};
use super::last_seen::LastSeen;
use crate::host::scripts::CANDIDATE_STANDING;

/// How long a follower may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the others are waited for once one has answered that may lead.
const OTHERS: Duration = Duration::from_millis(1500);

/// A place in the WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::resolve::operations) struct Lsn(pub(in crate::resolve::operations) u64);

impl Lsn {
    /// Where a record ends that is told by its place and its length: `0/5000148 114`.
    pub(in crate::resolve::operations) fn end_of_record(told: &str) -> Option<Self> {
        let (at, length) = told.split_once(' ')?;
        let (at, length): (Self, u64) = (at.parse().ok()?, length.parse().ok()?);
        // Records begin at multiples of eight bytes.
        Some(Self(at.0.checked_add(length.checked_next_multiple_of(8)?)?))
    }
}

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
    /// Whether its configuration has it follow this leader.
    pub(super) follows: bool,
    /// When it last heard from the leader, if it is still connected to it.
    pub(super) heard: Option<Heard>,
}

/// When a follower last heard from its leader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// How long that was before it answered.
    pub(super) ago: TimeDelta,
    /// By the control database's clock; later than it was by what the answer took.
    pub(super) at: DateTime<Utc>,
}

impl Heard {
    fn is_lately(self) -> bool {
        self.ago.as_seconds_f64() < Receiver::LATELY_S
    }
}

/// What the followers have said.
#[derive(Clone, Debug, Default)]
pub(super) struct Votes {
    pub(super) able: Vec<Candidate>,
    /// Those that cannot be asked, and why.
    pub(super) silent: Vec<String>,
    /// Those that may not lead, and why.
    pub(super) unfit: Vec<String>,
    /// Of those that may not lead, where they stand by their own word.
    pub(super) others: Vec<Candidate>,
    /// Those that lead, on which timeline.
    pub(super) lead: Vec<(SubjectId, u32)>,
    /// Those that its commits may have waited for, and of whom it is not known up to where they
    /// have its WAL; and why.
    pub(super) unknown: Vec<String>,
}

impl Votes {
    /// The one with the most of the newest timeline; of those that have as much, one
    /// of the intended size, and the oldest of these: whoever answers first.
    pub(super) fn best(&self) -> Option<&Candidate> {
        self.able
            .iter()
            .max_by_key(|one| (one.timeline, one.lsn, one.fits, Reverse(one.id)))
    }

    /// Who has heard from the leader just now, if anybody has; and since the leader was
    /// seen to be dead, if it was.
    pub(super) fn witness(&self, seen_dead: Option<DateTime<Utc>>) -> Option<&Candidate> {
        let lives =
            |heard: Heard| heard.is_lately() && seen_dead.is_none_or(|dead| heard.at > dead);
        self.able.iter().find(|one| one.heard.is_some_and(lives))
    }

    /// Whether the best of them got the leader's WAL for as long as the leader was seen
    /// in service: it did, or another did who has no more of the same timeline.
    pub(super) fn streamed(&self, best: &Candidate, last: &LastSeen) -> bool {
        self.able
            .iter()
            .filter(|one| one.follows && one.timeline == best.timeline)
            .filter(|one| one.timeline == last.timeline)
            // What was written after the last look, nobody has who had stopped by then.
            .any(|one| one.lsn > last.lsn || last.streaming.contains(&slot_of(one.id)))
    }

    /// One that may not lead and has more.
    pub(super) fn beyond(&self, best: &Candidate) -> Option<&Candidate> {
        self.others
            .iter()
            .find(|other| (other.timeline, other.lsn) > (best.timeline, best.lsn))
    }

    /// The timelines that anybody bears.
    pub(super) fn timelines(&self) -> impl Iterator<Item = u32> {
        let follow = self.able.iter().chain(&self.others).map(|one| one.timeline);
        follow.chain(self.lead.iter().map(|(_, timeline)| *timeline))
    }

    /// One of those that have answered has come as far as this meanwhile; whether it has.
    pub(super) fn stands_at(&mut self, id: SubjectId, timeline: u32, lsn: Lsn) -> bool {
        let mut all = self.able.iter_mut().chain(&mut self.others);
        let Some(one) = all.find(|one| one.id == id) else {
            return false;
        };
        (one.timeline, one.lsn) = (timeline, lsn);
        true
    }

    /// Takes what one of them has answered; `why` it may not lead, if it may not; whether it
    /// is `counted`.
    fn take(
        &mut self,
        name: &str,
        why: Option<&str>,
        counted: bool,
        answer: Result<Answer, Refusal>,
    ) {
        let says = |why: &str| format!("{name}: {why}");
        let mut unknown = |why: &str| {
            if counted {
                self.unknown.push(says(why));
            }
        };
        match (answer, why) {
            (Ok(Answer::Follows(one)), None) => self.able.push(one),
            (Ok(Answer::Follows(one)), Some(why)) => {
                self.unfit.push(says(why));
                self.others.push(one);
            }
            (Ok(Answer::Leads(id, timeline)), _) => {
                self.lead.push((id, timeline));
                unknown("it is no standby");
                self.unfit.push(says("it is no standby"));
            }
            (Err(Refusal::Silent(why)), _) => {
                unknown(&why);
                self.silent.push(says(&why));
            }
            (Err(Refusal::Unfit(why)), _) => {
                unknown(&why);
                self.unfit.push(says(&why));
            }
        }
    }

    /// How many bytes of what is known to have been written it does not have.
    pub(super) fn behind(&self, best: &Candidate, last: Option<&LastSeen>) -> u64 {
        let last = last.map(|last| last.lsn);
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

/// Asks every follower of a leader. Only the one that is named, if one is, and nobody who is
/// just being made to follow, may lead; whom commits may have waited for is asked all the same.
///
/// # Errors
/// If the record cannot be read.
pub(super) async fn ask_all(
    turn: &Context<'_>,
    (leader, its_server): (&Resource, &Server),
    named: Option<SubjectId>,
) -> Result<Votes, Outcome> {
    let plan = plan(turn, leader).await?;
    let nodes = followers(turn, leader.subject.id).await?;
    let ids: Vec<SubjectId> = nodes.iter().map(|(one, _)| one.subject.id).collect();
    let (in_hands, counted, now) = {
        let mut db = turn.tools.pool.acquire().await?;
        let in_hands = record::in_hands(&mut db, &ids).await?;
        let counted = counted::followers(&mut db, leader.subject.id).await?;
        let now = drover::store::now(&mut db).await?;
        (in_hands, counted, now)
    };
    let question = Question {
        host: &its_server.address,
        port: &leader.port.to_string(),
        now,
        asked: Instant::now(),
    };
    let mut votes = Votes::default();
    let mut asked = FuturesUnordered::new();
    // Who has not answered yet, and whether they are counted.
    let mut left: Vec<(String, bool)> = Vec::new();
    for (follower, server) in &nodes {
        let id = follower.subject.id;
        let name = follower.subject.name.clone();
        let may_not = if in_hands.contains(&id) {
            Some("it is being made to follow")
        } else if named.is_some_and(|to| to != id) {
            Some("it was not asked for")
        } else {
            None
        };
        let counts = leader.durability == Durability::Sync
            && counted.iter().any(|one| one.id == id && one.counted);
        if let Some(why) = may_not.filter(|_| !counts) {
            votes.unfit.push(format!("{name}: {why}"));
            continue;
        }
        let fits = server.cloud.is_none_or(|cloud| {
            let sizes = plan.sizes_in(cloud);
            server.size.as_ref().is_none_or(|size| sizes.contains(size))
        });
        let question = &question;
        left.push((name.clone(), counts));
        asked.push(async move {
            let answer = ask(turn, (follower, server), fits, question).await;
            (name, may_not, counts, answer)
        });
    }
    let mut deadline = Instant::now() + ANSWER;
    loop {
        match timeout_at(deadline, asked.next()).await {
            Ok(None) => break,
            Ok(Some((name, may_not, counts, answer))) => {
                left.retain(|(other, _)| *other != name);
                votes.take(&name, may_not, counts, answer);
                // Who is counted has a say, and is waited for.
                if !votes.able.is_empty() && !left.iter().any(|(_, counts)| *counts) {
                    deadline = deadline.min(Instant::now() + OTHERS);
                }
            }
            Err(_) => {
                for (name, counts) in left {
                    let silent = Refusal::Silent("it did not answer in time".into());
                    votes.take(&name, None, counts, Err(silent));
                }
                break;
            }
        }
    }
    Ok(votes)
}

/// What all are asked about their leader, and when.
struct Question<'a> {
    host: &'a str,
    port: &'a str,
    /// By the control database's clock.
    now: DateTime<Utc>,
    asked: Instant,
}

enum Answer {
    Follows(Candidate),
    Leads(SubjectId, u32),
}

enum Refusal {
    Silent(String),
    Unfit(String),
}

async fn ask(
    turn: &Context<'_>,
    (follower, server): (&Resource, &Server),
    fits: bool,
    question: &Question<'_>,
) -> Result<Answer, Refusal> {
    let arguments = [question.host, question.port];
    let on = (follower, server);
    let said = script::at_cluster(turn, on, CANDIDATE_STANDING, &arguments, b"").await;
    let said = said.map_err(|e| Refusal::Silent(e.to_string()))?;
    let answered = question.now + question.asked.elapsed();
    let words: Vec<&str> = said.text().split('|').collect();
    let [recovers, received, replayed, timeline, follows, heard] = words[..] else {
        return Err(Refusal::Unfit("its answer cannot be read".into()));
    };
    let timeline: Option<u32> = timeline.parse().ok();
    let id = follower.subject.id;
    if let (true, Some(timeline)) = (recovers == "f", timeline) {
        return Ok(Answer::Leads(id, timeline));
    }
    let lsn = [received, replayed]
        .iter()
        .filter_map(|lsn| lsn.parse::<Lsn>().ok())
        .max();
    let heard = heard.parse::<f64>().ok().map(|seconds| {
        let ago = TimeDelta::milliseconds((seconds * 1000.0) as i64);
        let at = answered - ago;
        Heard { ago, at }
    });
    match (lsn, timeline) {
        (Some(lsn), Some(timeline)) => Ok(Answer::Follows(Candidate {
            id,
            name: follower.subject.name.clone(),
            lsn,
            timeline,
            fits,
            follows: follows == "t",
            heard,
        })),
        (_, _) => Err(Refusal::Unfit("it has received nothing".into())),
    }
}
