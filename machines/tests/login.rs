//! cloud-init, over the metadata service: what an instance of EC2 does with drover's user
//! data, a machine does too.

use std::net::Ipv4Addr;

use drover_machines::image::Image;
use drover_machines::protocol::Make;
use serde_json::json;

use super::harness::{BOOT, Daemon, new_key};

/// As drover writes it for EC2.
pub(crate) fn user_data(user: &str, private: &str, public: &str, authorized: &str) -> String {
    let sshd = "Port 2222\nHostKey /etc/ssh/ssh_host_ed25519_key\nPermitRootLogin no\n\
        PasswordAuthentication no\nKbdInteractiveAuthentication no\n";
    let body = json!({
        "ssh_deletekeys": true,
        "ssh_genkeytypes": [],
        "ssh_keys": { "ed25519_private": private, "ed25519_public": public },
        "ssh_pwauth": false,
        "disable_root": true,
        "users": [{
            "name": user,
            "shell": "/bin/bash",
            "lock_passwd": true,
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "ssh_authorized_keys": [authorized],
        }],
        "write_files": [{
            "path": "/etc/ssh/sshd_config.d/10-drover.conf",
            "permissions": "0644",
            "content": sshd,
        }],
    });
    format!("#cloud-config\n{body:#}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn drovers_user_data_give_login_sudo_port_and_host_key() {
    let daemon = Daemon::start().await;
    let key = daemon.folder().join("host_key");
    let public = new_key(&key);
    let private = std::fs::read_to_string(&key).unwrap();
    // An address elsewhere, as moto gives one.
    let second = Ipv4Addr::new(198, 51, 100, 7);
    let machine = daemon
        .up(Make {
            name: Some("pg1".into()),
            instance_id: Some("i-0123456789abcdef0".into()),
            zone: Some("us-east-1b".into()),
            address: Some(second),
            user_data: Some(user_data("drover", &private, &public, daemon.public_key())),
            ..Make::default()
        })
        .await;
    assert_eq!(machine.second_address, Some(second));
    let say = "sudo -n id -u; hostname; cat /sys/class/net/eth0/address";
    for address in [machine.address, second] {
        let output = daemon.ssh(&format!("drover@{address}"), 2222, Some(&public), say);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.starts_with("0\npg1\n02:64:"), "{address}: {output:?}");
    }
    // Nobody else, nowhere else, and with no other key.
    let other = new_key(&daemon.folder().join("other"));
    let to = |user: &str| format!("{user}@{}", machine.address);
    assert!(
        !daemon
            .ssh(&to("drover"), 2222, Some(&other), "true")
            .status
            .success()
    );
    assert!(
        !daemon
            .ssh(&to("root"), 2222, Some(&public), "true")
            .status
            .success()
    );
    assert!(
        !daemon
            .ssh(&to("drover"), 22, Some(&public), "true")
            .status
            .success()
    );
    // What cloud-init was told, the machine can ask for too.
    let said = daemon
        .sh(
            "pg1",
            "cloud-init query instance_id; cloud-init query availability_zone; \
             cloud-init query local_ipv4 2>/dev/null || cloud-init query ds.meta_data.local-ipv4",
        )
        .await;
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        ["i-0123456789abcdef0", "us-east-1b", "198.51.100.7"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_are_had_with_a_token_only() {
    let daemon = Daemon::start().await;
    daemon.up(daemon.plain("a")).await;
    let said = daemon
        .sh(
            "a",
            "u=http://169.254.169.254/latest; c='curl -s -m 5'
             s() { $c -o /dev/null -w '%{http_code}\\n' \"$@\"; }
             s $u/meta-data/instance-id
             s -X PUT $u/api/token
             s -X PUT -H 'X-Forwarded-For: 1.2.3.4' -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $u/api/token
             s -H 'X-aws-ec2-metadata-token: guessed' $u/meta-data/instance-id
             t=$($c -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $u/api/token)
             $c -H \"X-aws-ec2-metadata-token: $t\" $u/meta-data/local-ipv4; echo
             s -H \"X-aws-ec2-metadata-token: $t\" $u/user-data",
        )
        .await;
    let address = daemon.client.show("a").await.unwrap().address.to_string();
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        ["401", "400", "403", "401", &address, "404"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_postgresql_it_can_be_installed() {
    let daemon = Daemon::start().await;
    daemon
        .up(Make {
            image: Image::BookwormBare,
            ..daemon.plain("bare")
        })
        .await;
    assert!(!daemon.can("bare", "command -v psql").await);
    let install = "export DEBIAN_FRONTEND=noninteractive; apt-get -q update && \
        apt-get install -y -q --no-install-recommends postgresql-common && \
        echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/t.conf && \
        apt-get install -y -q postgresql";
    let output = daemon.client.sh("bare", install, BOOT * 2).await.unwrap();
    assert_eq!(output.status, Some(0), "{output:?}");
    daemon.sh("bare", "pg_createcluster 15 main --start").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trixie_has_both_majors() {
    let daemon = Daemon::start().await;
    daemon
        .up(Make {
            image: Image::Trixie,
            ..daemon.plain("t")
        })
        .await;
    let said = daemon
        .sh(
            "t",
            "pg_createcluster 17 new --start >/dev/null; pg_createcluster 15 old --start >/dev/null
             pg_lsclusters -h | awk '{print $1, $4}'",
        )
        .await;
    assert_eq!(said, "15 online\n17 online");
    let machine = daemon.client.show("t").await.unwrap();
    let output = daemon.ssh(
        &format!("debian@{}", machine.address),
        22,
        None,
        "sudo -n id -u",
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n", "{output:?}");
}
