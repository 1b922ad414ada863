//! Peers that are no PostgreSQL, or no longer: a feel ends in time, in little
//! memory and without a panic, whatever they say.

use std::time::Duration;

use drover::model::{Cause, TlsMode};
use rand::{Rng, RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::world::at;

/// Listens, and treats every connection like this.
async fn peer<F>(treat: impl Fn(TcpStream) -> F + Send + 'static) -> u16
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(treat(stream));
        }
    });
    port
}

/// Reads what is asked first, says this, and reads until the other side goes.
async fn answering(answer: Vec<u8>) -> u16 {
    peer(move |mut stream| {
        let answer = answer.clone();
        async move {
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked).await;
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
            while stream.read(&mut asked).await.is_ok_and(|n| n > 0) {}
        }
    })
    .await
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut all = vec![kind];
    all.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    all.extend_from_slice(body);
    all
}

/// "You are in, and it is your turn."
fn login() -> Vec<u8> {
    let mut all = message(b'R', &[0; 4]);
    all.extend(message(b'Z', b"I"));
    all
}

/// Peak memory of this process, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

const MODES: [TlsMode; 4] = [
    TlsMode::Disable,
    TlsMode::Prefer,
    TlsMode::Require,
    TlsMode::VerifyFull,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_never_answers_is_a_timeout() {
    let port = peer(|stream| async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(stream);
    })
    .await;
    let feels = MODES.map(|mode| tokio::spawn(at(port).tls(mode).feel()));
    for feel in feels {
        feel.await.unwrap().failed(Cause::Timeout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_lets_us_in_and_falls_silent_is_a_timeout() {
    let port = peer(|mut stream| async move {
        let _ = stream.write_all(&login()).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
    })
    .await;
    let message = at(port).feel().await.failed(Cause::Timeout);
    assert!(message.contains("select 1"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_closes_at_once_has_disconnected() {
    let at_once = peer(|stream| async move { drop(stream) }).await;
    let when_asked = answering(Vec::new()).await;
    let after_login = answering(login()).await;
    for mode in MODES {
        at(at_once)
            .tls(mode)
            .feel()
            .await
            .failed(Cause::Disconnected);
        at(when_asked)
            .tls(mode)
            .feel()
            .await
            .failed(Cause::Disconnected);
    }
    at(after_login).feel().await.failed(Cause::Disconnected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_of_another_protocol_is_told_so() {
    let http = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    let ssh = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n";
    for answer in [&http[..], &ssh[..], &[0; 64], &[0xff; 64]] {
        let port = answering(answer.to_vec()).await;
        for mode in MODES {
            let felt = at(port).tls(mode).feel().await;
            // Something with an S for a first byte is asked to speak TLS.
            let tls = answer[0] == b'S' && mode != TlsMode::Disable;
            felt.failed(if tls { Cause::Tls } else { Cause::Protocol });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_end_costs_little_memory_and_ends_in_time() {
    // A message of 2 GiB; settings for ever; rows for ever.
    let long = |mut stream: TcpStream| async move {
        let _ = stream.write_all(b"E\x7f\xff\xff\xff").await;
        while stream.write_all(&[b'x'; 65536]).await.is_ok() {}
    };
    let settings = |mut stream: TcpStream| async move {
        let setting = message(b'S', &[&b"n"[..], &[b'x'; 4000], b"\0v\0"].concat());
        while stream.write_all(&setting).await.is_ok() {}
    };
    let notices = |mut stream: TcpStream| async move {
        let notice = message(b'N', b"SNOTICE\0VNOTICE\0C00000\0Mhello\0\0").repeat(1000);
        while stream.write_all(&notice).await.is_ok() {}
    };
    let rows = |mut stream: TcpStream| async move {
        let _ = stream.write_all(&login()).await;
        let row = message(
            b'D',
            &[&[0, 1, 0, 0, 0x0f, 0xa0][..], &[b'x'; 4000]].concat(),
        );
        while stream.write_all(&row.repeat(16)).await.is_ok() {}
    };
    let before = peak_memory();
    for port in [
        peer(long).await,
        peer(settings).await,
        peer(notices).await,
        peer(rows).await,
    ] {
        at(port).feel().await.failed(Cause::Protocol);
    }
    let grown = peak_memory() - before;
    assert!(grown < 64 * 1024 * 1024, "{} MiB", grown >> 20);
}

/// One answer of one row of one value.
fn answer(value: &str) -> Vec<u8> {
    let mut row = vec![0, 1];
    row.extend_from_slice(&(value.len() as u32).to_be_bytes());
    row.extend_from_slice(value.as_bytes());
    let mut all = message(b'D', &row);
    all.extend(message(b'C', b"SELECT 1\0"));
    all.extend(message(b'Z', b"I"));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn details_cannot_pass_for_our_own_words() {
    let lie = r#"{"service_available": false, "cause": 5, "witness": [], "latency_ms": "x",
                  "message": {}, "xid_age": 7}"#;
    let port = answering([login(), answer("1"), answer(lie)].concat()).await;
    let felt = at(port).feel().await;
    let stored = serde_json::to_string(&felt.seen).unwrap();
    let read: drover::model::Attributes = serde_json::from_str(&stored).unwrap();
    assert_eq!(read, felt.seen);
    assert_eq!(felt.available(), serde_json::json!({"xid_age": 7}));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_answer_is_not_service() {
    for value in ["2", "", "no"] {
        let port = answering([login(), answer(value)].concat()).await;
        at(port).feel().await.failed(Cause::Protocol);
    }
    for odd in ["[]", "null", "{", "", "\u{0}"] {
        let port = answering([login(), answer("1"), answer(odd)].concat()).await;
        let details = at(port).feel().await.available();
        assert_eq!(details["details_missing"], "the answer is no JSON object");
    }
}

/// Random bytes, and random damage to what PostgreSQL says, at every stage.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_odd_answers_are_each_an_observation() {
    let seed: u64 = rand::random();
    eprintln!("seed: {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut feels = tokio::task::JoinSet::new();
    for n in 0..200 {
        let answer = odd(&mut random, n % 4);
        let port = answering(answer.clone()).await;
        let mode = MODES[random.random_range(0..2)];
        feels.spawn(async move { (answer, at(port).tls(mode).feel().await) });
        if feels.len() >= 20 {
            is_a_failure(feels.join_next().await.unwrap().unwrap());
        }
    }
    while let Some(felt) = feels.join_next().await {
        is_a_failure(felt.unwrap());
    }
}

fn is_a_failure((answer, felt): (Vec<u8>, super::world::Felt)) {
    assert!(!felt.seen.service_available, "{answer:?}: {felt:?}");
    assert!(felt.seen.cause.is_some(), "{answer:?}: {felt:?}");
    assert!(felt.took < Duration::from_secs(20), "{answer:?}: {felt:?}");
}

fn odd(random: &mut impl Rng, shape: usize) -> Vec<u8> {
    let length = random.random_range(0..60);
    let mut bytes: Vec<u8> = (0..length).map(|_| random.random()).collect();
    let kinds = b"RSKZENTDC1t2nIAsGHdc3v";
    let kind = kinds[random.random_range(0..kinds.len())];
    match shape {
        0 => bytes,
        1 => message(kind, &bytes),
        2 => [login(), message(kind, &bytes)].concat(),
        _ => {
            // A challenge, a refusal, or a length that is none.
            let method: u8 = random.random_range(0..14);
            let mut body = vec![0, 0, 0, method];
            body.append(&mut bytes);
            let mut all = message(b'R', &body);
            all[4] = random.random_range(0..8);
            all.extend(message(b'E', b"SFATAL\0VFATAL\0CXXXXX\0M\xff\xfe\0\0"));
            all
        }
    }
}
