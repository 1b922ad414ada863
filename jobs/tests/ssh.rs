//! SSH and the local cloud, against real sshds and real clusters.

mod daemon;
mod world;

use std::time::{Duration, Instant};

use drover::model::{Cause, Fsync, Origin, Server, State, Subject, SubjectId, Witness, secret};
use drover_jobs::cloud::local::{LocalServer, SSH_PORT};
use drover_jobs::cloud::{Cloud as _, Clouds, InstanceState};
use drover_jobs::feel::{context::FeelContext, server, witness};
use drover_jobs::host::AtPort;
use drover_jobs::ssh::{self, Limits, SshError, Target};
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use world::Cloud;

fn context(cloud: &Cloud) -> FeelContext {
    let key = std::fs::read_to_string(cloud.local.key_file()).unwrap();
    FeelContext {
        ssh_key: Some(secret(key)),
        clouds: Clouds::local_only(cloud.local.clone()),
        statuses: None,
        followers: None,
    }
}

async fn subject(local: &LocalServer) -> Server {
    let now = chrono::Utc::now();
    Server {
        subject: Subject {
            id: SubjectId::generate(),
            kind: drover::model::Kind::Server,
            name: local.name.clone(),
            state: State::Available,
            state_since: now,
            origin: Origin::Adopted,
            tier: "standard".into(),
            created_at: now,
        },
        address: local.settings.address.to_string(),
        ssh_port: SSH_PORT,
        ssh_user: local.target().await.unwrap().user,
        ssh_key: None,
        host_key: Some(local.host_key().unwrap()),
        cloud: Some(drover::model::Cloud::Local),
        instance_id: Some(local.name.clone()),
        zone: None,
        region: None,
        size: None,
        volume: None,
        for_plan: None,
        host_key_changed_at: None,
    }
}

fn quick() -> Limits {
    Limits {
        time: Duration::from_secs(3),
        bytes: 64 * 1024,
        ..Limits::default()
    }
}

/// A key of nobody's: the private half, and the public one.
fn key_pair() -> (String, String) {
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
    let private = key.to_openssh(LineEnding::LF).unwrap().to_string();
    (private, key.public_key().to_openssh().unwrap())
}

/// A listener that does with each connection what `serve` does.
async fn listener<F, S>(serve: S) -> u16
where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(tokio::net::TcpStream) -> F + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket));
        }
    });
    port
}

fn nowhere(port: u16) -> Target {
    Target {
        address: "127.0.0.1".into(),
        port,
        user: "nobody".into(),
        key: secret("no key at all"),
        host_key: Some("ssh-ed25519 AAAA".into()),
    }
}

async fn cause(target: &Target) -> (Cause, String) {
    let SshError { cause, message, .. } = ssh::run(target, "true", quick()).await.unwrap_err();
    (cause, message)
}

#[tokio::test]
async fn failures_to_connect_are_told_apart() {
    let silent = listener(|mut socket| async move {
        let _ = socket.read_to_end(&mut vec![]).await;
    });
    let web = listener(|mut socket| async move {
        let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    let noise = listener(|mut socket| async move {
        let _ = socket.write_all(b"SSH-2.0-x\r\n").await;
        let _ = socket.write_all(&[0x5a; 4096]).await;
        let _ = socket.read_to_end(&mut vec![]).await;
    });
    let endless =
        listener(
            |mut socket| async move { while socket.write_all(&[b'x'; 4096]).await.is_ok() {} },
        );
    let closing = listener(|socket| async move { drop(socket) });

    let begun = Instant::now();
    assert_eq!(cause(&nowhere(silent.await)).await.0, Cause::Timeout);
    assert!((3.0..4.0).contains(&begun.elapsed().as_secs_f64()));
    assert_eq!(cause(&nowhere(web.await)).await.0, Cause::Protocol);
    assert_eq!(cause(&nowhere(noise.await)).await.0, Cause::Protocol);
    assert_eq!(cause(&nowhere(endless.await)).await.0, Cause::Protocol);
    assert_eq!(cause(&nowhere(closing.await)).await.0, Cause::Disconnected);
    assert_eq!(cause(&nowhere(1)).await.0, Cause::Refused);
    let unknown = Target {
        address: "no-such-host.invalid".into(),
        ..nowhere(22)
    };
    assert_eq!(cause(&unknown).await.0, Cause::NoRoute);
}

#[tokio::test]
async fn giving_up_closes_the_connection() {
    let (closed, mut when) = tokio::sync::mpsc::channel::<()>(1);
    let port = listener(move |mut socket| {
        let closed = closed.clone();
        async move {
            let _ = socket.write_all(b"SSH-2.0-stuck\r\n").await;
            let _ = socket.read_to_end(&mut vec![]).await;
            let _ = closed.send(()).await;
        }
    })
    .await;
    let limits = Limits {
        time: Duration::from_millis(300),
        ..quick()
    };
    let error = ssh::run(&nowhere(port), "true", limits).await.unwrap_err();
    assert_eq!(error.cause, Cause::Timeout);
    let closed = tokio::time::timeout(Duration::from_secs(2), when.recv()).await;
    assert_eq!(closed, Ok(Some(())), "the session outlived its deadline");
}

#[tokio::test]
async fn only_the_pinned_host_is_let_in_and_only_with_its_key() {
    let cloud = Cloud::new().await;
    let server = cloud.server("pg-1").await;
    let target = server.target().await.unwrap();

    let output = ssh::run(&target, "echo out; echo err >&2; exit 3", quick())
        .await
        .unwrap();
    assert_eq!((output.status, output.stdout), (Some(3), b"out\n".to_vec()));
    assert_eq!(output.stderr, b"err\n");
    let output = ssh::run(&target, "kill -9 $$", quick()).await.unwrap();
    assert_eq!(output.status, None);

    let key = server.host_key().unwrap();
    let read = ssh::read_host_key(&target.address, target.port, quick().time)
        .await
        .unwrap();
    assert_eq!(read, key);

    let unpinned = Target {
        host_key: None,
        ..target.clone()
    };
    let error = ssh::run(&unpinned, "true", quick()).await.unwrap_err();
    assert_eq!(
        (error.cause, error.seen_host_key),
        (Cause::HostKeyUnknown, Some(key.clone()))
    );

    let (stranger, other) = key_pair();
    let wrong = Target {
        host_key: Some(other),
        ..target.clone()
    };
    let error = ssh::run(&wrong, "touch /tmp/never", quick())
        .await
        .unwrap_err();
    assert_eq!(
        (error.cause, error.seen_host_key),
        (Cause::HostKeyChanged, Some(key))
    );
    assert!(error.message.contains("SHA256:"), "{}", error.message);

    let stranger = Target {
        key: secret(stranger),
        ..target.clone()
    };
    assert_eq!(cause(&stranger).await.0, Cause::Authentication);
    let no_key = Target {
        key: secret("hunter2"),
        ..target.clone()
    };
    let (why, message) = cause(&no_key).await;
    assert_eq!(why, Cause::Authentication);
    assert!(!message.contains("hunter2"));

    let error = ssh::run(&target, "yes", quick()).await.unwrap_err();
    assert_eq!(error.cause, Cause::Protocol, "{error}");
    let begun = Instant::now();
    let error = ssh::run(&target, "sleep 60", quick()).await.unwrap_err();
    assert_eq!(error.cause, Cause::Timeout);
    assert!(begun.elapsed() < Duration::from_secs(20));
    let argument = "a 'b' \"c\" $HOME `id` \\ \n";
    let echo = format!("printf %s {}", ssh::quote(argument).unwrap());
    assert_eq!(
        ssh::run(&target, &echo, quick()).await.unwrap().stdout,
        argument.as_bytes()
    );
}

#[tokio::test]
async fn input_reaches_a_command_and_ends() {
    let cloud = Cloud::new().await;
    let target = cloud.server("pg-1").await.target().await.unwrap();
    let run = async |command: &str, input: &[u8]| {
        let limits = Limits {
            bytes: 8 * 1024 * 1024,
            ..quick()
        };
        ssh::run_with_input(&target, command, input, limits).await
    };

    let bytes: Vec<u8> = (0..=255).collect();
    let echoed = run("cat; echo end", &bytes).await.unwrap();
    assert_eq!(echoed.stdout, [&bytes[..], b"end\n"].concat());
    let none = run("cat; echo end", b"").await.unwrap();
    assert_eq!(none.stdout, b"end\n", "an empty input ends too");

    // Far beyond every window and buffer, both ways at once.
    let much = vec![b'x'; 4 * 1024 * 1024];
    let echoed = run("cat", &much).await.unwrap();
    assert_eq!((echoed.status, echoed.stdout.len()), (Some(0), much.len()));

    // A command that does not want it all.
    let deaf = run("exec <&-; echo deaf; exit 3", &much).await.unwrap();
    assert_eq!((deaf.status, deaf.stdout), (Some(3), b"deaf\n".to_vec()));
    let hanging = run("sleep 60 # hunter", b"hunter2").await.unwrap_err();
    assert_eq!(hanging.cause, Cause::Timeout);
    assert!(!hanging.message.contains("hunter2"));
    let stuck = run("sleep 60", &much).await.unwrap_err();
    assert_eq!(stuck.cause, Cause::Timeout);

    // What is in the input is in no process's command line.
    let seen = "read -r secret; cat /proc/[0-9]*/cmdline 2>/dev/null";
    let seen = run(seen, b"s3cret-0f-nobody\n").await.unwrap().stdout;
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.contains("read -r secret"));
    assert!(!seen.contains("s3cret-0f-nobody"));
}

#[tokio::test]
async fn a_local_server_lives_dies_and_comes_back() {
    let cloud = Cloud::new().await;
    let mut local = cloud.server("pg-1").await;
    let cx = context(&cloud);
    let subject = subject(&local).await;
    let describe = async || cloud.local.describe("pg-1").await.unwrap().state;

    let one = local.create("pg-1-db-1").await.unwrap();
    let two = local.create("pg-1-db-2").await.unwrap();
    assert_eq!((one.port, two.port), (5501, 5502));
    let again = local.create("pg-1-db-1").await.unwrap();
    assert_eq!(again.port, one.port, "a second run keeps what is there");

    let seen = server::feel(&subject, &cx).await;
    assert!(seen.service_available, "{seen:?}");
    let figures = &seen.server;
    let said = figures.cloud.as_ref().unwrap();
    assert_eq!(
        (said.state.as_deref(), said.instance_check.as_deref()),
        (Some("running"), Some("ok"))
    );
    let clusters = figures.clusters.as_deref().unwrap();
    assert_eq!(clusters.len(), 2);
    assert!(clusters.iter().all(|c| c.running), "{clusters:?}");
    let volumes = figures.volumes.as_deref().unwrap();
    assert!(
        volumes
            .iter()
            .any(|v| v.mount.as_deref() == Some("/") && v.writable == Some(true)),
        "{volumes:?}"
    );
    assert!(
        volumes.iter().any(|v| v.data == Some(true)
            && v.clusters.as_ref().unwrap().len() == 2
            && v.fsync == Some(Fsync::Ok)
            && v.fsync_ms.is_some()),
        "{volumes:?}"
    );
    assert!(figures.clock_skew_ms.unwrap().abs() < 1000.0, "{seen:?}");

    let (port, is) = (one.port, None);
    let at = AtPort { port, is };
    let up = witness::ask_server(&subject, at, &cx).await;
    assert!(matches!(up, Witness::Up { .. }), "{up:?}");
    assert!(local.kill(&one).await.unwrap() > 3);
    assert!(!local.runs(&one).await.unwrap() && local.runs(&two).await.unwrap());
    let down = witness::ask_server(&subject, at, &cx).await;
    assert!(
        matches!(&down, Witness::Down { detail } if detail.contains("pg_1_db_1")),
        "{down:?}"
    );
    local.start(&one).await.unwrap();
    local.start(&one).await.unwrap();
    assert!(local.runs(&one).await.unwrap());
    local.stop(&one).await.unwrap();
    let down = witness::ask_server(&subject, at, &cx).await;
    assert!(
        matches!(&down, Witness::Down { detail } if detail.contains("received fast shutdown")),
        "{down:?}"
    );
    local.start(&one).await.unwrap();

    assert_eq!(describe().await, InstanceState::Running);
    local.unplug().await.unwrap();
    assert!(
        !local.is_up().await.unwrap()
            && !local.runs(&one).await.unwrap()
            && !local.runs(&two).await.unwrap()
    );
    assert_eq!(describe().await, InstanceState::Stopped);
    let dead = server::feel(&subject, &cx).await;
    assert!(
        matches!(dead.cause, Some(Cause::NoRoute | Cause::Timeout)),
        "{dead:?}"
    );
    assert_eq!(
        dead.server.cloud.as_ref().unwrap().state.as_deref(),
        Some("stopped")
    );
    assert!(
        matches!(dead.witness, Some(Witness::Down { .. })),
        "{dead:?}"
    );

    local.plug().await.unwrap();
    assert!(
        local.is_up().await.unwrap()
            && local.runs(&one).await.unwrap()
            && local.runs(&two).await.unwrap()
    );
    let unpinned = Server {
        host_key: None,
        ..subject.clone()
    };
    let unknown = server::feel(&unpinned, &cx).await;
    assert_eq!(unknown.cause, Some(Cause::HostKeyUnknown));
    assert_eq!(unknown.server.host_key, Some(local.host_key().unwrap()));

    local.destroy().await.unwrap();
    assert_eq!(describe().await, InstanceState::Terminated);
}
