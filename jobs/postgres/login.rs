//! From the first message to "ready for query": passwords in the clear (only
//! under TLS), by MD5 and by SCRAM-SHA-256.

use drover::model::ExposeSecret;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;

use super::tls::Encrypted;
use super::wire::Wire;
use super::{Login, PostgresError, unexpected};

pub(super) async fn log_in(
    wire: &mut Wire,
    login: &Login<'_>,
    encrypted: Encrypted,
) -> Result<(), PostgresError> {
    let parameters = [
        ("user", login.role),
        ("database", login.database),
        ("application_name", "drover"),
        ("client_encoding", "UTF8"),
        ("TimeZone", "UTC"),
        ("options", login.options),
    ];
    wire.send(|buf| frontend::startup_message(parameters, buf))
        .await?;
    let password = login.password.expose_secret().as_bytes();
    match wire.receive().await? {
        Message::AuthenticationOk => return until_ready(wire).await,
        Message::AuthenticationCleartextPassword if encrypted == Encrypted::No => {
            let message = "the server wants the password in the clear, without TLS";
            return Err(PostgresError::Login(message.into()));
        }
        Message::AuthenticationCleartextPassword => {
            wire.send(|buf| frontend::password_message(password, buf))
                .await?;
        }
        Message::AuthenticationMd5Password(body) => {
            let hash = md5_hash(login.role.as_bytes(), password, body.salt());
            wire.send(|buf| frontend::password_message(hash.as_bytes(), buf))
                .await?;
        }
        Message::AuthenticationSasl(body) => scram(wire, &body, password).await?,
        Message::AuthenticationGss
        | Message::AuthenticationKerberosV5
        | Message::AuthenticationScmCredential
        | Message::AuthenticationSspi => {
            let message = "the server wants another way to log in than a password";
            return Err(PostgresError::Login(message.into()));
        }
        _ => return Err(unexpected("a way to log in")),
    }
    match wire.receive().await? {
        Message::AuthenticationOk => until_ready(wire).await,
        _ => Err(unexpected("the end of the login")),
    }
}

async fn until_ready(wire: &mut Wire) -> Result<(), PostgresError> {
    loop {
        match wire.receive().await? {
            Message::BackendKeyData(_) => {}
            Message::ReadyForQuery(_) => return Ok(()),
            _ => return Err(unexpected("readiness")),
        }
    }
}

async fn scram(
    wire: &mut Wire,
    offer: &AuthenticationSaslBody,
    password: &[u8],
) -> Result<(), PostgresError> {
    let known = offer.mechanisms().any(|m| Ok(m == SCRAM_SHA_256));
    if !known.map_err(|e| PostgresError::Protocol(e.to_string()))? {
        let message = format!("the server does not offer {SCRAM_SHA_256}");
        return Err(PostgresError::Login(message));
    }
    let odd = |e: std::io::Error| PostgresError::Login(format!("{SCRAM_SHA_256}: {e}"));
    let mut scram = ScramSha256::new(password, ChannelBinding::unsupported());
    wire.send(|buf| frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), buf))
        .await?;
    let Message::AuthenticationSaslContinue(body) = wire.receive().await? else {
        return Err(unexpected("a SCRAM challenge"));
    };
    scram.update(body.data()).map_err(odd)?;
    wire.send(|buf| frontend::sasl_response(scram.message(), buf))
        .await?;
    let Message::AuthenticationSaslFinal(body) = wire.receive().await? else {
        return Err(unexpected("the end of SCRAM"));
    };
    scram.finish(body.data()).map_err(odd)
}
