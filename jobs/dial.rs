//! How servers and databases are reached: the only way.

use std::io;

use drover::model::is_no_servers;
use tokio::net::{TcpStream, lookup_host};

/// Why nothing was reached.
#[derive(Debug)]
pub(crate) enum Unreached {
    /// Its name leads nowhere, or to no server's address.
    NoAddress(io::Error),
    /// No connection was made.
    NotConnected(io::Error),
}

/// Connects. A name may lead somewhere else each time, so that no server is there is found out
/// here, each time. Has no time limit of its own.
///
/// # Errors
/// If nothing was reached.
pub(crate) async fn dial(address: &str, port: u16) -> Result<TcpStream, Unreached> {
    let found = lookup_host((address, port)).await;
    let mut found: Vec<_> = found.map_err(Unreached::NoAddress)?.collect();
    let mut why = None;
    found.retain(|one| {
        let what = is_no_servers(one.ip());
        why = why.or(what);
        what.is_none()
    });
    if let (true, Some(what)) = (found.is_empty(), why) {
        let why = io::Error::other(format!("it is {what}"));
        return Err(Unreached::NoAddress(why));
    }
    let stream = TcpStream::connect(&found[..]).await;
    let stream = stream.map_err(Unreached::NotConnected)?;
    // Without it a lone command waits some 50 ms for a delayed acknowledgement.
    stream.set_nodelay(true).map_err(Unreached::NotConnected)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_sent_to_where_a_cloud_answers_its_machines() {
        for address in ["169.254.169.254", "::ffff:169.254.169.254", "0.0.0.0"] {
            let Err(Unreached::NoAddress(why)) = dial(address, 80).await else {
                panic!("{address}");
            };
            assert!(why.to_string().starts_with("it is "), "{why}");
        }
    }

    #[tokio::test]
    async fn what_is_there_is_reached() {
        let there = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = there.local_addr().unwrap().port();
        dial("localhost", port).await.unwrap();
        drop(there);
        let gone = dial("127.0.0.1", port).await;
        assert!(matches!(gone, Err(Unreached::NotConnected(_))));
    }
}
