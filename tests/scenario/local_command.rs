//! `drover-worker local …`: breaking things in earnest, and undoing it.

use drover_tests::Deployment;
use serde_json::{Value, json};

/// Runs it, and expects it to fail with this code and these words.
async fn fails(deployment: &mut Deployment, arguments: &[&str], code: u8, words: &[&str]) {
    let told = deployment.local(arguments).await.unwrap_err().to_string();
    assert!(told.contains(&format!("exit status: {code}")), "{told}");
    for word in words {
        assert!(told.contains(word), "no {word:?} in: {told}");
    }
}

async fn ls(deployment: &mut Deployment) -> Value {
    let listed = deployment.local(&["ls", "--json"]).await.unwrap();
    let servers: Value = serde_json::from_str(&listed).unwrap();
    servers[0].clone()
}

async fn runs(deployment: &mut Deployment) -> bool {
    ls(deployment).await["resources"][0]["running"] == true
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_is_real_and_undone() {
    let mut it = Deployment::new(&json!({})).await.unwrap();
    it.start(&["web"]).await.unwrap();
    for (arguments, words) in [
        (&["fill", "pg-1"][..], &["--leave-mib"][..]),
        (&["fill", "pg-1", "--leave-mib", "lots"], &["--leave-mib"]),
        (&["create", "--volume-mib", "3"], &["--volume-mib", "128"]),
        (&["break"], &["DATABASE"]),
        (&["readonly", "pg-1", "--forever"], &["--forever"]),
    ] {
        fails(&mut it, arguments, 2, words).await;
    }
    for verb in ["break", "mend", "hang", "resume"] {
        fails(&mut it, &[verb, "x"], 1, &["no local database `x`"]).await;
    }
    for arguments in [
        &["readonly", "x"][..],
        &["writable", "x"],
        &["fill", "x", "--leave-mib", "1"],
        &["unfill", "x"],
    ] {
        fails(&mut it, arguments, 1, &["no local server `x`"]).await;
    }

    let one = ["--servers", "1", "--resources-per-server", "1"];
    let create = [&["create", "--volume-mib", "320"], &one[..]].concat();
    it.local(&create).await.unwrap();
    let volume = ls(&mut it).await["volume"].clone();
    assert_eq!(volume["size_bytes"], 320 * 1024 * 1024);
    assert_eq!(volume["writable"], true);

    it.local(&["break", "pg-1-db-1"]).await.unwrap();
    let why = ["cannot start pg-1-db-1", "Permission denied"];
    fails(&mut it, &["start", "pg-1-db-1"], 1, &why).await;
    fails(&mut it, &["reboot", "pg-1"], 1, &why).await;
    fails(&mut it, &["hang", "pg-1-db-1"], 1, &["nothing of", "runs"]).await;
    it.local(&["mend", "pg-1-db-1"]).await.unwrap();
    it.local(&["start", "pg-1-db-1"]).await.unwrap();
    assert!(runs(&mut it).await);

    it.local(&["hang", "pg-1-db-1"]).await.unwrap();
    it.local(&["resume", "pg-1-db-1"]).await.unwrap();

    it.local(&["fill", "pg-1", "--leave-mib", "1"])
        .await
        .unwrap();
    let more = ["fill", "pg-1", "--leave-mib", "500"];
    fails(&mut it, &more, 1, &["no more than that"]).await;
    it.local(&["unfill", "pg-1"]).await.unwrap();

    it.local(&["readonly", "pg-1", "--stuck"]).await.unwrap();
    assert!(!runs(&mut it).await);
    assert_eq!(ls(&mut it).await["volume"]["writable"], false);
    fails(&mut it, &["reboot", "pg-1"], 1, &["Read-only"]).await;
    it.local(&["writable", "pg-1"]).await.unwrap();
    it.local(&["start", "pg-1-db-1"]).await.unwrap();

    // What is there is kept; a new one may be without.
    it.local(&["create", "--servers", "2", "--resources-per-server", "0"])
        .await
        .unwrap();
    assert!(runs(&mut it).await);
    let none = ["no volume of its own", "--volume-mib"];
    fails(&mut it, &["readonly", "pg-2"], 1, &none).await;
    fails(&mut it, &["unfill", "pg-2"], 1, &none).await;

    it.local(&["destroy", "--all"]).await.unwrap();
    let client = &it.machines().client;
    assert!(client.list(None).await.unwrap().is_empty());
    assert!(client.volumes(None).await.unwrap().is_empty());
}

/// Whether somebody answers at this address within two seconds.
fn reached(address: &str, port: u16) -> bool {
    let at = format!("{address}:{port}").parse().unwrap();
    std::net::TcpStream::connect_timeout(&at, std::time::Duration::from_secs(2)).is_ok()
}

/// Whether its sshd speaks.
async fn speaks(address: &str) -> bool {
    use tokio::io::AsyncReadExt;
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect((address, 2222)).await.ok()?;
        let mut banner = [0; 4];
        stream.read_exact(&mut banner).await.ok()
    };
    let limit = std::time::Duration::from_secs(2);
    matches!(tokio::time::timeout(limit, ask).await, Ok(Some(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_frozen_and_cut_off_and_both_end() {
    let mut it = Deployment::new(&json!({})).await.unwrap();
    it.start(&["web"]).await.unwrap();
    for verb in ["freeze", "thaw", "partition", "heal"] {
        fails(&mut it, &[verb, "x"], 1, &["no local server `x`"]).await;
    }
    let one = ["create", "--servers", "1", "--resources-per-server", "1"];
    it.local(&one).await.unwrap();
    let address = ls(&mut it).await["address"].as_str().unwrap().to_owned();
    assert!(speaks(&address).await);
    // A stopped process still has its socket: the kernel takes the connection.
    it.local(&["freeze", "pg-1"]).await.unwrap();
    assert!(reached(&address, 2222) && !speaks(&address).await);
    it.local(&["thaw", "pg-1"]).await.unwrap();
    assert!(speaks(&address).await);
    // What is stopped dies like anything else.
    it.local(&["freeze", "pg-1"]).await.unwrap();
    it.local(&["reboot", "pg-1"]).await.unwrap();
    assert!(speaks(&address).await && runs(&mut it).await);
    it.local(&["freeze", "pg-1"]).await.unwrap();
    it.local(&["unplug", "pg-1"]).await.unwrap();
    assert!(!reached(&address, 2222) && !runs(&mut it).await);
    fails(&mut it, &["freeze", "pg-1"], 1, &["pg-1 is off"]).await;
    it.local(&["plug", "pg-1"]).await.unwrap();
    for _ in 0..2 {
        it.local(&["partition", "pg-1"]).await.unwrap();
        assert!(!reached(&address, 2222));
    }
    // The network is not the machine's: a reboot does not help. sshd is waited for in
    // vain meanwhile.
    for _ in 0..2 {
        it.local(&["heal", "pg-1"]).await.unwrap();
        assert!(speaks(&address).await);
    }
    // Whoever gets its address next is not cut off.
    it.local(&["partition", "pg-1"]).await.unwrap();
    it.local(&["destroy", "pg-1"]).await.unwrap();
    it.local(&one).await.unwrap();
    let next = ls(&mut it).await["address"].as_str().unwrap().to_owned();
    assert!(speaks(&next).await);
}
