//! A stand-in for the API of EC2 and STS: it counts what is asked, answers what it
//! was told to, and passes the rest on to moto, or refuses it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::task::AbortHandle;

/// The region that its own calls are about.
pub const REGION: &str = "us-east-1";

/// An answer: HTTP status, and a document.
#[derive(Clone, Debug)]
pub struct Answer(pub u16, pub String);

impl Answer {
    /// An error as EC2 words it.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self(
            status,
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code}\
                 </Code><Message>{message}</Message></Error></Errors><RequestID>59dbff89-35bd\
                 </RequestID></Response>"
            ),
        )
    }

    /// A good answer of EC2's to this call, with this inside.
    pub fn good(action: &str, inside: &str) -> Self {
        Self(
            200,
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{action}Response xmlns=\"http://ec2.\
                 amazonaws.com/doc/2016-11-15/\"><requestId>59dbff89-35bd</requestId>{inside}\
                 </{action}Response>"
            ),
        )
    }
}

/// What is asked, by name and parameters.
type Answers = Box<dyn Fn(&HashMap<String, String>) -> Answer + Send>;

/// What is behind the API: it hears what moto is asked, and sees what moto answers before
/// whoever asked does.
pub trait Behind: Send + Sync {
    /// Before moto carries it out.
    fn asked(&self, action: &str, parameters: &HashMap<String, String>);
    /// What is answered instead.
    fn answered(&self, action: &str, document: String) -> String;
}

#[derive(Default)]
struct Shared {
    asked: Vec<String>,
    behind: Option<Arc<dyn Behind>>,
    once: HashMap<String, VecDeque<Answer>>,
    always: HashMap<String, Answers>,
    slow: Duration,
}

/// Its server; it stops when this is dropped.
pub struct Aws {
    url: String,
    upstream: Option<String>,
    shared: Arc<Mutex<Shared>>,
    serving: AbortHandle,
}

#[derive(Clone)]
struct Serving {
    shared: Arc<Mutex<Shared>>,
    upstream: Option<String>,
    client: reqwest::Client,
}

impl Aws {
    /// One that passes on what it was not told how to answer; without `upstream`, it
    /// refuses that.
    pub async fn start(upstream: Option<String>) -> Result<Self> {
        crate::init();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::<Mutex<Shared>>::default();
        let serving = Serving {
            shared: shared.clone(),
            upstream: upstream.clone(),
            client: reqwest::Client::builder().no_proxy().build()?,
        };
        let router = Router::new().fallback(handle).with_state(serving);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self {
            url,
            upstream,
            shared,
            serving: serving.abort_handle(),
        })
    }

    /// Where it answers.
    pub fn endpoint(&self) -> &str {
        &self.url
    }

    /// How often this was asked, by AWS's name of it (`RunInstances`).
    pub fn asked(&self, action: &str) -> usize {
        let shared = lock(&self.shared);
        shared.asked.iter().filter(|name| *name == action).count()
    }

    /// From now on this is behind it.
    pub fn stands_before(&self, behind: Arc<dyn Behind>) {
        lock(&self.shared).behind = Some(behind);
    }

    /// How often anything was asked.
    pub fn asked_at_all(&self) -> usize {
        lock(&self.shared).asked.len()
    }

    /// Counts anew.
    pub(crate) fn forget(&self) {
        lock(&self.shared).asked.clear();
    }

    /// Answers the next one of these so, and the one after that as before.
    pub fn once(&self, action: &str, answer: Answer) {
        let mut shared = lock(&self.shared);
        shared
            .once
            .entry(action.into())
            .or_default()
            .push_back(answer);
    }

    /// Answers these so from now on.
    pub fn always(
        &self,
        action: &str,
        answer: impl Fn(&HashMap<String, String>) -> Answer + Send + 'static,
    ) {
        let mut shared = lock(&self.shared);
        shared.always.insert(action.into(), Box::new(answer));
    }

    /// Answers only after so long, from now on.
    pub fn slow(&self, time: Duration) {
        lock(&self.shared).slow = time;
    }

    /// Asks something itself, with these parameters, and gives the document.
    pub async fn ask(&self, action: &str, parameters: &[(&str, &str)]) -> Result<String> {
        self.ask_in(REGION, action, parameters).await
    }

    pub(crate) async fn ask_in(
        &self,
        region: &str,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<String> {
        ask_at(&self.url, region, action, parameters).await
    }

    /// Asks moto itself: what it says, nobody has changed, and nobody counts.
    pub(crate) async fn ask_moto(
        &self,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<String> {
        let moto = self.upstream.as_ref().context("there is no moto")?;
        ask_at(moto, REGION, action, parameters).await
    }
}

async fn ask_at(
    url: &str,
    region: &str,
    action: &str,
    parameters: &[(&str, &str)],
) -> Result<String> {
    let mut form = vec![("Action", action), ("Version", "2016-11-15")];
    form.extend_from_slice(parameters);
    let body = form
        .iter()
        .map(|(key, value)| format!("{key}={}", encoded(value)))
        .collect::<Vec<_>>()
        .join("&");
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=test/20260101/{region}/ec2/aws4_request, \
             SignedHeaders=host, Signature=0"
    );
    let answer = reqwest::Client::builder()
        .no_proxy()
        .build()?
        .post(url)
        .header(header::AUTHORIZATION, authorization)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await?;
    let status = answer.status();
    let text = answer.text().await?;
    if !status.is_success() {
        bail!("{action}: {status}: {text}");
    }
    Ok(text)
}

impl Drop for Aws {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What stands in these elements of a document.
pub fn texts<'a>(document: &'a str, element: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let parts = document.split(open.as_str()).skip(1);
    parts
        .filter_map(|part| part.split_once(close.as_str()))
        .map(|(text, _)| text)
        .collect()
}

/// The first of them.
pub fn text<'a>(document: &'a str, element: &str) -> Result<&'a str> {
    let found = texts(document, element).into_iter().next();
    found.with_context(|| format!("no <{element}> in {document}"))
}

async fn handle(State(serving): State<Serving>, headers: HeaderMap, body: Bytes) -> Response {
    let parameters = decoded(&String::from_utf8_lossy(&body));
    let action = parameters.get("Action").cloned().unwrap_or_default();
    let (told, slow, behind) = {
        let mut shared = lock(&serving.shared);
        shared.asked.push(action.clone());
        let once = shared.once.get_mut(&action).and_then(VecDeque::pop_front);
        let told = once.or_else(|| shared.always.get(&action).map(|answer| answer(&parameters)));
        (told, shared.slow, shared.behind.clone())
    };
    tokio::time::sleep(slow).await;
    let told = match (told, &serving.upstream) {
        (Some(told), _) => told,
        (None, Some(url)) => {
            if let Some(behind) = &behind {
                behind.asked(&action, &parameters);
            }
            match passed_on(&serving.client, url, &headers, body).await {
                Ok(Answer(status, told)) => Answer(
                    status,
                    match &behind {
                        Some(behind) => behind.answered(&action, told),
                        None => told,
                    },
                ),
                Err(e) => Answer::error(502, "BadGateway", &format!("{e:#}")),
            }
        }
        (None, None) => Answer::error(400, "InvalidAction", &format!("not expected: {action}")),
    };
    let status = StatusCode::from_u16(told.0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "text/xml")], told.1).into_response()
}

async fn passed_on(
    client: &reqwest::Client,
    url: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Answer> {
    let mut request = client.post(url).body(body);
    // moto reads service and region out of the signature's scope.
    for name in [header::AUTHORIZATION, header::CONTENT_TYPE] {
        if let Some(value) = headers.get(&name) {
            request = request.header(name, value);
        }
    }
    let answer = request.send().await?;
    Ok(Answer(answer.status().as_u16(), answer.text().await?))
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().expect("no holder of this lock panics")
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn decoded(form: &str) -> HashMap<String, String> {
    let plain = |text: &str| {
        let text = text.replace('+', " ");
        let mut parts = text.split('%');
        let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
        for part in parts {
            match part
                .get(..2)
                .and_then(|hex| u8::from_str_radix(hex, 16).ok())
            {
                Some(byte) => {
                    bytes.push(byte);
                    bytes.extend_from_slice(&part.as_bytes()[2..]);
                }
                None => bytes.extend_from_slice(part.as_bytes()),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(key, value)| (plain(key), plain(value)))
        .collect()
}
