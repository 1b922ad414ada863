//! `resource_down`: a resource is unavailable, though its server is there.

use std::time::Duration;

use drover::model::{IncidentKind, Resource, Server, Severity};
use drover::store::subjects::Known;

use super::playbook::{Blast, Budget, Playbook, Remedy, Step, Tells, Tiers};
use super::shell::{self, FIND_CLUSTER};
use super::{Ended, Outcome, Turn};

pub const PLAYBOOK: Playbook = Playbook {
    kind: IncidentKind::ResourceDown,
    title: "a database does not answer, though its server does",
    opened_when: "the resource is unavailable and its server is available",
    tiers: Tiers::All,
    severity: Severity::Critical,
    budget: Budget {
        attempts: 4,
        deadline: Duration::from_secs(180),
    },
    blast_radius: Blast::Resource,
    looks_round: false,
    remedies: &[
        Remedy {
            name: "restart_fast",
            does: "restart the cluster, letting sessions end (stop mode fast)",
            attempts: 2,
            settle: Duration::from_secs(20),
            steps: &STEPS,
        },
        Remedy {
            name: "restart_immediate",
            does: "restart the cluster, killing what does not stop (stop mode immediate)",
            attempts: 2,
            settle: Duration::from_secs(20),
            steps: &STEPS,
        },
    ],
    undo: None,
    tells: Tells::TicketAndPage,
};

const STEPS: [Step; 2] = [
    Step {
        name: "look",
        limit: Duration::from_secs(8),
    },
    Step {
        name: "restart",
        limit: Duration::from_secs(25),
    },
];

/// How soon a restart that another's is in the way of is tried again.
const SOON: Duration = Duration::from_secs(1);

/// The server's own clock, to know later what was started after this.
const LOOK: &str = r#"date +%s; echo "$v/$c"; [ -n "$(alive)" ] && echo alive || echo dead"#;

/// `$2` is the stop mode, `$3` the server's clock before the attempt. A postmaster
/// that was started since is the work of a turn that was cut off.
///
/// One at a time: a worker's end does not end its script. The lock is on the data
/// directory itself, and must not be handed on to the postmaster.
///
/// PostgreSQL takes a killed postmaster for alive until init has reaped it, and
/// refuses to start; where no process works in the data directory, its lock files
/// are stale. With one there they stay: two postmasters would destroy the data.
/// Whoever cannot see other people's processes cannot tell, and touches nothing.
///
/// Of what a failed start says, the postmaster's own reason is passed on.
///
/// What each part may take adds up to less than the step's limit.
const RESTART: &str = r#"[ "$(id -u)" = 0 ] || [ -O "$d" ] || { echo "$(id -un) is neither root nor the owner of $v/$c"; exit 4; }
exec 9<"$d" && flock -w 2 9 || { echo "another restart is at work"; exit 6; }
lock=$d/postmaster.pid
started=$(sed -n 3p -- "$lock" 2>/dev/null)
if [ -n "$(alive)" ] && [ -n "$started" ] && [ "$started" -ge "$3" ] 2>/dev/null; then
  echo "was started already"; exit 0
fi
gone() { n=$1; while [ -n "$(alive)" ]; do n=$((n - 1)); [ $n -gt 0 ] || return 1; sleep 0.1; done; }
if [ -n "$(alive)" ]; then
  timeout 6 pg_ctlcluster "$v" "$c" stop -m "$2" >/dev/null 2>&1 9<&-
  if ! gone 10; then
    [ "$2" = immediate ] || { echo "it does not stop"; exit 4; }
    kill -9 $(alive) 2>/dev/null
    gone 20 || { echo "it survives SIGKILL: a process hangs in the kernel"; exit 4; }
  fi
fi
if [ -e "$lock" ] && [ -z "$(alive)" ]; then
  port=$(sed -n 4p -- "$lock"); sockets=$(sed -n 5p -- "$lock")
  rm -f -- "$lock"
  [ -n "$sockets" ] && [ -n "$port" ] && rm -f -- "$sockets/.s.PGSQL.$port" "$sockets/.s.PGSQL.$port.lock"
fi
out=$(timeout 9 pg_ctlcluster "$v" "$c" start 2>&1 9<&-); status=$?
[ $status -eq 0 ] && { echo "started"; exit 0; }
[ $status -eq 2 ] && { echo "runs already"; exit 0; }
[ $status -eq 124 ] && [ -n "$(alive)" ] && { echo "is starting"; exit 0; }
why=$(printf '%s\n' "$out" | grep -aE '(FATAL|PANIC): |could not (open|read|find|access|create|load|bind|write)' | grep -vF 'near token' | tail -n 1 | sed -E 's/^.*(FATAL|PANIC):  *//')
printf '%s\n' "${why:-$out}"; exit 5
"#;

/// Does a step.
pub async fn perform(turn: &Turn<'_>) -> Outcome {
    let Known::Resource(resource, server) = turn.known else {
        return Outcome::passed_over("only a resource has a cluster to restart");
    };
    let done = match turn.step {
        "look" => look(turn, resource, server).await,
        _ => restart(turn, resource, server).await,
    };
    done.unwrap_or_else(|outcome| outcome)
}

async fn look(turn: &Turn<'_>, resource: &Resource, server: &Server) -> Result<Outcome, Outcome> {
    let script = format!("{FIND_CLUSTER}{LOOK}");
    let port = resource.port.to_string();
    let said = shell::run(turn.tools, server, &script, &[&port], turn.limit).await?;
    let mut lines = said.out.lines();
    let (clock, cluster, alive) = (lines.next(), lines.next(), lines.next());
    match (said.status, clock.map(str::parse::<i64>), cluster, alive) {
        (0, Some(Ok(clock)), Some(cluster), Some(alive)) => Ok(Outcome::done(format!(
            "cluster {cluster} on {} is {alive}",
            server.subject.name
        ))
        .remember("clock", clock)
        .remember("cluster", cluster)),
        (3, ..) => Ok(Outcome::passed_over(format!(
            "{} on {}",
            said.last_words(),
            server.subject.name
        ))),
        _ => Ok(Outcome::failed(format!(
            "{} did not say how its clusters are: {}",
            server.subject.name,
            said.last_words()
        ))),
    }
}

async fn restart(
    turn: &Turn<'_>,
    resource: &Resource,
    server: &Server,
) -> Result<Outcome, Outcome> {
    let script = format!("{FIND_CLUSTER}{RESTART}");
    let mode = match turn.remedy {
        "restart_immediate" => "immediate",
        _ => "fast",
    };
    let port = resource.port.to_string();
    let clock = turn.incident.memo["clock"].as_i64().unwrap_or(i64::MAX);
    let arguments = [port.as_str(), mode, &clock.to_string()];
    let said = shell::run(turn.tools, server, &script, &arguments, turn.limit).await?;
    let cluster = turn.incident.memo["cluster"].as_str().unwrap_or("cluster");
    let outcome = match said.status {
        0 => Outcome::done(format!("{cluster}: {}", said.last_words())),
        6 => return Ok(Outcome::new(Ended::Again(SOON), said.last_words())),
        _ => Outcome::failed(format!("{cluster} does not start: {}", said.last_words())),
    };
    Ok(outcome.touching(format!("cluster {cluster} on {}", server.subject.name)))
}
