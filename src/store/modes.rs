//! What resolvers may do: set for the herd, a tier or a subject; the most
//! cautious of the three holds.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use super::queue;
use super::statement::{only_value, rows, run};
use crate::model::{Kind, Mode, PublicId, SubjectId};

/// For whom a mode is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everybody.
    Herd,
    /// A tier's subjects, and the resources on its servers.
    Tier(String),
    /// A subject; a server's resources too.
    Subject(PublicId),
}

impl Scope {
    /// As the table holds it.
    pub fn stored(&self) -> String {
        match self {
            Scope::Herd => "herd".into(),
            Scope::Tier(name) => format!("tier:{name}"),
            Scope::Subject(id) => format!("subject:{}", id.id),
        }
    }

    fn read(stored: &str, kind: Option<Kind>) -> sqlx::Result<Self> {
        if let Some(name) = stored.strip_prefix("tier:") {
            return Ok(Scope::Tier(name.into()));
        }
        match (stored.strip_prefix("subject:"), kind) {
            (Some(id), Some(kind)) => {
                let id = id.parse().map_err(|e| sqlx::Error::ColumnDecode {
                    index: "scope".into(),
                    source: Box::new(e),
                })?;
                Ok(Scope::Subject(PublicId::new(kind, id)))
            }
            (Some(_), None) | (None, _) => Ok(Scope::Herd),
        }
    }
}

impl std::fmt::Display for Scope {
    /// As people write it: `herd`, `tier:gold`, `srv_…`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Scope::Herd => f.write_str("herd"),
            Scope::Tier(name) => write!(f, "tier:{name}"),
            Scope::Subject(id) => id.fmt(f),
        }
    }
}

/// A mode that was set.
#[derive(Clone, Debug)]
pub struct Set {
    /// For whom.
    pub scope: Scope,
    /// The subject's name, if it is set for one.
    pub name: Option<String>,
    /// What holds there.
    pub mode: Mode,
    /// Why, in the words of who set it.
    pub reason: String,
    /// When.
    pub set_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct Row {
    /// For whom it was asked, where that was asked.
    subject_id: Option<SubjectId>,
    scope: String,
    subject_kind: Option<Kind>,
    name: Option<String>,
    mode: Mode,
    reason: String,
    set_at: DateTime<Utc>,
}

impl Row {
    fn into_set(self) -> sqlx::Result<Set> {
        Ok(Set {
            scope: Scope::read(&self.scope, self.subject_kind)?,
            name: self.name,
            mode: self.mode,
            reason: self.reason,
            set_at: self.set_at,
        })
    }
}

/// All that were set, the herd's first, then the tiers'.
pub async fn all(db: &mut PgConnection) -> sqlx::Result<Vec<Set>> {
    let sql =
        "select null as subject_id, m.scope, s.kind as subject_kind, s.name, m.mode, m.reason,
                m.set_at
         from modes m left join subjects s on m.scope = 'subject:' || s.id
         order by m.scope <> 'herd', m.scope not like 'tier:%', m.scope";
    let rows: Vec<Row> = rows(db, sql, ()).await?;
    rows.into_iter().map(Row::into_set).collect()
}

/// The modes other than `act` that hold for these subjects: for each the most
/// cautious, and of those the widest. A resource's server's counts too.
pub async fn holding(
    db: &mut PgConnection,
    subjects: &[SubjectId],
) -> sqlx::Result<HashMap<SubjectId, Set>> {
    let sql = "with involved as (
             select s.id as asked, s.id, s.tier from subjects s where s.id = any($1)
             union all
             select r.id, s.id, s.tier from resources r join subjects s on s.id = r.server_id
             where r.id = any($1))
         select distinct on (i.asked)
                i.asked as subject_id, m.scope, s.kind as subject_kind, s.name, m.mode, m.reason,
                m.set_at
         from involved i
         join modes m on m.scope in ('herd', 'tier:' || i.tier, 'subject:' || i.id)
         left join subjects s on m.scope = 'subject:' || s.id
         order by i.asked, m.mode <> 'hold', m.scope <> 'herd', m.scope not like 'tier:%', m.scope";
    let rows: Vec<Row> = rows(db, sql, [subjects]).await?;
    let mut holding = HashMap::new();
    for row in rows {
        if let Some(subject) = row.subject_id {
            holding.insert(subject, row.into_set()?);
        }
    }
    Ok(holding)
}

/// What was set for the herd.
pub async fn of_herd(db: &mut PgConnection) -> sqlx::Result<Option<Set>> {
    let set = all(db).await?.into_iter().next();
    Ok(set.filter(|set| set.scope == Scope::Herd))
}

/// Sets one; `act` is the same as none and takes it out.
pub async fn set(db: &mut PgConnection, scope: &str, mode: Mode, reason: &str) -> sqlx::Result<()> {
    if mode == Mode::Act {
        run(db, "delete from modes where scope = $1", [scope]).await?;
        return Ok(());
    }
    let sql = "insert into modes (scope, mode, reason) values ($1, $2, $3)
               on conflict (scope) do update
               set mode = excluded.mode, reason = excluded.reason, set_at = now()";
    run(db, sql, (scope, mode, reason)).await
}

/// Has the open incidents that a mode is about look at it at once.
pub async fn wake(db: &mut PgConnection, scope: &Scope) -> sqlx::Result<()> {
    match scope {
        Scope::Herd => queue::wake_all_incidents(db, None).await,
        Scope::Tier(name) => queue::wake_all_incidents(db, Some(name)).await,
        Scope::Subject(id) => queue::wake_incidents(db, &[id.id]).await,
    }
}

/// Takes out what was set for a subject that leaves the herd.
pub async fn forget(db: &mut PgConnection, subject: SubjectId) -> sqlx::Result<()> {
    let sql = "delete from modes where scope = 'subject:' || $1";
    run(db, sql, [subject]).await
}

/// How many scopes of each sort (`herd`, `tier`, `subject`) were set to each mode.
pub async fn count(db: &mut PgConnection) -> sqlx::Result<Vec<(String, String, i64)>> {
    let sql =
        "select split_part(scope, ':', 1), mode, count(*) from modes group by 1, 2 order by 1, 2";
    rows(db, sql, ()).await
}

/// The mode that holds for a subject; for a resource its server's counts too.
/// `None` asks for the herd's.
pub async fn effective(db: &mut PgConnection, subject: Option<SubjectId>) -> sqlx::Result<Mode> {
    let sql = "with involved as (
                   select s.id, s.tier from subjects s
                   where s.id = $1 or s.id = (select server_id from resources where id = $1))
               select coalesce(max(m.mode) filter (where m.mode = 'hold'),
                               max(m.mode) filter (where m.mode = 'advise'), 'act')
               from modes m
               where m.scope = 'herd'
                  or m.scope in (select 'tier:' || tier from involved)
                  or m.scope in (select 'subject:' || id from involved)";
    only_value(db, sql, [subject]).await
}
