//! What the processes read from their environment, once, at their start.

mod ec2;
mod notify;

use std::time::Duration;

use serde_json::Value;

use crate::model::{ExposeSecret, Rules, Secret, SecretKey, secret};

pub use ec2::{Ec2Address, Ec2Config, Ec2Image};
pub use notify::{NotifyConfig, PageVia, PagerDutyConfig, TicketVia, WebhookConfig, ZendeskConfig};

/// A setting that is missing or wrong; the message says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// Where settings come from: a name's value, if it is set and not empty.
#[derive(Clone, Copy)]
pub struct Env<'a>(pub &'a dyn Fn(&str) -> Option<String>);

impl Env<'_> {
    /// The process's own environment.
    pub fn process() -> Env<'static> {
        Env(&|name| std::env::var(name).ok().filter(|v| !v.trim().is_empty()))
    }

    /// A setting that may be absent.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }

    /// A setting that must be there.
    ///
    /// # Errors
    /// Names the setting and says `what` it is.
    pub fn require(&self, name: &str, what: &str) -> Result<String, ConfigError> {
        self.get(name)
            .ok_or_else(|| ConfigError(format!("{name} is not set: {what}")))
    }

    /// A whole number within a range, or the default.
    ///
    /// # Errors
    /// If it is no number or out of range.
    pub fn number(&self, name: &str, default: u32, min: u32, max: u32) -> Result<u32, ConfigError> {
        let Some(text) = self.get(name) else {
            return Ok(default);
        };
        match text.trim().parse::<u32>() {
            Ok(n) if (min..=max).contains(&n) => Ok(n),
            _ => Err(ConfigError(format!(
                "{name} must be a whole number from {min} to {max}"
            ))),
        }
    }
}

/// `DATABASE_URL`: the control database.
///
/// # Errors
/// If it is not set.
pub fn database_url(env: Env<'_>) -> Result<String, ConfigError> {
    env.require(
        "DATABASE_URL",
        "the control database, such as postgres://drover@127.0.0.1:5432/drover",
    )
}

/// `DROVER_SECRET_KEY`: what secrets are sealed with.
///
/// # Errors
/// If it is not set or no key.
pub fn secret_key(env: Env<'_>) -> Result<SecretKey, ConfigError> {
    let text = env.require(
        "DROVER_SECRET_KEY",
        "32 bytes in base 64 that secrets are sealed with; make one with: openssl rand -base64 32",
    )?;
    SecretKey::from_base64(&text).map_err(|e| ConfigError(e.to_string()))
}

/// What `drover web` needs.
#[derive(Clone)]
pub struct WebConfig {
    /// Address to listen on: `DROVER_BIND` (default 127.0.0.1) and `PORT` (8080).
    pub listen: String,
    /// What callers must present: `DROVER_API_TOKEN`, at least 16 characters.
    pub token: Secret,
    /// What callers must present for what needs the admin scope:
    /// `DROVER_ADMIN_TOKEN`. Without it, the other token has every scope.
    pub admin_token: Option<Secret>,
    /// `DROVER_SECRET_KEY`.
    pub secret_key: SecretKey,
    /// The deployment's rules, for checking tiers against: `DROVER_RULES`.
    pub rules: Value,
    /// How much drover may make.
    pub quotas: Quotas,
    /// Whether things may be broken on purpose.
    pub gameday: GamedayMark,
}

/// `DROVER_GAMEDAY`: whether this deployment is marked as one in which things may be
/// broken on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GamedayMark {
    /// It is not.
    #[default]
    Refused,
    /// `allow`.
    Allowed,
}

impl GamedayMark {
    fn from_env(env: Env<'_>) -> Result<Self, ConfigError> {
        match env.get("DROVER_GAMEDAY").as_deref().map(str::trim) {
            None => Ok(Self::Refused),
            Some("allow") => Ok(Self::Allowed),
            Some(_) => Err(ConfigError(
                "DROVER_GAMEDAY must be allow, or not be set".into(),
            )),
        }
    }
}

/// How many live subjects of drover's own making there may be.
#[derive(Clone, Copy, Debug)]
pub struct Quotas {
    /// Resources: `DROVER_QUOTA_RESOURCES` (default 10000).
    pub resources: u32,
    /// Servers: `DROVER_QUOTA_SERVERS` (default 2000).
    pub servers: u32,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            resources: 10_000,
            servers: 2_000,
        }
    }
}

impl Quotas {
    fn from_env(env: Env<'_>) -> Result<Self, ConfigError> {
        let usual = Self::default();
        let most = 10_000_000;
        Ok(Self {
            resources: env.number("DROVER_QUOTA_RESOURCES", usual.resources, 0, most)?,
            servers: env.number("DROVER_QUOTA_SERVERS", usual.servers, 0, most)?,
        })
    }
}

impl WebConfig {
    /// Reads it.
    ///
    /// # Errors
    /// Names what is missing or wrong.
    pub fn from_env(env: Env<'_>) -> Result<Self, ConfigError> {
        let port = env.number("PORT", 8080, 1, 65535)?;
        let bind = env.get("DROVER_BIND").unwrap_or_else(|| "127.0.0.1".into());
        let (token, admin_token) = (api_token(env)?, admin_token(env)?);
        let same = |admin: &Secret| admin.expose_secret() == token.expose_secret();
        if admin_token.as_ref().is_some_and(same) {
            return Err(ConfigError(
                "DROVER_ADMIN_TOKEN must differ from DROVER_API_TOKEN".into(),
            ));
        }
        Ok(Self {
            listen: format!("{bind}:{port}"),
            token,
            admin_token,
            secret_key: secret_key(env)?,
            rules: rules(env)?,
            quotas: Quotas::from_env(env)?,
            gameday: GamedayMark::from_env(env)?,
        })
    }
}

/// `DROVER_API_TOKEN`.
///
/// # Errors
/// If it is not set, or too short to be safe.
pub fn api_token(env: Env<'_>) -> Result<Secret, ConfigError> {
    let token = env.require(
        "DROVER_API_TOKEN",
        "the bearer token of the API; make one with: openssl rand -hex 24",
    )?;
    long_enough("DROVER_API_TOKEN", token)
}

/// `DROVER_ADMIN_TOKEN`.
///
/// # Errors
/// If it is too short to be safe.
pub fn admin_token(env: Env<'_>) -> Result<Option<Secret>, ConfigError> {
    let name = "DROVER_ADMIN_TOKEN";
    let token = env.get(name).map(|token| long_enough(name, token));
    token.transpose()
}

fn long_enough(name: &str, token: String) -> Result<Secret, ConfigError> {
    if token.len() < 16 {
        let message = format!("{name} must have at least 16 characters");
        return Err(ConfigError(message));
    }
    Ok(secret(token))
}

/// `DROVER_RULES`: what differs from the built-in rules, as JSON.
///
/// # Errors
/// If it is no JSON, or no such rules.
pub fn rules(env: Env<'_>) -> Result<Value, ConfigError> {
    let Some(text) = env.get("DROVER_RULES") else {
        return Ok(Value::Object(Default::default()));
    };
    let layer: Value = serde_json::from_str(&text)
        .map_err(|e| ConfigError(format!("DROVER_RULES is no JSON: {e}")))?;
    Rules::layered(&[&layer]).map_err(|e| ConfigError(format!("DROVER_RULES: {e}")))?;
    Ok(layer)
}

/// What `drover clock` needs.
#[derive(Clone, Debug)]
pub struct ClockConfig {
    /// Days that observations are kept: `DROVER_RETENTION_DAYS` (default 14).
    pub retention_days: u32,
}

impl ClockConfig {
    /// Reads it.
    ///
    /// # Errors
    /// If the number is out of range.
    pub fn from_env(env: Env<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            retention_days: env.number("DROVER_RETENTION_DAYS", 14, 1, 3650)?,
        })
    }
}

/// What `drover-worker` needs.
#[derive(Clone)]
pub struct WorkerConfig {
    /// Jobs at work at once per queue: `DROVER_CONCURRENCY` (default 100).
    pub concurrency: u32,
    /// `DROVER_SECRET_KEY`.
    pub secret_key: SecretKey,
    /// The deployment's rules: `DROVER_RULES`.
    pub rules: Value,
    /// The deployment's own SSH key: `DROVER_SSH_KEY`, or the file that
    /// `DROVER_SSH_KEY_FILE` names.
    pub ssh_key: Option<Secret>,
    /// The local cloud, where `DROVER_LOCAL_DIR` is set.
    pub local: Option<LocalConfig>,
    /// Amazon EC2, where a region is set.
    pub ec2: Option<Ec2Config>,
    /// Whom messages go to.
    pub notify: NotifyConfig,
    /// Whether things may be broken on purpose.
    pub gameday: GamedayMark,
    /// From SIGTERM until what is still at work is given back.
    pub drain: Duration,
    /// The longest an idle worker waits before it looks for tokens again:
    /// `DROVER_POLL_MS` (default 100).
    pub poll: Duration,
}

impl WorkerConfig {
    /// Reads it.
    ///
    /// # Errors
    /// Names what is missing or wrong.
    pub fn from_env(env: Env<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            concurrency: env.number("DROVER_CONCURRENCY", 100, 1, 10_000)?,
            secret_key: secret_key(env)?,
            rules: rules(env)?,
            ssh_key: ssh_key(env)?,
            local: env
                .get("DROVER_LOCAL_DIR")
                .map(|dir| LocalConfig::from_env(env, dir.into())),
            ec2: Ec2Config::from_env(env)?,
            notify: NotifyConfig::from_env(env)?,
            gameday: GamedayMark::from_env(env)?,
            drain: Duration::from_secs(20),
            poll: Duration::from_millis(env.number("DROVER_POLL_MS", 100, 5, 10_000)?.into()),
        })
    }
}

/// The local cloud: machines on this host.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// Where it keeps what their daemon has no business with: `DROVER_LOCAL_DIR`.
    pub dir: std::path::PathBuf,
    /// The daemon's socket: `DROVER_MACHINES` (default: `machines/socket` in that folder).
    pub machines: Option<std::path::PathBuf>,
    /// What they start from: `DROVER_LOCAL_IMAGE` (default: `bookworm`).
    pub image: Option<String>,
}

impl LocalConfig {
    /// With this folder.
    pub fn from_env(env: Env<'_>, dir: std::path::PathBuf) -> Self {
        Self {
            dir,
            machines: env.get("DROVER_MACHINES").map(Into::into),
            image: env.get("DROVER_LOCAL_IMAGE"),
        }
    }
}

/// The deployment's own SSH key.
///
/// # Errors
/// If the file that is named cannot be read.
pub fn ssh_key(env: Env<'_>) -> Result<Option<Secret>, ConfigError> {
    if let Some(text) = env.get("DROVER_SSH_KEY") {
        return Ok(Some(secret(text)));
    }
    let Some(path) = env.get("DROVER_SSH_KEY_FILE") else {
        return Ok(None);
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(secret(text))),
        Err(e) => Err(ConfigError(format!(
            "DROVER_SSH_KEY_FILE ({path}) cannot be read: {e}"
        ))),
    }
}

/// What the `drover` command needs as a client of the API.
#[derive(Clone)]
pub struct ClientConfig {
    /// Where `drover web` answers: `DROVER_URL` (default http://127.0.0.1:8080).
    pub url: String,
    /// `DROVER_API_TOKEN`, or `DROVER_ADMIN_TOKEN` for what needs the admin scope.
    pub token: Secret,
}

impl ClientConfig {
    /// Reads it.
    ///
    /// # Errors
    /// If there is no token.
    pub fn from_env(env: Env<'_>) -> Result<Self, ConfigError> {
        Self::presenting(api_token(env)?, env)
    }

    /// The same for what needs the admin scope: `DROVER_ADMIN_TOKEN` where it is set.
    /// Where it is not, web may know none either, and the API's token will do.
    ///
    /// # Errors
    /// If there is no token.
    pub fn admin_from_env(env: Env<'_>) -> Result<Self, ConfigError> {
        match admin_token(env)? {
            Some(token) => Self::presenting(token, env),
            None => Self::from_env(env),
        }
    }

    fn presenting(token: Secret, env: Env<'_>) -> Result<Self, ConfigError> {
        let port = env.number("PORT", 8080, 1, 65535)?;
        Ok(Self {
            url: env
                .get("DROVER_URL")
                .unwrap_or_else(|| format!("http://127.0.0.1:{port}")),
            token,
        })
    }
}

/// The value of an `Authorization` header for this token.
pub fn bearer(token: &Secret) -> String {
    format!("Bearer {}", token.expose_secret())
}
