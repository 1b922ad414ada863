//! `xid_wraparound`: the transaction ids of a cluster run out.

use std::time::Duration;

use drover::model::{
    Incident, IncidentKind, IncidentState, Limits, Observation, Resource, Rules, Server, Severity,
};
use drover::store::subjects::Known;
use serde::Deserialize;

use super::playbook::{Blast, Budget, Playbook, Remedy, Step, Tells, Tiers};
use super::{Ended, Outcome, Turn, follows, superuser};

pub const PLAYBOOK: Playbook = Playbook {
    kind: IncidentKind::XidWraparound,
    title: "the transaction ids of a database run out",
    opened_when: "the oldest transaction id is older than limits.xid_age",
    tiers: Tiers::All,
    severity: Severity::Error,
    budget: Budget {
        attempts: 3,
        deadline: Duration::from_secs(4 * 3600),
    },
    blast_radius: Blast::Resource,
    looks_round: false,
    remedies: &[Remedy {
        name: "freeze",
        does: "vacuum (freeze) the oldest tables of the oldest databases, for no longer than \
               limits.vacuum",
        attempts: 2,
        settle: Duration::from_secs(90),
        steps: &[
            Step::new("look"),
            Step::new("start"),
            Step::watching("watch"),
        ],
    }],
    undo: None,
    tells: Tells::Page,
};

/// The place of the step by which freezing is under way.
const WATCH: u16 = 2;
/// How long the remedy may take to begin before a human is called for the age alone.
const BEGUN_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_secs(10);

/// How things stand, on one line. `running` is whether freezing is under way: the
/// runner holds a lock on the cluster, and what it began outlives it by at most its
/// time limit. What a session or a slot may still see is not frozen.
const STATUS: &str = r#"lock=$d/PG_VERSION
as_owner flock -E 75 -n "$lock" true
case $? in 0) running=false;; 75) running=true;; *) echo "flock cannot lock $lock" >&2; exit 5;; esac
sql -v old="$2" -v locked=$running <<'END' || exit 5
with holds as (
    select age(transaction) as age,
        format('prepared transaction %L of %s in %s, since %s', gid, owner, database,
            date_trunc('second', prepared)) as what
    from pg_prepared_xacts
    union all
    select greatest(age(xmin), age(catalog_xmin)), format('replication slot %s%s', slot_name,
        case when active then '' else ' (inactive)' end)
    from pg_replication_slots where coalesce(xmin, catalog_xmin) is not null
    union all
    select greatest(age(backend_xid), age(backend_xmin)),
        format('%s %s of %s, in a transaction since %s', backend_type, pid, usename,
            date_trunc('second', xact_start))
    from pg_stat_activity
    where coalesce(backend_xid, backend_xmin) is not null and pid <> pg_backend_pid()
        and application_name <> 'drover_freeze' and backend_type <> 'autovacuum worker'
), databases as (
    select datname, datallowconn, age(datfrozenxid) as age from pg_database
)
select jsonb_build_object(
    'in_recovery', pg_is_in_recovery(),
    'running', :'locked'::bool
        or exists (select from pg_stat_activity where application_name = 'drover_freeze'),
    'progress', (
        select string_agg(format('%s in %s, %s of %s blocks', phase, p.datname,
            heap_blks_scanned, heap_blks_total), '; ')
        from pg_stat_progress_vacuum p join pg_stat_activity a using (pid)
        where a.application_name = 'drover_freeze'),
    'age', (select max(age) from databases where datallowconn),
    'database', (select datname from databases where datallowconn order by age desc limit 1),
    'closed', (
        select left(string_agg(datname, ', '), 200) from databases
        where not datallowconn and age > :old),
    'held_at', (select coalesce(max(age), 0) from holds),
    'held_by', (
        select left(string_agg(what, '; ' order by age desc), 800)
        from (select * from holds where age > :old order by age desc limit 5) oldest))
END
"#;

/// Detached: `$2` the age from which on a table is frozen, `$3` the time limit in
/// seconds. The lock is the cluster's own file, so that a second one ends without
/// effect whoever started it, and a killed one holds it no longer. It waits a while
/// for the lock, because who looks at it holds it for a moment.
///
/// The subshell keeps no descriptor of ours open: sshd waits until all are closed.
///
/// Tables are vacuumed one by one, oldest first; a table that fails or is locked is
/// passed over. A TOAST table goes with its own.
const START: &str = r#"(as_owner sh -c 'trap "" HUP; exec setsid flock -w 5 "$1" timeout "$3" sh -c "$2" drover_freeze "$@"' drover_freeze \
  "$d/PG_VERSION" "$RUNNER" "$3" "$2" "$q" "$s" "$port" "$u" "$b" "$settings") </dev/null >/dev/null 2>&1 3<&- &
n=30; while as_owner flock -n "$d/PG_VERSION" true 2>/dev/null; do n=$((n - 1)); [ $n -gt 0 ] || break; sleep 0.1; done
[ $n -gt 0 ] && echo '{"started":true}' || echo '{"started":false}'
"#;

/// The arguments are those of `START`, from the lock on.
const RUNNER: &str = r#"end=$(($(date +%s) + $3)); old=$4 q=$5 s=$6 port=$7 u=$8 b=$9; shift 9; settings=$1
run() {
  left=$((end - $(date +%s))); [ $left -gt 0 ] || exit 0
  env PGDATABASE="$1" PGAPPNAME=drover_freeze PGCONNECT_TIMEOUT=10 \
    PGOPTIONS="-c statement_timeout=${left}s -c lock_timeout=30s -c vacuum_cost_delay=2 -c vacuum_cost_limit=2000 $settings" \
    "$q" -XqAtw -v old="$old" -h "$s" -p "$port" -U "$u"
}
run "$b" <<'END' | while IFS= read -r name; do run "$name" <<'SQL'; done
select datname from pg_database
where datallowconn and age(datfrozenxid) > :old and datname !~ '[\r\n]'
order by age(datfrozenxid) desc;
END
select format('vacuum (freeze%s) %I.%I',
    case when current_setting('server_version_num')::int >= 120000 then ', truncate off' end,
    n.nspname, c.relname)
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
left join pg_class t on t.oid = c.reltoastrelid
where c.relkind in ('r', 'm') and c.relpersistence <> 't'
    and greatest(age(c.relfrozenxid), age(nullif(t.relfrozenxid, '0'))) > :old
order by greatest(age(c.relfrozenxid), age(nullif(t.relfrozenxid, '0'))) desc
\gexec
SQL
"#;

/// What [`STATUS`] tells.
#[derive(Debug, Deserialize)]
struct Told {
    in_recovery: bool,
    running: bool,
    progress: Option<String>,
    /// Of the oldest database that can be connected to.
    age: i64,
    database: String,
    /// Old databases that cannot, which only autovacuum can freeze.
    closed: Option<String>,
    /// Nothing younger than this can be frozen.
    held_at: i64,
    held_by: Option<String>,
}

impl Told {
    /// What keeps the ids from being frozen, for people.
    fn held(&self) -> String {
        let mut words = String::new();
        if let Some(by) = &self.held_by {
            words.push_str(&format!("; held back by {by}"));
        }
        if let Some(closed) = &self.closed {
            words.push_str(&format!(
                "; {closed} takes no connections and is left to autovacuum"
            ));
        }
        words
    }

    fn oldest(&self) -> String {
        format!("{} is {} transactions old", self.database, self.age)
    }
}

/// Tables older than this are frozen: enough of them that it takes a while until the
/// limit is reached again. The incident ends at four fifths of the limit.
fn old(limits: &Limits) -> i64 {
    i64::try_from(limits.xid_age / 2).unwrap_or(i64::MAX)
}

fn low_enough(told: &Told, limits: &Limits) -> bool {
    told.age < i64::try_from(limits.xid_age / 5 * 4).unwrap_or(i64::MAX)
}

/// Does a step.
pub async fn perform(turn: &Turn<'_>) -> Outcome {
    let Known::Resource(resource, server) = turn.known else {
        return Outcome::passed_over("only a resource has transactions");
    };
    let done = match turn.step {
        "look" => look(turn, resource, server).await,
        "start" => start(turn, resource, server).await,
        _ => watch(turn, resource, server).await,
    };
    done.unwrap_or_else(|outcome| outcome)
}

async fn status(turn: &Turn<'_>, resource: &Resource, server: &Server) -> Result<Told, Outcome> {
    let old = old(&turn.rules.limits).to_string();
    let told = superuser::ask(turn, (resource, server), STATUS, &[&old]).await?;
    serde_json::from_value(told).map_err(|e| Outcome::failed(format!("psql told no figures: {e}")))
}

async fn look(turn: &Turn<'_>, resource: &Resource, server: &Server) -> Result<Outcome, Outcome> {
    let told = status(turn, resource, server).await?;
    if let Some(why) = follows(resource.leader, told.in_recovery) {
        return Ok(Outcome::passed_over(why));
    }
    let gain = told.age - told.held_at;
    if !told.running && gain < told.age / 100 {
        return Ok(Outcome::passed_over(format!(
            "{}, and next to nothing of it can be frozen{}",
            told.oldest(),
            told.held()
        )));
    }
    let note = format!("{}{}", told.oldest(), told.held());
    Ok(Outcome::done(note).remember("age", told.age))
}

async fn start(turn: &Turn<'_>, resource: &Resource, server: &Server) -> Result<Outcome, Outcome> {
    let limits = &turn.rules.limits;
    let told = status(turn, resource, server).await?;
    if told.running {
        return Ok(Outcome::done("freezing is under way already"));
    }
    if told.age <= old(limits) {
        return Ok(Outcome::done(format!("{}: nothing to do", told.oldest())));
    }
    let script = format!("RUNNER=$(cat <<'EOF'\n{RUNNER}EOF\n)\n{START}");
    let (age, seconds) = (old(limits).to_string(), limits.vacuum.as_secs().max(1));
    let arguments = [age.as_str(), &seconds.to_string()];
    superuser::ask(turn, (resource, server), &script, &arguments).await?;
    Ok(Outcome::done(format!(
        "began to freeze tables older than {age} transactions, for at most {seconds} s"
    ))
    .touching(format!(
        "tables of {} on {}",
        resource.subject.name, server.subject.name
    )))
}

async fn watch(turn: &Turn<'_>, resource: &Resource, server: &Server) -> Result<Outcome, Outcome> {
    let told = status(turn, resource, server).await?;
    if told.running {
        let progress = told.progress.as_deref().unwrap_or("freezing");
        return Ok(Outcome::new(
            Ended::Again(POLL),
            format!("{}; {progress}", told.oldest()),
        ));
    }
    let was = turn.incident.memo["age"].as_i64().unwrap_or(told.age);
    let note = format!(
        "froze for a while: {}, after {was}{}",
        told.oldest(),
        told.held()
    );
    Ok(if low_enough(&told, &turn.rules.limits) {
        Outcome::done(note)
    } else {
        Outcome::failed(note)
    })
}

/// Near the end a human is called whatever drover does; but not before freezing has
/// begun, which goes on by itself.
pub fn urgent(incident: &Incident, seen: Option<&Observation>, rules: &Rules) -> Option<String> {
    let seen = seen?;
    let age = seen.attributes.details.get("xid_age")?.as_u64()?;
    let limit = rules.limits.xid_page_age;
    let since = (seen.created_at - incident.state_since).to_std();
    let late = since.is_ok_and(|since| since > BEGUN_WITHIN);
    let begun = match incident.state {
        IncidentState::Triggered => late,
        IncidentState::Resolving => late || incident.step >= WATCH,
        IncidentState::Waiting | IncidentState::NeedsHuman | IncidentState::Resolved => true,
    };
    (age > limit && begun).then(|| {
        format!("the oldest transaction id is {age} transactions old, more than {limit}; at 2100 million writes stop")
    })
}
