//! What is broken: a deployment with a herd of three resources on real machines, and where each
//! of their nodes is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use drover_machines::client::Client;
use drover_tests::{Deployment, Lead, PATIENCE, PagerDuty, Processes};
use serde_json::{Value, json};

use crate::plan::{Node, Which};

/// Followers that each leader has which has any.
const FOLLOWERS: usize = 2;
/// How long any question to the record may take: the control database may be frozen.
pub const QUICK: Duration = Duration::from_secs(3);

pub struct World {
    /// drover's. First, so that they are killed before the rest goes.
    processes: Mutex<Processes>,
    pub drover: Deployment,
    pub pager: PagerDuty,
    nodes: Mutex<BTreeMap<String, Vec<Lead>>>,
    /// How many blows processes got.
    pub blows: AtomicUsize,
    /// When the customers began.
    pub zero: Instant,
}

impl World {
    /// A herd in which all is well.
    ///
    /// # Errors
    /// If it does not come about.
    pub async fn new() -> Result<Self> {
        let rules = json!({"cadence": {"available": "5s"}});
        let mut drover = Deployment::new(&rules).await?;
        let pager = PagerDuty::start(PagerDuty::KEY).await?;
        drover.processes.set("DROVER_PAGERDUTY_KEY", PagerDuty::KEY);
        drover.processes.set("DROVER_PAGERDUTY_URL", pager.url());
        let kinds = [
            "web", "clock", "feel", "feel", "think", "think", "resolve", "resolve", "notify",
        ];
        drover.start(&kinds).await?;
        drover.with_machines().await?;
        let made = herd(&drover).await;
        made.with_context(|| drover.processes.logs())?;
        let none = Processes::new(BTreeMap::new(), PathBuf::new());
        let world = Self {
            processes: Mutex::new(std::mem::replace(&mut drover.processes, none)),
            drover,
            pager,
            nodes: Mutex::default(),
            blows: AtomicUsize::new(0),
            zero: Instant::now(),
        };
        world.look_round().await?;
        Ok(world)
    }

    /// The daemon that keeps the machines.
    pub fn machines(&self) -> &Client {
        &self.drover.machines().client
    }

    pub fn processes(&self) -> MutexGuard<'_, Processes> {
        self.processes.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Finds out where all nodes are.
    ///
    /// # Errors
    /// If the control database does not say so within seconds.
    pub async fn look_round(&self) -> Result<()> {
        let sql = "select coalesce(l.name, s.name), r.id, v.id, v.instance_id, v.address
             from resources r join subjects s using (id)
                 join servers v on v.id = r.server_id
                 left join subjects l on l.id = r.leader_id
             where s.forgotten_at is null and v.instance_id is not null and v.address <> ''
             order by 1, r.leader_id is not null, s.created_at";
        let asked = sqlx::query_as(sql).fetch_all(&self.drover.pool);
        let rows: Vec<(String, String, String, String, String)> =
            tokio::time::timeout(QUICK, asked).await??;
        let mut nodes: BTreeMap<String, Vec<Lead>> = BTreeMap::new();
        for (name, id, server, instance, address) in rows {
            nodes.entry(name).or_default().push(Lead {
                id: format!("db_{id}"),
                server: format!("srv_{server}"),
                instance,
                address,
            });
        }
        *self.nodes.lock().unwrap_or_else(|e| e.into_inner()) = nodes;
        Ok(())
    }

    /// The nodes of a resource as they were last seen, its leader first.
    pub fn nodes(&self, which: Which) -> Vec<Lead> {
        let nodes = self.nodes.lock().unwrap_or_else(|e| e.into_inner());
        nodes.get(which.name()).cloned().unwrap_or_default()
    }

    /// Who that is by now.
    ///
    /// # Errors
    /// If there is none.
    pub fn node(&self, node: Node) -> Result<Lead> {
        let (which, at) = match node {
            Node::Leader(which) => (which, 0),
            Node::Follower(which, n) => {
                let followers = self.nodes(which).len().saturating_sub(1);
                (which, 1 + n % followers.max(1))
            }
        };
        let found = self.nodes(which).into_iter().nth(at);
        found.with_context(|| format!("there is no {node}"))
    }

    /// Another node of the same resource.
    ///
    /// # Errors
    /// If there is none.
    pub fn peer_of(&self, node: &Lead) -> Result<Lead> {
        let all = Which::ALL.map(|which| self.nodes(which));
        let mut own = all
            .into_iter()
            .filter(|nodes| nodes.iter().any(|one| one.id == node.id));
        let own = own.next().unwrap_or_default();
        let other = own.into_iter().find(|one| one.id != node.id);
        other.context("it has no peer")
    }

    /// Since the customers began.
    pub fn now(&self) -> Duration {
        self.zero.elapsed()
    }
}

async fn herd(drover: &Deployment) -> Result<()> {
    let mut leaders = Vec::new();
    for (which, plan) in [
        (Which::Orders, "premium"),
        (Which::Accounts, "premium"),
        (Which::Notes, "production"),
    ] {
        let body = json!({"name": which.name(), "plan": plan});
        leaders.push((which, drover.ask_for(&body).await?));
    }
    // Each is a resource and a server.
    drover.all_available(2 * 5, PATIENCE).await?;
    for n in 1..FOLLOWERS {
        for (which, id) in &leaders[..2] {
            let body = json!({"name": format!("{which}-{n}")});
            drover
                .post(&format!("/v1/resources/{id}/followers"), &body)
                .await?;
        }
    }
    drover.all_available(2 * 7, PATIENCE).await?;
    let sync = json!({"action": "set_durability", "durability": "sync"});
    drover.act(&leaders[1].1, &sync).await?;
    let followers = 2 * FOLLOWERS;
    drover.settled(followers, PATIENCE).await?;
    Ok(())
}

/// One value that the record has, within seconds.
///
/// # Errors
/// If the control database does not answer.
pub async fn asked(world: &World, sql: &'static str) -> Result<Value> {
    let asked = sqlx::query_scalar(sql).fetch_one(&world.drover.pool);
    Ok(tokio::time::timeout(QUICK, asked).await??)
}
