//! Messages over a stream, with limits on what a peer can make us hold.

use std::io;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{ErrorResponseBody, Message};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::PostgresError;

/// Longest message, in bytes. The longest honest one lists the replication
/// slots, some two hundred bytes each.
const LONGEST: usize = 256 * 1024;
/// Most that is read in one session, in bytes.
const MOST: usize = 1024 * 1024;

/// A TCP connection, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) struct Wire {
    stream: BufReader<Box<dyn Stream>>,
    read: usize,
}

impl Wire {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream: BufReader::with_capacity(4096, stream),
            read: 0,
        }
    }

    /// Sends what `write` puts into the buffer. It fails on texts that cannot be
    /// sent, such as those with a NUL.
    pub(super) async fn send(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> Result<(), PostgresError> {
        let mut buf = BytesMut::new();
        write(&mut buf).map_err(|e| PostgresError::Login(format!("cannot be sent: {e}")))?;
        self.stream.write_all(&buf).await?;
        self.stream.flush().await?;
        Ok(())
    }

    /// The next message that is not about settings, notices or notifications.
    /// What the server refuses is an error.
    pub(super) async fn receive(&mut self) -> Result<Message, PostgresError> {
        loop {
            match self.message().await? {
                Message::NoticeResponse(_)
                | Message::NotificationResponse(_)
                | Message::ParameterStatus(_) => {}
                Message::ErrorResponse(body) => return Err(refusal(&body)),
                message => return Ok(message),
            }
        }
    }

    async fn message(&mut self) -> Result<Message, PostgresError> {
        let mut header = [0; 5];
        self.stream.read_exact(&mut header).await?;
        let [kind, length @ ..] = header;
        let length = u32::from_be_bytes(length) as usize;
        if !(4..=LONGEST).contains(&length) {
            return Err(PostgresError::Protocol(format!(
                "not what PostgreSQL says: a message of type {:?} and {length} bytes",
                char::from(kind)
            )));
        }
        self.read += 1 + length;
        if self.read > MOST {
            return Err(PostgresError::Protocol(format!(
                "it says more than {MOST} bytes"
            )));
        }
        // Room is made as bytes come, not as they are announced.
        let mut message = BytesMut::from(&header[..]);
        let rest = length as u64 - 4;
        let mut body = (&mut self.stream).take(rest);
        while body.limit() > 0 {
            if body.read_buf(&mut message).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        match Message::parse(&mut message) {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(PostgresError::Protocol("half a message".into())),
            Err(e) => Err(PostgresError::Protocol(e.to_string())),
        }
    }
}

/// What the server says in an error. Texts of a server whose language is not
/// ours may be in any encoding before the login is done.
fn refusal(body: &ErrorResponseBody) -> PostgresError {
    let (mut sqlstate, mut message) = (String::new(), String::new());
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        let value = || String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => sqlstate = value(),
            b'M' => message = value(),
            _ => {}
        }
    }
    if sqlstate.len() != 5 {
        return PostgresError::Protocol(format!("an error without a code: {message:?}"));
    }
    PostgresError::Server { sqlstate, message }
}
