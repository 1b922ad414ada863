//! What the tests on real servers stand on.

use std::path::PathBuf;

use drover_jobs::cloud::local::{LocalCloud, LocalServer, NewServer};

/// A local cloud that takes its servers away again, whatever a test does.
pub struct Cloud {
    pub local: LocalCloud,
    pub root: PathBuf,
}

impl Cloud {
    pub fn new(name: &str) -> Self {
        // Where the user that local servers run as can reach it.
        let root = PathBuf::from(format!("/tmp/drover-test-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        Self {
            local: LocalCloud::new(&root, None).unwrap(),
            root,
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

impl Drop for Cloud {
    fn drop(&mut self) {
        let servers = self.local.servers().unwrap_or_default();
        // A runtime of its own: the test's may be the one that panics.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            for server in servers {
                let _ = runtime.as_ref().unwrap().block_on(server.destroy());
            }
        })
        .join()
        .unwrap();
        let _ = std::fs::remove_dir_all(&self.root);
    }
}
