//! What thinking needs to know of a subject, read for many at once.

mod leader;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};

use crate::model::{Attributes, Observation, ObservationId, State, Subject, SubjectId};
pub use leader::{Leader, POSITIONS, POSITIONS_MINUTES, Position, lsn_of};

/// A subject, what was seen of it lately, and the time: all that a decision may
/// depend on.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The subject.
    pub subject: Subject,
    /// A resource's server.
    pub server: Option<Host>,
    /// Newest first: up to [`MEMORY_AVAILABLE`] if the subject is available, else
    /// up to [`MEMORY`]; none older than an hour.
    pub recent: Vec<Observation>,
    /// Whom a resource follows, by the record.
    pub leader: Option<Leader>,
    /// A follower's: how far it had come, newest first, up to [`POSITIONS`] and
    /// [`POSITIONS_MINUTES`].
    pub positions: Vec<Position>,
    /// When this was read, by the control database's clock.
    pub now: DateTime<Utc>,
}

/// How many observations of a subject that is not available are looked at.
pub const MEMORY: i64 = 30;

/// How many of one that is available: what is wrong only if it is seen twice.
pub const MEMORY_AVAILABLE: i64 = 2;

/// How the server that a resource is on stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Host {
    /// Its id.
    pub id: SubjectId,
    /// Where it stands.
    pub state: State,
    /// Since when.
    pub since: DateTime<Utc>,
}

#[derive(FromRow)]
struct Row {
    #[sqlx(flatten)]
    subject: Subject,
    server_id: Option<SubjectId>,
    server_state: Option<State>,
    server_since: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    ids: Option<Vec<ObservationId>>,
    at: Option<Vec<DateTime<Utc>>>,
    workers: Option<Vec<String>>,
    feelers: Option<Vec<i16>>,
    attributes: Option<Vec<Json<Attributes>>>,
    leader_id: Option<SubjectId>,
    leader_state: Option<State>,
    leader_since: Option<DateTime<Utc>>,
    followed_since: Option<DateTime<Utc>>,
    epoch: Option<i64>,
    max_lag_bytes: Option<i64>,
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

/// What is read of a follower's other side, in the same query: of a resource that
/// follows nobody nothing is looked up. Details are text that a stranger wrote, so the
/// database compares and casts none of it.
const OF_FOLLOWERS: &str = "
         left join subjects ls on ls.id = r.leader_id
         left join lateral (
             select f.since from followings f
             where r.leader_id is not null and f.resource_id = r.id
             order by f.since desc, f.id desc limit 1) f on true
         left join lateral (
             select o2.id, o2.created_at, o2.worker, o2.feelers, o2.attributes
             from observations o2
             where r.leader_id is not null and o2.subject_id = r.leader_id
               and o2.created_at > now() - interval '1 hour' and o2.created_at <= o.at[1]
             order by o2.created_at desc, o2.id desc limit 1) seen on true
         left join lateral (
             select array_agg(x.created_at) as at, array_agg(x.lsn) as lsn,
                    array_agg(x.lag) as lag, array_agg(x.status) as status
             from (
                 select o3.created_at, o3.attributes ->> 'lsn' as lsn,
                        o3.attributes -> 'receiver' ->> 'lag_bytes' as lag,
                        o3.attributes -> 'receiver' ->> 'status' as status
                 from observations o3
                 where r.leader_id is not null and o3.subject_id = r.id
                   and o3.created_at > now() - $4 * interval '1 minute'
                 order by o3.created_at desc, o3.id desc limit $5) x) own on true
         left join lateral (
             select array_agg(x.created_at) as at, array_agg(x.lsn) as lsn
             from (
                 select o4.created_at, o4.attributes ->> 'lsn' as lsn
                 from observations o4
                 where r.leader_id is not null and o4.subject_id = r.leader_id
                   and o4.created_at > now() - $4 * interval '1 minute'
                 order by o4.created_at desc, o4.id desc limit $5) x) its on true";

/// Reads the scenes of these subjects; those that are gone are left out.
pub async fn load(db: &mut PgConnection, ids: &[SubjectId]) -> sqlx::Result<Vec<Scene>> {
    let rows: Vec<Row> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select s.id, s.kind, s.name, s.state, s.state_since, s.origin, s.tier, s.created_at,
                vs.id as server_id, vs.state as server_state,
                vs.state_since as server_since, now() as now,
                o.ids, o.at, o.workers, o.feelers, o.attributes,
                ls.id as leader_id, ls.state as leader_state, ls.state_since as leader_since,
                f.since as followed_since, r.epoch, r.max_lag_bytes,
                seen.id as seen_id, seen.created_at as seen_at, seen.worker as seen_worker,
                seen.feelers as seen_feelers, seen.attributes as seen_attributes,
                own.at as own_at, own.lsn as own_lsn, own.lag as own_lag,
                own.status as own_status, its.at as its_at, its.lsn as its_lsn
         from unnest($1::text[]) as w (id)
         join subjects s on s.id = w.id and s.forgotten_at is null
         left join resources r on r.id = s.id
         left join subjects vs on vs.id = r.server_id
         cross join lateral (
             select array_agg(x.id) as ids, array_agg(x.created_at) as at,
                    array_agg(x.worker) as workers, array_agg(x.feelers) as feelers,
                    array_agg(x.attributes) as attributes
             from (
                 select o.id, o.created_at, o.worker, o.feelers, o.attributes
                 from observations o
                 where o.subject_id = s.id and o.created_at > now() - interval '1 hour'
                 order by o.created_at desc, o.id desc
                 limit case when s.state = 'available' then $3 else $2 end) x) o{OF_FOLLOWERS}"
    )))
    .bind(ids)
    .bind(MEMORY)
    .bind(MEMORY_AVAILABLE)
    .bind(POSITIONS_MINUTES)
    .bind(POSITIONS)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Row::into_scene).collect())
}

impl Row {
    fn into_scene(mut self) -> Scene {
        let leader = self.leader();
        let positions = positions(
            self.own_at.take(),
            self.own_lsn.take(),
            self.own_lag.take(),
            self.own_status.take(),
        );
        let server = match (self.server_id, self.server_state, self.server_since) {
            (Some(id), Some(state), Some(since)) => Some(Host { id, state, since }),
            _ => None,
        };
        let columns = self
            .ids
            .unwrap_or_default()
            .into_iter()
            .zip(self.at.unwrap_or_default())
            .zip(self.workers.unwrap_or_default())
            .zip(self.feelers.unwrap_or_default())
            .zip(self.attributes.unwrap_or_default());
        let recent = columns
            .map(
                |((((id, created_at), worker), feelers), attributes)| Observation {
                    id,
                    created_at,
                    worker,
                    feelers: u16::try_from(feelers).unwrap_or_default(),
                    attributes: attributes.0,
                },
            )
            .collect();
        Scene {
            subject: self.subject,
            server,
            recent,
            leader,
            positions,
            now: self.now,
        }
    }

    fn leader(&mut self) -> Option<Leader> {
        let known = (
            self.leader_id,
            self.leader_state,
            self.leader_since,
            self.followed_since,
        );
        let (Some(id), Some(state), Some(since), Some(followed_since)) = known else {
            return None;
        };
        let seen = match (self.seen_id, self.seen_at, self.seen_attributes.take()) {
            (Some(id), Some(created_at), Some(attributes)) => Some(Observation {
                id,
                created_at,
                worker: self.seen_worker.take().unwrap_or_default(),
                feelers: u16::try_from(self.seen_feelers.unwrap_or_default()).unwrap_or_default(),
                attributes: attributes.0,
            }),
            _ => None,
        };
        Some(Leader {
            id,
            state,
            since,
            followed_since,
            epoch: self.epoch.unwrap_or_default(),
            max_lag_bytes: u64::try_from(self.max_lag_bytes.unwrap_or_default())
                .unwrap_or_default(),
            seen,
            positions: positions(self.its_at.take(), self.its_lsn.take(), None, None),
        })
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
