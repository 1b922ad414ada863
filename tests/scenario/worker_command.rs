//! The `drover-worker` command: wrong use, databases it cannot use, its end, and
//! how much it takes on at once.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use drover::store::subjects::{self, NewServer};
use drover_tests::postgres::{free_port, shared_empty_database};
use drover_tests::records::{SECRET_KEY, key, new_server};
use drover_tests::{Deployment, program, sql, until, when};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the worker with the settings it needs and these; an empty one is unset.
/// Nobody answers at its database unless they say otherwise.
async fn worker(arguments: &[&str], settings: &[(&str, &str)]) -> Ran {
    let nobody = format!("postgres://drover@127.0.0.1:{}/none", free_port().unwrap());
    let mut command = Command::new(program("drover-worker").unwrap());
    command
        .args(arguments)
        .env_clear()
        .env("DATABASE_URL", nobody)
        .env("DROVER_SECRET_KEY", SECRET_KEY)
        .env("RUST_BACKTRACE", "1")
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let done = tokio::time::timeout(Duration::from_secs(20), command.output())
        .await
        .expect("it ends by itself")
        .unwrap();
    Ran {
        code: done.status.code(),
        out: String::from_utf8(done.stdout).unwrap(),
        err: String::from_utf8(done.stderr).unwrap(),
    }
}

impl Ran {
    /// It ended with this code and one plain line that has these words.
    #[track_caller]
    fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert_eq!(self.err.lines().count(), 1, "{}", self.err);
        assert!(self.err.starts_with("drover-worker: "), "{}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        for word in words {
            assert!(self.err.contains(word), "no {word:?} in: {}", self.err);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn help_and_version_are_given() {
    for (arguments, words) in [
        (&["--help"][..], "DROVER_CONCURRENCY"),
        (&["--version"], "drover-worker "),
        (&["local", "--help"], "unplug"),
    ] {
        // Whoever asks for help need not have set anything.
        let unset = [("DATABASE_URL", ""), ("DROVER_SECRET_KEY", "")];
        let ran = worker(arguments, &unset).await;
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(ran.out.contains(words), "{arguments:?}: {}", ran.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_arguments_it_says_what_there_is() {
    let ran = worker(&[], &[]).await;
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("Usage: drover-worker"), "{}", ran.err);
    let ran = worker(&["--colour"], &[]).await;
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("--colour"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_none_is_wrong_use() {
    for queues in [
        "heal",
        "feel,thnik",
        "feel,",
        ",",
        "feel think",
        "FEEL",
        "a\nb",
    ] {
        let ran = worker(&[queues], &[]).await;
        ran.failed(
            2,
            &["unknown queue", "feel, silent, think, resolve, notify"],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_setting_is_named_before_anything_is_tried() {
    let table = r#"
DATABASE_URL=                               | DATABASE_URL is not set
DATABASE_URL=mysql://x/y                    | DATABASE_URL, postgres://
DATABASE_URL=not a url                      | DATABASE_URL, postgres://
DROVER_SECRET_KEY=                          | DROVER_SECRET_KEY is not set, openssl
DROVER_SECRET_KEY=c2hvcnQ=                  | DROVER_SECRET_KEY, 32 bytes
DROVER_RULES={                              | DROVER_RULES, JSON
DROVER_RULES={"cadence":{"available":"2h"}} | DROVER_RULES, at most 38s
DROVER_CONCURRENCY=0                        | DROVER_CONCURRENCY, from 1 to
DROVER_CONCURRENCY=many                     | DROVER_CONCURRENCY, from 1 to
DROVER_POLL_MS=1                            | DROVER_POLL_MS, from 5 to
DROVER_SSH_KEY_FILE=/nowhere/key            | DROVER_SSH_KEY_FILE, /nowhere/key
DROVER_LOG=drover=loud                      | DROVER_LOG
"#;
    for line in table.trim().lines() {
        let (setting, words) = line.split_once(" | ").unwrap();
        let setting = setting.trim().split_once('=').unwrap();
        let words: Vec<&str> = words.split(", ").collect();
        let began = Instant::now();
        worker(&["feel"], &[setting]).await.failed(2, &words);
        assert!(began.elapsed() < Duration::from_secs(30), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_answer_is_a_failure() {
    let ran = worker(&["feel"], &[]).await;
    ran.failed(1, &["control database", "refused"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_in_the_url_is_never_told() {
    let url = format!("postgres://u:hunter2@127.0.0.1:{}/x", free_port().unwrap());
    let ran = worker(&["feel"], &[("DATABASE_URL", &url)]).await;
    ran.failed(1, &[]);
    let ran_wrong = worker(&["feel"], &[("DATABASE_URL", "postgres://u:hunter2@[/x")]).await;
    ran_wrong.failed(2, &["DATABASE_URL"]);
    for told in [ran.err, ran.out, ran_wrong.err, ran_wrong.out] {
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_our_tables_is_a_failure() {
    let (url, pool) = shared_empty_database().await.unwrap();
    let ran = worker(&["feel"], &[("DATABASE_URL", &url)]).await;
    ran.failed(1, &["drover migrate"]);
    // The record of migrations alone, as a first one that failed leaves it.
    let sql = "create table _sqlx_migrations (version bigint, success bool)";
    sql::run(&pool, sql, ()).await;
    let ran = worker(&["feel"], &[("DATABASE_URL", &url)]).await;
    ran.failed(1, &["drover migrate"]);
    let missing = url.replace("/shared_", "/missing_");
    let ran = worker(&["feel"], &[("DATABASE_URL", &missing)]).await;
    ran.failed(1, &["missing_", "does not exist"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_too_old_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(postgres_12(stream));
        }
    });
    let url = format!("postgres://drover@127.0.0.1:{port}/drover");
    let ran = worker(&["feel"], &[("DATABASE_URL", &url)]).await;
    ran.failed(1, &["PostgreSQL 12.5", "13 or newer"]);
}

/// As much of PostgreSQL 12.5 as says that it is one.
async fn postgres_12(mut stream: TcpStream) -> std::io::Result<()> {
    let say = |kind: u8, body: &[u8]| {
        let mut message = vec![kind];
        message.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        message.extend_from_slice(body);
        message
    };
    loop {
        let mut startup = vec![0; stream.read_u32().await? as usize - 4];
        stream.read_exact(&mut startup).await?;
        // A request for TLS is the only other thing that comes here.
        if startup.len() > 4 {
            break;
        }
        stream.write_all(b"N").await?;
    }
    stream.write_all(&say(b'R', &[0; 4])).await?;
    stream.write_all(&say(b'Z', b"I")).await?;
    let mut value = "12.5";
    loop {
        let kind = stream.read_u8().await?;
        let mut body = vec![0; stream.read_u32().await? as usize - 4];
        stream.read_exact(&mut body).await?;
        let answer = match kind {
            b'P' => {
                let asked = String::from_utf8_lossy(&body).into_owned();
                let number = asked.contains("server_version_num");
                value = if number { "120005" } else { "12.5" };
                say(b'1', b"")
            }
            b'D' => {
                // One column of type text.
                let column = b"\0\x01v\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
                [say(b't', &[0, 0]), say(b'T', column)].concat()
            }
            b'B' => say(b'2', b""),
            b'E' => {
                let head = [&[0, 1, 0, 0, 0, value.len() as u8], value.as_bytes()].concat();
                [say(b'D', &head), say(b'C', b"SHOW\0")].concat()
            }
            b'C' => say(b'3', b""),
            b'S' => say(b'Z', b"I"),
            _ => return Ok(()),
        };
        stream.write_all(&answer).await?;
    }
}

/// A running worker, killed when it is dropped.
struct Running(Child);

impl Running {
    fn start(deployment: &Deployment, queues: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = deployment
            .processes
            .command(&["drover-worker", queues])
            .unwrap();
        command
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut command = Command::from(command);
        Self(command.kill_on_drop(true).spawn().unwrap())
    }

    async fn terminate(mut self) -> (ExitStatus, Duration) {
        let pid = i32::try_from(self.0.id().unwrap()).unwrap();
        let began = Instant::now();
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(30), self.0.wait());
        (ended.await.unwrap().unwrap(), began.elapsed())
    }
}

async fn alive(deployment: &Deployment, wanted: usize) -> Vec<String> {
    let names = || async {
        let names: Vec<String> = sqlx::query_scalar("select id from apalis.workers order by id")
            .fetch_all(&deployment.pool)
            .await?;
        when(names.len() == wanted, names)
    };
    let what = format!("{wanted} workers");
    until(&what, Duration::from_secs(15), names)
        .await
        .unwrap()
        .0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_of_two_queues_ends_when_asked_and_returns_under_another_name() {
    let deployment = Deployment::new(&json!({})).await.unwrap();
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..2 {
        let running = Running::start(&deployment, "feel,think", &[]);
        let names = alive(&deployment, 3).await;
        for (name, queue) in names.iter().zip(["feel@", "silent@", "think@"]) {
            assert!(name.starts_with(queue), "{names:?}");
        }
        assert!(names.iter().all(|name| !seen.contains(name)), "{seen:?}");
        seen.extend(names);
        let (status, took) = running.terminate().await;
        assert!(status.success(), "{status}");
        assert!(
            took < Duration::from_secs(25),
            "nothing was at work: {took:?}"
        );
        alive(&deployment, 0).await;
    }
}

/// Servers that take the connection and never say a word: each feel lasts until
/// its limit.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_taken_on_than_concurrency_allows_and_all_of_it_is_given_back() {
    const CONCURRENCY: usize = 3;
    let deployment = Deployment::new(&json!({})).await.unwrap();
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let most_open = most.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let open = open.clone();
            most_open.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::spawn(async move {
                while stream.read_u8().await.is_ok() {}
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    for n in 1..=30 {
        let mut tx = deployment.pool.begin().await.unwrap();
        let adopted = subjects::adopt_server(&mut tx, &key(), &silent_server(n, port)).await;
        adopted.unwrap();
        tx.commit().await.unwrap();
    }
    let concurrency = CONCURRENCY.to_string();
    let settings = [("DROVER_CONCURRENCY", concurrency.as_str())];
    let running = Running::start(&deployment, "feel", &settings);
    alive(&deployment, 2).await;
    let mut most_held = 0;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        most_held = most_held.max(held(&deployment).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let at_work = most.load(Ordering::SeqCst);
    assert_eq!(at_work, CONCURRENCY, "feels at once");
    assert!(
        (CONCURRENCY..=2 * CONCURRENCY).contains(&most_held),
        "{most_held} tokens held"
    );

    let (status, took) = running.terminate().await;
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(25), "{took:?}");
    assert_eq!(held(&deployment).await, 0, "all given back");
    let tokens: i64 = sql::scalar(&deployment.pool, "select count(*) from apalis.jobs", ()).await;
    assert_eq!(tokens, 30);
}

fn silent_server(n: u8, port: u16) -> NewServer {
    NewServer {
        ssh_port: port,
        host_key: None,
        ..new_server(&format!("silent-{n}"), &format!("127.0.1.{n}"))
    }
}

/// Tokens that some worker has claimed.
async fn held(deployment: &Deployment) -> usize {
    let sql = "select count(*) from apalis.jobs where lock_by is not null";
    let held: i64 = sql::scalar(&deployment.pool, sql, ()).await;
    usize::try_from(held).unwrap()
}
