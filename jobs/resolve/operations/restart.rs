//! `restart`: a resource's cluster is restarted, letting sessions end (stop mode
//! fast).

use std::time::Duration;

use drover::model::OperationKind;
use serde::{Deserialize, Serialize};

use super::kind::{NoParams, Operation, Outcome, Step, Turn, Work};
use super::{await_available, script};

/// A resource's cluster is restarted.
pub(super) struct Restart;

/// Which cluster it is, and which postmaster is to end.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    cluster: String,
    /// Empty: there was none.
    postmaster: String,
}

impl Operation for Restart {
    type Params = NoParams;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::Restart;
    const STEPS: &'static [Step<Self>] = &[
        Step::new("mark", "remember which postmaster it ends", |turn| {
            Box::pin(mark(turn))
        }),
        Step::new("restart", "restart the cluster", |turn| {
            Box::pin(restart(turn))
        })
        .within(Duration::from_secs(25)),
        await_available::step(),
    ];
}

/// `mine` does something as the cluster's owner, or as root. `postmaster` prints pid
/// and start of the one that works in the data directory: the first and third line of
/// its lock file, if a process of that pid is there.
const POSTMASTER: &str = r#"mine() { if [ -O "$d" ]; then "$@"; else as_root "$@"; fi; }
postmaster() {
  p=$(mine sed -n 1p -- "$d/postmaster.pid" 2>/dev/null)
  [ -n "$p" ] && [ -d "/proc/$p" ] && echo "$p-$(mine sed -n 3p -- "$d/postmaster.pid" 2>/dev/null)"
  return 0
}
"#;

const MARK: &str = r#"echo "$v/$c"; postmaster
"#;

/// `$2` is the postmaster to be ended; empty: there was none. Another one is the work
/// of a turn that was cut off.
///
/// One at a time: a worker's end does not end its script. The lock is on the data
/// directory, and is not handed on to what is started. Stop and start are two commands:
/// pg_ctlcluster refuses its owner the restart of a cluster that systemd started.
const RESTART: &str = r#"now=$(postmaster)
[ -z "$now" ] || [ "$now" = "$2" ] || { echo "was restarted already"; exit 0; }
out=$(mine flock -n -E 75 -o "$d" sh -c '
  timeout 14 pg_ctlcluster "$1" "$2" stop -m fast 2>&1
  case $? in 0|2) ;; 124) exit 76;; *) exit 5;; esac
  timeout 7 pg_ctlcluster "$1" "$2" start 2>&1' drover "$v" "$c"); status=$?
now=$(postmaster)
[ -n "$now" ] && [ "$now" != "$2" ] && { echo "is restarted"; exit 0; }
[ $status -eq 75 ] && { echo "another restart is at work"; exit 75; }
[ $status -eq 76 ] && { echo "it is shutting down"; exit 75; }
echo "${out:-nothing runs, and pg_ctlcluster ended with $status}"; exit 5
"#;

async fn mark(turn: &mut Turn<'_, Restart>) -> Work {
    let text = format!("{POSTMASTER}{MARK}");
    let said = script::at_cluster(turn, turn.resource()?, &text, &[], b"").await?;
    let mut lines = said.out.lines().map(str::to_owned);
    turn.memo.cluster = lines.next().unwrap_or_default();
    turn.memo.postmaster = lines.next().unwrap_or_default();
    let runs = match turn.memo.postmaster.is_empty() {
        true => "does not run",
        false => "runs",
    };
    Ok(Outcome::done(format!(
        "cluster {} {runs}",
        turn.memo.cluster
    )))
}

async fn restart(turn: &mut Turn<'_, Restart>) -> Work {
    let text = format!("{POSTMASTER}{RESTART}");
    let marked = [turn.memo.postmaster.as_str()];
    let said = script::at_cluster(turn, turn.resource()?, &text, &marked, b"").await?;
    let cluster = &turn.memo.cluster;
    Ok(Outcome::done(format!("{cluster} {}", said.last_words())))
}
