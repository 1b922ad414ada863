//! Whether the record is older than what the servers know, and how it is brought up to them.
//!
//! A control database that was restored, rewound or copied tells so by its own identity, or the
//! servers do by the words that they have obeyed since. While there is doubt nothing is changed
//! ([`crate::store::incidents::old_record`]); who leads is then taken from the nodes.

mod leads;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Connection as _, FromRow, PgConnection};

use super::statement::{column, only_row, row, rows, run};
use super::words::{self, Kept};
use super::{incidents, modes, observations, operations, queue};
use crate::model::{
    DeploymentId, IncidentKind, Mode, ObeyedWord, Observation, Opening, OperationId, OperationKind,
    OperationState, SubjectId,
};

pub use leads::{Leads, NodeSeen, who_leads};

/// How the herd's mode begins to say why it is `hold`, where nobody has set it.
const ANOTHER: &str = "the control database is another one than before";

/// What a node has said is not what it would say now, if it is older than this.
const FRESH: TimeDelta = TimeDelta::minutes(5);

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
) -> sqlx::Result<Vec<(SubjectId, Vec<ObeyedWord>)>> {
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

fn obeyed<'a>(felt: &'a [(SubjectId, Vec<ObeyedWord>)], kept: &Kept) -> Option<&'a ObeyedWord> {
    let (_, words) = felt.iter().find(|(server, _)| *server == kept.server)?;
    words
        .iter()
        .find(|word| word.key.as_deref() == Some(&kept.key))
}

/// A leader and its followers, of which the record may be wrong.
#[derive(Clone, Debug)]
pub struct Group {
    /// Who leads by the record.
    pub leader: SubjectId,
    /// Its name.
    pub name: String,
    /// All of them, the leader first.
    pub nodes: Vec<NodeSeen>,
    /// Who leads by the nodes' word.
    pub leads: Leads,
}

/// The leaders whose record differs from what the nodes say, or may. `told` are nodes of which
/// a person has said that they lead.
///
/// # Errors
/// What the database said.
pub async fn compare(db: &mut PgConnection, told: &[SubjectId]) -> sqlx::Result<Vec<Group>> {
    let differs = |group: &Group| {
        let knows_more = |node: &NodeSeen| node.epoch.is_some_and(|of| of > node.recorded);
        group.leads != Leads::AsRecorded || group.nodes.iter().any(knows_more)
    };
    let groups = groups(db, told).await?.into_iter();
    Ok(groups.filter(differs).collect())
}

async fn groups(db: &mut PgConnection, told: &[SubjectId]) -> sqlx::Result<Vec<Group>> {
    #[derive(FromRow)]
    struct Node {
        id: SubjectId,
        name: String,
        leader: SubjectId,
        server: SubjectId,
        deployment: DeploymentId,
        epoch: i64,
        word_key: Option<String>,
        system_identifier: Option<String>,
    }
    let sql = "select r.id, s.name, coalesce(r.leader_id, r.id) as leader, r.server_id as server,
                      d.id as deployment, r.epoch, s.word_key, r.system_identifier
               from deployment d, resources r join subjects s on s.id = r.id
               where s.forgotten_at is null
               order by leader, r.leader_id nulls first, r.id";
    let nodes: Vec<Node> = rows(db, sql, ()).await?;
    let servers: Vec<SubjectId> = nodes.iter().map(|node| node.server).collect();
    let felt = felt(db, &servers).await?;
    let ids: Vec<SubjectId> = nodes.iter().map(|node| node.id).collect();
    let seen = observations::newest(db, &ids).await?;
    let now: DateTime<Utc> = super::now(db).await?;
    let node_seen = |node: &Node| {
        let (own, deployment) = (node.word_key.as_deref(), node.deployment.to_string());
        // One that the record has not seen a word of is known by its system identifier.
        let prefix = node.system_identifier.as_ref().map(|id| format!("{id}-"));
        let is_its = |key: &str| match own {
            Some(own) => key == own,
            None => prefix
                .as_deref()
                .is_some_and(|prefix| key.starts_with(prefix)),
        };
        let words = felt.iter().find(|(server, _)| *server == node.server);
        let mut words = words.map_or(&[][..], |(_, words)| words).iter();
        let word = words.find(|word| {
            word.deployment.as_ref() == Some(&deployment) && word.key.as_deref().is_some_and(is_its)
        });
        let fresh = |seen: &&Observation| seen.created_at > now - FRESH;
        let seen = seen
            .iter()
            .find(|(id, _)| *id == node.id)
            .map(|(_, seen)| seen);
        let seen = seen
            .filter(fresh)
            .filter(|seen| seen.attributes.service_available);
        NodeSeen {
            id: node.id,
            name: node.name.clone(),
            takes_writes: seen.and_then(|seen| Some(!seen.attributes.resource.in_recovery?)),
            epoch: word.and_then(|word| word.epoch),
            recorded: node.epoch,
            timeline: seen.and_then(|seen| u32::try_from(seen.attributes.resource.timeline?).ok()),
        }
    };
    let groups = nodes
        .chunk_by(|a, b| a.leader == b.leader)
        .filter_map(|nodes| {
            let leader = nodes.iter().find(|node| node.id == node.leader)?;
            let seen: Vec<NodeSeen> = nodes.iter().map(node_seen).collect();
            let leads = who_leads(leader.id, &seen, told);
            Some(Group {
                leader: leader.id,
                name: leader.name.clone(),
                nodes: seen,
                leads,
            })
        });
    Ok(groups.collect())
}

/// Brings all that servers compare with above what they know, and gives up what may not be
/// begun again on the strength of an old record. Call it in a transaction, behind the changes
/// of who leads.
///
/// # Errors
/// What the database said.
pub async fn raise(db: &mut PgConnection, by: OperationId) -> sqlx::Result<()> {
    give_up_what_was_begun(db, by).await?;
    for group in groups(db, &[]).await? {
        let epochs = group
            .nodes
            .iter()
            .flat_map(|node| node.epoch.into_iter().chain([node.recorded]));
        let epoch = epochs.max().unwrap_or_default();
        let sql = "update resources set epoch = $2 + 1, epoch_by = $3
                   where id = $1 or leader_id = $1";
        run(db, sql, (group.leader, epoch, by)).await?;
    }
    let servers = servers(db).await?;
    let felt = felt(db, &servers).await?;
    for kept in words::kept(db, &servers).await? {
        let Some(obeyed) = obeyed(&felt, &kept) else {
            continue;
        };
        let mut number = |lease: &String| lease.split_once(':')?.0.parse::<i64>().ok();
        let mut leases = obeyed
            .leases
            .as_deref()
            .unwrap_or_default()
            .iter()
            .map(&mut number);
        let (first, second) = (leases.next().flatten(), leases.next().flatten());
        for (subject, had) in [(kept.subject, first), (kept.server, second)] {
            let sql = "update subjects
                       set lock_fence = greatest(lock_fence, $2) + 1, lock_owner = null,
                           lock_nonce = md5(random()::text || id || clock_timestamp()),
                           lock_worker = null, lock_until = null
                       where id = $1 and $2 is not null";
            run(db, sql, (subject, had)).await?;
        }
    }
    // Whoever may be in a list is counted until it is proved that it is not.
    run(
        db,
        "update resources set counted = true where leader_id is not null and durability = 'sync'",
        (),
    )
    .await?;
    for (subject, timeline) in timelines(db).await? {
        let sql = "update resources
                   set newest_timeline = greatest(newest_timeline, $2),
                       timeline = case when leader_id is null then greatest(timeline, $2)
                                       else timeline end
                   where id = $1 or leader_id = $1";
        run(db, sql, (subject, timeline)).await?;
    }
    let held = modes::of_herd(db).await?;
    if held.is_some_and(|set| set.reason.starts_with(ANOTHER)) {
        modes::set(db, "herd", Mode::Act, "").await?;
    }
    settle(db).await?;
    queue::wake_all_incidents(db, None).await
}

/// The highest timeline that a node of each leader was seen on.
async fn timelines(db: &mut PgConnection) -> sqlx::Result<Vec<(SubjectId, i64)>> {
    let sql = "select r.id, coalesce(r.leader_id, r.id)
               from resources r join subjects s on s.id = r.id where s.forgotten_at is null";
    let nodes: Vec<(SubjectId, SubjectId)> = rows(db, sql, ()).await?;
    let ids: Vec<SubjectId> = nodes.iter().map(|(id, _)| *id).collect();
    let seen = observations::newest(db, &ids).await?;
    let of = |(id, seen): (SubjectId, Observation)| {
        let (_, leader) = nodes.iter().find(|(node, _)| *node == id)?;
        // Servers tell, and may tell anything.
        Some((
            *leader,
            u32::try_from(seen.attributes.resource.timeline?)
                .ok()?
                .into(),
        ))
    };
    Ok(seen.into_iter().filter_map(of).collect())
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
