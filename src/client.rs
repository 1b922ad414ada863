//! The API's client, as the `drover` command and the local cloud use it.

use std::time::Duration;

use serde_json::Value;

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
    pub async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.call(reqwest::Method::GET, path, None).await
    }

    /// `POST path` with a JSON body.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.call(reqwest::Method::POST, path, Some(body)).await
    }

    /// The same, done once however often it has to be sent: where nobody answers, it is
    /// sent again under the same `Idempotency-Key`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn post_once(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        let key = format!("{:032x}", rand::random::<u128>());
        let mut tries = 1;
        loop {
            let sent = self.send(reqwest::Method::POST, path, Some(body), Some(&key));
            match sent.await {
                Err(ClientError::Unreachable { .. }) if tries < 3 => tries += 1,
                // An earlier try arrived, and is being worked at.
                Err(ClientError::Refused { code, .. }) if code == "in_progress" && tries < 20 => {
                    tries += 1;
                }
                ended => return ended,
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// `PUT path` with a JSON body.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.call(reqwest::Method::PUT, path, Some(body)).await
    }

    /// `DELETE path`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete(&self, path: &str) -> Result<Value, ClientError> {
        self.call(reqwest::Method::DELETE, path, None).await
    }

    async fn call(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        self.send(method, path, body, None).await
    }

    async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<&Value>,
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
        let value: Value = serde_json::from_str(&text)
            .map_err(|_| ClientError::Foreign(self.config.url.clone()))?;
        if status.is_success() {
            return Ok(value);
        }
        let error = &value["error"];
        match (error["code"].as_str(), error["message"].as_str()) {
            (Some(code), Some(message)) => Err(ClientError::Refused {
                status: status.as_u16(),
                code: code.to_owned(),
                message: message.to_owned(),
            }),
            _ => Err(ClientError::Foreign(self.config.url.clone())),
        }
    }
}

/// The cause at the bottom, which is the one that tells a person something.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}
