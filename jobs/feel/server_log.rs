//! Why a cluster went down, from the last lines of its log.
//!
//! A log quotes statements, and statements hold customers' data and passwords.
//! So nothing is quoted but messages that the server words itself.

use super::sections::clean;

/// For `grep -E` on the server: what is worth sending.
pub(crate) const PATTERN: &str = "(ready to accept connections|starting PostgreSQL|\
    PANIC:  |terminated by signal|out of memory|No space left on device|\
    database system is shut down|received (fast|smart|immediate) shutdown)";

const LONGEST: usize = 200;
const SHUT_DOWN: &str = "database system is shut down";

/// The last reason since the last start: what stood there before that start
/// explains nothing.
pub(crate) fn reason(log: &str) -> Option<String> {
    let mut reason = None;
    for line in log.lines() {
        let Some((severity, message)) = message(line) else {
            continue;
        };
        if message.starts_with("starting PostgreSQL") || message.contains("ready to accept") {
            reason = None;
        } else if explains(severity, message) {
            // What comes of a cause explains less than that.
            let comes_of_it = message == SHUT_DOWN && reason.is_some();
            if !comes_of_it {
                reason = Some(clean(message, LONGEST));
            }
        }
    }
    reason
}

/// Splits off log_line_prefix. `None` for continuation lines, and for those that
/// quote what a client sent.
fn message(line: &str) -> Option<(&'static str, &str)> {
    if line.starts_with(char::is_whitespace) {
        return None;
    }
    const QUOTING: [&str; 5] = [
        "STATEMENT:  ",
        "DETAIL:  ",
        "CONTEXT:  ",
        "QUERY:  ",
        "HINT:  ",
    ];
    const SAYING: [&str; 5] = ["PANIC:  ", "FATAL:  ", "ERROR:  ", "LOG:  ", "WARNING:  "];
    let (at, label) = SAYING
        .iter()
        .filter_map(|l| Some((line.find(l)?, *l)))
        .min()?;
    if QUOTING
        .iter()
        .filter_map(|q| line.find(q))
        .any(|quoted| quoted < at)
    {
        return None;
    }
    Some((label, &line[at + label.len()..]))
}

fn explains(severity: &str, message: &str) -> bool {
    // `server process (PID 4711) was terminated by signal 9: Killed`
    let signal = message.contains(" (PID ") && message.contains(") was terminated by signal ");
    let stopped =
        message == SHUT_DOWN || (message.starts_with("received ") && message.contains(" shutdown"));
    match severity {
        "PANIC:  " => true,
        "LOG:  " => signal || stopped,
        "FATAL:  " | "ERROR:  " => {
            message.starts_with("out of memory")
                || (message.starts_with("could not ")
                    && message.ends_with("No space left on device"))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_reason_is_found_behind_any_prefix() {
        let log = "2026-01-01 10:00:00 UTC [1] LOG:  database system is ready to accept connections\n\
            2026-01-01 [1] LOG:  server process (PID 7) was terminated by signal 9: Killed\n";
        let found = reason(log).unwrap();
        assert_eq!(
            found,
            "server process (PID 7) was terminated by signal 9: Killed"
        );
        let full = "x@y FATAL:  could not write to file \"pg_wal/x\": No space left on device";
        assert!(reason(full).unwrap().starts_with("could not write"));
        assert_eq!(
            reason("PANIC:  no checkpoint").as_deref(),
            Some("no checkpoint")
        );
    }

    #[test]
    fn that_it_is_shut_down_hides_no_cause() {
        let log = "FATAL:  could not write to file \"pg_wal/x\": No space left on device\n\
            LOG:  database system is shut down\n";
        assert!(reason(log).unwrap().ends_with("No space left on device"));
        let asked = "LOG:  received fast shutdown request\nLOG:  database system is shut down\n";
        assert_eq!(
            reason(asked).as_deref(),
            Some("received fast shutdown request")
        );
    }

    #[test]
    fn what_was_before_the_last_start_explains_nothing() {
        let log = "LOG:  database system is shut down\nLOG:  starting PostgreSQL 15.1 on x\n";
        assert_eq!(reason(log), None);
    }

    #[test]
    fn what_clients_sent_is_never_quoted() {
        for line in [
            "STATEMENT:  select 'PANIC:  hunter2'",
            "[1] DETAIL:  LOG:  database system is shut down",
            "\tPANIC:  hunter2",
            "ERROR:  invalid input syntax for type integer: \"out of memory hunter2\"",
            "LOG:  statement: select 'was terminated by signal hunter2'",
            "LOG:  duration: 1 ms  statement: select 'out of memory'",
        ] {
            assert_eq!(reason(line), None, "{line}");
        }
    }

    #[test]
    fn a_reason_has_an_end() {
        let long = format!("PANIC:  {}", "x".repeat(5000));
        assert_eq!(reason(&long).unwrap().len(), LONGEST);
    }

    proptest! {
        #[test]
        fn no_log_makes_it_panic(log in ".{0,500}") {
            let _ = reason(&log);
            let _ = reason(&format!("é LOG:  {log}\n{log}PANIC:  {log}"));
        }
    }
}
