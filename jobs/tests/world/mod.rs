//! What the tests on real machines stand on.

use drover::config::LocalConfig;
use drover_jobs::cloud::local::{LocalCloud, LocalServer, NewServer};

use crate::daemon::Daemon;

/// A local cloud, whose machines go with it.
pub struct Cloud {
    pub local: LocalCloud,
    _daemon: Daemon,
}

impl Cloud {
    pub async fn new() -> Self {
        let daemon = Daemon::start().await;
        let config = LocalConfig {
            dir: daemon.folder.join("cloud"),
            machines: Some(daemon.folder.join("socket")),
            image: None,
        };
        Self {
            local: LocalCloud::new(&config, None).unwrap(),
            _daemon: daemon,
        }
    }

    pub async fn server(&self, name: &str) -> LocalServer {
        self.server_with_volume(name, None).await
    }

    pub async fn server_with_volume(&self, name: &str, mib: Option<u32>) -> LocalServer {
        let wanted = NewServer {
            name: name.to_owned(),
            zone: "local-a".to_owned(),
            volume_mib: mib,
        };
        self.local.create(&[wanted]).await.unwrap().remove(0)
    }
}
