//! Whether the follower that has most may lead, by what all have said and was last seen.

use drover::model::{Durability, Resource, Server};
use drover::store::observations;
use drover::store::operations::failover::{self as record, Timelines};

use super::super::fence::FencedBy;
use super::super::kind::{Outcome, Turn};
use super::super::script;
use super::Failover;
use super::candidates::{Candidate, Lsn, Votes, ask_all};
use super::last_seen::LastSeen;
use super::refusal::Refusal;
use crate::host::scripts::WAL_END;

/// How the followers stand, what was last seen of the leader, and which timelines were given.
pub(super) struct Standing {
    pub(super) votes: Votes,
    pub(super) last: Option<LastSeen>,
    pub(super) timelines: Timelines,
}

impl Standing {
    /// Asks all of them.
    ///
    /// # Errors
    /// If the record cannot be read.
    pub(super) async fn read(
        turn: &Turn<'_, Failover>,
        (resource, server): (&Resource, &Server),
    ) -> Result<Self, Outcome> {
        let (last, timelines) = {
            let mut db = turn.tools.pool.acquire().await?;
            let last = observations::last_led(&mut db, resource.subject.id).await?;
            let timelines = record::timelines(&mut db, resource.subject.id).await?;
            (last, timelines)
        };
        Ok(Self {
            votes: ask_all(turn, (resource, server), turn.params.to).await?,
            last: last.as_ref().and_then(LastSeen::of),
            timelines,
        })
    }

    /// How many bytes of what is known to have been written this one does not have.
    pub(super) fn behind(&self, best: &Candidate) -> u64 {
        self.votes.behind(best, self.last.as_ref())
    }

    /// The timeline that the leader leads on, as far as anybody knows.
    fn leads_on(&self) -> u32 {
        let seen = self.last.as_ref().map_or(0, |last| last.timeline);
        seen.max(self.timelines.leads_on)
    }

    /// The highest number of a timeline that was given, or is borne by anybody.
    pub(super) fn newest_timeline(&self) -> u32 {
        let given = self.timelines.newest.max(self.leads_on());
        self.votes.timelines().fold(given, u32::max)
    }

    /// Why only a human may have it lead, if so.
    pub(super) fn forbids(
        &self,
        resource: &Resource,
        best: &Candidate,
        behind: u64,
    ) -> Option<(Refusal, String)> {
        match resource.durability {
            Durability::Sync => {
                let why = self.may_lack_acknowledged(best)?;
                Some((Refusal::Unasked, why))
            }
            Durability::Async => self.may_lack_too_much(best, behind, resource.max_lag_bytes),
        }
    }

    /// One of those whom commits waited for has every commit that was acknowledged.
    pub(super) fn may_lack_acknowledged(&self, best: &Candidate) -> Option<String> {
        let name = &best.name;
        let leads_on = self.leads_on();
        if !self.votes.unknown.is_empty() {
            let who = self.votes.unknown.join("; ");
            return Some(format!(
                "not every follower can be asked, and an acknowledged commit may be there \
                 alone: {who}"
            ));
        }
        // What its leader took over from the one before was acknowledged elsewhere.
        if best.timeline < leads_on {
            return Some(format!(
                "{name} has not come to its leader's timeline {leads_on} yet: acknowledged \
                 commits that the leader took over may be there alone"
            ));
        }
        let other = self.votes.beyond(best)?;
        Some(format!(
            "{} has more than {name}, and may not lead: acknowledged commits may be there alone",
            other.name
        ))
    }

    /// So much may be lost, and what is not known may be more.
    pub(super) fn may_lack_too_much(
        &self,
        best: &Candidate,
        behind: u64,
        most: u64,
    ) -> Option<(Refusal, String)> {
        let name = &best.name;
        if behind > most {
            let why = format!(
                "{name} is {behind} bytes behind what the leader is known to have, and {most} at \
                 most may be lost"
            );
            let bytes = Some(behind);
            return Some((Refusal::Lacks { bytes }, why));
        }
        let why = match &self.last {
            None => format!(
                "the leader was not seen in service within a day: what {name} lacks is not known"
            ),
            Some(last) if self.votes.streamed(best, last) => return None,
            Some(_) if !best.follows => {
                format!("{name} is told to follow another one: what it lacks is not known")
            }
            Some(_) => format!(
                "{name} did not stream any more when the leader was last seen in service: what \
                 it lacks is not known"
            ),
        };
        Some((Refusal::Lacks { bytes: None }, why))
    }
}

/// How many bytes of the leader's WAL this one lacks, read at the leader, if it was stopped
/// over SSH. `None`: that cannot be read.
pub(super) async fn left_behind(
    turn: &Turn<'_, Failover>,
    on: (&Resource, &Server),
    best: &Candidate,
) -> Option<u64> {
    if !matches!(turn.memo.fenced_by, Some(FencedBy::Ssh)) {
        return None;
    }
    let (from, timeline) = (best.lsn.to_string(), best.timeline.to_string());
    let said = script::at_cluster(turn, on, WAL_END, &[&from, &timeline], b"").await;
    let said = said.ok()?;
    Lsn::end_of_record(said.value("end").ok()?).map(|end| end.0.saturating_sub(best.lsn.0))
}
