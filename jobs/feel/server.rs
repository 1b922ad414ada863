//! The server feeler: one SSH round trip, one read-only script.

use std::time::{Duration, Instant, SystemTime};

use drover::model::{
    self, Attributes, Cause, CloudFigures, DroverRoot, Each, Server, ServerFigures, Witness,
};
use drover::store::subjects::Known;
use futures::FutureExt;

use super::context::FeelContext;
use super::sections::{Malformed, Section, Sections};
use super::{followers, lsclusters, machine, probe, statuses, volumes, words};
use crate::cloud::{Cloud as _, InstanceState};
use crate::host::scripts::{FEEL_SERVER, PROBE};
use crate::host::{self, Host, Report, ScriptError, helper};
use crate::ssh::SshError;

const TIME: Duration = Duration::from_secs(10);

/// How long the cloud may take to say how the instance is.
const WITNESS_TIME: Duration = Duration::from_secs(5);

/// Feels one server. A failure is an answer too: it comes with its cause, and
/// with what others say.
pub async fn feel(server: &Server, cx: &FeelContext) -> Attributes {
    let (looked, cloud) = tokio::join!(
        timed(look_or_ask(server, cx)),
        statuses::of(server, cx, statuses::ORDINARY)
    );
    let ((looked, asked), time) = looked;
    let mut attributes = match (looked, time) {
        (Ok(report), time) => {
            let latency_ms = time.as_secs_f64() * 1000.0;
            match read(report.text(), report.read_between) {
                Ok(figures) => Attributes {
                    server: Box::new(figures),
                    ..Attributes::available((latency_ms * 10.0).round() / 10.0)
                },
                Err(e) => Attributes::failed(e.cause(), format!("{}: {e}", server.address)),
            }
        }
        (Err(e), _) => failed(e),
    };
    attributes.server.reachable = Some(attributes.service_available);
    let mut cloud = cloud.map(|said| said.shown());
    if !attributes.service_available {
        let newer;
        (attributes.witness, newer) = match asked {
            Some(asked) => asked,
            None => {
                let followers = followers::of(server, cx).boxed().await;
                ask_others(server, &followers, cx).await
            }
        };
        cloud = newer.or(cloud);
    }
    attributes.server.cloud = cloud;
    attributes
}

/// What others have said: as a witness; and in full, where it was the cloud.
type Said = (Option<Witness>, Option<CloudFigures>);

/// Between two questions to others whether one is down that is silent.
const AGAIN: Duration = Duration::from_millis(500);

/// One that is silent for a while is not waited for any longer if others say that it is down:
/// two witnesses agree.
async fn look_or_ask(
    server: &Server,
    cx: &FeelContext,
) -> (Result<Report, SshError>, Option<Said>) {
    let look = look(server, cx);
    tokio::pin!(look);
    let waits = super::silence(&server.subject);
    if let Ok(looked) = tokio::time::timeout(waits, &mut look).await {
        return (looked, None);
    }
    tokio::select! {
        looked = &mut look => (looked, None),
        (detail, cloud) = until_down(server, cx) => {
            let silent = format!("{}: silent for {waits:?}", server.address);
            let said = (Some(Witness::Down { detail }), cloud);
            (Err(SshError::new(Cause::Timeout, silent)), Some(said))
        }
    }
}

/// Asks others until they say that it is down, and ends with their words.
pub(super) async fn until_down(
    server: &Server,
    cx: &FeelContext,
) -> (String, Option<CloudFigures>) {
    // Read once: where a whole herd is silent, the record has other work.
    let followers = followers::of(server, cx).boxed().await;
    loop {
        match ask_others(server, &followers, cx).await {
            (Some(Witness::Down { detail }), cloud) => return (detail, cloud),
            (Some(Witness::Up { .. } | Witness::Silent { .. }), _) => {
                tokio::time::sleep(AGAIN).await;
            }
            (None, _) => std::future::pending().await,
        }
    }
}

/// The second witness of a server: its cloud; and where that does not say that it is down, the
/// followers of its leaders, who hear from it over another network.
async fn ask_others(server: &Server, followers: &[Known], cx: &FeelContext) -> Said {
    // Behind a pointer: the compiler gives up on a layout where too much lies in one another.
    let heard = followers::ask(followers).boxed();
    let (said, heard) = tokio::join!(ask_cloud(server, cx).boxed(), heard);
    match said {
        (Some(Witness::Down { .. }), _) => said,
        (witness, cloud) => (heard.or(witness), cloud),
    }
}

async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let begun = Instant::now();
    (work.await, begun.elapsed())
}

async fn look(server: &Server, cx: &FeelContext) -> Result<Report, SshError> {
    let host = Host {
        connect: super::connect_limit(&server.subject, TIME),
        ..cx.host(server, TIME)?
    };
    let looked = host::look(&host, FEEL_SERVER, &[PROBE], b"").await;
    looked.map_err(ScriptError::into_ssh)
}

fn failed(e: SshError) -> Attributes {
    let mut attributes = Attributes::failed(e.cause, e.message);
    attributes.server.host_key = e.seen_host_key;
    attributes
}

/// Reads the script's output, section by section.
fn read(text: &str, between: (SystemTime, SystemTime)) -> Result<ServerFigures, Malformed> {
    let mut sections = Sections::new(text);
    let clock = sections.next("clock")?;
    let mut seen = ServerFigures {
        clock_skew_ms: Some(machine::skew_ms(&clock, between.0, between.1)?),
        boot_id: Some(machine::boot_id(&sections.next("boot")?)?),
        uptime_s: Some(machine::uptime(&sections.next("uptime")?)?),
        load: Some(machine::load(&sections.next("load")?)?),
        memory: Some(machine::memory(&sections.next("memory")?)?),
        ..ServerFigures::default()
    };
    let mut notes = Vec::new();
    let clusters = sections.next("clusters")?;
    match clusters.status {
        0 => seen.clusters = Some(Each(lsclusters::parse(&clusters)?)),
        127 => notes.push("pg_lsclusters is not installed"),
        _ => notes.push("pg_lsclusters did not answer; it needs Perl's JSON module (libjson-perl)"),
    }
    let df = sections.next("df")?;
    let mounts = sections.next("mounts")?;
    let probed = probe::parse(&sections.next("probe")?);
    if df.text.trim().is_empty() {
        notes.push("df did not answer: a filesystem hangs");
    } else {
        let (mut volumes, odd) = volumes::parse(&df, &mounts);
        if odd > 0 {
            notes.push("df wrote lines that cannot be read, or too many");
        }
        volumes::place(
            &mut volumes,
            seen.clusters.as_deref().unwrap_or_default(),
            &probed,
        );
        if probed.is_empty() && volumes.iter().any(|v| v.data == Some(true)) {
            notes.push("no write could be tried on the data volumes");
        }
        seen.volumes = Some(Each(volumes));
    }
    seen.drover_root = Some(DroverRoot {
        version: helper_version(&sections.next("drover_root")?),
        newest: Some(helper::version()),
    });
    seen.words = words::parse(&sections.next("words")?);
    if !notes.is_empty() {
        seen.notes = Some(notes.into_iter().map(str::to_owned).collect());
    }
    Ok(seen)
}

/// The version of the drover-root that the login may use; `None` where it may use none.
fn helper_version(section: &Section<'_>) -> Option<u32> {
    let number = section.line().ok().filter(|_| section.status == 0)?;
    let digits = number.len() <= 9 && number.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| number.parse().ok())?
}

/// What its cloud says; `None` if it has none. What it says of checks and events comes with it,
/// if it was asked for that too.
async fn ask_cloud(server: &Server, cx: &FeelContext) -> Said {
    let asked = match server.cloud {
        Some(model::Cloud::Ec2) => statuses::of(server, cx, statuses::NOW).await,
        Some(model::Cloud::Local) => return (look_at_instance(server, cx).await, None),
        None => return (None, None),
    };
    match (asked, server.instance_id.as_deref()) {
        (Some(said), Some(id)) => (Some(said.witness(id)), Some(said.shown())),
        (None, _) | (_, None) => (None, None),
    }
}

/// What a cloud that may be asked as often as one likes says of an instance.
async fn look_at_instance(server: &Server, cx: &FeelContext) -> Option<Witness> {
    let cloud = cx.clouds.of(server.cloud?, server.region.as_deref())?;
    let asked = cloud.describe(server.instance_id.as_deref()?);
    let silent = |cause, detail| Some(Witness::Silent { cause, detail });
    match tokio::time::timeout(WITNESS_TIME, asked).await {
        Err(_) => silent(Cause::Timeout, "the cloud did not answer within 5 s".into()),
        Ok(Err(e)) => silent(Cause::Error, format!("{e:#}").chars().take(200).collect()),
        Ok(Ok(instance)) => match instance.state {
            InstanceState::Running => {
                let checked = cloud.statuses(std::slice::from_ref(&instance.id));
                let checked = tokio::time::timeout(WITNESS_TIME, checked).await;
                let impaired = matches!(&checked, Ok(Ok(all)) if all.iter()
                    .any(|(_, status)| status.instance_check == "impaired"));
                Some(if impaired {
                    let detail = format!("{}, and its check is impaired", instance.detail);
                    Witness::Down { detail }
                } else {
                    let detail = instance.detail;
                    Witness::Up { detail }
                })
            }
            InstanceState::Pending
            | InstanceState::Stopping
            | InstanceState::Stopped
            | InstanceState::ShuttingDown
            | InstanceState::Terminated => Some(Witness::Down {
                detail: instance.detail,
            }),
            InstanceState::Unknown(_) => silent(Cause::Error, instance.detail),
        },
    }
}

#[cfg(test)]
mod tests {
    use drover::model::Fsync;
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "@@ clock 0\n1000.0\n@@ boot 0\n9df46154-a6fc-4739-98ea-196aed7a962d\n\
        @@ uptime 0\n5.5 1\n@@ load 0\n0.1 0.2 0.3 1/1 1\n\
        @@ memory 0\nMemTotal: 1 kB\nMemAvailable: 1 kB\n\
        @@ clusters 0\n[]\n@@ df 0\nhead\next4 10 5 5 - - /\n@@ mounts 0\nrw /dev/vda /\n@@ probe 0\n\n@@ drover_root 0\n1\n\
        @@ words 0\nmachine 01J 0 - 3:a\n";

    fn read_text(text: &str) -> Result<ServerFigures, Malformed> {
        read(text, (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH))
    }

    #[test]
    fn a_good_answer_is_read_whole() {
        let seen = read_text(GOOD).unwrap();
        assert_eq!(seen.clock_skew_ms, Some(1_000_000.0));
        assert_eq!(seen.volumes.unwrap()[0].writable, Some(true));
        assert_eq!(seen.clusters, Some(Each(vec![])));
        assert_eq!(seen.notes, None);
    }

    #[test]
    fn what_the_server_lacks_is_noted_and_no_failure() {
        let lacking = GOOD.replace("@@ clusters 0\n[]", "@@ clusters 127\n");
        let seen = read_text(&lacking).unwrap();
        assert_eq!(seen.clusters, None);
        assert_eq!(seen.notes.unwrap()[0], "pg_lsclusters is not installed");
        let hung = GOOD.replace("@@ df 0\nhead\next4 10 5 5 - - /\n", "@@ df 124\n\n");
        assert_eq!(read_text(&hung).unwrap().volumes, None);
    }

    #[test]
    fn data_volumes_are_told_from_others_and_bear_what_was_tried_on_them() {
        let data = GOOD
            .replace(
                "[]",
                r#"[{"version":"15","cluster":"app","port":"5432","running":1,"pgdata":"/d/app"},
                    {"version":"15","cluster":"b","port":"5433","running":1,"pgdata":"/link"},
                    {"version":"15","cluster":"c","port":"5434","running":1,"pgdata":"/gone"}]"#,
            )
            .replace("5 5 - - /\n", "5 5 - - /\nxfs 10 9 1 - - /d\n")
            .replace(
                "probe 0\n\n",
                "probe 0\nok 2.5\t/d/app\t/d/app\nok 2.5\t/link\t/d/b\n",
            );
        let volumes = read_text(&data).unwrap().volumes.unwrap();
        let on = |n: usize| volumes[n].clusters.as_ref().unwrap().join(" ");
        assert_eq!(volumes[0].mount.as_deref(), Some("/"));
        assert_eq!(on(1), "15/app 15/b");
        assert_eq!(volumes[1].data, Some(true));
        assert_eq!(
            (volumes[1].fsync, volumes[1].fsync_ms),
            (Some(Fsync::Ok), Some(2.5))
        );
        assert_eq!(volumes[0].fsync, None);
        // Where the probe did not come, the path has to do.
        assert_eq!(on(0), "15/c");
    }

    #[test]
    fn each_section_that_is_cut_off_is_named() {
        for name in [
            "clock",
            "boot",
            "uptime",
            "load",
            "memory",
            "clusters",
            "df",
            "mounts",
            "probe",
            "drover_root",
            "words",
        ] {
            let at = GOOD.find(&format!("@@ {name} ")).unwrap();
            let error = read_text(&GOOD[..at]).unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}`")), "{error}");
        }
    }

    #[test]
    fn the_drover_root_that_may_be_used_is_told_beside_the_newest() {
        let newest = Some(helper::version());
        for (told, version) in [
            ("0\n1\n", Some(1)),
            ("0\n999999999\n", Some(999_999_999)),
            ("127\n\n", None),
            ("1\n1\n", None),
            ("0\n9999999999\n", None),
            ("0\n-1\n", None),
            ("0\n+1\n", None),
            ("0\n1\n2\n", None),
            ("0\n\n", None),
        ] {
            let text = GOOD.replace("drover_root 0\n1\n", &format!("drover_root {told}"));
            let seen = read_text(&text).unwrap().drover_root;
            assert_eq!(seen, Some(DroverRoot { version, newest }), "{told:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = read_text(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn no_damage_to_a_good_answer_makes_it_panic(
            at in 0..GOOD.len(), len in 0..20usize, with in proptest::collection::vec(any::<u8>(), 0..20)
        ) {
            let mut bytes = GOOD.as_bytes().to_vec();
            let end = (at + len).min(bytes.len());
            bytes.splice(at..end, with);
            let _ = read_text(&String::from_utf8_lossy(&bytes));
        }
    }
}
