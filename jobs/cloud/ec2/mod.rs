//! Amazon EC2, through its SDK.
//!
//! A region is a client of its own. All calls go through [`Region::ask`], which
//! keeps the peace that EC2 asks for and puts its errors into the work's words; the
//! SDK itself tries nothing twice.
//!
//! Architecture Invariant: nothing here remembers an instance. What drover made is
//! known by its tags, which it bears from the first moment on.

mod actions;
mod create;
mod errors;
mod harm;
mod instances;
mod network;
mod status;
mod throttle;
mod volumes;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::types::Filter;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use drover::config::Ec2Config;
use drover::model::{ExposeSecret, Secret};
use tokio::sync::{Mutex, OnceCell};

use super::{CloudError, Done};
use errors::{Problem, Sort};
use network::Network;
use throttle::Throttle;

/// The tag that says whose it is: the deployment's name.
const DEPLOYMENT: &str = "drover:deployment";
/// The tag that says for which server it was made: the server's id.
const SERVER: &str = "drover:server";
/// The tag that holds the token of the last reboot.
const REBOOT: &str = "drover:reboot";

/// To connect takes no longer.
const CONNECT: Duration = Duration::from_secs(3);
/// Nor does a call, with all that belongs to it.
const CALL: Duration = Duration::from_secs(8);
/// Nor does decoding an error.
const DECODE: Duration = Duration::from_secs(3);

/// How AWS is reached.
#[derive(Clone, Debug)]
pub enum Access {
    /// As the SDK finds it: `AWS_*` (with `AWS_ENDPOINT_URL`), its files, an
    /// instance's or a container's role.
    Own,
    /// Something that answers as AWS does: for tests.
    Endpoint {
        /// Where it answers.
        url: String,
        /// Key id and secret; `None`: there are none to be found.
        credentials: Option<(String, Secret)>,
    },
}

/// The regions of EC2 that this deployment has access to.
#[derive(Clone, Debug)]
pub struct Ec2 {
    regions: Vec<(String, Region)>,
}

/// A region. Clones share its back-off.
#[derive(Clone, Debug)]
pub struct Region {
    ec2: aws_sdk_ec2::Client,
    sts: aws_sdk_sts::Client,
    config: Arc<Ec2Config>,
    throttle: Arc<Throttle>,
    network: Arc<OnceCell<Network>>,
    image: Arc<Mutex<Option<create::Chosen>>>,
}

impl Ec2 {
    /// With these settings. Nothing is asked of AWS for that, and that there are no
    /// credentials is found out by the first call.
    pub async fn new(config: &Ec2Config, access: Access) -> Self {
        let first = config.regions.first().cloned().unwrap_or_default();
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let limits = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_timeout(CALL)
            .operation_attempt_timeout(CALL)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(aws_config::Region::new(first))
            .retry_config(aws_config::retry::RetryConfig::disabled())
            .timeout_config(limits)
            .http_client(http);
        if let Ok(name) = AppName::new("drover") {
            loader = loader.app_name(name);
        }
        if let Access::Endpoint { url, credentials } = access {
            loader = loader
                .endpoint_url(url)
                .credentials_provider(given(credentials));
        }
        let sdk = loader.load().await;
        let config = Arc::new(config.clone());
        let region = |name: &String| (name.clone(), Region::new(name, &sdk, config.clone()));
        Self {
            regions: config.regions.iter().map(region).collect(),
        }
    }

    /// The region of this name; `None`: the first.
    pub fn region(&self, name: Option<&str>) -> Option<&Region> {
        let found = self
            .regions
            .iter()
            .find(|(n, _)| name.is_none_or(|name| n == name));
        found.map(|(_, region)| region)
    }

    /// The names of all.
    pub fn regions(&self) -> impl Iterator<Item = &str> {
        self.regions.iter().map(|(name, _)| name.as_str())
    }
}

impl Region {
    fn new(name: &str, sdk: &SdkConfig, config: Arc<Ec2Config>) -> Self {
        let region = aws_config::Region::new(name.to_owned());
        let sdk = sdk.clone().into_builder().region(region).build();
        Self {
            ec2: aws_sdk_ec2::Client::new(&sdk),
            sts: aws_sdk_sts::Client::new(&sdk),
            config,
            throttle: Arc::default(),
            network: Arc::default(),
            image: Arc::default(),
        }
    }

    /// One call, which EC2 knows by this name, unless EC2 wants to be left alone.
    async fn ask<T, E>(
        &self,
        name: &str,
        call: impl Future<Output = Result<T, SdkError<E>>> + Send,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        if let Some(rest) = self.throttle.rest(name) {
            return Err(Failure::Throttled(rest));
        }
        // On the heap: the SDK's futures are large for a worker's stack.
        let error = match Box::pin(call).await {
            Ok(answer) => {
                self.throttle.answered(name);
                return Ok(answer);
            }
            Err(error) => error,
        };
        let problem = errors::judge(name, &error);
        if problem.sort == Sort::Throttled {
            let wait = self.throttle.back_off(name);
            tracing::warn!(
                wait_ms = wait.as_millis(),
                action = name,
                "EC2 wants to be asked less: {}",
                problem.message
            );
            return Err(Failure::Throttled(wait));
        }
        if !problem.code.is_empty() {
            self.throttle.answered(name);
        }
        let Some(encoded) = problem.encoded() else {
            return Err(Failure::Problem(problem));
        };
        let decoded = self.decoded(encoded).await;
        Err(Failure::Problem(problem.explained(decoded)))
    }

    /// What AWS has encoded, because not everybody may know it.
    async fn decoded(&self, encoded: &str) -> Option<String> {
        let call = self.sts.decode_authorization_message();
        let call = call.encoded_message(encoded).send();
        let answer = tokio::time::timeout(DECODE, Box::pin(call)).await.ok()?;
        errors::read_decoded(answer.ok()?.decoded_message()?)
    }

    /// What tells this deployment's things from others'.
    fn ours(&self) -> Filter {
        filter(
            &format!("tag:{DEPLOYMENT}"),
            [self.config.deployment.clone()],
        )
    }
}

/// Why a call gave nothing.
#[derive(Debug)]
enum Failure {
    /// It was not made, or was one too many.
    Throttled(Duration),
    /// It was made, and failed.
    Problem(Problem),
}

impl Failure {
    /// Whether AWS used this word.
    fn is(&self, code: &str) -> bool {
        match self {
            Failure::Throttled(_) => false,
            Failure::Problem(problem) => problem.code == code,
        }
    }

    /// Whether what was asked about is not there.
    fn not_found(&self) -> bool {
        match self {
            Failure::Throttled(_) => false,
            Failure::Problem(problem) => problem.not_found(),
        }
    }
}

impl From<Failure> for CloudError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Throttled(rest) => CloudError::Throttled(rest),
            Failure::Problem(problem) => problem.into(),
        }
    }
}

fn filter(name: &str, values: impl IntoIterator<Item = impl Into<String>>) -> Filter {
    let values = values.into_iter().map(Into::into).collect();
    Filter::builder()
        .name(name)
        .set_values(Some(values))
        .build()
}

/// The answer to a call that gives nothing, if what it was about is gone already.
fn gone_is_gone<T>(done: Result<T, Failure>) -> Done {
    match done {
        Ok(_) => Ok(()),
        Err(failure) if failure.not_found() => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}

fn given(credentials: Option<(String, Secret)>) -> SharedCredentialsProvider {
    match credentials {
        Some((id, secret)) => SharedCredentialsProvider::new(Credentials::new(
            id,
            secret.expose_secret(),
            None,
            None,
            "given",
        )),
        None => SharedCredentialsProvider::new(Nowhere),
    }
}

/// Finds no credentials, and says so as the SDK's own chain does.
#[derive(Debug)]
struct Nowhere;

impl ProvideCredentials for Nowhere {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("none were given")))
    }
}
