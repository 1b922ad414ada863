//! drover's way to its cloud, which can fail where no machine does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::plan::CloudFault;

/// How long each answer takes where it is slow.
const SLOW: Duration = Duration::from_secs(4);

/// Stands before the daemon of the machines, until it is dropped.
pub struct Cloud {
    socket: PathBuf,
    fault: watch::Sender<Option<CloudFault>>,
    serves: AbortHandle,
}

impl Cloud {
    /// Passes on what it is asked to the daemon at that socket; its own is in this folder.
    ///
    /// # Errors
    /// If there can be no such socket.
    pub fn before(daemon: &Path, folder: &Path) -> Result<Self> {
        let socket = folder.join("cloud");
        let listener = UnixListener::bind(&socket)?;
        let (fault, seen) = watch::channel(None);
        let daemon = daemon.to_owned();
        let serves = tokio::spawn(async move {
            while let Ok((asks, _)) = listener.accept().await {
                tokio::spawn(pass_on(asks, daemon.clone(), seen.clone()));
            }
        });
        Ok(Self {
            socket,
            fault,
            serves: serves.abort_handle(),
        })
    }

    /// Where it is asked.
    pub fn socket(&self) -> String {
        self.socket.display().to_string()
    }

    /// `None`: it is well.
    pub fn set(&self, fault: Option<CloudFault>) {
        self.fault.send_replace(fault);
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.serves.abort();
    }
}

async fn pass_on(
    mut asks: UnixStream,
    daemon: PathBuf,
    mut seen: watch::Receiver<Option<CloudFault>>,
) -> std::io::Result<()> {
    let fault = *seen.borrow_and_update();
    match fault {
        None => {}
        Some(CloudFault::Slow) => tokio::time::sleep(SLOW).await,
        Some(CloudFault::Silent) => {
            // What was asked meanwhile is never answered.
            let _ = seen.changed().await;
            return Ok(());
        }
        Some(CloudFault::Refuses) => return Ok(()),
        Some(CloudFault::Garbles) => {
            let mut asks = BufReader::new(asks);
            asks.read_line(&mut String::new()).await?;
            return asks.write_all(b"{\"ok\": \"perhaps\"}\n").await;
        }
    }
    let mut daemon = UnixStream::connect(daemon).await?;
    copy_bidirectional(&mut asks, &mut daemon).await?;
    Ok(())
}
