//! What thinking needs to know of a subject, read for many at once.

mod leader;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{FromRow, PgPool};

use super::snapshot::snapshot_by_index;
use super::statement::rows;
use super::words::{self, Kept};
use crate::model::{Attributes, Kind, Observation, ObservationId, State, Subject, SubjectId};
use leader::Following;
pub use leader::{Leader, POSITIONS, POSITIONS_MINUTES, Position, lsn_of};

/// A subject, what was seen of it lately, and the time: all that a decision may
/// depend on.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The subject.
    pub subject: Subject,
    /// A resource's server.
    pub server: Option<Host>,
    /// Newest first: up to [`MEMORY_AVAILABLE`] if the subject is available and no leader
    /// whose commits wait, else up to [`MEMORY`]; none older than an hour.
    pub recent: Vec<Observation>,
    /// Whom a resource follows, by the record.
    pub leader: Option<Leader>,
    /// A follower's: how far it had come, newest first, up to [`POSITIONS`] and
    /// [`POSITIONS_MINUTES`].
    pub positions: Vec<Position>,
    /// What a server is known to keep words under, and how the record stands there.
    pub words: Vec<Kept>,
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
}

/// Reads the scenes of these subjects; those that are gone are left out.
///
/// What was written more than five seconds ahead is left out: the database's clock was set back
/// since. If it counted, it would be the newest for as long, and nothing that is seen would. The
/// window's end also keeps the days to come from being looked at.
pub async fn load(pool: &PgPool, ids: &[SubjectId]) -> sqlx::Result<Vec<Scene>> {
    let mut tx = snapshot_by_index(pool).await?;
    let sql = "select s.id, s.kind, s.name, s.state, s.state_since, s.origin, s.tier, s.created_at,
                      vs.id as server_id, vs.state as server_state,
                      vs.state_since as server_since, now() as now,
                      o.ids, o.at, o.workers, o.feelers, o.attributes, r.leader_id
               from subjects s
               left join resources r on r.id = s.id
               left join subjects vs on vs.id = r.server_id
               cross join lateral (
                   select array_agg(x.id) as ids, array_agg(x.created_at) as at,
                          array_agg(x.worker) as workers, array_agg(x.feelers) as feelers,
                          array_agg(x.attributes) as attributes
                   from (
                       select o.id, o.created_at, o.worker, o.feelers, o.attributes
                       from observations o
                       where o.subject_id = s.id
                         and o.created_at > now() - interval '1 hour'
                         and o.created_at < now() + interval '5 seconds'
                       order by o.created_at desc, o.id desc
                       limit case
                           when s.state <> 'available'
                             or r.leader_id is null and r.durability = 'sync' then $2
                           else $3 end) x) o
               where s.id = any($1) and s.forgotten_at is null";
    let rows: Vec<Row> = rows(&mut tx, sql, (ids, MEMORY, MEMORY_AVAILABLE)).await?;
    let followers = rows.iter().filter(|row| row.leader_id.is_some());
    let newest = |row: &Row| row.at.as_ref().and_then(|at| at.first().copied());
    let (followers, newest) = followers.map(|row| (row.subject.id, newest(row))).unzip();
    let mut followings = leader::followings(&mut tx, followers, newest).await?;
    let of_servers = rows.iter().filter(|row| row.subject.kind == Kind::Server);
    let servers: Vec<SubjectId> = of_servers.map(|row| row.subject.id).collect();
    let mut kept = match servers.is_empty() {
        true => vec![],
        false => words::kept(&mut tx, &servers).await?,
    };
    tx.commit().await?;
    let scene = |row: Row| {
        let following = followings.remove(&row.subject.id);
        let id = row.subject.id;
        let words = kept.extract_if(.., |kept| kept.server == id).collect();
        row.into_scene(following, words)
    };
    Ok(rows.into_iter().map(scene).collect())
}

impl Row {
    fn into_scene(self, following: Option<Following>, words: Vec<Kept>) -> Scene {
        let (leader, positions) = match following {
            Some(following) => (Some(following.leader), following.positions),
            None => (None, vec![]),
        };
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
            words,
            now: self.now,
        }
    }
}
