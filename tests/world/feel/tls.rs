//! The four TLS modes, against a cluster that has TLS and one that has not.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use drover::model::{Cause, TlsMode};
use drover_tests::{sql, until};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::world::{HOLD_DETAILS, Target, at, cluster, own_cluster, session};

/// An authority that signs certificates for servers.
pub struct Authority {
    dir: TempDir,
    pub certificate: String,
}

pub struct Identity {
    pub certificate: String,
    pub key: String,
}

fn openssl(dir: &Path, arguments: &str) {
    let done = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .expect("openssl, which bin/test installs");
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "openssl {arguments}: {told}");
}

impl Authority {
    /// The one that the clusters of these tests have their certificates from.
    pub fn get() -> &'static Self {
        static AUTHORITY: OnceLock<Authority> = OnceLock::new();
        AUTHORITY.get_or_init(Self::new)
    }

    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        openssl(
            dir.path(),
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
             -subj /CN=authority -keyout ca.key -out ca.crt",
        );
        let certificate = std::fs::read_to_string(dir.path().join("ca.crt")).unwrap();
        Self { dir, certificate }
    }

    /// A certificate for 127.0.0.1 and for no other address or name.
    pub fn identity(&self) -> Identity {
        let dir = self.dir.path();
        std::fs::write(dir.join("san"), "subjectAltName=IP:127.0.0.1").unwrap();
        openssl(
            dir,
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
             -subj /CN=server -keyout server.key -out server.csr",
        );
        openssl(
            dir,
            "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
             -extfile san -out server.crt",
        );
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
        Identity {
            certificate: read("server.crt"),
            key: read("server.key"),
        }
    }
}

/// Whether a feel's session used TLS, as the cluster saw it. Needs a role and a
/// database of its own, which it makes.
async fn used_tls(target: Target, role: &str) -> bool {
    let cluster = cluster().await;
    let mut db = session(cluster).await;
    for sql in [
        format!("create role {role} login superuser"),
        format!("create database {role}"),
    ] {
        sql::run(&mut db, sqlx::AssertSqlSafe(sql), ()).await;
    }
    // A lock holds the feel at its details until its session has been seen.
    let mut locker = PgConnection::connect(&cluster.url(role)).await.unwrap();
    sql::batch(&mut locker, HOLD_DETAILS).await;
    let feel = tokio::spawn(target.role(role).database(role).feel());
    let seen = || async {
        let sql =
            "select ssl from pg_stat_ssl join pg_stat_activity using (pid) where usename = $1";
        let used: Vec<bool> = sql::scalars(&mut session(cluster).await, sql, [role]).await;
        Ok(used.first().copied().ok_or_else(|| "no session".to_owned()))
    };
    let session = until("the feel's session", Duration::from_secs(5), seen);
    let (used, _) = session.await.unwrap();
    sql::batch(&mut locker, "rollback").await;
    let details = feel.await.unwrap().available();
    assert_eq!(details.get("details_missing"), None);
    used
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_uses_tls_as_it_says() {
    let target = || async { at(cluster().await.port) };
    assert!(!used_tls(target().await.tls(TlsMode::Disable), "tls_disabled").await);
    assert!(used_tls(target().await.tls(TlsMode::Prefer), "tls_preferred").await);
    assert!(used_tls(target().await.tls(TlsMode::Require), "tls_required").await);
    let verified = target().await.tls(TlsMode::VerifyFull);
    let verified = verified.trusting(&Authority::get().certificate);
    assert!(used_tls(verified, "tls_verified").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_goes_through_tls_too() {
    let cluster = cluster().await;
    at(cluster.port)
        .role("watcher")
        .tls(TlsMode::Prefer)
        .feel()
        .await
        .available();
    at(cluster.port)
        .role("watcher")
        .password("wrong-horse")
        .tls(TlsMode::Require)
        .feel()
        .await
        .failed(Cause::Authentication);
}

/// Somebody with a certificate of their own, who passes on what both say: with TLS behind them,
/// or without.
async fn between(port: u16, tls_behind: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let Identity { certificate, key } = Authority::new().identity();
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    drover_tests::init();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let accepts = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((mut guest, _)) = listener.accept().await {
            let accepts = accepts.clone();
            tokio::spawn(async move {
                guest.read_exact(&mut [0; 8]).await?;
                guest.write_all(b"S").await?;
                let mut guest = accepts.accept(guest).await?;
                if !tls_behind {
                    let mut behind = TcpStream::connect(("127.0.0.1", port)).await?;
                    copy_bidirectional(&mut guest, &mut behind).await?;
                    return Ok(());
                }
                let mut behind = tokio::process::Command::new("openssl")
                    .args(["s_client", "-quiet", "-starttls", "postgres", "-connect"])
                    .arg(format!("127.0.0.1:{port}"))
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .kill_on_drop(true)
                    .spawn()?;
                let (Some(says), Some(hears)) = (behind.stdout.take(), behind.stdin.take()) else {
                    unreachable!("both are pipes");
                };
                copy_bidirectional(&mut guest, &mut tokio::io::join(says, hears)).await?;
                std::io::Result::Ok(())
            });
        }
    });
    own
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_stands_between_drover_and_a_server_that_knows_its_password() {
    let cluster = cluster().await;
    for tls_behind in [true, false] {
        let port = between(cluster.port, tls_behind).await;
        let through = || at(port).role("watcher").tls(TlsMode::Require);
        let message = through().feel().await.failed(Cause::Authentication);
        let why = if tls_behind {
            "channel binding"
        } else {
            "SCRAM-SHA-256-PLUS"
        };
        assert!(message.contains(why), "{message}");
        let felt = through().letting_it_ask().feel().await;
        if tls_behind {
            felt.failed(Cause::Authentication);
        } else {
            felt.available();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_an_unknown_authority_is_not_trusted() {
    let cluster = cluster().await;
    let verify = || at(cluster.port).tls(TlsMode::VerifyFull);
    let other = Authority::new();
    verify()
        .trusting(&other.certificate)
        .feel()
        .await
        .failed(Cause::Tls);
    // The system's authorities do not know it either.
    verify().feel().await.failed(Cause::Tls);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_is_not_accepted() {
    let cluster = cluster().await;
    let message = at(cluster.port)
        .address("localhost")
        .tls(TlsMode::VerifyFull)
        .trusting(&Authority::get().certificate)
        .feel()
        .await
        .failed(Cause::Tls);
    assert!(message.contains("localhost"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_only_those_that_insist_fail() {
    let plain = own_cluster(&[]).await;
    let target = |mode| at(plain.port).tls(mode);
    target(TlsMode::Disable).feel().await.available();
    target(TlsMode::Prefer).feel().await.available();
    target(TlsMode::Require).feel().await.failed(Cause::Tls);
    target(TlsMode::VerifyFull)
        .trusting(&Authority::get().certificate)
        .feel()
        .await
        .failed(Cause::Tls);
}
