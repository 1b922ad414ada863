//! Whether the record is older than what the servers know, and how it is brought up to them.
//!
//! A control database that was restored, rewound or copied tells so by its own identity, or the
//! servers do by the words that they have obeyed since. While there is doubt nothing is changed
//! ([`crate::store::incidents::old_record`]); who leads is then taken from the nodes.

mod groups;
mod leads;

use std::collections::HashMap;

use sqlx::{Connection as _, FromRow, PgConnection};

use super::statement::{column, only_row, row, run};
use super::words::{self, Kept};
use super::{incidents, modes, observations, operations, queue};
use crate::model::{
    DeploymentId, IncidentKind, Mode, ObeyedWord, Observation, Opening, OperationId, OperationKind,
    OperationState, SubjectId,
};

use groups::groups;
pub use groups::{Group, compare};
pub use leads::{Leads, NodeSeen};

/// How the herd's mode begins to say why it is `hold`, where nobody has set it.
const ANOTHER: &str = "the control database is another one than before";

/// So many servers are named.
const NAMED: usize = 3;

#[derive(FromRow)]
struct Identity {
    system_identifier: Option<String>,
    database_oid: Option<i64>,
    own_system: Option<String>,
    own_oid: i64,
}

impl Identity {
    fn is_known(&self) -> bool {
        let same = |known: &Option<String>| self.own_system.is_none() || *known == self.own_system;
        self.database_oid == Some(self.own_oid) && same(&self.system_identifier)
    }

    fn was_known(&self) -> bool {
        self.database_oid.is_some()
    }
}

async fn identity(db: &mut PgConnection) -> sqlx::Result<Identity> {
    // Whose role may not ask for the first knows the second.
    let allowed = "select case when has_function_privilege('pg_control_system()', 'execute')
                   then (select system_identifier::text from pg_control_system()) end";
    let sql = sqlx::AssertSqlSafe(format!(
        "select d.system_identifier, d.database_oid, ({allowed}) as own_system,
                o.oid::bigint as own_oid
         from deployment d, pg_database o where o.datname = current_database()"
    ));
    only_row(db, sql, ()).await
}

/// Whoever begins to work with this record looks whether it is where it was. One that was
/// restored elsewhere, or copied, begins in mode `hold`, and calls a human.
///
/// # Errors
/// What the database said.
pub async fn recognise(db: &mut PgConnection) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    let now = identity(&mut tx).await?;
    if now.is_known() {
        return Ok(());
    }
    run(&mut tx, "select 1 from deployment for update", ()).await?;
    let now = identity(&mut tx).await?;
    if !now.was_known() {
        settle(&mut tx).await?;
    } else if !now.is_known() {
        let why = another(&now);
        if modes::of_herd(&mut tx)
            .await?
            .is_none_or(|set| set.mode != Mode::Hold)
        {
            modes::set(&mut tx, "herd", Mode::Hold, &why).await?;
        }
        let opening = Opening {
            kind: IncidentKind::RecordIsOld,
            reason: why.clone(),
        };
        if incidents::open(&mut tx, None, &opening, "drover")
            .await?
            .is_some()
        {
            tracing::error!("{why}: nothing is changed until somebody runs drover adopt-record");
        }
    }
    tx.commit().await
}

fn another(now: &Identity) -> String {
    let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
    format!(
        "{ANOTHER}: system identifier {} was {}, database {} was {}",
        or_unknown(&now.own_system),
        or_unknown(&now.system_identifier),
        now.own_oid,
        now.database_oid.unwrap_or_default()
    )
}

/// From now on the record is where it is.
async fn settle(db: &mut PgConnection) -> sqlx::Result<()> {
    let now = identity(db).await?;
    let sql = "update deployment set system_identifier = $1, database_oid = $2";
    run(db, sql, (now.own_system, now.own_oid)).await
}

/// Why the record may be older than what the servers know, if so.
///
/// # Errors
/// What the database said.
pub async fn doubt(db: &mut PgConnection) -> sqlx::Result<Option<String>> {
    let now = identity(db).await?;
    if now.was_known() && !now.is_known() {
        return Ok(Some(another(&now)));
    }
    let behind = behind(db).await?;
    if behind.is_empty() {
        return Ok(None);
    }
    let mut names = Vec::new();
    for (kept, why) in behind.iter().take(NAMED) {
        let sql = "select name from subjects where id = $1";
        let name: Option<String> = super::statement::value(db, sql, [kept.server]).await?;
        let name = name.unwrap_or_default();
        names.push(format!("{name} knows more of {}: {why}", kept.key));
    }
    let more = behind.len().saturating_sub(NAMED);
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    Ok(Some(names.join("; ")))
}

/// What servers have obeyed, as they were seen last.
async fn felt(
    db: &mut PgConnection,
    servers: &[SubjectId],
) -> sqlx::Result<HashMap<SubjectId, Vec<ObeyedWord>>> {
    let seen = observations::newest(db, servers).await?;
    let words = |(id, seen): (SubjectId, Observation)| {
        let words = seen.attributes.server.words?;
        Some((id, words.0))
    };
    Ok(seen.into_iter().filter_map(words).collect())
}

async fn servers(db: &mut PgConnection) -> sqlx::Result<Vec<SubjectId>> {
    let sql = "select id from subjects where kind = 'server' and forgotten_at is null";
    column(db, sql, ()).await
}

/// What servers know more of than the record, and why.
async fn behind(db: &mut PgConnection) -> sqlx::Result<Vec<(Kept, String)>> {
    let servers = servers(db).await?;
    let felt = felt(db, &servers).await?;
    let kept = words::kept(db, &servers).await?;
    let compared = kept.into_iter().filter_map(|kept| {
        let why = kept.standing.is_behind(obeyed(&felt, &kept)?)?;
        Some((kept, why))
    });
    Ok(compared.collect())
}

fn obeyed<'a>(
    felt: &'a HashMap<SubjectId, Vec<ObeyedWord>>,
    kept: &Kept,
) -> Option<&'a ObeyedWord> {
    let mut words = felt.get(&kept.server)?.iter();
    words.find(|word| word.key.as_deref() == Some(&kept.key))
}

/// Brings all that servers compare with above what they know, and gives up what may not be
/// begun again on the strength of an old record. Call it in a transaction, behind the changes
/// of who leads.
///
/// # Errors
/// What the database said.
pub async fn raise(db: &mut PgConnection, by: OperationId) -> sqlx::Result<()> {
    give_up_what_was_begun(db, by).await?;
    let (mut leaders, mut epochs, mut timelines) = (vec![], vec![], vec![]);
    for group in groups(db, &[]).await? {
        let known = |node: &NodeSeen| node.epoch.unwrap_or_default().max(node.recorded);
        leaders.push(group.leader);
        epochs.push(group.nodes.iter().map(known).max().unwrap_or_default());
        timelines.push(group.nodes.iter().filter_map(|node| node.timeline).max());
    }
    let timelines: Vec<Option<i64>> = timelines.into_iter().map(|of| of.map(i64::from)).collect();
    let sql = "update resources r
               set epoch = g.epoch + 1, epoch_by = $4,
                   newest_timeline = greatest(r.newest_timeline, g.timeline),
                   timeline = case when r.leader_id is null then greatest(r.timeline, g.timeline)
                                   else r.timeline end
               from unnest($1::text[], $2::bigint[], $3::bigint[]) as g (leader, epoch, timeline)
               where coalesce(r.leader_id, r.id) = g.leader";
    run(db, sql, (leaders, epochs, timelines, by)).await?;
    let servers = servers(db).await?;
    let felt = felt(db, &servers).await?;
    let (mut subjects, mut numbers) = (vec![], vec![]);
    for kept in words::kept(db, &servers).await? {
        let leases = obeyed(&felt, &kept).and_then(|word| word.leases.as_deref());
        // A cluster's, and its server's behind it; of a machine there is one.
        for (subject, lease) in [kept.subject, kept.server]
            .iter()
            .zip(leases.unwrap_or_default())
        {
            let number = lease
                .split_once(':')
                .and_then(|(n, _)| n.parse::<i64>().ok());
            if let Some(number) = number {
                subjects.push(*subject);
                numbers.push(number);
            }
        }
    }
    let sql = "update subjects s
               set lock_fence = greatest(s.lock_fence, had.fence) + 1, lock_owner = null,
                   lock_nonce = md5(random()::text || s.id || clock_timestamp()),
                   lock_worker = null, lock_until = null
               from (select id, max(fence) as fence
                     from unnest($1::text[], $2::bigint[]) as u (id, fence) group by id) had
               where s.id = had.id";
    run(db, sql, (subjects, numbers)).await?;
    // Whoever may be in a list is counted until it is proved that it is not.
    run(
        db,
        "update resources set counted = true where leader_id is not null and durability = 'sync'",
        (),
    )
    .await?;
    let held = modes::of_herd(db).await?;
    if held.is_some_and(|set| set.reason.starts_with(ANOTHER)) {
        modes::set(db, "herd", Mode::Act, "").await?;
    }
    settle(db).await?;
    queue::wake_all_incidents(db, None).await
}

/// Who leads and who follows is decided anew; the rest begins its time anew.
async fn give_up_what_was_begun(db: &mut PgConnection, by: OperationId) -> sqlx::Result<()> {
    let kinds = [
        OperationKind::Failover,
        OperationKind::Switchover,
        OperationKind::Rebuild,
    ];
    let sql = "select id from operations where state = 'open' and kind = any($1) order by id";
    let open: Vec<OperationId> = column(db, sql, [&kinds[..]]).await?;
    for id in open {
        let text = format!(
            "given up: {} has adopted another record of who leads",
            by.public()
        );
        operations::end(db, id, OperationState::Cancelled, "drover", &text).await?;
    }
    let sql = "update operations set deadline = null, stuck_at = null, revision = revision + 1
               where state = 'open' and id <> $1";
    run(db, sql, [by]).await
}

/// Makes this record one of a deployment of its own, which obeys nobody's servers: what it knows
/// stays under the other's word. Gives the new id.
///
/// # Errors
/// What the database said.
pub async fn become_another(db: &mut PgConnection) -> sqlx::Result<DeploymentId> {
    let (was,): (DeploymentId,) = only_row(db, "select id from deployment for update", ()).await?;
    let id = DeploymentId::generate();
    run(db, "update deployment set id = $1", [id]).await?;
    settle(db).await?;
    let why = format!("a copy of deployment {was}, whose servers obey that one");
    modes::set(db, "herd", Mode::Hold, &why).await?;
    queue::wake_all_incidents(db, None).await?;
    Ok(id)
}

/// The database of the herd that this record is kept in, if it is: who works with it cannot take
/// its lead to another.
///
/// # Errors
/// What the database said.
pub async fn hosted_by(db: &mut PgConnection) -> sqlx::Result<Option<SubjectId>> {
    let Some(own) = identity(db).await?.own_system else {
        return Ok(None);
    };
    let sql = "select r.id from resources r join subjects s on s.id = r.id
               where r.system_identifier = $1 and s.forgotten_at is null
               order by r.leader_id nulls first limit 1";
    super::statement::value(db, sql, [own]).await
}

/// Whose record it is.
///
/// # Errors
/// What the database said.
pub async fn deployment(db: &mut PgConnection) -> sqlx::Result<DeploymentId> {
    let found: Option<(DeploymentId,)> = row(db, "select id from deployment", ()).await?;
    found.map(|(id,)| id).ok_or(sqlx::Error::RowNotFound)
}
