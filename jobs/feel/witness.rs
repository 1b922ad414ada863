//! The second witness of a resource that does not answer: its server.

use std::time::Duration;

use drover::model::{Cause, Cluster, Server, Witness};

use super::context::FeelContext;
use super::lsclusters;
use super::sections::{Malformed, Sections};
use super::server_log;
use crate::host::scripts::WITNESS;
use crate::host::{self, AtPort, Host, Report, ScriptError};
use crate::ssh::SshError;

/// The status of what cannot be told.
const NOT_PROVED: u8 = 77;

const TIME: Duration = Duration::from_secs(5);

/// Asks a server what it says of the cluster on this port: whether
/// `pg_lsclusters` and the list of processes show it alive, and what its log
/// gives as the reason. Ends within 5 s.
pub async fn ask_server(server: &Server, cluster: AtPort<'_>, cx: &FeelContext) -> Witness {
    if server.host_key_changed_at.is_some() {
        return Witness::Silent {
            cause: Cause::HostKeyChanged,
            detail: super::distrusted(server),
        };
    }
    match ask(server, cluster, cx).await {
        Ok(report) => testimony(&report, cluster.port),
        Err(e) => Witness::Silent {
            cause: e.cause,
            detail: e.message,
        },
    }
}

async fn ask(server: &Server, cluster: AtPort<'_>, cx: &FeelContext) -> Result<Report, SshError> {
    let host = Host {
        cluster: Some(cluster),
        ..cx.host(server, TIME)?
    };
    let arguments = [server_log::PATTERN];
    let said = host::look(&host, WITNESS, &arguments, b"").await;
    said.map_err(ScriptError::into_ssh)
}

fn testimony(report: &Report, port: u16) -> Witness {
    read(report.text(), port).unwrap_or_else(|e| Witness::Silent {
        cause: e.cause(),
        detail: e.to_string(),
    })
}

fn read(text: &str, port: u16) -> Result<Witness, Malformed> {
    let mut sections = Sections::new(text);
    let clusters = sections.next("clusters")?;
    let known = match clusters.status {
        0 => lsclusters::parse(&clusters)?,
        // Not installed, or not able to: then only the port can be looked at.
        _ => vec![],
    };
    let chosen = sections.next("cluster")?;
    let postmaster = sections.next("postmaster")?;
    let postmaster = match postmaster.text.trim() {
        "" => None,
        text => Some(Postmaster::read(text).ok_or_else(|| postmaster.malformed("no process"))?),
    };
    let listens = sections.next("listener")?.text.trim() == "yes";
    let reason = server_log::reason(sections.next("log")?.text);
    if chosen.status == NOT_PROVED {
        return Ok(Witness::Silent {
            cause: Cause::Error,
            detail: chosen.text.trim().chars().take(300).collect(),
        });
    }
    let is = |c: &&Cluster| {
        c.port == port && format!("{}/{}", c.version, c.cluster) == chosen.text.trim()
    };
    Ok(match known.iter().find(is) {
        Some(cluster) => verdict(cluster, postmaster, reason),
        None if listens => Witness::Up {
            detail: format!("something listens on port {port}"),
        },
        None => Witness::Down {
            detail: format!("no cluster is set up for port {port}, and nothing listens there"),
        },
    })
}

/// The process that a cluster is.
struct Postmaster {
    pid: u32,
    /// It was stopped by a signal, and does nothing until another has it go on.
    frozen: bool,
}

impl Postmaster {
    /// As `ps` shows pid and state.
    fn read(text: &str) -> Option<Self> {
        let (pid, state) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let pid = pid.parse().ok()?;
        let frozen = state.starts_with('T');
        Some(Self { pid, frozen })
    }
}

fn verdict(cluster: &Cluster, postmaster: Option<Postmaster>, reason: Option<String>) -> Witness {
    let name = format!("{}/{}", cluster.version, cluster.cluster);
    match (cluster.running, postmaster) {
        (_, Some(Postmaster { pid, frozen: true })) => Witness::Down {
            detail: format!("postmaster of {name} is frozen by a signal (pid {pid})"),
        },
        (_, Some(Postmaster { pid, frozen: false })) => Witness::Up {
            detail: format!("postmaster of {name} lives (pid {pid})"),
        },
        (true, None) => Witness::Up {
            detail: format!("pg_lsclusters says {name} is online"),
        },
        (false, None) => {
            let because = reason.map(|r| format!("; log: {r}")).unwrap_or_default();
            Witness::Down {
                detail: format!("cluster {name} is down{because}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(running: u8, postmaster: &str, listener: &str, log: &str) -> String {
        format!(
            "@@ clusters 0\n[{{\"version\":\"15\",\"cluster\":\"app\",\"port\":\"5501\",\
             \"running\":{running}}}]\n@@ cluster 0\n15/app\n@@ postmaster 0\n{postmaster}\n@@ listener 0\n{listener}\n\
             @@ log 0\n{log}\n"
        )
    }

    #[test]
    fn a_cluster_is_down_when_neither_list_shows_it() {
        let down = read(&text(0, "", "", "LOG:  database system is shut down"), 5501).unwrap();
        let detail = "cluster 15/app is down; log: database system is shut down".to_owned();
        assert_eq!(down, Witness::Down { detail });
    }

    #[test]
    fn either_sign_of_life_is_believed() {
        for seen in [
            text(1, "", "", ""),
            text(0, "4711", "", ""),
            text(1, "4711", "", ""),
        ] {
            assert!(
                matches!(read(&seen, 5501), Ok(Witness::Up { .. })),
                "{seen}"
            );
        }
    }

    #[test]
    fn one_that_is_frozen_is_down() {
        let frozen = read(&text(1, "4711 Ts", "yes", ""), 5501).unwrap();
        let detail = "postmaster of 15/app is frozen by a signal (pid 4711)".to_owned();
        assert_eq!(frozen, Witness::Down { detail });
        let up = read(&text(1, "4711 Ss", "yes", ""), 5501).unwrap();
        assert!(matches!(up, Witness::Up { .. }), "{up:?}");
    }

    #[test]
    fn of_several_at_one_port_the_chosen_one_counts() {
        let text = |status: u8, chosen: &str| {
            format!(
                "@@ clusters 0\n[{{\"version\":\"15\",\"cluster\":\"aaa\",\"port\":\"5501\",\
                 \"running\":1}},{{\"version\":\"15\",\"cluster\":\"app\",\"port\":\"5501\",\
                 \"running\":0}}]\n@@ cluster {status}\n{chosen}\n@@ postmaster 0\n\n\
                 @@ listener 0\nyes\n@@ log 0\n\n"
            )
        };
        let down = read(&text(0, "15/app"), 5501).unwrap();
        let detail = "cluster 15/app is down".to_owned();
        assert_eq!(down, Witness::Down { detail });
        let untold = read(&text(77, "not proved: which cluster"), 5501).unwrap();
        assert!(matches!(untold, Witness::Silent { .. }), "{untold:?}");
    }

    #[test]
    fn without_a_known_cluster_the_port_speaks() {
        assert!(matches!(
            read(&text(1, "", "yes", ""), 5555),
            Ok(Witness::Up { .. })
        ));
        assert!(matches!(
            read(&text(1, "", "", ""), 5555),
            Ok(Witness::Down { .. })
        ));
        let lacking = "@@ clusters 127\n\n@@ cluster 3\n\n@@ postmaster 0\n\n@@ listener 0\nyes\n@@ log 0\n\n";
        assert!(matches!(read(lacking, 5501), Ok(Witness::Up { .. })));
    }

    #[test]
    fn an_answer_that_breaks_off_says_nothing() {
        assert!(read("", 5501).is_err());
        assert!(
            read(
                "@@ clusters 0\n[]\n@@ cluster 3\n\n@@ postmaster 0\nx\n",
                5501
            )
            .is_err()
        );
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(noise in ".{0,300}") {
            let _ = read(&noise, 1);
            let _ = read(&text(0, &noise, &noise, &noise), 5501);
        }
    }
}
