//! Whom a resource followed, and what had been seen of that one, at any moment of a
//! span.

use std::collections::VecDeque;

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use drover::model::{Observation, SubjectId};
use drover::store::history::{self, Following, Span};
use drover::store::scenes::{POSITIONS, POSITIONS_MINUTES};
use sqlx::PgConnection;

use super::compare::{Hosts, PAGE};
use crate::think::{Leader, Position};

/// The moments are asked for in their order; no more of a leader's history is held than
/// thinking looks at.
pub(super) struct Leaders {
    span: Span,
    followings: Vec<Following>,
    current: Option<Current>,
}

/// The leader of the moment.
struct Current {
    id: SubjectId,
    states: Hosts,
    /// Newest first.
    positions: VecDeque<Position>,
    newest: Option<Observation>,
    /// What was read and is still to come, oldest first.
    ahead: VecDeque<Observation>,
    last: Option<Observation>,
    all_read: bool,
    from: DateTime<Utc>,
}

impl Leaders {
    pub(super) async fn read(db: &mut PgConnection, id: SubjectId, span: Span) -> Result<Self> {
        Ok(Self {
            span,
            followings: history::followings(db, id, span).await?,
            current: None,
        })
    }

    /// Whom the record said at `moment` that it follows, with what had been seen of that
    /// one until `seen`.
    pub(super) async fn at(
        &mut self,
        db: &mut PgConnection,
        moment: DateTime<Utc>,
        seen: DateTime<Utc>,
    ) -> Result<Option<Leader>> {
        let until = self.followings.partition_point(|f| f.since <= moment);
        let following = until.checked_sub(1).and_then(|n| self.followings.get(n));
        let Some((following, id)) = following.and_then(|f| Some((f.clone(), f.leader?))) else {
            self.current = None;
            return Ok(None);
        };
        let mut current = match self.current.take() {
            Some(current) if current.id == id => current,
            Some(_) | None => Current::read(db, id, self.span, seen).await?,
        };
        current.advance(db, self.span, seen).await?;
        let state = current.states.at(moment);
        let lately = seen - TimeDelta::minutes(POSITIONS_MINUTES);
        let young = |newest: &Observation| seen - newest.created_at < TimeDelta::hours(1);
        let leader = state.map(|state| Leader {
            id,
            state: state.state,
            since: state.since,
            followed_since: following.since,
            epoch: following.epoch,
            max_lag_bytes: following.max_lag_bytes,
            seen: current.newest.clone().filter(young),
            positions: current
                .positions
                .iter()
                .take_while(|position| position.at > lately)
                .copied()
                .collect(),
        });
        self.current = Some(current);
        Ok(leader)
    }
}

impl Current {
    /// As it was before this moment.
    async fn read(
        db: &mut PgConnection,
        id: SubjectId,
        span: Span,
        from: DateTime<Utc>,
    ) -> Result<Self> {
        let before = history::seen_before(db, id, from, POSITIONS).await?;
        Ok(Self {
            id,
            states: Hosts::read(db, Some(id), span).await?,
            positions: before.iter().map(Position::of).collect(),
            newest: before.into_iter().next(),
            ahead: VecDeque::new(),
            last: None,
            all_read: false,
            from,
        })
    }

    /// Takes in what was seen of it until this moment.
    async fn advance(
        &mut self,
        db: &mut PgConnection,
        span: Span,
        until: DateTime<Utc>,
    ) -> Result<()> {
        loop {
            while self.ahead.front().is_some_and(|s| s.created_at <= until)
                && let Some(seen) = self.ahead.pop_front()
            {
                self.positions.push_front(Position::of(&seen));
                self.positions.truncate(POSITIONS as usize);
                self.newest = Some(seen);
            }
            if self.all_read || !self.ahead.is_empty() {
                return Ok(());
            }
            let rest = Span {
                since: self.from,
                ..span
            };
            let page = history::seen(db, self.id, rest, self.last.as_ref(), PAGE).await?;
            self.all_read = (page.len() as i64) < PAGE;
            self.last = page.last().cloned().or(self.last.take());
            self.ahead = page.into();
        }
    }
}
