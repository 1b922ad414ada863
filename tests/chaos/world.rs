//! What is broken: a deployment with a herd of three resources on real machines, and where each
//! of their nodes is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use drover_machines::client::Client;
use drover_machines::protocol::{Machine, Make, Power};
use drover_tests::{Account, Deployment, Lead, PATIENCE, PagerDuty, Postgres, Processes};
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::plan::{Node, Which};
use crate::record::{self, Change};

/// Followers that each leader has which has any.
const FOLLOWERS: usize = 2;
/// The processes that it has.
pub const KINDS: [&str; 9] = [
    "web", "clock", "feel", "feel", "think", "think", "resolve", "resolve", "notify",
];
/// How long any question to the record may take: the control database may be frozen.
pub const QUICK: Duration = Duration::from_secs(3);

pub struct World {
    /// drover's. First, so that they are killed before the rest goes.
    processes: Mutex<Processes>,
    pub drover: Deployment,
    pub pager: PagerDuty,
    /// drover's way to its cloud.
    pub cloud: Cloud,
    /// The machine that customers come from.
    pub customers: Machine,
    nodes: Mutex<BTreeMap<String, Vec<Lead>>>,
    /// How many blows processes got.
    pub blows: AtomicUsize,
    /// How often the record began to become an older one, and how often it did: odd while it does.
    pub restores: AtomicUsize,
    /// The control database's, if it has one.
    standby: Mutex<Option<Postgres>>,
    /// All changes of leader that the record has ever told of, in that order.
    history: Mutex<Vec<Change>>,
    /// Alerts of incidents that the record has forgotten.
    forgotten: Mutex<BTreeSet<String>>,
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
        drover.with_machines().await?;
        let daemon = drover.machines().client.clone();
        let cloud = Cloud::before(&drover.local_dir().join("machines/socket"), drover.dir())?;
        drover.processes.set("DROVER_MACHINES", cloud.socket());
        drover.start(&KINDS).await?;
        let made = herd(&drover).await;
        made.with_context(|| drover.processes.logs())?;
        let customers = customers(&daemon).await?;
        let none = Processes::new(BTreeMap::new(), PathBuf::new());
        let world = Self {
            processes: Mutex::new(std::mem::replace(&mut drover.processes, none)),
            drover,
            pager,
            cloud,
            customers,
            nodes: Mutex::default(),
            blows: AtomicUsize::new(0),
            restores: AtomicUsize::new(0),
            standby: Mutex::default(),
            history: Mutex::default(),
            forgotten: Mutex::default(),
            zero: Instant::now(),
        };
        world.look_round().await?;
        Ok(world)
    }

    /// The daemon that keeps the machines.
    pub fn machines(&self) -> &Client {
        &self.drover.machines().client
    }

    /// How a customer gets in.
    ///
    /// # Errors
    /// If drover does not say so.
    pub async fn account(&self, id: &str) -> Result<Account> {
        let account = self.drover.account(id).await?;
        Ok(Account {
            network_of: self.customers.pid,
            ..account
        })
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

    /// The control database has one from here on.
    pub fn keep_standby(&self, standby: Postgres) {
        *self.standby.lock().unwrap_or_else(|e| e.into_inner()) = Some(standby);
    }

    /// It has none any more.
    pub fn take_standby(&self) -> Option<Postgres> {
        self.standby
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .take()
    }

    /// The record is to become an older one.
    ///
    /// # Errors
    /// If the control database does not tell of it for the last time.
    pub async fn before_restoring(&self) -> Result<()> {
        self.remember().await?;
        self.restores.fetch_or(1, Ordering::SeqCst);
        Ok(())
    }

    /// Takes note of what the record says of changes of leader.
    ///
    /// # Errors
    /// If the control database does not say so within seconds.
    pub async fn remember(&self) -> Result<()> {
        let told = record::changes(self).await?;
        let mut history = self.history.lock().unwrap_or_else(|e| e.into_inner());
        for change in told {
            match history.iter_mut().find(|known| known.id == change.id) {
                Some(known) => *known = change,
                None => history.push(change),
            }
        }
        Ok(())
    }

    /// All changes of leader that were ever told of.
    pub fn history(&self) -> Vec<Change> {
        self.history
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .clone()
    }

    /// The record is an old one from here on: it knows nothing of the newest alerts.
    ///
    /// # Errors
    /// If the control database does not answer.
    pub async fn restored(&self) -> Result<()> {
        let sql = "select coalesce(jsonb_agg('drover/inc_' || id), '[]') from incidents";
        let known: BTreeSet<String> = serde_json::from_value(asked(self, sql).await?)?;
        let alerts = self.pager.alerts().into_keys();
        let mut forgotten = self.forgotten.lock().unwrap_or_else(|e| e.into_inner());
        forgotten.extend(alerts.filter(|key| !known.contains(key)));
        self.restores.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Whether the record has forgotten this alert.
    pub fn has_forgotten(&self, alert: &str) -> bool {
        let forgotten = self.forgotten.lock().unwrap_or_else(|e| e.into_inner());
        forgotten.contains(alert)
    }

    /// Since the customers began.
    pub fn now(&self) -> Duration {
        self.zero.elapsed()
    }
}

/// A machine that is none of drover's.
async fn customers(daemon: &Client) -> Result<Machine> {
    let there = daemon.list(None).await?;
    let like = there.first().context("no machine is there")?;
    let make = Make {
        name: Some("customers".to_owned()),
        image: like.image,
        ..Make::default()
    };
    daemon.make(make).await?;
    Ok(daemon.wait_for("customers", Power::On, PATIENCE).await?)
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
