//! Instances and volumes, as moto itself has them.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Moto;
use crate::aws::{text, texts};

/// What Debian's image boots from, which a machine has within itself.
const ROOT: &str = "/dev/xvda";

/// An instance as it should be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Instance {
    pub(super) id: String,
    pub(super) state: String,
    pub(super) private: Option<Ipv4Addr>,
    pub(super) public: Option<Ipv4Addr>,
    pub(super) zone: String,
    pub(super) volumes: Vec<String>,
    pub(super) reboots: u32,
}

/// A data volume as it should be.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) id: String,
    pub(super) gib: u64,
    /// The instance that it is attached to.
    at: Option<String>,
}

pub(super) async fn volumes(moto: &Moto) -> Result<Vec<Volume>> {
    let told = moto.ask_moto("DescribeVolumes", &[]).await?;
    let mut all = Vec::new();
    for part in told.split("<volumeType>").skip(1) {
        if texts(part, "device").contains(&ROOT) {
            continue;
        }
        all.push(Volume {
            id: text(part, "volumeId")?.to_owned(),
            gib: text(part, "size")?.parse()?,
            at: text(part, "instanceId").ok().map(str::to_owned),
        });
    }
    Ok(all)
}

/// moto's public addresses are somebody's. In their place stand some that RFC 2544 keeps for
/// tests.
pub(super) fn with_harmless_addresses(told: &str) -> String {
    told.replace(">54.214.", ">198.19.")
}

pub(super) async fn instances(moto: &Moto, volumes: &[Volume]) -> Result<Vec<Instance>> {
    let told = moto.ask_moto("DescribeInstances", &[]).await?;
    let told = with_harmless_addresses(&told);
    let mut all = Vec::new();
    for part in told.split("<instanceId>").skip(1) {
        let (id, part) = part
            .split_once("</instanceId>")
            .context("an id has an end")?;
        let (_, state) = part.split_once("<instanceState>").context("a state")?;
        let address = |element| -> Result<Option<Ipv4Addr>> {
            Ok(text(part, element).ok().map(str::parse).transpose()?)
        };
        let own = volumes
            .iter()
            .filter(|volume| volume.at.as_deref() == Some(id));
        all.push(Instance {
            id: id.to_owned(),
            state: text(state, "name")?.to_owned(),
            private: address("privateIpAddress")?,
            public: address("ipAddress")?,
            zone: text(part, "availabilityZone")?.to_owned(),
            volumes: own.map(|volume| volume.id.clone()).collect(),
            reboots: 0,
        });
    }
    Ok(all)
}

pub(super) async fn user_data(moto: &Moto, id: &str) -> Result<String> {
    let parameters = [("InstanceId", id), ("Attribute", "userData")];
    let told = moto
        .ask_moto("DescribeInstanceAttribute", &parameters)
        .await?;
    let encoded = text(&told, "value")?.trim();
    Ok(String::from_utf8(STANDARD.decode(encoded)?)?)
}
