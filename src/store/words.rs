//! What a word to a server says of the record: a server obeys only the newest.

use sqlx::{FromRow, PgConnection};

use super::leases::Fence;
use super::statement::{only_row, rows, run, value};
use crate::model::{DeploymentId, ObeyedWord, OperationId, SubjectId};

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

impl Standing {
    /// Why a server that has obeyed this would not obey a word of this record, if so: it knows
    /// more. What it obeys of another deployment says nothing about this one.
    ///
    /// The record is written before a word is sent, so one that is true is never behind.
    pub fn is_behind(&self, obeyed: &ObeyedWord) -> Option<String> {
        let (deployment, epoch) = (obeyed.deployment.as_deref()?, obeyed.epoch?);
        if deployment != self.deployment.to_string() || epoch < self.epoch {
            return None;
        }
        if epoch > self.epoch {
            return Some(format!("epoch {epoch}, the record {}", self.epoch));
        }
        let by = self.raised_by.map_or("-".to_owned(), |by| by.to_string());
        if let Some(other) = obeyed.raised_by.as_ref().filter(|other| **other != by) {
            return Some(format!(
                "epoch {epoch} of operation {other}, the record {by}"
            ));
        }
        let had = obeyed.leases.as_deref().unwrap_or_default().iter();
        had.zip(&self.fences).find_map(|(had, own)| {
            let (number, nonce) = had.split_once(':')?;
            let (number, own): (i64, _) = (number.parse().ok()?, own.as_ref()?);
            if number > own.fence.0 {
                return Some(format!("lease {number}, the record {}", own.fence.0));
            }
            (number == own.fence.0 && nonce != own.nonce)
                .then(|| format!("another lease {number} than the record"))
        })
    }
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

/// What a server is known to keep a word under, of whom, and how the record stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The server.
    pub server: SubjectId,
    /// Itself, or a resource on it.
    pub subject: SubjectId,
    /// The name of the file.
    pub key: String,
    /// What a word would say now.
    pub standing: Standing,
}

/// What these servers are known to keep words under.
pub async fn kept(db: &mut PgConnection, servers: &[SubjectId]) -> sqlx::Result<Vec<Kept>> {
    #[derive(FromRow)]
    struct Found {
        server: SubjectId,
        subject: SubjectId,
        #[sqlx(flatten)]
        row: Row,
    }
    let sql = "select v.id as server, s.id as subject, d.id as deployment, s.epoch, s.epoch_by,
                      s.lock_fence, s.lock_nonce, v.lock_fence as server_fence,
                      v.lock_nonce as server_nonce, s.word_key
               from deployment d, subjects v
               cross join lateral (
                   select v.id, null::bigint as epoch, null as epoch_by, v.lock_fence,
                          v.lock_nonce, v.word_key
                   union all
                   select r.id, r.epoch, r.epoch_by, t.lock_fence, t.lock_nonce, t.word_key
                   from resources r join subjects t on t.id = r.id
                   where r.server_id = v.id and t.forgotten_at is null) s
               where v.id = any($1) and s.word_key is not null";
    let found: Vec<Found> = rows(db, sql, [servers]).await?;
    let kept = |found: Found| {
        let key = found.row.word_key.clone()?;
        let about = match found.server == found.subject {
            true => About::Machine(found.server),
            false => About::Resource(found.subject),
        };
        Some(Kept {
            server: found.server,
            subject: found.subject,
            key,
            standing: found.row.standing(about),
        })
    };
    Ok(found.into_iter().filter_map(kept).collect())
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
    Ok(row.standing(about))
}

impl Row {
    fn standing(self, about: About) -> Standing {
        let lease = |fence, nonce| {
            let fence = Fence(fence);
            Some(Lease { fence, nonce })
        };
        let of_server = lease(self.server_fence, self.server_nonce);
        let is_resource = self.epoch.is_some();
        let fences = match about {
            About::Machine(_) => vec![of_server],
            About::Resource(_) | About::Port(..) if is_resource => {
                vec![lease(self.lock_fence, self.lock_nonce), of_server]
            }
            About::Resource(_) | About::Port(..) => vec![None, of_server],
        };
        Standing {
            deployment: self.deployment,
            epoch: self.epoch.unwrap_or_default(),
            raised_by: self.epoch_by,
            fences,
            // What a server is known to keep is about the machine.
            known: self
                .word_key
                .filter(|_| is_resource || matches!(about, About::Machine(_))),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(epoch: i64, fences: &[(i64, &str)]) -> Standing {
        let lease = |(n, nonce): &(i64, &str)| {
            let (fence, nonce) = (Fence(*n), (*nonce).to_owned());
            Some(Lease { fence, nonce })
        };
        Standing {
            deployment: "01J00000000000000000000000".parse().unwrap(),
            epoch,
            raised_by: None,
            fences: fences.iter().map(lease).collect(),
            known: None,
        }
    }

    fn obeyed(deployment: &str, epoch: i64, by: &str, leases: &[&str]) -> ObeyedWord {
        ObeyedWord {
            key: Some("74-15-main".into()),
            deployment: Some(deployment.into()),
            epoch: Some(epoch),
            raised_by: Some(by.into()),
            leases: Some(leases.iter().map(|lease| (*lease).to_owned()).collect()),
        }
    }

    /// As `drover-root` refuses, of the same words.
    #[test]
    fn what_a_server_has_obeyed_tells_an_old_record_from_a_true_one() {
        let own = "01J00000000000000000000000";
        let record = standing(2, &[(5, "a"), (9, "b")]);
        let behind = |obeyed| record.is_behind(&obeyed).is_some();
        for leases in [
            &["5:a", "9:b"][..],
            &["4:x", "8:y"],
            &["-", "9:b"],
            &["5:a"],
            &[],
        ] {
            assert!(!behind(obeyed(own, 2, "-", leases)), "{leases:?}");
            assert!(!behind(obeyed(own, 1, "other", leases)), "{leases:?}");
            assert!(behind(obeyed(own, 3, "-", leases)), "{leases:?}");
            assert!(behind(obeyed(own, 2, "other", leases)), "{leases:?}");
            let other = "01J00000000000000000000001";
            assert!(!behind(obeyed(other, 3, "-", leases)), "{leases:?}");
        }
        for leases in [
            &["6:a", "9:b"][..],
            &["5:x", "9:b"],
            &["5:a", "10:b"],
            &["5:a", "9:x"],
        ] {
            assert!(behind(obeyed(own, 2, "-", leases)), "{leases:?}");
        }
        assert!(!behind(obeyed(own, 2, "-", &["made up", "9"])));
    }
}
