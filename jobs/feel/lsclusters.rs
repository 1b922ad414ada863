//! What `pg_lsclusters --json` says of a server's clusters.
//!
//! Its `config` object holds the whole postgresql.conf, passwords in
//! `primary_conninfo` included. The scripts drop it on the server, and what is
//! read here has no place for it.

use drover::model::Cluster;
use serde::Deserialize;
use serde_json::Value;

use super::sections::{Malformed, Section, clean};

/// More clusters than a server can have.
const MOST: usize = 1000;

#[derive(Deserialize)]
struct Raw {
    version: Value,
    cluster: String,
    #[serde(default)]
    port: Value,
    #[serde(default)]
    running: Value,
    #[serde(default)]
    pgdata: Option<String>,
    #[serde(default)]
    socketdir: Option<String>,
    #[serde(default)]
    owneruid: Value,
}

/// Reads the JSON; fields it does not know are nothing to it. A cluster without a port (its
/// configuration is gone), or of which it says something odd, is left out: nothing can be asked
/// of it, and the others are none the worse.
pub(crate) fn parse(section: &Section<'_>) -> Result<Vec<Cluster>, Malformed> {
    let all: Vec<Value> = serde_json::from_str(section.text).map_err(|e| {
        // serde's message quotes what it read, so only the place is kept.
        section.malformed(format!(
            "no list of clusters (line {}, column {})",
            e.line(),
            e.column()
        ))
    })?;
    Ok(all.into_iter().take(MOST).filter_map(cluster).collect())
}

fn cluster(one: Value) -> Option<Cluster> {
    let one: Raw = serde_json::from_value(one).ok()?;
    let port = u16::try_from(number(&one.port)?).ok();
    Some(Cluster {
        version: clean(&text(&one.version), 16),
        cluster: clean(&one.cluster, 64),
        port: port.filter(|port| *port > 0)?,
        running: number(&one.running) == Some(1),
        pgdata: one.pgdata.map(|p| clean(&p, 256)),
        socketdir: one.socketdir.map(|p| clean(&p, 256)),
        owner_uid: number(&one.owneruid).and_then(|n| n.try_into().ok()),
    })
}

/// Perl writes a number as a number or as a text, as the mood takes it.
fn number(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| value.as_str().and_then(|s| s.trim().parse().ok()))
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Cluster>, Malformed> {
        parse(&Section {
            name: "clusters",
            status: 0,
            text,
        })
    }

    #[test]
    fn perls_mixture_of_numbers_and_texts_is_read() {
        let one = r#"[{"version":"15","cluster":"app","port":"5501","running":1,"pgdata":"/d",
            "socketdir":"/s","owneruid":999,"config":{"primary_conninfo":"password=hunter2"},
            "somethingnew":[1]}]"#;
        let clusters = read(one).unwrap();
        assert_eq!(clusters.len(), 1);
        assert_eq!((clusters[0].port, clusters[0].running), (5501, true));
        assert_eq!(clusters[0].owner_uid, Some(999));
        assert!(
            !serde_json::to_string(&clusters)
                .unwrap()
                .contains("hunter2")
        );
        assert!(!format!("{clusters:?}").contains("hunter2"));
        let other = read(r#"[{"version":16,"cluster":"b","port":5502,"running":"0"}]"#).unwrap();
        assert_eq!((other[0].version.as_str(), other[0].running), ("16", false));
    }

    #[test]
    fn no_clusters_is_an_answer_and_garbage_is_not() {
        assert_eq!(read("[]"), Ok(vec![]));
        for bad in ["", "{}", r#"[{"cluster":{"password":"hunter2"}}"#] {
            let error = read(bad).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_cluster_of_which_something_odd_is_said_is_left_out_alone() {
        for odd in [
            "1",
            r#"{"version":"15","cluster":"a","port":null}"#,
            r#"{"version":"15","cluster":"a","port":"70000"}"#,
            r#"{"version":"15","cluster":{"password":"hunter2"},"port":5432}"#,
        ] {
            let good = r#"{"version":"15","cluster":"b","port":5433,"running":1}"#;
            let clusters = read(&format!("[{odd},{good}]")).unwrap();
            assert_eq!(clusters.len(), 1, "{odd}");
            assert_eq!(clusters[0].port, 5433);
        }
    }
}
