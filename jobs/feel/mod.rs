//! Feel: read the world. One file per feeler.
//!
//! A feeler returns what it saw, never an error: that something does not answer
//! is an observation like any other.

pub mod context;
pub mod followers;
mod lsclusters;
mod machine;
mod probe;
mod resource;
mod sections;
pub mod server;
mod server_log;
pub mod statuses;
mod volumes;
pub mod witness;
mod words;

pub use context::FeelContext;

use std::time::Duration;

use drover::model::{Attributes, Cause, Resource, Server, State, Subject, Witness};
use drover::store::subjects::Known;

use crate::host::AtPort;

/// Reads the world about one subject. A failure is an answer like any other.
pub trait Feeler: Send + Sync + 'static {
    /// What it saw.
    fn feel(&self, known: &Known) -> impl Future<Output = Attributes> + Send;
}

/// Feels real servers and real databases.
pub struct World {
    context: FeelContext,
}

impl World {
    /// With these keys and clouds.
    pub fn new(context: FeelContext) -> Self {
        Self { context }
    }
}

impl Feeler for World {
    async fn feel(&self, known: &Known) -> Attributes {
        match known.subject().state {
            State::Creating => {
                return Attributes::failed(Cause::Creating, "it is being made");
            }
            State::Destroying | State::Destroyed => {
                return Attributes::failed(Cause::Destroying, "it is being taken away");
            }
            State::Available | State::Uncertain | State::Unavailable => {}
        }
        match known {
            // On the heap: what a step holds is laid out by the compiler, which gives up
            // where too much lies in one another.
            Known::Server(server) => Box::pin(server::feel(server, &self.context)).await,
            Known::Resource(_, server) if server.host_key_changed_at.is_some() => {
                Attributes::failed(Cause::HostKeyChanged, distrusted(server))
            }
            Known::Resource(resource, server) => {
                // While the whole server is known to be down, its sshd would tell
                // nothing new.
                if server.subject.state == State::Unavailable {
                    let feel = Box::pin(resource::feel(resource, server));
                    let seen = tokio::time::timeout(SILENT * 2, feel).await;
                    return seen.unwrap_or_else(|_| silent(resource, SILENT * 2));
                }
                Box::pin(self.feel_with_witness(resource, server)).await
            }
        }
    }
}

/// How long one that has been silent so far may take to let us in; another takes what its
/// feeler allows.
const SILENT_CONNECT: Duration = Duration::from_secs(3);

/// How long this subject may take to let us in.
pub(crate) fn connect_limit(subject: &Subject, otherwise: Duration) -> Duration {
    match subject.state == State::Unavailable {
        true => SILENT_CONNECT,
        false => otherwise,
    }
}

/// After so long without an answer a subject's witnesses are asked meanwhile.
const SILENT: Duration = Duration::from_millis(600);
/// The same for one in doubt, which has been waited for before.
const SILENT_AGAIN: Duration = Duration::from_millis(300);

fn silence(subject: &Subject) -> Duration {
    match subject.state == State::Uncertain {
        true => SILENT_AGAIN,
        false => SILENT,
    }
}

impl World {
    /// What answers needs no witness. One that is silent for a while is not waited for
    /// any longer if its server says that it is down, or others that its server is.
    async fn feel_with_witness(&self, resource: &Resource, server: &Server) -> Attributes {
        let feel = resource::feel(resource, server);
        tokio::pin!(feel);
        let waits = silence(&resource.subject);
        let (port, is) = (resource.port, resource.cluster.as_ref());
        let ask = || witness::ask_server(server, AtPort { port, is }, &self.context);
        let mut seen = match tokio::time::timeout(waits, &mut feel).await {
            Ok(seen) => seen,
            Err(_) => {
                let asked = ask();
                let down = server::until_down(server, &self.context);
                tokio::pin!(asked, down);
                let mut witness = None;
                loop {
                    tokio::select! {
                        seen = &mut feel => {
                            let witness = witness.filter(|_| !seen.service_available);
                            break Attributes { witness, ..seen };
                        }
                        word = &mut asked, if witness.is_none() => {
                            let down = matches!(word, Witness::Down { .. });
                            witness = Some(word);
                            if down {
                                break Attributes { witness, ..silent(resource, waits) };
                            }
                        }
                        (detail, _) = &mut down, if witness.is_none() => {
                            // Its sshd will not answer either.
                            let cause = Cause::Timeout;
                            let witness = Some(Witness::Silent { cause, detail });
                            break Attributes { witness, ..silent(resource, waits) };
                        }
                    }
                }
            }
        };
        let silent =
            !seen.service_available && !seen.cause.is_some_and(|cause| cause.profile().answered);
        if silent && seen.witness.is_none() {
            seen.witness = Some(ask().await);
        }
        seen
    }
}

fn silent(resource: &Resource, time: Duration) -> Attributes {
    let message = format!("port {} is silent for {time:?}", resource.port);
    Attributes::failed(Cause::Timeout, message)
}

/// Why nothing connects to what is on this server.
fn distrusted(server: &Server) -> String {
    format!(
        "not connected: server {} shows another host key than the pinned one",
        server.subject.name
    )
}
