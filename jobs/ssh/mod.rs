//! SSH, as drover uses it: connect, check the pinned host key, log in with a
//! key, run one command, read its output, close.
//!
//! Architecture Invariant: no session outlives [`run`]; there is no pool and no
//! multiplexing, so a worker holds nothing of a server between two feels.

mod command;
mod connect;
mod host_key;

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use drover::model::{Cause, ExposeSecret, Secret};
use russh::keys::{PrivateKeyWithHashAlg, decode_secret_key};

use connect::Session;

/// Where to log in, as whom, and how to know that it is really there.
#[derive(Clone, Debug)]
pub struct Target {
    /// IP address or host name.
    pub address: String,
    /// Port of its sshd.
    pub port: u16,
    /// Whom to log in as.
    pub user: String,
    /// Private key in OpenSSH's format, without a passphrase.
    pub key: Secret,
    /// The pinned host key, `ssh-ed25519 AAAA…`; a comment behind it is ignored.
    pub host_key: Option<String>,
}

/// What one [`run`] may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the look-up of the name to the last byte.
    pub time: Duration,
    /// Of that, until we are let in.
    pub connect: Duration,
    /// Standard output and standard error together.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(10),
            connect: Duration::MAX,
            bytes: 64 * 1024,
        }
    }
}

/// What a command did.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit status; `None` if a signal ended it.
    pub status: Option<u32>,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
    /// Our clock when the command was sent …
    pub sent_at: SystemTime,
    /// … and when its first byte, or its end, came back. A server's clock that
    /// the command printed first was read between the two.
    pub answered_at: SystemTime,
}

/// Why a command could not be run. Its exit status is not an error.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct SshError {
    /// What kind of failure this is.
    pub cause: Cause,
    /// The error, for people; never holds a secret.
    pub message: String,
    /// The key the server showed, when it was not the pinned one or none was.
    pub seen_host_key: Option<String>,
}

impl SshError {
    pub(crate) fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self {
            cause,
            message: message.into(),
            seen_host_key: None,
        }
    }
}

/// Runs one command and reads its output.
///
/// Nothing is sent, not even the user's name, unless the server has proved that
/// it holds the pinned host key.
///
/// # Errors
/// [`SshError`] with its cause. Without a pinned key it reads the server's and
/// stops: `HostKeyUnknown`. Output beyond the limit is `Protocol`.
pub async fn run(target: &Target, command: &str, limits: Limits) -> Result<Output, SshError> {
    talk(target, command, Input::default(), limits).await
}

/// Runs one command, writes this to its standard input and closes that, and reads
/// its output. It is where secrets go: everybody on a machine can read a
/// command's line.
///
/// A command need not read its input to the end, nor at all.
///
/// # Errors
/// As [`run`]; none holds the input.
pub async fn run_with_input(
    target: &Target,
    command: &str,
    input: &[u8],
    limits: Limits,
) -> Result<Output, SshError> {
    let input = Input {
        first: Some(input),
        ..Input::default()
    };
    talk(target, command, input, limits).await
}

/// What is to be written, once a command has printed this much; `None`: it has to print more.
pub type Answer<'a> = &'a (dyn Fn(&[u8]) -> Option<Vec<u8>> + Sync);

/// As [`run_with_input`], for a command that asks something once it has begun: the rest of
/// the input follows the answer.
///
/// # Errors
/// As [`run`]; none holds the input.
pub async fn run_answering(
    target: &Target,
    command: &str,
    input: &[u8],
    answer: Answer<'_>,
    rest: &[u8],
    limits: Limits,
) -> Result<Output, SshError> {
    let input = Input {
        first: Some(input),
        then: Some((answer, rest)),
    };
    talk(target, command, input, limits).await
}

/// What a command reads.
#[derive(Default)]
struct Input<'a> {
    /// At once; `None`: its input stays open, and empty.
    first: Option<&'a [u8]>,
    /// Once it has asked.
    then: Option<(Answer<'a>, &'a [u8])>,
}

async fn talk(
    target: &Target,
    command: &str,
    input: Input<'_>,
    limits: Limits,
) -> Result<Output, SshError> {
    let (address, port) = (&*target.address, target.port);
    // On the heap: it is large, and lies in all that wait for it.
    let let_in = Box::pin(async {
        let mut session = Session::open(address, port, target.host_key.as_deref()).await?;
        log_in(&mut session, target).await?;
        Ok(session)
    });
    let talked = async {
        let session = within(limits.connect.min(limits.time), address, port, let_in).await?;
        command::run(&session, command, input, limits.bytes).await
    };
    within(limits.time, address, port, talked).await
}

/// Reads the host key of a server, without logging in.
///
/// # Errors
/// [`SshError`] with its cause.
pub async fn read_host_key(address: &str, port: u16, time: Duration) -> Result<String, SshError> {
    let error = match within(time, address, port, Session::open(address, port, None)).await {
        Err(error) => error,
        Ok(_) => SshError::new(
            Cause::Protocol,
            format!("{address}:{port} showed no host key"),
        ),
    };
    match (error.cause, &error.seen_host_key) {
        (Cause::HostKeyUnknown, Some(key)) => Ok(key.clone()),
        _ => Err(error),
    }
}

/// An argument as a POSIX shell reads it back unchanged.
///
/// # Errors
/// If it holds a NUL byte, which no argument can.
pub fn quote(argument: &str) -> anyhow::Result<Cow<'_, str>> {
    shlex::try_quote(argument).map_err(|_| anyhow::anyhow!("an argument cannot hold a NUL byte"))
}

/// The public half of a private key in OpenSSH's format, as a line of
/// `authorized_keys`.
///
/// # Errors
/// If it is no such key; the error does not hold it.
pub fn public_half(key: &Secret) -> anyhow::Result<String> {
    let key = decode_secret_key(key.expose_secret(), None)
        .map_err(|_| anyhow::anyhow!("the SSH key is no OpenSSH private key"))?;
    Ok(format!("{}\n", key.public_key().to_openssh()?.trim()))
}

async fn log_in(session: &mut Session, target: &Target) -> Result<(), SshError> {
    // Read only now: a key that is no key is no news about a server that is down.
    let key = decode_secret_key(target.key.expose_secret(), None).map_err(|_| {
        SshError::new(
            Cause::Authentication,
            "the SSH key cannot be read: it must be an OpenSSH private key without a passphrase",
        )
    })?;
    let hash = if key.algorithm().is_rsa() {
        session.rsa_hash().await?
    } else {
        None
    };
    let key = PrivateKeyWithHashAlg::new(std::sync::Arc::new(key), hash);
    let accepted = session
        .handle
        .authenticate_publickey(target.user.as_str(), key)
        .await
        .map_err(|e| session.error(e, "while logging in"))?;
    if !accepted.success() {
        return Err(SshError::new(
            Cause::Authentication,
            format!(
                "{} does not let {:?} in with this SSH key",
                session.at, target.user
            ),
        ));
    }
    Ok(())
}

/// One deadline over everything. What is dropped at its end closes the connection.
async fn within<T>(
    time: Duration,
    address: &str,
    port: u16,
    work: impl Future<Output = Result<T, SshError>>,
) -> Result<T, SshError> {
    tokio::time::timeout(time, work).await.unwrap_or_else(|_| {
        Err(SshError::new(
            Cause::Timeout,
            format!(
                "no answer from {address}:{port} within {:.1} s",
                time.as_secs_f64()
            ),
        ))
    })
}
