//! What a word to a server says of the record: a server obeys only the newest.

use sqlx::{FromRow, PgConnection};

use super::leases::Fence;
use super::statement::{only_row, run, value};
use crate::model::{DeploymentId, OperationId, SubjectId};

/// The lease that a subject was under last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its number.
    pub fence: Fence,
    /// What tells it from one of the same number in a copy of the record.
    pub nonce: String,
}

/// How the record stands about a cluster or a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose record it is.
    pub deployment: DeploymentId,
    /// The epoch of the leader and its followers; 0 for a machine.
    pub epoch: i64,
    /// The operation that raised it.
    pub raised_by: Option<OperationId>,
    /// The last lease of a cluster and of its server, or of a machine alone; `None` for a
    /// cluster that is no resource.
    pub fences: Vec<Option<Lease>>,
    /// What the server is known to keep its words under.
    pub known: Option<String>,
}

/// What a word is about.
#[derive(Clone, Copy, Debug)]
pub enum About {
    /// A machine.
    Machine(SubjectId),
    /// The cluster of a resource.
    Resource(SubjectId),
    /// Whatever cluster is at this port of a server, the resource of which may have left the
    /// herd since.
    Port(SubjectId, u16),
}

#[derive(FromRow)]
struct Row {
    deployment: DeploymentId,
    epoch: Option<i64>,
    epoch_by: Option<OperationId>,
    lock_fence: i64,
    lock_nonce: String,
    server_fence: i64,
    server_nonce: String,
    word_key: Option<String>,
}

/// How the record stands about this.
pub async fn standing(db: &mut PgConnection, about: About) -> sqlx::Result<Standing> {
    let subject = match about {
        About::Machine(id) | About::Resource(id) => id,
        About::Port(server, port) => at_port(db, server, port).await?.unwrap_or(server),
    };
    let sql = "select d.id as deployment, r.epoch, r.epoch_by, s.lock_fence, s.lock_nonce,
                      v.lock_fence as server_fence, v.lock_nonce as server_nonce, s.word_key
               from deployment d, subjects s
               left join resources r on r.id = s.id
               join subjects v on v.id = coalesce(r.server_id, s.id)
               where s.id = $1";
    let row: Row = only_row(db, sql, [subject]).await?;
    let lease = |fence, nonce| {
        let fence = Fence(fence);
        Some(Lease { fence, nonce })
    };
    let of_server = lease(row.server_fence, row.server_nonce);
    let is_resource = row.epoch.is_some();
    let fences = match about {
        About::Machine(_) => vec![of_server],
        About::Resource(_) | About::Port(..) if is_resource => {
            vec![lease(row.lock_fence, row.lock_nonce), of_server]
        }
        About::Resource(_) | About::Port(..) => vec![None, of_server],
    };
    Ok(Standing {
        deployment: row.deployment,
        epoch: row.epoch.unwrap_or_default(),
        raised_by: row.epoch_by,
        fences,
        // What a server is known to keep is about the machine.
        known: row
            .word_key
            .filter(|_| is_resource || matches!(about, About::Machine(_))),
    })
}

/// The resource that is at this port, or was last.
async fn at_port(
    db: &mut PgConnection,
    server: SubjectId,
    port: u16,
) -> sqlx::Result<Option<SubjectId>> {
    let sql = "select r.id from resources r join subjects s using (id)
               where r.server_id = $1 and r.port = $2
               order by s.forgotten_at desc nulls first limit 1";
    value(db, sql, (server, i32::from(port))).await
}

/// Remembers what a server keeps its words under. From then on it is to have them.
pub async fn seen(db: &mut PgConnection, about: About, key: &str) -> sqlx::Result<()> {
    let subject = match about {
        About::Machine(id) | About::Resource(id) => Some(id),
        About::Port(server, port) => at_port(db, server, port).await?,
    };
    let sql = "update subjects set word_key = $2 where id = $1 and word_key is distinct from $2";
    run(db, sql, (subject, key)).await
}
