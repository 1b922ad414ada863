//! A session with a PostgreSQL that may be anything: just enough of the
//! protocol to log in and ask questions of one value.
//!
//! Why not a driver: what is felt may be broken, hostile or no PostgreSQL, and a
//! driver trusts its server. sqlx panics on short messages and makes room for
//! whatever length a server names. Here every message has a longest length and
//! every session a most it will read.
//!
//! Architecture Invariant: nothing here reads the environment, and no error
//! holds the password.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a peer may send any message, and few are expected at any moment"
)]

mod login;
mod tls;
mod wire;

use std::io;

use drover::model::{RequireAuth, Secret, TlsMode};
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{DataRowBody, Message};
use postgres_protocol::message::frontend;

pub(crate) use tls::is_for;
use wire::Wire;

use crate::dial::{Unreached, dial};

/// Where to log in, and as whom.
pub(crate) struct Login<'a> {
    /// Host name or IP address; `verify-full` wants the certificate to be for it.
    pub(crate) address: &'a str,
    /// Port PostgreSQL listens on.
    pub(crate) port: u16,
    /// Database to connect to.
    pub(crate) database: &'a str,
    /// Role to connect as.
    pub(crate) role: &'a str,
    /// Its password.
    pub(crate) password: &'a Secret,
    /// How the connection uses TLS.
    pub(crate) tls_mode: TlsMode,
    /// PEM of the authorities `verify-full` trusts; `None`: the system's.
    pub(crate) tls_root_cert: Option<&'a str>,
    /// What the server may ask for.
    pub(crate) require_auth: RequireAuth,
    /// Settings of the session, as `-c name=value`.
    pub(crate) options: &'a str,
}

/// Why a session failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostgresError {
    /// PostgreSQL says so.
    #[error("{message} ({sqlstate})")]
    Server {
        /// Five characters, as in PostgreSQL's appendix "Error Codes".
        sqlstate: String,
        /// Its words.
        message: String,
    },
    /// The host name has no address.
    #[error("{0}")]
    NoAddress(io::Error),
    /// The network failed, or the peer closed the connection.
    #[error("{0}")]
    Io(io::Error),
    /// No TLS to be had, or none that is trusted.
    #[error("{0}")]
    Tls(String),
    /// The two sides find no way for us to prove who we are.
    #[error("{0}")]
    Login(String),
    /// The peer does not speak as PostgreSQL does.
    #[error("{0}")]
    Protocol(String),
}

impl From<io::Error> for PostgresError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            let closed = "the peer closed the connection";
            return PostgresError::Io(io::Error::new(error.kind(), closed));
        }
        PostgresError::Io(error)
    }
}

/// A session that is logged in.
pub(crate) struct Session {
    wire: Wire,
}

impl Session {
    /// Connects and logs in. Has no time limit of its own.
    pub(crate) async fn open(login: &Login<'_>) -> Result<Self, PostgresError> {
        let stream = dial(login.address, login.port).await;
        let stream = stream.map_err(|why| match why {
            Unreached::NoAddress(why) => PostgresError::NoAddress(why),
            Unreached::NotConnected(why) => why.into(),
        })?;
        let (stream, encrypted) = tls::wrap(stream, login).await?;
        let mut wire = Wire::new(stream);
        login::log_in(&mut wire, login, &encrypted).await?;
        Ok(Self { wire })
    }

    /// Asks a question whose answer is one value, and returns it as text; a null
    /// is an empty text. Has no time limit of its own.
    pub(crate) async fn ask(&mut self, sql: &str) -> Result<String, PostgresError> {
        self.wire.send(|buf| frontend::query(sql, buf)).await?;
        let mut answer = None;
        loop {
            match self.wire.receive().await? {
                Message::RowDescription(_) | Message::CommandComplete(_) => {}
                Message::DataRow(row) => answer = Some(first_value(&row)?),
                Message::ReadyForQuery(_) => {
                    return answer
                        .ok_or_else(|| PostgresError::Protocol("an answer without a row".into()));
                }
                _ => return Err(unexpected("an answer")),
            }
        }
    }

    /// Says goodbye, so that the server does not log a lost connection.
    pub(crate) async fn close(mut self) {
        let _ = self
            .wire
            .send(|buf| {
                frontend::terminate(buf);
                Ok(())
            })
            .await;
    }
}

fn first_value(row: &DataRowBody) -> Result<String, PostgresError> {
    let malformed = || PostgresError::Protocol("a malformed row".into());
    let range = row.ranges().next().map_err(|_| malformed())?;
    let range = range.ok_or_else(malformed)?.unwrap_or(0..0);
    let value = row.buffer().get(range).ok_or_else(malformed)?;
    Ok(String::from_utf8_lossy(value).into_owned())
}

fn unexpected(instead_of: &str) -> PostgresError {
    PostgresError::Protocol(format!("another message came instead of {instead_of}"))
}
