//! Whom messages go to: the one on call, and the customers.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;

use super::{ConfigError, Env};
use crate::model::{Secret, secret};

const PAGERDUTY: &str = "https://events.pagerduty.com";
/// What PagerDuty takes from one integration in a minute.
const PAGERDUTY_LIMIT: u32 = 120;
/// Bytes of a webhook's secret, as Standard Webhooks has them.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Whom messages go to; by default to the log.
#[derive(Clone, Default)]
pub struct NotifyConfig {
    /// Pages.
    pub page: PageVia,
    /// Customers' tickets.
    pub ticket: TicketVia,
}

/// How the one on call is reached.
#[derive(Clone, Default)]
pub enum PageVia {
    /// Not at all: what would be said is written to the log.
    #[default]
    Log,
    /// By PagerDuty.
    PagerDuty(PagerDutyConfig),
}

/// How customers are reached.
#[derive(Clone, Default)]
pub enum TicketVia {
    /// Not at all: what would be said is written to the log.
    #[default]
    Log,
    /// By a system of one's own.
    Webhook(WebhookConfig),
    /// By Zendesk.
    Zendesk(ZendeskConfig),
}

/// PagerDuty's Events API v2.
#[derive(Clone)]
pub struct PagerDutyConfig {
    /// `DROVER_PAGERDUTY_URL` (default <https://events.pagerduty.com>).
    pub url: Url,
    /// `DROVER_PAGERDUTY_KEY`: the integration's routing key.
    pub key: Secret,
    /// `DROVER_PAGERDUTY_PER_MINUTE`: calls a minute at most, of all processes
    /// together (default and most: 120, PagerDuty's own limit).
    pub per_minute: u32,
}

/// A receiver after the Standard Webhooks.
#[derive(Clone)]
pub struct WebhookConfig {
    /// `DROVER_WEBHOOK_URL`. Not for logs: it may hold a token in its path.
    pub url: Url,
    /// `DROVER_WEBHOOK_SECRET`: what the messages are signed with.
    pub secret: Secret,
}

/// Zendesk's Ticketing API.
#[derive(Clone)]
pub struct ZendeskConfig {
    /// `DROVER_ZENDESK_URL`, such as <https://example.zendesk.com>.
    pub url: Url,
    /// `DROVER_ZENDESK_EMAIL`: whose token it is.
    pub email: String,
    /// `DROVER_ZENDESK_TOKEN`.
    pub token: Secret,
}

impl NotifyConfig {
    /// Reads it.
    ///
    /// # Errors
    /// Names what is missing, wrong, or set though it does not fit the rest.
    pub fn from_env(env: Env<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            page: page(env)?,
            ticket: ticket(env)?,
        })
    }
}

fn page(env: Env<'_>) -> Result<PageVia, ConfigError> {
    let Some(key) = env.get("DROVER_PAGERDUTY_KEY") else {
        return match ["DROVER_PAGERDUTY_URL", "DROVER_PAGERDUTY_PER_MINUTE"]
            .into_iter()
            .find(|name| env.get(name).is_some())
        {
            Some(name) => Err(half(name, "DROVER_PAGERDUTY_KEY")),
            None => Ok(PageVia::Log),
        };
    };
    let url = env.get("DROVER_PAGERDUTY_URL");
    Ok(PageVia::PagerDuty(PagerDutyConfig {
        url: base("DROVER_PAGERDUTY_URL", url.as_deref().unwrap_or(PAGERDUTY))?,
        key: word("DROVER_PAGERDUTY_KEY", &key)?,
        per_minute: env.number(
            "DROVER_PAGERDUTY_PER_MINUTE",
            PAGERDUTY_LIMIT,
            1,
            PAGERDUTY_LIMIT,
        )?,
    }))
}

fn ticket(env: Env<'_>) -> Result<TicketVia, ConfigError> {
    const WEBHOOK: [&str; 2] = ["DROVER_WEBHOOK_URL", "DROVER_WEBHOOK_SECRET"];
    const ZENDESK: [&str; 3] = [
        "DROVER_ZENDESK_URL",
        "DROVER_ZENDESK_EMAIL",
        "DROVER_ZENDESK_TOKEN",
    ];
    match (together(env, WEBHOOK)?, together(env, ZENDESK)?) {
        (None, None) => Ok(TicketVia::Log),
        (Some(_), Some(_)) => Err(ConfigError(
            "DROVER_WEBHOOK_URL and DROVER_ZENDESK_URL are both set: customers' tickets go to one \
             of them; unset the other's settings"
                .into(),
        )),
        (Some([url, key]), None) => Ok(TicketVia::Webhook(WebhookConfig {
            url: url_of(WEBHOOK[0], &url)?,
            secret: signing_key(WEBHOOK[1], &key)?,
        })),
        (None, Some([url, email, token])) => Ok(TicketVia::Zendesk(ZendeskConfig {
            url: base(ZENDESK[0], &url)?,
            email: address(ZENDESK[1], &email)?,
            token: word(ZENDESK[2], &token)?,
        })),
    }
}

/// Settings that are set all together or not at all.
fn together<const N: usize>(
    env: Env<'_>,
    names: [&str; N],
) -> Result<Option<[String; N]>, ConfigError> {
    let Some(there) = names.into_iter().find(|name| env.get(name).is_some()) else {
        return Ok(None);
    };
    if let Some(missing) = names.into_iter().find(|name| env.get(name).is_none()) {
        return Err(half(there, missing));
    }
    Ok(Some(names.map(|name| env.get(name).unwrap_or_default())))
}

fn half(there: &str, missing: &str) -> ConfigError {
    ConfigError(format!(
        "{there} is set, but {missing} is not: set both or neither"
    ))
}

/// A URL that secrets may be sent to. No error repeats it: it may hold one.
fn url_of(name: &str, text: &str) -> Result<Url, ConfigError> {
    let wrong = |what: &str| ConfigError(format!("{name} {what}"));
    let url = Url::parse(text.trim()).map_err(|e| wrong(&format!("is no URL: {e}")))?;
    let Some(host) = url.host_str() else {
        return Err(wrong("is no URL with a host"));
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = match bare.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_) => host == "localhost",
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        _ => {
            return Err(wrong(
                "must begin with https:// (http:// is for this machine's own addresses only)",
            ));
        }
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must not hold a user or password"));
    }
    Ok(url)
}

/// The same, to be followed by a path.
fn base(name: &str, text: &str) -> Result<Url, ConfigError> {
    let url = url_of(name, text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(ConfigError(format!(
            "{name} must end with its host or a path"
        )));
    }
    Ok(url)
}

fn word(name: &str, text: &str) -> Result<Secret, ConfigError> {
    let text = text.trim();
    if text.len() <= 255 && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(secret(text));
    }
    Err(ConfigError(format!(
        "{name} must be one word of at most 255 characters"
    )))
}

fn address(name: &str, text: &str) -> Result<String, ConfigError> {
    let text = text.trim();
    let graphic = text.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    if text.len() <= 254 && graphic && text.contains('@') {
        return Ok(text.to_owned());
    }
    Err(ConfigError(format!("{name} must be an e-mail address")))
}

fn signing_key(name: &str, text: &str) -> Result<Secret, ConfigError> {
    let text = text.trim();
    let bytes = STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text));
    if bytes.is_ok_and(|key| SECRET_BYTES.contains(&key.len())) {
        return Ok(secret(text));
    }
    Err(ConfigError(format!(
        "{name} must be whsec_ and 24 to 64 bytes in base 64; make one with: \
         echo whsec_$(openssl rand -base64 32)"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ExposeSecret;

    fn read(settings: &[(&str, &str)]) -> Result<NotifyConfig, String> {
        let get = |name: &str| {
            let found = settings.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        NotifyConfig::from_env(Env(&get)).map_err(|e| e.0)
    }

    const SIGNING: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn nothing_set_is_the_log() {
        let config = read(&[]).unwrap_or_default();
        assert!(matches!(config.page, PageVia::Log));
        assert!(matches!(config.ticket, TicketVia::Log));
    }

    #[test]
    fn a_key_alone_is_pagerduty() {
        let page = read(&[("DROVER_PAGERDUTY_KEY", "k")]).map(|c| c.page);
        let Ok(PageVia::PagerDuty(config)) = page else {
            panic!("no PagerDuty")
        };
        assert_eq!(config.url.as_str(), "https://events.pagerduty.com/");
        assert_eq!((config.key.expose_secret(), config.per_minute), ("k", 120));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let webhook = [
            ("DROVER_WEBHOOK_URL", "https://a.example/x?token=swordfish"),
            ("DROVER_WEBHOOK_SECRET", SIGNING),
        ];
        let zendesk = [
            ("DROVER_ZENDESK_URL", "https://a.zendesk.com"),
            ("DROVER_ZENDESK_EMAIL", "ops@example.com"),
            ("DROVER_ZENDESK_TOKEN", "swordfish"),
        ];
        assert!(read(&webhook).is_ok() && read(&zendesk).is_ok());
        let url = |url: &'static str| vec![("DROVER_WEBHOOK_URL", url), webhook[1]];
        for (settings, says) in [
            ([&webhook[..], &zendesk[..]].concat(), "both set"),
            (webhook[..1].to_vec(), "DROVER_WEBHOOK_SECRET is not"),
            (zendesk[..2].to_vec(), "DROVER_ZENDESK_TOKEN is not"),
            (
                vec![("DROVER_PAGERDUTY_URL", "https://a.example")],
                "DROVER_PAGERDUTY_KEY is not",
            ),
            (url("http://swordfish.example"), "must begin with https://"),
            (
                url("http://localhost.swordfish.example"),
                "must begin with https://",
            ),
            (
                url("https://user:swordfish@a.example"),
                "must not hold a user",
            ),
            (url("swordfish"), "is no URL"),
            (
                vec![webhook[0], ("DROVER_WEBHOOK_SECRET", "swordfish")],
                "24 to 64 bytes",
            ),
            (
                vec![
                    ("DROVER_PAGERDUTY_KEY", "k"),
                    ("DROVER_PAGERDUTY_URL", "https://a.example?swordfish"),
                ],
                "must end with its host",
            ),
            (
                vec![("DROVER_PAGERDUTY_KEY", "swordfish two words")],
                "one word",
            ),
            (
                vec![
                    ("DROVER_PAGERDUTY_KEY", "k"),
                    ("DROVER_PAGERDUTY_PER_MINUTE", "121"),
                ],
                "from 1 to 120",
            ),
        ] {
            let told = read(&settings).map(|_| ()).unwrap_err();
            assert!(told.contains(says), "{told}");
            assert!(!told.contains("swordfish"), "{told}");
        }
        for here in ["http://127.0.0.1:1/x", "http://[::1]:1", "http://localhost"] {
            assert!(read(&url(here)).is_ok(), "{here}");
        }
    }
}
