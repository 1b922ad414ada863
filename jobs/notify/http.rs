//! One HTTP call within limits, and what its status means.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, header, redirect};
use serde_json::Value;

use super::Outcome;

const CONNECT: Duration = Duration::from_secs(5);
/// The longest a call takes, answer included.
pub(super) const LIMIT: Duration = Duration::from_secs(10);
/// The most that is read of an answer, in bytes.
const LARGEST: usize = 64 * 1024;
/// The longest that another side can make us wait.
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    /// As far as it was read.
    body: Vec<u8>,
}

/// A client for calls to this URL. It follows no redirect, and without TLS it goes
/// through no proxy: a secret is seen by the host it is for, and by nobody else.
pub(super) fn client(url: &Url) -> anyhow::Result<Client> {
    let mut client = Client::builder()
        .connect_timeout(CONNECT)
        .timeout(LIMIT)
        .redirect(redirect::Policy::none())
        .user_agent(concat!("drover/", env!("CARGO_PKG_VERSION")));
    if url.scheme() != "https" {
        client = client.no_proxy();
    }
    Ok(client.build()?)
}

/// Sends a request; what kept it from being answered is worth another try.
pub(super) async fn ask(request: RequestBuilder) -> Result<Answer, Outcome> {
    let response = request.send().await.map_err(unanswered)?;
    let retry_after = response.headers().get(header::RETRY_AFTER);
    Ok(Answer {
        status: response.status(),
        retry_after: retry_after.and_then(|v| rest(v.to_str().ok()?, Utc::now())),
        body: read(response).await,
    })
}

async fn read(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk[..chunk.len().min(LARGEST - body.len())]);
        if body.len() == LARGEST {
            break;
        }
    }
    body
}

/// The error without its URL, which may hold a token.
fn unanswered(error: reqwest::Error) -> Outcome {
    let why = if error.is_timeout() {
        format!("gave no answer within {LIMIT:?}")
    } else {
        let error = error.without_url();
        let mut at: &dyn std::error::Error = &error;
        while let Some(source) = at.source() {
            at = source;
        }
        format!("cannot be reached: {at}")
    };
    Outcome::Failed { why, after: None }
}

/// What `Retry-After` asks for: seconds or a date.
fn rest(asked: &str, now: DateTime<Utc>) -> Option<Duration> {
    let rest = match asked.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = DateTime::parse_from_rfc2822(asked.trim()).ok()?;
            (date.to_utc() - now).to_std().ok()?
        }
    };
    Some(rest.min(LONGEST_REST))
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// What an answer that is no success means. `says` is what the other side gave
    /// as its reason.
    pub(super) fn unwanted(self, says: &str) -> Outcome {
        let code = self.status.as_u16();
        let why = match says.trim() {
            "" => code.to_string(),
            says => format!("{code} {says}"),
        };
        match self.status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {}
            status if status.is_client_error() => return Outcome::Refused(why),
            _ => {}
        }
        Outcome::Failed {
            why: format!("answered {why}"),
            after: self.retry_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16) -> Outcome {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap_or_default(),
            retry_after: Some(Duration::from_secs(7)),
            body: Vec::new(),
        };
        answer.unwanted("because")
    }

    #[test]
    fn a_rest_is_in_seconds_or_until_a_date() {
        let now = DateTime::from_timestamp(1_445_412_420, 0).unwrap_or_default();
        let asked = |text| rest(text, now).map(|d| d.as_secs());
        assert_eq!(asked("7"), Some(7));
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), Some(60));
        assert_eq!(asked("Wed, 21 Oct 2015 07:20:00 GMT"), None, "past");
        assert_eq!(asked("99999999999"), Some(3600));
        assert_eq!(asked("soon"), None);
    }

    #[test]
    fn only_4xx_is_final_and_not_all_of_it() {
        for status in [400, 401, 403, 404, 410, 422] {
            let why = format!("{status} because");
            assert_eq!(answered(status), Outcome::Refused(why));
        }
        for status in [200, 302, 408, 429, 500, 503, 599] {
            let why = format!("answered {status} because");
            let after = Some(Duration::from_secs(7));
            assert_eq!(answered(status), Outcome::Failed { why, after });
        }
    }
}
