//! Who hears whom.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use drover_machines::network::{End, Fault, What};
use drover_machines::protocol::{Make, Power};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::harness::{BOOT, Daemon, connect};

fn end(name: &str) -> End {
    name.to_owned().into()
}

/// Listens at a port of the machine's, and prints how many datagrams came.
const LISTEN: &str = "perl -MIO::Socket::INET -e '
    $s = IO::Socket::INET->new(Proto => \"udp\", LocalPort => 7777) or die;
    $SIG{ALRM} = sub { print $n + 0; exit };
    while (1) { alarm($n ? 1 : 4); $s->recv($b, 99); $n++ }'";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cut_is_cut_both_ways_and_heals() {
    let daemon = Daemon::start().await;
    let a = daemon.up(daemon.plain("a")).await;
    let b = daemon.up(daemon.plain("b")).await;
    let hears = async |from: &str, to: &drover_machines::protocol::Machine| {
        let reach = format!("timeout 2 bash -c '</dev/tcp/{}/22'", to.address);
        daemon.can(from, &reach).await
    };
    let host_hears = async || {
        connect(a.address, 22)
            .await
            .is_some_and(|result| result.is_ok())
    };
    assert!(hears("a", &b).await && hears("b", &a).await && host_hears().await);

    daemon
        .client
        .break_network(Fault::cut(end("a"), end("b")))
        .await
        .unwrap();
    assert!(!hears("a", &b).await && !hears("b", &a).await);
    assert!(host_hears().await, "the host is not between them");
    assert_eq!(daemon.client.show("b").await.unwrap().faults.len(), 1);
    // Its root finds no rule to take away.
    let rules = "ip link set eth0 down; ip link set eth0 up; ip route replace default dev eth0; \
        command -v nft; true";
    daemon.sh("a", rules).await;
    assert!(!hears("a", &b).await);

    daemon.client.heal(end("b"), end("a")).await.unwrap();
    assert!(hears("a", &b).await);
    daemon
        .client
        .break_network(Fault::cut(end("host"), end("a")))
        .await
        .unwrap();
    assert!(!host_hears().await && hears("a", &b).await);
    daemon
        .client
        .break_network(Fault::cut(end("a"), end("all")))
        .await
        .unwrap();
    daemon.client.heal(end("host"), end("a")).await.unwrap();
    assert!(!host_hears().await && !hears("a", &b).await);
    daemon.client.heal(end("a"), end("all")).await.unwrap();
    assert!(host_hears().await && hears("a", &b).await && hears("b", &a).await);
}

/// How many of these datagrams arrive in a machine.
async fn arriving(daemon: &Daemon, machine: &str, count: u32) -> u32 {
    let address = daemon.client.show(machine).await.unwrap().address;
    let listen = daemon.client.sh(machine, LISTEN, Duration::from_secs(20));
    let send = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for _ in 0..count {
            socket.send_to(b"x", (address, 7777)).unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let (heard, ()) = tokio::join!(listen, send);
    heard.unwrap().stdout.parse().unwrap()
}

/// Whether a datagram of a machine's arrives at this host.
async fn speaks(daemon: &Daemon, machine: &str) -> bool {
    let socket = tokio::net::UdpSocket::bind("0.0.0.0:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let to = gateway(daemon, machine).await;
    daemon
        .sh(
            machine,
            &format!("bash -c 'for i in 1 2 3; do echo x >/dev/udp/{to}/{port}; done'"),
        )
        .await;
    let mut bytes = [0; 9];
    tokio::time::timeout(Duration::from_secs(1), socket.recv(&mut bytes))
        .await
        .is_ok()
}

/// This host, as a machine reaches it.
async fn gateway(daemon: &Daemon, machine: &str) -> Ipv4Addr {
    let address = daemon.client.show(machine).await.unwrap().address;
    Ipv4Addr::from_bits(address.to_bits() & !0x3ff | 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_way_lossy_and_slow() {
    let daemon = Daemon::start().await;
    daemon.up(daemon.plain("a")).await;
    assert!(speaks(&daemon, "a").await);
    assert_eq!(arriving(&daemon, "a", 20).await, 20);

    daemon
        .client
        .break_network(Fault::cut(end("a"), end("host")).one_way())
        .await
        .unwrap();
    assert!(!speaks(&daemon, "a").await, "it hears, and is not heard");
    assert_eq!(arriving(&daemon, "a", 20).await, 20);
    daemon.client.heal(end("a"), end("host")).await.unwrap();
    daemon
        .client
        .break_network(Fault::cut(end("host"), end("a")).one_way())
        .await
        .unwrap();
    assert!(speaks(&daemon, "a").await, "it is heard, and does not hear");
    assert_eq!(arriving(&daemon, "a", 20).await, 0);
    daemon.client.heal(end("a"), end("host")).await.unwrap();

    let lossy = Fault {
        what: What::Loss(50),
        ..Fault::cut(end("a"), end("host"))
    };
    daemon.client.break_network(lossy).await.unwrap();
    let heard = arriving(&daemon, "a", 400).await;
    assert!((120..280).contains(&heard), "{heard} of 400");
    daemon.client.heal(end("a"), end("host")).await.unwrap();

    // 2 Mbit/s are 250 kB in a second; one second's worth, and a quarter, may go at once.
    let slow = Fault {
        what: What::Slow(2000),
        ..Fault::cut(end("a"), end("all"))
    };
    daemon.client.break_network(slow).await.unwrap();
    for way in [Way::FromIt, Way::ToIt] {
        let took = moves(&daemon, "a", way).await;
        assert!(took > Duration::from_secs(2), "{way:?}: {took:?}");
    }
    daemon.client.heal(end("a"), end("all")).await.unwrap();
    // On a host that has much to do, one of them at least.
    for way in [Way::FromIt, Way::ToIt] {
        let mut took = Vec::new();
        for _ in 0..5 {
            took.push(moves(&daemon, "a", way).await);
        }
        let fast = took.iter().any(|took| *took < Duration::from_secs(2));
        assert!(fast, "{way:?}: it is as slow as before: {took:?}");
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    FromIt,
    ToIt,
}

/// How long a megabyte takes between a machine and this host.
async fn moves(daemon: &Daemon, machine: &str, way: Way) -> Duration {
    const MEGABYTE: usize = 1_000_000;
    let host = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = host.local_addr().unwrap().port();
    let to = gateway(daemon, machine).await;
    let script = match way {
        Way::FromIt => format!("head -c {MEGABYTE} /dev/zero >/dev/tcp/{to}/{port}"),
        Way::ToIt => format!("head -c {MEGABYTE} </dev/tcp/{to}/{port} >/dev/null"),
    };
    let script = format!("bash -c '{script}'");
    let there = daemon.sh(machine, &script);
    let here = async {
        let (mut stream, _) = host.accept().await.unwrap();
        let begun = Instant::now();
        match way {
            Way::FromIt => {
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await.unwrap();
                assert_eq!(all.len(), MEGABYTE);
            }
            Way::ToIt => {
                stream.write_all(&vec![0; MEGABYTE]).await.unwrap();
                // It closes when it has all.
                let end = stream.read(&mut [0; 1]).await;
                assert!(matches!(end, Ok(0)), "{end:?}");
            }
        }
        begun.elapsed()
    };
    let both = async { tokio::join!(there, here).1 };
    tokio::time::timeout(Duration::from_secs(60), both)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_off_has_another_second_address() {
    let daemon = Daemon::start().await;
    let [first, other] = ["198.51.100.8", "198.51.100.9"].map(|text| text.parse().unwrap());
    let make = Make {
        address: Some(first),
        ..daemon.plain("a")
    };
    let own = daemon.up(make).await.address;
    let told = async || {
        let url = "http://169.254.169.254/latest";
        let get = format!(
            "ip -4 -o address show eth0; ip route show default; t=$(curl -sfX PUT -H \
             'X-aws-ec2-metadata-token-ttl-seconds: 60' {url}/api/token); \
             curl -sf -H \"X-aws-ec2-metadata-token: $t\" {url}/meta-data/local-ipv4"
        );
        daemon.sh("a", &get).await
    };
    assert_eq!(told().await.matches("198.51.100.8").count(), 3);
    let on = daemon.client.set_address("a", Some(other)).await;
    assert!(on.unwrap_err().to_string().contains("is on"));

    let off = async || {
        daemon.client.stop("a", Duration::ZERO).await.unwrap();
        let off = daemon.client.wait_for("a", Power::Off, BOOT).await;
        off.unwrap();
    };
    off().await;
    daemon.client.set_address("a", Some(other)).await.unwrap();
    daemon.client.start("a").await.unwrap();
    daemon.booted("a").await;
    let seen = told().await;
    assert_eq!(seen.matches("198.51.100.9").count(), 3, "{seen}");
    assert!(!seen.contains("198.51.100.8"), "{seen}");
    assert!(
        connect(other, 22)
            .await
            .is_some_and(|result| result.is_ok())
    );

    off().await;
    daemon.client.set_address("a", None).await.unwrap();
    daemon.client.start("a").await.unwrap();
    daemon.booted("a").await;
    let seen = told().await;
    assert!(!seen.contains("198.51.100."), "{seen}");
    assert!(seen.ends_with(&own.to_string()), "{seen}");
}
