//! The connection under a session: TCP, the handshake, the check of the host
//! key, and its end.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use drover::model::Cause;
use russh::client::{self, Handle};
use russh::keys::{HashAlg, PublicKeyOrCertificate};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

use super::{SshError, host_key};
use crate::dial::{Unreached, dial};

/// An SSH connection whose server has proved that it holds the pinned key.
pub(super) struct Session {
    pub(super) handle: Handle<Guard>,
    /// `address:port`, for messages.
    pub(super) at: String,
    /// russh runs a connection as a task of its own, which would outlive a
    /// caller that gave up: dropping this ends it.
    _cut: DropGuard,
}

/// Lets a server in only if it is the one that was pinned.
pub(super) struct Guard {
    pinned: Option<String>,
    seen: Arc<OnceLock<host_key::Seen>>,
}

impl client::Handler for Guard {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        let seen = host_key::Seen::of(key)?;
        let same = self.pinned.as_deref().is_some_and(|pinned| seen.is(pinned));
        let _ = self.seen.set(seen);
        Ok(same)
    }
}

impl Session {
    pub(super) async fn open(
        address: &str,
        port: u16,
        pinned: Option<&str>,
    ) -> Result<Self, SshError> {
        let at = format!("{address}:{port}");
        let socket = connect(address, port).await.map_err(|(cause, why)| {
            SshError::new(cause, format!("{at} cannot be reached: {why}"))
        })?;
        let cut = CancellationToken::new();
        let greeting = Arc::new(OnceLock::new());
        let wire = Wire {
            socket,
            cut: Box::pin(cut.clone().cancelled_owned()),
            greeting: greeting.clone(),
        };
        let cut = cut.drop_guard();

        let seen = Arc::new(OnceLock::new());
        let guard = Guard {
            pinned: pinned.map(str::to_owned),
            seen: seen.clone(),
        };
        let config = client::Config {
            // Ours is set on the socket; this one is for `client::connect` only.
            nodelay: true,
            window_size: 256 * 1024,
            inactivity_timeout: Some(Duration::from_secs(60)),
            preferred: host_key::preferred(pinned),
            ..client::Config::default()
        };
        match client::connect_stream(Arc::new(config), wire, guard).await {
            Ok(handle) => Ok(Self {
                handle,
                at,
                _cut: cut,
            }),
            Err(russh::Error::UnknownKey) if seen.get().is_some() => {
                Err(host_key::refusal(&at, pinned, seen.get()))
            }
            // A web server, say, answers our greeting with an error and closes.
            Err(_) if greeting.get().is_some_and(|g| !g.starts_with(b"SSH-")) => {
                Err(SshError::new(
                    Cause::Protocol,
                    format!("what answers at {at} is no SSH server"),
                ))
            }
            Err(e) => Err(error(&at, e, "during the handshake")),
        }
    }

    /// The best hash the server takes signatures of RSA keys with.
    pub(super) async fn rsa_hash(&mut self) -> Result<Option<HashAlg>, SshError> {
        let told = self.handle.best_supported_rsa_hash().await;
        let told = told.map_err(|e| self.error(e, "while logging in"))?;
        Ok(told.unwrap_or(Some(HashAlg::Sha256)))
    }

    pub(super) fn error(&self, e: russh::Error, when: &str) -> SshError {
        error(&self.at, e, when)
    }
}

async fn connect(address: &str, port: u16) -> Result<TcpStream, (Cause, String)> {
    let e = match dial(address, port).await {
        Ok(socket) => return Ok(socket),
        Err(Unreached::NoAddress(why)) => return Err((Cause::NoRoute, why.to_string())),
        Err(Unreached::NotConnected(why)) => why,
    };
    let known = [
        (io::ErrorKind::ConnectionRefused, Cause::Refused),
        (io::ErrorKind::TimedOut, Cause::Timeout),
        (io::ErrorKind::ConnectionReset, Cause::Disconnected),
    ];
    let cause = known.iter().find(|(kind, _)| *kind == e.kind());
    // What else can be said of a connection that was not made: unreachable hosts and networks,
    // firewalls that prohibit.
    let cause = cause.map_or(Cause::NoRoute, |(_, cause)| *cause);
    Err((cause, e.to_string()))
}

fn error(at: &str, e: russh::Error, when: &str) -> SshError {
    let gone = matches!(
        e,
        russh::Error::Disconnect
            | russh::Error::HUP
            | russh::Error::SendError
            | russh::Error::RecvError
            | russh::Error::IO(_)
    );
    if gone {
        return SshError::new(
            Cause::Disconnected,
            format!("{at} closed the connection {when}"),
        );
    }
    let why: String = e
        .to_string()
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect();
    SshError::new(
        Cause::Protocol,
        format!("{at} does not speak SSH as it should {when}: {why}"),
    )
}

/// The socket, which can be cut from outside and remembers how it was greeted.
struct Wire {
    socket: TcpStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    greeting: Arc<OnceLock<Vec<u8>>>,
}

impl Wire {
    fn is_cut(&mut self, cx: &mut Context<'_>) -> bool {
        self.cut.as_mut().poll(cx).is_ready()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_cut(cx) {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        let new = &buf.filled()[before..];
        if !new.is_empty() {
            self.greeting
                .get_or_init(|| new[..new.len().min(4)].to_vec());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_cut(cx) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
