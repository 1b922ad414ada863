//! One subject's history, thought about again and laid beside the record.

use std::collections::BTreeMap;

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use drover::model::{IncidentKind, Observation, Rules, State, SubjectId};
use drover::store::history::{self, Past, Span, Turn};
use drover::store::scenes::POSITIONS;
use sqlx::PgConnection;

use super::Progress;
use super::leaders::Leaders;
use crate::think::replay::Replay;
use crate::think::{Decision, Host};

/// Observations read at a time.
pub(super) const PAGE: i64 = 500;

/// An incident is written down a moment after what was seen: openings no further
/// apart than this are the same.
const SAME: TimeDelta = TimeDelta::seconds(10);

/// Where replaying and the record part.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Difference {
    /// A change of state that only one of them has.
    Change { by: Side, turn: Turn },
    /// Incidents of a kind are first opened at other times, or by one of them only.
    Opening {
        kind: IncidentKind,
        recorded: Option<DateTime<Utc>>,
        replayed: Option<(DateTime<Utc>, String)>,
    },
}

impl Difference {
    /// When it first shows.
    pub(super) fn at(&self) -> DateTime<Utc> {
        match self {
            Difference::Change { turn, .. } => turn.at,
            Difference::Opening {
                recorded, replayed, ..
            } => {
                let replayed = replayed.as_ref().map(|(at, _)| *at);
                let first = recorded.iter().chain(&replayed).min();
                first.copied().unwrap_or_default()
            }
        }
    }
}

/// Whose decision it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The record's alone.
    Recorded,
    /// Made only when replayed.
    Replayed,
}

impl Side {
    pub(super) fn word(self) -> &'static str {
        match self {
            Side::Recorded => "recorded",
            Side::Replayed => "replayed",
        }
    }
}

/// What became of one subject.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Found {
    pub(super) differences: Vec<Difference>,
    pub(super) observations: u64,
    pub(super) changes_recorded: u64,
    pub(super) changes_replayed: u64,
    pub(super) openings_recorded: u64,
    pub(super) openings_replayed: u64,
}

/// All subjects together.
#[derive(Clone, Debug, Default)]
pub(super) struct Total {
    pub(super) subjects: u64,
    pub(super) differing: u64,
    pub(super) differences: u64,
    pub(super) sums: Found,
}

impl Total {
    pub(super) fn add(&mut self, found: &Found) {
        self.subjects += 1;
        self.differing += u64::from(!found.differences.is_empty());
        self.differences += found.differences.len() as u64;
        self.sums.observations += found.observations;
        self.sums.changes_recorded += found.changes_recorded;
        self.sums.changes_replayed += found.changes_replayed;
        self.sums.openings_recorded += found.openings_recorded;
        self.sums.openings_replayed += found.openings_replayed;
    }
}

/// Replays a subject under these rules and compares.
pub(super) async fn compare(
    db: &mut PgConnection,
    past: &Past,
    span: Span,
    rules: &Rules,
    progress: &mut Progress,
) -> Result<Found> {
    let id = past.subject.id;
    let mut turns = history::turns(db, id, span).await?.into_iter().peekable();
    let hosts = Hosts::read(db, past.server, span).await?;
    let mut leaders = Leaders::read(db, id, span).await?;
    let before = history::seen_before(db, id, span.since, POSITIONS).await?;
    let mut subject = past.subject.clone();
    // What was seen just before the span may have been decided just within it.
    while let Some(turn) = turns.next_if(|t| before.iter().any(|seen| seen.id == t.because)) {
        subject.state = turn.to;
        subject.state_since = turn.at;
    }
    let mut again = Replay::new(subject, before, rules);
    let mut found = Found::default();
    let mut opens = BTreeMap::new();
    let mut last: Option<Observation> = None;
    loop {
        let page = history::seen(db, id, span, last.as_ref(), PAGE).await?;
        let Some(newest) = page.last() else { break };
        last = Some(newest.clone());
        progress.seen(page.len());
        for seen in page {
            // What was decided of earlier observations, this replay did not decide.
            while let Some(turn) = turns.next_if(|t| t.at < seen.created_at) {
                found.only(Side::Recorded, turn);
            }
            let made = turns.next_if(|t| t.because == seen.id);
            let (seen_id, at) = (seen.id, seen.created_at);
            let thought_at = made.as_ref().map_or(at, |turn| turn.at);
            let from = again.state();
            let leader = leaders.at(db, thought_at, at).await?;
            let decision = again.step(seen, hosts.at(thought_at), leader);
            found.observations += 1;
            note_openings(&mut opens, &decision, at);
            let turned = decision.change.map(|verdict| Turn {
                at,
                from,
                to: verdict.to,
                reason: verdict.reason,
                because: seen_id,
            });
            found.weigh(made, turned);
        }
    }
    for turn in turns.filter(|t| t.at < span.until) {
        found.only(Side::Recorded, turn);
    }
    let mut recorded = BTreeMap::new();
    for (kind, at) in history::opened(db, id, span).await? {
        if at < span.since {
            // It was open before, and is nothing that was decided in this span.
            opens.remove(&kind);
        } else {
            recorded.insert(kind, at);
        }
    }
    found.openings(&recorded, opens);
    found.differences.sort_by_key(Difference::at);
    Ok(found)
}

fn note_openings(
    opens: &mut BTreeMap<IncidentKind, (DateTime<Utc>, String)>,
    decision: &Decision,
    at: DateTime<Utc>,
) {
    for opening in &decision.opens {
        opens
            .entry(opening.kind)
            .or_insert_with(|| (at, opening.reason.clone()));
    }
}

impl Found {
    fn only(&mut self, by: Side, turn: Turn) {
        match by {
            Side::Recorded => self.changes_recorded += 1,
            Side::Replayed => self.changes_replayed += 1,
        }
        self.differences.push(Difference::Change { by, turn });
    }

    /// What the record made of an observation, and what replaying did.
    fn weigh(&mut self, made: Option<Turn>, turned: Option<Turn>) {
        match (made, turned) {
            (Some(made), Some(turned)) if made.to == turned.to && made.from == turned.from => {
                self.changes_recorded += 1;
                self.changes_replayed += 1;
            }
            (made, turned) => {
                if let Some(made) = made {
                    self.only(Side::Recorded, made);
                }
                if let Some(turned) = turned {
                    self.only(Side::Replayed, turned);
                }
            }
        }
    }

    fn openings(
        &mut self,
        recorded: &BTreeMap<IncidentKind, DateTime<Utc>>,
        mut replayed: BTreeMap<IncidentKind, (DateTime<Utc>, String)>,
    ) {
        self.openings_recorded = recorded.len() as u64;
        self.openings_replayed = replayed.len() as u64;
        for kind in IncidentKind::ALL.iter().copied() {
            let (recorded, replayed) = (recorded.get(&kind).copied(), replayed.remove(&kind));
            let same = match (&recorded, &replayed) {
                (Some(recorded), Some((replayed, _))) => (*recorded - replayed).abs() <= SAME,
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            if !same {
                self.differences.push(Difference::Opening {
                    kind,
                    recorded,
                    replayed,
                });
            }
        }
    }
}

/// How another subject stood, such as a resource's server, from when on.
pub(super) struct Hosts {
    id: Option<SubjectId>,
    /// Oldest first; the first is from before the span.
    states: Vec<(DateTime<Utc>, State)>,
}

impl Hosts {
    pub(super) async fn read(
        db: &mut PgConnection,
        server: Option<SubjectId>,
        span: Span,
    ) -> Result<Self> {
        let mut states = Vec::new();
        if let Some(id) = server {
            let id = id.to_string();
            for past in history::subjects(db, span, Some(&id)).await? {
                states.push((past.subject.state_since, past.subject.state));
                let turns = history::turns(db, past.subject.id, span).await?;
                states.extend(turns.into_iter().map(|turn| (turn.at, turn.to)));
            }
        }
        Ok(Self { id: server, states })
    }

    pub(super) fn at(&self, moment: DateTime<Utc>) -> Option<Host> {
        let until = self.states.partition_point(|(since, _)| *since <= moment);
        let (since, state) = *self.states.get(until.saturating_sub(1))?;
        Some(Host {
            id: self.id?,
            state,
            since,
        })
    }
}
