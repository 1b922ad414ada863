//! Servers whose drover-root is older than the one that the workers' release brings.

use serde_json::json;
use sqlx::PgConnection;

use super::operations::{self, NewOperation};
use super::statement::rows;
use crate::model::{Kind, OperationKind, PublicId, SubjectId};

/// So many are asked for at once: a release is seen to be well on some before it is on all.
const AT_ONCE: i64 = 20;

/// Asks for a newer one where an older one was felt in the last five minutes, on servers that
/// are in service and on which drover acts. Nothing is asked for while one of them is stuck.
/// Gives whose are asked for. Call it in a transaction.
pub async fn renew_old(db: &mut PgConnection) -> sqlx::Result<Vec<PublicId>> {
    let sql = "select s.id from subjects s
         cross join lateral (
             select o.attributes -> 'drover_root' as felt from observations o
             where o.subject_id = s.id and o.created_at > now() - interval '5 minutes'
               and o.created_at < now() + interval '5 seconds'
             order by o.created_at desc, o.id desc limit 1) o
         where s.kind = 'server' and s.state = 'available' and s.forgotten_at is null
           and jsonb_typeof(felt -> 'version') = 'number'
           and felt -> 'version' < felt -> 'newest'
           and not exists (select from modes m
                           where m.scope in ('herd', 'tier:' || s.tier, 'subject:' || s.id))
           and not exists (select from operations o
                           where o.kind = $1 and o.state = 'open'
                             and (o.subject_id = s.id or o.stuck_at is not null))
           -- While releases change, one worker may ask for what the next does not bring.
           and not exists (select from operations o
                           where o.kind = $1 and o.subject_id = s.id
                             and o.ended_at > now() - interval '10 minutes')
         order by s.id
         limit greatest(0, $2 - (select count(*) from operations o
                                 where o.kind = $1 and o.state = 'open'))
         for update of s skip locked";
    let found: Vec<(SubjectId,)> = rows(db, sql, (OperationKind::InstallHelper, AT_ONCE)).await?;
    let mut asked = Vec::new();
    for (server,) in found {
        let new = NewOperation {
            params: json!({ "only_replace": true }),
            ..NewOperation::new(server, OperationKind::InstallHelper, "clock")
        };
        if operations::open(db, &new).await?.is_some() {
            asked.push(PublicId::new(Kind::Server, server));
        }
    }
    Ok(asked)
}
