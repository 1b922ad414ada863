//! What thinking needs of a follower's other side.

use chrono::{DateTime, Utc};

use crate::model::{Observation, State, SubjectId};

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
