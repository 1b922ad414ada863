//! From the first message to "ready for query": by SCRAM-SHA-256, which is bound to TLS where
//! there is TLS; where the record says so, by MD5 and with the password in the clear (only
//! under TLS) too.

use drover::model::{ExposeSecret, RequireAuth, TlsMode};
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;

use super::tls::Encrypted;
use super::wire::Wire;
use super::{Login, PostgresError, unexpected};

pub(super) async fn log_in(
    wire: &mut Wire,
    login: &Login<'_>,
    encrypted: &Encrypted,
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
        Message::AuthenticationCleartextPassword | Message::AuthenticationMd5Password(_)
            if login.require_auth == RequireAuth::ScramSha256 =>
        {
            let message = "the server wants the password in the clear or by MD5, and gets it by \
                           SCRAM-SHA-256 alone (require_auth)";
            return Err(PostgresError::Login(message.into()));
        }
        Message::AuthenticationCleartextPassword if matches!(encrypted, Encrypted::No) => {
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
        Message::AuthenticationSasl(body) => scram(wire, &body, login, encrypted).await?,
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
    login: &Login<'_>,
    encrypted: &Encrypted,
) -> Result<(), PostgresError> {
    let offered: Vec<&str> = offer
        .mechanisms()
        .collect()
        .map_err(|e| PostgresError::Protocol(e.to_string()))?;
    let (mechanism, binding) = bound(&offered, login, encrypted)?;
    let odd = |e: std::io::Error| PostgresError::Login(format!("{mechanism}: {e}"));
    let password = login.password.expose_secret().as_bytes();
    let mut scram = ScramSha256::new(password, binding);
    wire.send(|buf| frontend::sasl_initial_response(mechanism, scram.message(), buf))
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

/// The mechanism, and what it is bound to. Under TLS with any certificate, only the binding tells
/// a server from somebody who passes on what both say.
fn bound(
    offered: &[&str],
    login: &Login<'_>,
    encrypted: &Encrypted,
) -> Result<(&'static str, ChannelBinding), PostgresError> {
    let offers = |mechanism| offered.contains(&mechanism);
    let end = match encrypted {
        Encrypted::Yes { end } => end.as_ref(),
        Encrypted::No => None,
    };
    if let Some(end) = end
        && offers(SCRAM_SHA_256_PLUS)
    {
        let binding = ChannelBinding::tls_server_end_point(end.clone());
        return Ok((SCRAM_SHA_256_PLUS, binding));
    }
    let any_certificate = match login.tls_mode {
        TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => true,
        TlsMode::VerifyFull => false,
    };
    if login.require_auth == RequireAuth::ScramSha256
        && matches!(encrypted, Encrypted::Yes { .. })
        && any_certificate
    {
        let message = format!(
            "the server binds its login to no TLS ({SCRAM_SHA_256_PLUS}), so another may stand in \
             between: tls_mode verify-full, or require_auth any"
        );
        return Err(PostgresError::Login(message));
    }
    if !offers(SCRAM_SHA_256) {
        let message = format!("the server does not offer {SCRAM_SHA_256}");
        return Err(PostgresError::Login(message));
    }
    // A server that could have bound it learns that somebody has taken its offer away.
    let binding = match end {
        Some(_) => ChannelBinding::unrequested(),
        None => ChannelBinding::unsupported(),
    };
    Ok((SCRAM_SHA_256, binding))
}
