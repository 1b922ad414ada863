//! Feel: read the world. One file per feeler.
//!
//! A feeler returns what it saw, never an error: that something does not answer
//! is an observation like any other.

pub mod context;
mod host;
mod lsclusters;
mod probe;
mod resource;
mod sections;
pub mod server;
mod server_log;
pub mod statuses;
mod volumes;
pub mod witness;

pub use context::FeelContext;

use drover::model::{Attributes, Cause, Server, State};
use drover::store::subjects::Known;

use crate::ring::Feeler;

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
            Known::Server(server) => server::feel(server, &self.context).await,
            Known::Resource(_, server) if server.host_key_changed_at.is_some() => {
                Attributes::failed(Cause::HostKeyChanged, distrusted(server))
            }
            Known::Resource(resource, server) => {
                let mut seen = resource::feel(resource, server).await;
                // What answered needs no witness; and while the whole server is
                // known to be down, its sshd would tell nothing new.
                let silent = !seen.service_available && !seen.cause.is_some_and(Cause::answered);
                if silent && server.subject.state != State::Unavailable {
                    let witness = witness::ask_server(server, resource.port, &self.context).await;
                    seen.witness = Some(witness);
                }
                seen
            }
        }
    }
}

/// Why nothing connects to what is on this server.
fn distrusted(server: &Server) -> String {
    format!(
        "not connected: server {} shows another host key than the pinned one",
        server.subject.name
    )
}
