//! `restart`: a resource's cluster is restarted, letting sessions end (stop mode
//! fast).

use std::time::Duration;

use super::instance::await_available;
use super::{Book, Outcome, Step, Turn, Work, script, unknown};

pub(super) const BOOK: Book = Book {
    steps: &[
        Step::new("mark", "remember which postmaster it ends"),
        Step {
            limit: Duration::from_secs(25),
            ..Step::new("restart", "restart the cluster")
        },
        Step::new("await_available", "wait until it is in service"),
    ],
    creates: false,
};

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

pub(super) async fn perform(turn: &Turn<'_>) -> Work {
    match turn.step {
        "mark" => mark(turn).await,
        "restart" => restart(turn).await,
        "await_available" => await_available(turn).await,
        step => unknown(step),
    }
}

async fn mark(turn: &Turn<'_>) -> Work {
    let text = format!("{POSTMASTER}{MARK}");
    let said = script::at_cluster(turn, turn.resource()?, &text, &[], b"").await?;
    let mut lines = said.out.lines();
    let cluster = lines.next().unwrap_or_default();
    let postmaster = lines.next().unwrap_or_default();
    let note = match postmaster {
        "" => format!("cluster {cluster} does not run"),
        _ => format!("cluster {cluster} runs"),
    };
    Ok(Outcome::done(note)
        .remember("cluster", cluster)
        .remember("postmaster", postmaster))
}

async fn restart(turn: &Turn<'_>) -> Work {
    let memo = &turn.operation.memo;
    let marked = memo["postmaster"].as_str().unwrap_or_default();
    let text = format!("{POSTMASTER}{RESTART}");
    let said = script::at_cluster(turn, turn.resource()?, &text, &[marked], b"").await?;
    let cluster = memo["cluster"].as_str().unwrap_or("the cluster");
    Ok(Outcome::done(format!("{cluster} {}", said.last_words())))
}
