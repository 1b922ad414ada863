//! Who writes: one customer for each resource, who comes from a machine of the customers' by the
//! address of all its nodes.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Result;
use drover_tests::Ledger;

use crate::laws::{self, Law, Write};
use crate::plan::Which;
use crate::world::World;

/// Between the beginnings of two commits of one customer.
const BEAT: Duration = Duration::from_millis(400);
/// Between two looks at the addresses.
const OFTEN: Duration = Duration::from_secs(2);

/// A customer, and what was acknowledged to them.
pub struct Customer {
    pub which: Which,
    ledger: Ledger,
}

/// One for each resource.
///
/// # Errors
/// If one cannot write.
pub async fn come(world: &World) -> Result<Vec<Customer>> {
    let mut all = Vec::new();
    for which in Which::ALL {
        let leader = world.drover.lead(which.name()).await?;
        let account = world.account(&leader.id).await?;
        let ledger = Ledger::open_at_pace(account, BEAT).map_err(anyhow::Error::msg)?;
        all.push(Customer { which, ledger });
    }
    Ok(all)
}

/// Tells them for ever which nodes there are, as far as drover says so.
pub async fn tell(world: &World, customers: &[std::sync::Arc<Customer>]) {
    loop {
        tokio::time::sleep(OFTEN).await;
        let _ = world.look_round().await;
        for customer in customers {
            let Some(leader) = world.nodes(customer.which).into_iter().next() else {
                continue;
            };
            let account = world.account(&leader.id);
            if let Ok(Ok(account)) = tokio::time::timeout(OFTEN, account).await {
                customer.ledger.tell(account);
            }
        }
    }
}

impl Customer {
    /// What was acknowledged so far.
    pub fn writes(&self, world: &World) -> Vec<Write> {
        let entries = self.ledger.entries();
        entries
            .iter()
            .map(|entry| Write::new(entry, world.zero))
            .collect()
    }

    /// The rows that are there of those that were acknowledged, or of more.
    ///
    /// # Errors
    /// If they cannot be read now.
    pub async fn there(self: &std::sync::Arc<Self>, writes: &[Write]) -> Result<HashSet<u64>> {
        let this = self.clone();
        let lost = tokio::task::spawn_blocking(move || this.ledger.lost()).await?;
        let lost = HashSet::<u64>::from_iter(lost.map_err(anyhow::Error::msg)?);
        let all = writes.iter().map(|write| write.n);
        Ok(all.filter(|n| !lost.contains(n)).collect())
    }

    /// What was accepted last.
    pub fn last(&self, world: &World) -> Option<Write> {
        self.writes(world)
            .into_iter()
            .max_by_key(|write| write.sent)
    }

    pub fn longest_pause(&self, world: &World) -> Duration {
        self.ledger.longest_pause(world.zero)
    }

    /// What can be told of the writes alone.
    pub fn law_abiding(&self, writes: &[Write]) -> Law {
        let acknowledged: Vec<Write> = match self.which {
            // A warning is no acknowledgement here.
            Which::Accounts => writes
                .iter()
                .filter(|write| !write.warned)
                .cloned()
                .collect(),
            Which::Orders | Which::Notes => writes.to_vec(),
        };
        laws::one_node_on_a_timeline(&acknowledged)?;
        laws::no_write_behind_a_newer_leader(&acknowledged)
    }
}
