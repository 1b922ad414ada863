//! What thinking needs of a follower's other side.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};

use crate::model::{Attributes, Observation, ObservationId, State, SubjectId};
use crate::store::statement::rows;

/// How many observations of a follower, and of its leader, are looked at for how far
/// it has come.
pub const POSITIONS: i64 = 200;

/// How far they go back, in minutes: longer than any patience with a follower.
pub const POSITIONS_MINUTES: i64 = 20;

/// Whom a resource follows, by the record, and what was seen of that one.
#[derive(Clone, Debug)]
pub struct Leader {
    /// Its id.
    pub id: SubjectId,
    /// Where it stands.
    pub state: State,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Since when the record says that it is followed; what was seen before that
    /// speaks of another leader.
    pub followed_since: DateTime<Utc>,
    /// The change of leader that this is, counted.
    pub epoch: i64,
    /// How far behind, in bytes of WAL, its follower may be.
    pub max_lag_bytes: u64,
    /// Its newest observation that is no younger than the follower's newest: so what
    /// the follower lacks of it, it lacks indeed.
    pub seen: Option<Observation>,
    /// How far it had come, newest first.
    pub positions: Vec<Position>,
}

/// How far a node had come at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    /// When this was seen.
    pub at: DateTime<Utc>,
    /// What it had written, or replayed if it follows; `None` if that was not seen.
    pub lsn: Option<u64>,
    /// What its receiver had been told of, and it had not replayed, in bytes.
    pub lag: Option<u64>,
    /// Whether its receiver streamed; `None` of one that has none, or was not seen.
    pub streams: Option<bool>,
}

/// A follower's other side, and how far it had come itself, newest first.
pub(super) struct Following {
    pub(super) leader: Leader,
    pub(super) positions: Vec<Position>,
}

#[derive(FromRow)]
struct Row {
    id: SubjectId,
    leader_id: SubjectId,
    leader_state: State,
    leader_since: DateTime<Utc>,
    followed_since: DateTime<Utc>,
    epoch: i64,
    max_lag_bytes: i64,
    seen_id: Option<ObservationId>,
    seen_at: Option<DateTime<Utc>>,
    seen_worker: Option<String>,
    seen_feelers: Option<i16>,
    seen_attributes: Option<Json<Attributes>>,
    own_at: Option<Vec<DateTime<Utc>>>,
    own_lsn: Option<Texts>,
    own_lag: Option<Texts>,
    own_status: Option<Texts>,
    its_at: Option<Vec<DateTime<Utc>>>,
    its_lsn: Option<Texts>,
}

type Texts = Vec<Option<String>>;

/// Reads the other sides of these followers, each of them last seen at its `newest`; to
/// be called in a transaction that reads by index. Details are text that a stranger
/// wrote, so the database compares and casts none of it.
///
/// The joins are outer ones to keep their order: from the few that are asked for.
pub(super) async fn followings(
    db: &mut PgConnection,
    followers: Vec<SubjectId>,
    newest: Vec<Option<DateTime<Utc>>>,
) -> sqlx::Result<HashMap<SubjectId, Following>> {
    if followers.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = "select w.id, ls.id as leader_id, ls.state as leader_state,
                      ls.state_since as leader_since, f.since as followed_since,
                      r.epoch, r.max_lag_bytes,
                      seen.id as seen_id, seen.created_at as seen_at, seen.worker as seen_worker,
                      seen.feelers as seen_feelers, seen.attributes as seen_attributes,
                      own.at as own_at, own.lsn as own_lsn, own.lag as own_lag,
                      own.status as own_status, its.at as its_at, its.lsn as its_lsn
               from unnest($1::text[], $2::timestamptz[]) as w (id, newest)
               left join resources r on r.id = w.id
               left join subjects ls on ls.id = r.leader_id
               cross join lateral (
                   select f.since from followings f
                   where f.resource_id = r.id
                   order by f.since desc, f.id desc limit 1) f
               left join lateral (
                   select o.id, o.created_at, o.worker, o.feelers, o.attributes
                   from observations o
                   where o.subject_id = r.leader_id
                     and o.created_at > now() - interval '1 hour' and o.created_at <= w.newest
                   order by o.created_at desc, o.id desc limit 1) seen on true
               cross join lateral (
                   select array_agg(x.created_at) as at, array_agg(x.lsn) as lsn,
                          array_agg(x.lag) as lag, array_agg(x.status) as status
                   from (
                       select o.created_at, o.attributes ->> 'lsn' as lsn,
                              o.attributes -> 'receiver' ->> 'lag_bytes' as lag,
                              o.attributes -> 'receiver' ->> 'status' as status
                       from observations o
                       where o.subject_id = r.id
                         and o.created_at > now() - $3 * interval '1 minute'
                         and o.created_at < now() + interval '5 seconds'
                       order by o.created_at desc, o.id desc limit $4) x) own
               cross join lateral (
                   select array_agg(x.created_at) as at, array_agg(x.lsn) as lsn
                   from (
                       select o.created_at, o.attributes ->> 'lsn' as lsn
                       from observations o
                       where o.subject_id = r.leader_id
                         and o.created_at > now() - $3 * interval '1 minute'
                         and o.created_at < now() + interval '5 seconds'
                       order by o.created_at desc, o.id desc limit $4) x) its";
    let rows: Vec<Row> = rows(db, sql, (followers, newest, POSITIONS_MINUTES, POSITIONS)).await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.id, row.into_following()))
        .collect())
}

impl Row {
    fn into_following(self) -> Following {
        let seen = match (self.seen_id, self.seen_at, self.seen_attributes) {
            (Some(id), Some(created_at), Some(attributes)) => Some(Observation {
                id,
                created_at,
                worker: self.seen_worker.unwrap_or_default(),
                feelers: u16::try_from(self.seen_feelers.unwrap_or_default()).unwrap_or_default(),
                attributes: attributes.0,
            }),
            _ => None,
        };
        Following {
            leader: Leader {
                id: self.leader_id,
                state: self.leader_state,
                since: self.leader_since,
                followed_since: self.followed_since,
                epoch: self.epoch,
                max_lag_bytes: u64::try_from(self.max_lag_bytes).unwrap_or_default(),
                seen,
                positions: positions(self.its_at, self.its_lsn, None, None),
            },
            positions: positions(self.own_at, self.own_lsn, self.own_lag, self.own_status),
        }
    }
}

/// Columns of one length; those that were not asked for are missing.
fn positions(
    at: Option<Vec<DateTime<Utc>>>,
    lsn: Option<Texts>,
    lag: Option<Texts>,
    status: Option<Texts>,
) -> Vec<Position> {
    let text = |of: &Option<Texts>, n: usize| of.as_ref()?.get(n)?.clone();
    let at = at.unwrap_or_default().into_iter().enumerate();
    at.map(|(n, at)| {
        let (lsn, lag, status) = (text(&lsn, n), text(&lag, n), text(&status, n));
        Position::read(at, lsn.as_deref(), lag.as_deref(), status.as_deref())
    })
    .collect()
}

impl Position {
    /// Out of the texts that an observation has.
    pub(super) fn read(
        at: DateTime<Utc>,
        lsn: Option<&str>,
        lag: Option<&str>,
        status: Option<&str>,
    ) -> Self {
        Self {
            at,
            lsn: lsn.and_then(lsn_of),
            lag: lag
                .and_then(|text| text.parse::<f64>().ok())
                .filter(|bytes| bytes.is_finite())
                .map(|bytes| bytes.max(0.0) as u64),
            streams: status.map(|status| status == "streaming"),
        }
    }

    /// Out of an observation.
    pub fn of(seen: &Observation) -> Self {
        let figures = &seen.attributes.resource;
        let receiver = figures.receiver.as_ref();
        let lag = receiver.and_then(|receiver| receiver.lag_bytes);
        let status = receiver.and_then(|receiver| receiver.status.as_deref());
        Self {
            at: seen.created_at,
            lsn: figures.lsn.as_deref().and_then(lsn_of),
            lag: lag.map(|bytes| u64::try_from(bytes).unwrap_or(0)),
            streams: status.map(|status| status == "streaming"),
        }
    }
}

/// PostgreSQL's `16/B374D848` as a number.
pub fn lsn_of(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let part = |text: &str| u32::from_str_radix(text, 16).ok().map(u64::from);
    Some(part(high)? << 32 | part(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_or_unknown() {
        assert_eq!(lsn_of("0/3000060"), Some(0x0300_0060));
        assert_eq!(lsn_of("16/B374D848"), Some(0x16_B374_D848));
        for nonsense in ["", "/", "1", "1/2/3", "x/1", "1/123456789", "-1/1"] {
            assert_eq!(lsn_of(nonsense), None, "{nonsense}");
        }
        let read = |lag, status| Position::read(DateTime::UNIX_EPOCH, None, lag, status);
        assert_eq!(read(Some("-5"), None).lag, Some(0));
        assert_eq!(read(Some("70000"), None).lag, Some(70_000));
        assert_eq!(read(Some("nan"), None).lag, None);
        assert_eq!(read(None, Some("streaming")).streams, Some(true));
        assert_eq!(read(None, Some("not running")).streams, Some(false));
        assert_eq!(read(None, None).streams, None);
    }
}
