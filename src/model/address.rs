//! Addresses at which no server of anybody's herd is.

use std::net::{IpAddr, Ipv4Addr};

/// Where clouds other than those below a link's own addresses keep what they tell their machines:
/// Alibaba's, Azure's, Oracle's.
const METADATA: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// What is at this address instead of a server, if no server can be: for whoever is told that
/// nothing is done there. Who asks drover to connect to one wants what drover's own machine gets
/// there, such as the credentials that a cloud gives it.
pub fn is_no_servers(ip: IpAddr) -> Option<&'static str> {
    let (nobodys, metadata) = match ip.to_canonical() {
        IpAddr::V4(ip) => (
            ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
            ip.is_link_local() || METADATA.contains(&ip),
        ),
        IpAddr::V6(ip) => (
            ip.is_unspecified() || ip.is_multicast(),
            // EC2's.
            ip.is_unicast_link_local() || ip.segments()[..2] == [0xfd00, 0x0ec2],
        ),
    };
    match (nobodys, metadata) {
        (true, _) => Some("nobody's address"),
        (_, true) => Some("an address that a cloud answers its own machines at"),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cloud_tells_its_machines_is_nobodys_server() {
        for none in [
            "169.254.169.254",
            "169.254.1.1",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "168.63.129.16",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
        ] {
            assert!(is_no_servers(none.parse().unwrap()).is_some(), "{none}");
        }
        for server in [
            "10.0.0.1",
            "198.18.0.2",
            "127.0.0.1",
            "fd00::1",
            "2001:db8::1",
        ] {
            assert_eq!(is_no_servers(server.parse().unwrap()), None, "{server}");
        }
    }
}
