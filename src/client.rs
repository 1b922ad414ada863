//! The API's client, as the `drover` command and the local cloud use it.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::{ErrorAnswer, IN_PROGRESS};
use crate::config::{ClientConfig, bearer};

/// A client of one deployment's API. Every call ends within 30 seconds.
pub struct Client {
    http: reqwest::Client,
    config: ClientConfig,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error("{url} cannot be reached: {reason}; is `drover web` running, and is DROVER_URL right?")]
    Unreachable {
        /// The API's address.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// The API refused; its message says what to do.
    #[error("{message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// `error.code`.
        code: String,
        /// `error.message`.
        message: String,
    },
    /// The answer is not what the API answers.
    #[error("{0} answered something that is not drover's API")]
    Foreign(String),
    /// The answer is not what this version knows of the API.
    #[error(
        "the server's answer {0}: is it of another version? This is {version}",
        version = crate::VERSION
    )]
    Unlike(String),
}

impl Client {
    /// A client for this deployment.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(config: ClientConfig) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(30))
            .build()?;
        Ok(Self { http, config })
    }

    /// `GET path`; `path` begins with a slash.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(reqwest::Method::GET, path, None::<&()>).await
    }

    /// `POST path` with a request of `api`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.call(reqwest::Method::POST, path, Some(body)).await
    }

    /// The same, done once however often it has to be sent: where nobody answers, it is
    /// sent again under the same `Idempotency-Key`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn post_once<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let key = format!("{:032x}", rand::random::<u128>());
        let mut tries = 1;
        loop {
            let sent = self.send(reqwest::Method::POST, path, Some(body), Some(&key));
            match sent.await {
                Err(ClientError::Unreachable { .. }) if tries < 3 => tries += 1,
                // An earlier try arrived, and is being worked at.
                Err(ClientError::Refused { code, .. }) if code == IN_PROGRESS && tries < 20 => {
                    tries += 1;
                }
                ended => return read(ended?),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// `PUT path` with a request of `api`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.call(reqwest::Method::PUT, path, Some(body)).await
    }

    /// `DELETE path`. Where nothing is left to be shown, the answer is empty: read it into
    /// an `Option`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(reqwest::Method::DELETE, path, None::<&()>).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        read(self.send(method, path, body, None).await?)
    }

    async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<&impl Serialize>,
        key: Option<&str>,
    ) -> Result<Value, ClientError> {
        let url = format!("{}{path}", self.config.url.trim_end_matches('/'));
        let mut request = self
            .http
            .request(method, &url)
            .header("authorization", bearer(&self.config.token));
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let unreachable = |e: reqwest::Error| ClientError::Unreachable {
            url: self.config.url.clone(),
            reason: innermost(&e),
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let text = answer.text().await.map_err(unreachable)?;
        if status == reqwest::StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let foreign = |_| ClientError::Foreign(self.config.url.clone());
        let value: Value = serde_json::from_str(&text).map_err(foreign)?;
        if status.is_success() {
            return Ok(value);
        }
        let ErrorAnswer { error } = serde_json::from_value(value).map_err(foreign)?;
        Err(ClientError::Refused {
            status: status.as_u16(),
            code: error.code,
            message: error.message,
        })
    }
}

/// Reads an answer. What this version does not know of it is left aside; what it lacks
/// is named.
fn read<T: DeserializeOwned>(answer: Value) -> Result<T, ClientError> {
    serde_json::from_value(answer).map_err(|error| {
        let why = error.to_string();
        ClientError::Unlike(match why.strip_prefix("missing field ") {
            Some(field) => format!("has no {field}"),
            None => format!("cannot be read ({why})"),
        })
    })
}

/// The cause at the bottom, which is the one that tells a person something.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::read;
    use crate::api::{Page, Subject, Tier};

    #[test]
    fn what_is_new_is_left_aside_and_what_is_missing_is_named() {
        let newer = json!({"name": "gold", "rules": {}, "colour": "yellow"});
        let tier: Tier = read(newer).unwrap();
        assert_eq!(tier.name, "gold");
        let lacks = read::<Tier>(json!({"name": "gold"})).unwrap_err();
        let why = format!(
            "the server's answer has no `rules`: is it of another version? This is {}",
            crate::VERSION
        );
        assert_eq!(lacks.to_string(), why);
    }

    #[test]
    fn what_a_subject_on_a_page_lacks_is_named() {
        let page = json!({"items": [{"kind": "server", "id": "srv_01J8ZC0T3YQ5V7N2M4K6H9D1XB",
                                     "name": "pg-1"}], "next_cursor": null});
        let lacks = read::<Page<Subject>>(page).unwrap_err().to_string();
        assert!(lacks.contains("has no `ssh_port`"), "{lacks}");
    }
}
