//! Whose a cluster and a role in it are, by the record. Who adopts a database names a role and a
//! password, and drover works there as superuser: nobody may get a login by that which is not
//! theirs.

use sqlx::{FromRow, PgConnection};

use super::statement::{only_value, row, value};
use crate::model::SubjectId;

/// The live server that drover made and that this one is: the same row, or another one of the
/// same address or host key. drover makes each host key anew, so no two machines share one.
pub async fn made_server(
    db: &mut PgConnection,
    server: SubjectId,
) -> sqlx::Result<Option<SubjectId>> {
    let sql = "select made.id from servers v
               join servers made
                 on made.id = v.id or made.address = v.address or made.host_key = v.host_key
               join subjects s on s.id = made.id
               where v.id = $1 and s.origin = 'created' and s.forgotten_at is null
               limit 1";
    value(db, sql, [server]).await
}

/// A live resource that logs in as a role, and its password, sealed.
#[derive(FromRow)]
pub(super) struct Holder {
    pub(super) id: SubjectId,
    pub(super) password: Vec<u8>,
}

/// The newest live resource that has this role at this server's address and port.
pub(super) async fn holder(
    db: &mut PgConnection,
    server: SubjectId,
    port: u16,
    role: &str,
) -> sqlx::Result<Option<Holder>> {
    let sql = "select r.id, r.password from servers v
               join servers same on same.id = v.id or same.address = v.address
               join resources r on r.server_id = same.id
               join subjects s on s.id = r.id
               where v.id = $1 and r.port = $2 and r.role = $3 and s.forgotten_at is null
               order by r.id desc
               limit 1";
    row(db, sql, (server, i32::from(port), role)).await
}

/// Whether an adopted resource is in a cluster that drover made for another resource: at the same
/// port of the same server, or with the same system identifier.
///
/// # Errors
/// What the database said.
pub async fn in_anothers_cluster(db: &mut PgConnection, resource: SubjectId) -> sqlx::Result<bool> {
    let sql = "select exists (
                   select from subjects s
                   join resources r using (id)
                   join servers v on v.id = r.server_id
                   join subjects ms on ms.id <> s.id
                   join resources made on made.id = ms.id
                   join servers mv on mv.id = made.server_id
                   where s.id = $1 and s.origin = 'adopted'
                     and ms.origin = 'created' and ms.forgotten_at is null
                     and (made.port = r.port and (mv.id = v.id or mv.address = v.address
                                                  or mv.host_key = v.host_key)
                          or made.system_identifier = r.system_identifier))";
    only_value(db, sql, [resource]).await
}

/// Whether drover has been let in with the password that this resource has now. That of an adopted
/// one never changes, and nothing but an observation in service makes it available; that of
/// what drover made is of drover's own making.
///
/// # Errors
/// What the database said.
pub async fn was_let_in(db: &mut PgConnection, resource: SubjectId) -> sqlx::Result<bool> {
    let sql = "select exists (
                   select from subjects s
                   where s.id = $1
                     and (s.origin = 'created'
                          or exists (select from transitions t
                                     where t.subject_id = s.id and t.to_state = 'available'
                                       and t.observation_id is not null)))";
    only_value(db, sql, [resource]).await
}
