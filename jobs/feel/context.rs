//! What a feel needs beyond the subject itself.

use std::time::Duration;

use drover::model::{Cause, Secret, Server};

use super::followers::Followers;
use super::statuses::Statuses;
use crate::cloud::Clouds;
use crate::host::Host;
use crate::ssh::{SshError, Target};

/// The deployment's own means of looking at the world.
#[derive(Clone)]
pub struct FeelContext {
    /// The deployment's own SSH key, for servers that have none of their own.
    pub ssh_key: Option<Secret>,
    /// The clouds that may be asked about servers.
    pub clouds: Clouds,
    /// What clouds said of instances, as all feel workers share it; without it each
    /// one asks for itself.
    pub statuses: Option<Statuses>,
    /// Who may be asked about the server of a leader; without it nobody but its cloud.
    pub followers: Option<Followers>,
}

impl FeelContext {
    /// How to run scripts on this server, each for so long.
    ///
    /// # Errors
    /// If neither the server nor the deployment has a key.
    pub fn host<'a>(&self, server: &'a Server, time: Duration) -> Result<Host<'a>, SshError> {
        let key = server
            .ssh_key
            .as_ref()
            .or(self.ssh_key.as_ref())
            .ok_or_else(|| {
                // Nobody was asked, so nothing is known of the server.
                let why = "there is no SSH key for this server: set DROVER_SSH_KEY_FILE";
                SshError::new(Cause::Error, why)
            })?;
        let target = Target {
            address: server.address.clone(),
            port: server.ssh_port,
            user: server.ssh_user.clone(),
            key: key.clone(),
            host_key: server.host_key.clone(),
        };
        Ok(Host {
            name: &server.subject.name,
            target,
            time,
            connect: time,
            cluster: None,
        })
    }
}
