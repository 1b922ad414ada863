//! A machine's second address is changed: a cloud gives what was stopped another one.

use std::net::Ipv4Addr;

use super::make::refuse_hosts_own;
use super::world::{World, power_of};
use crate::protocol::{Power, Problem};

impl World {
    /// While it is off: it boots with it. `None`: it has none any more.
    pub(super) async fn set_address(
        &self,
        name: &str,
        address: Option<Ipv4Addr>,
    ) -> Result<(), Problem> {
        let kept = self.find(name).await?;
        let mut kept = kept.lock().await;
        if power_of(&kept) != Power::Off {
            return Err(Problem::conflict(format!(
                "machine {name} is on, and keeps its address until it is off"
            )));
        }
        if kept.record.second_address == address {
            return Ok(());
        }
        {
            let network = self.network.lock().await;
            if let Some(address) = address {
                if network.range().is_some_and(|range| range.contains(address)) {
                    return Err(Problem::invalid(format!(
                        "{address} is in the daemon's own network, where addresses stay"
                    )));
                }
                refuse_hosts_own(address, network.bridge().as_deref()).await?;
            }
            let mut record = kept.record.clone();
            record.second_address = address;
            kept.machine.write_record(&record)?;
            network.forget_second(&kept.machine.port).await;
            kept.machine.port = network.port(record.number, address)?;
            kept.record = record;
        }
        Ok(self.restore(&mut kept).await?)
    }
}
