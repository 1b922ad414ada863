//! Keys, settings, and EC2 at an endpoint of the test's own.

#[cfg(feature = "ec2")]
use drover::config::{Ec2Address, Ec2Config, Ec2Image};
use drover::model::{Secret, secret};
#[cfg(feature = "ec2")]
use drover_jobs::cloud::ec2::{Access, Ec2};
#[cfg(feature = "ec2")]
use drover_tests::aws::REGION;

/// A private key in OpenSSH's format, and its public half.
pub fn key_pair() -> (Secret, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    let private = std::fs::read_to_string(&path).unwrap();
    let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    (secret(private), public)
}

/// Two regions, and the default image and network.
#[cfg(feature = "ec2")]
pub fn config() -> Ec2Config {
    Ec2Config {
        deployment: "test".into(),
        regions: vec![REGION.into(), "eu-west-1".into()],
        image: Ec2Image::Newest {
            owner: "136693071363".into(),
            name: "debian-12-amd64-*".into(),
        },
        subnets: vec![],
        security_groups: vec![],
        address: Ec2Address::Private,
        user: "drover".into(),
        ssh_port: 22,
        instance_profile: None,
    }
}

/// EC2 as it answers there.
#[cfg(feature = "ec2")]
pub async fn cloud(config: &Ec2Config, url: &str) -> Ec2 {
    drover_tests::init();
    let credentials = Some(("test".into(), secret("a secret key of aws")));
    let url = url.to_owned();
    Ec2::new(config, Access::Endpoint { url, credentials }).await
}
