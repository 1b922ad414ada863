//! `archiving_stalled`: the archiver of a cluster fails, or falls behind.

use std::time::Duration;

use drover::model::{IncidentKind, Resource, Server, Severity};
use drover::store::subjects::Known;
use serde::Deserialize;

use super::playbook::{Blast, Budget, Playbook, Remedy, Step, Tells, Tiers};
use super::{Ended, Outcome, Turn, follows, superuser};

pub const PLAYBOOK: Playbook = Playbook {
    kind: IncidentKind::ArchivingStalled,
    title: "WAL of a database is not archived",
    opened_when: "archiving fails twice in a row, or over limits.archive_ready segments wait",
    tiers: Tiers::All,
    severity: Severity::Error,
    budget: Budget {
        attempts: 3,
        deadline: Duration::from_secs(900),
    },
    blast_radius: Blast::Resource,
    looks_round: false,
    remedies: &[Remedy {
        name: "restart_archiving",
        does: "end what hangs under the archiver, reload, switch to a new segment, and watch it \
               catch up",
        attempts: 2,
        settle: Duration::from_secs(20),
        steps: &[
            Step::new("look"),
            Step::new("restart"),
            Step::watching("catch_up"),
        ],
    }],
    undo: None,
    tells: Tells::Page,
};

/// How long one segment of 16 MiB may be under way, in seconds: longer than any
/// archive that keeps up with anything would take.
const HUNG_S: &str = "60";
/// How long a restarted archiver may take to archive one: it is started again
/// after 10 s, and looks for itself every 60 s.
const PROGRESS_S: i64 = 75;

/// `archiver` prints the archiver's pid; `hung` prints pid and birth (in ticks since
/// boot) of everything under a child of it that is older than `$2` seconds.
///
/// A backend's title could begin as the archiver's does (a role of that name), but
/// ends with its address and its state.
const PROCESSES: &str = r#"stat_of() { IFS= read -r x <"/proc/$1/stat" || return 1; x=${x##*) }; set -- $x; ppid=$2; born=${20}; }
m=$(as_owner sed -n 1p -- "$d/postmaster.pid"); old=$2
archiver() {
  for t in /proc/[0-9]*; do
    stat_of "${t#/proc/}" && [ "$ppid" = "$m" ] || continue
    tr '\0' ' ' <"$t/cmdline" | grep -qE '^postgres: (.*: )?archiver *((archiving|last was|failed on) [0-9A-F]{8}[0-9A-Za-z.]*)? *$' && { echo "${t#/proc/}"; return; }
  done
} 2>/dev/null
hung() {
  [ -n "$a" ] || return 0
  for t in /proc/[0-9]*; do stat_of "${t#/proc/}" && echo "${t#/proc/} $ppid $born"; done 2>/dev/null |
    awk -v a="$a" -v up="$(cut -d' ' -f1 /proc/uptime)" -v hz="$(getconf CLK_TCK)" -v old="$old" '
      { parent[$1] = $2; born[$1] = $3 }
      END { for (p in parent) {
        c = p; n = 0
        while (c in parent && parent[c] != a && n++ < 64) c = parent[c]
        if (c in parent && parent[c] == a && up - born[c] / hz >= old) print p, born[p]
      } }'
}
a=$(archiver)
"#;

/// What PostgreSQL says of its archiver, on one line.
const STATUS: &str = r#"status() { sql -v hung="$1" -v said="$2" -v archiver="$a" -v ended="$3" <<'END' || exit 5
select jsonb_build_object(
    'on', current_setting('archive_mode') <> 'off',
    'left_to_leader', pg_is_in_recovery() and current_setting('archive_mode') <> 'always',
    'configured', current_setting('archive_command') not in ('', '(disabled)')
        or coalesce(current_setting('archive_library', true), '') <> '',
    'archived', archived_count, 'failed', failed_count,
    'failing', coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false),
    'ready', (select count(*) from pg_ls_dir('pg_wal/archive_status') f where f like '%.ready'),
    'segment', last_failed_wal,
    'clock', round(extract(epoch from clock_timestamp()))::bigint,
    'archiver', nullif(:'archiver', ''), 'hung', :'hung', 'log', :'said', 'ended', :'ended')
from pg_stat_archiver
END
}
"#;

/// The log may quote the command, and that may hold a secret: only PostgreSQL's own
/// words are taken.
const LOOK: &str = r#"names=$(hung | while read -r p _; do IFS= read -r n <"/proc/$p/comm" && printf '%s (pid %s) ' "$n" "$p"; done 2>/dev/null)
said=$(as_owner tail -c 65536 -- "$l" 2>/dev/null | grep -aoE 'archive command (failed with exit code [0-9]+|was terminated by signal [0-9]+)' | tail -n 1)
status "$names" "$said" ""
"#;

/// Ends what hangs, only what still is the process that was found; then the
/// archiver is waked with its settings read anew, and given a segment to archive.
const RESTART: &str = r#"still() { while read -r p b; do stat_of "$p" && [ "$born" = "$b" ] && echo "$p"; done 2>/dev/null; }
end() { k=$(printf '%s\n' "$found" | still); [ -z "$k" ] || as_owner sh -c 'kill "$@"' kill "-$1" $k 2>/dev/null; }
gone() { n=30; while [ -n "$(printf '%s\n' "$found" | still)" ]; do n=$((n - 1)); [ $n -gt 0 ] || return 1; sleep 0.1; done; }
found=$(hung)
if [ -n "$found" ]; then
  end TERM; gone || { end KILL; gone; } || { echo "a child of the archiver survives SIGKILL: it hangs in the kernel" >&2; exit 5; }
fi
sql <<'END' >/dev/null || exit 5
select pg_reload_conf();
select pg_switch_wal() where not pg_is_in_recovery();
END
status "" "" "$(printf '%s' "$found" | grep -c .)"
"#;

/// What a script tells.
#[derive(Debug, Deserialize)]
struct Told {
    on: bool,
    /// A follower, which archives nothing of its own.
    left_to_leader: bool,
    configured: bool,
    archived: i64,
    failed: i64,
    failing: bool,
    ready: u64,
    segment: Option<String>,
    /// Seconds of the server's clock.
    clock: i64,
    archiver: Option<String>,
    /// What hangs under it.
    hung: String,
    /// The log's last word on it.
    log: String,
    /// How many processes were ended.
    ended: String,
}

/// Does a step.
pub async fn perform(turn: &Turn<'_>) -> Outcome {
    let Known::Resource(resource, server) = turn.known else {
        return Outcome::passed_over("only a resource has an archiver");
    };
    let rest = match turn.step {
        "restart" => RESTART,
        _ => LOOK,
    };
    let script = format!("{PROCESSES}{STATUS}{rest}");
    let told = superuser::ask(turn, (resource, server), &script, &[HUNG_S]).await;
    let told: Told = match told.map(serde_json::from_value) {
        Ok(Ok(told)) => told,
        Ok(Err(e)) => return Outcome::failed(format!("psql told no figures: {e}")),
        Err(outcome) => return outcome,
    };
    match turn.step {
        "look" => look(&told, resource),
        "restart" => restarted(&told, resource, server),
        _ => catch_up(&told, turn),
    }
}

fn look(told: &Told, resource: &Resource) -> Outcome {
    if !told.on {
        return Outcome::done("archiving is off");
    }
    if told.left_to_leader {
        return Outcome::passed_over(follows(resource.leader, true).unwrap_or_default());
    }
    if !told.configured {
        return Outcome::passed_over(
            "archiving is on, but there is no archive_command: somebody has to say where to",
        );
    }
    Outcome::done(why(told))
}

/// What is wrong with it, for people.
fn why(told: &Told) -> String {
    let mut words = Vec::new();
    if told.archiver.is_none() {
        words.push("there is no archiver".into());
    }
    if !told.hung.trim().is_empty() {
        words.push(format!("under the archiver hangs {}", told.hung.trim()));
    }
    if told.failing {
        let segment = told.segment.as_deref().unwrap_or("a segment");
        let said = match told.log.as_str() {
            "" => "the archive command fails",
            said => said,
        };
        words.push(format!("{said}, last for {segment}"));
    }
    words.push(format!("{} segments wait", told.ready));
    words.join("; ")
}

fn restarted(told: &Told, resource: &Resource, server: &Server) -> Outcome {
    let ended = match told.ended.as_str() {
        "" | "0" => "nothing hung".into(),
        ended => format!("ended {ended} hung processes"),
    };
    Outcome::done(format!("{ended}, reloaded and switched to a new segment"))
        .touching(format!(
            "archiver of {} on {}",
            resource.subject.name, server.subject.name
        ))
        .remember("archived", told.archived)
        .remember("failed", told.failed)
        .remember("progress_at", told.clock)
}

/// Waits for as long as segments go: a long queue is no failure.
fn catch_up(told: &Told, turn: &Turn<'_>) -> Outcome {
    let memo = |name: &str| turn.incident.memo[name].as_i64();
    let archived = memo("archived").unwrap_or(told.archived);
    let failed = memo("failed").unwrap_or(told.failed);
    let progress_at = memo("progress_at").unwrap_or(told.clock);
    let again = Ended::Again(Duration::from_secs(2));
    if !told.on || !told.failing && told.ready <= turn.rules.limits.archive_ready / 2 {
        return Outcome::done(format!("archiving keeps up: {} segments wait", told.ready));
    }
    if told.archived > archived {
        return Outcome::new(again, format!("{} segments wait", told.ready))
            .remember("archived", told.archived)
            .remember("failed", told.failed)
            .remember("progress_at", told.clock);
    }
    // The one that was ended may count as failed itself.
    if told.failed > failed + 1 || told.clock - progress_at > PROGRESS_S {
        return Outcome::failed(why(told));
    }
    Outcome::new(again, why(told)).remember("progress_at", progress_at)
}
