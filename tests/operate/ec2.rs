//! The same on EC2: moto's server is its API, and a real Debian machine stands behind each
//! of its instances.

use std::sync::Arc;
use std::time::Duration;

use drover_tests::{Deployment, Machines, Moto, PATIENCE, sql, until, when};
use serde_json::{Value, json};

const REGION: &str = "us-east-1";

pub struct Ec2 {
    pub drover: Deployment,
    pub moto: Arc<Moto>,
    pub machines: Machines,
}

/// In what a deployment differs from one that works.
#[derive(Clone, Copy, PartialEq)]
pub enum Setting {
    NoCredentials,
    /// Nothing stands behind the instances.
    NoMachines,
    /// What a creation may take.
    Patience(&'static str),
    Resolvers(usize),
    /// Instances are reached at addresses that everybody can reach, and that they lose when
    /// they are stopped.
    Public,
}

impl Ec2 {
    pub async fn start_with(settings: &[Setting]) -> Self {
        let moto = Arc::new(Moto::start().await.unwrap());
        let zones = ["us-east-1a", "us-east-1b"];
        let mut machines = Machines::start().await.unwrap();
        let subnets = moto.subnets(&machines.network, &zones).await.unwrap();
        let mut rules = json!({"cadence": {"available": "5s"}});
        let mut resolvers = 1;
        for setting in settings {
            match setting {
                Setting::Patience(text) => rules["patience"]["creation"] = (*text).into(),
                Setting::Resolvers(count) => resolvers = *count,
                Setting::NoCredentials | Setting::NoMachines | Setting::Public => {}
            }
        }
        let mut drover = Deployment::new(&rules).await.unwrap();
        // A volume takes room of this machine's as it is written.
        sql::run(&drover.pool, "update plans set volume_gib = 2", ()).await;
        for (name, value) in [
            ("AWS_ENDPOINT_URL", moto.endpoint()),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("DROVER_EC2_REGIONS", REGION),
            ("DROVER_EC2_SUBNETS", &subnets.join(",")),
        ] {
            drover.processes.set(name, value);
        }
        if settings.contains(&Setting::Public) {
            drover.processes.set("DROVER_EC2_ADDRESS", "public");
        }
        if !settings.contains(&Setting::NoMachines) {
            machines.attend(moto.clone());
        }
        // What the local cloud holds goes with the deployment.
        drover.local(&["ls"]).await.unwrap();
        let mut ec2 = Self {
            drover,
            moto,
            machines,
        };
        let credentials = !settings.contains(&Setting::NoCredentials);
        if credentials {
            ec2.give_credentials();
        }
        let kinds = ["web", "clock", "feel", "think", "notify"];
        ec2.drover.start(&kinds).await.unwrap();
        for _ in 0..resolvers {
            ec2.drover.processes.start("resolve").unwrap();
        }
        ec2.until_region_is_known(credentials).await;
        ec2
    }

    /// To what is started from now on.
    pub fn give_credentials(&mut self) {
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            self.drover.processes.set(name, "test");
        }
    }

    pub fn attend(&mut self) {
        self.machines.attend(self.moto.clone());
    }

    /// With its zones, or without them and why.
    async fn until_region_is_known(&self, whole: bool) {
        let sign = if whole { "us-east-1b" } else { "credentials" };
        let known = until("the region published", PATIENCE, || async {
            let regions = self.drover.get("/v1/regions").await?.to_string();
            when(regions.contains(sign), regions)
        });
        known.await.unwrap();
    }

    pub fn or_logs<T>(&self, done: anyhow::Result<T>) -> T {
        done.unwrap_or_else(|e| panic!("{e:#}\n{}", self.drover.processes.logs()))
    }

    pub async fn create(&self, name: &str, plan: &str) -> String {
        let wanted = json!({"name": name, "plan": plan, "cloud": "ec2", "region": REGION});
        let made = self.drover.post("/v1/resources", &wanted).await.unwrap();
        assert_eq!(made["state"], "creating", "{made}");
        made["id"].as_str().unwrap().to_owned()
    }

    pub async fn available(&self, id: &str) {
        // Several machines at once share this one's processors.
        let long = Duration::from_secs(300);
        if let Err(e) = self.drover.turn_until(id, "available", long).await {
            let subject = self.drover.shown(id).await;
            panic!("{e:#}: {subject:#?}\n{}", self.drover.processes.logs());
        }
    }

    pub async fn get(&self, path: &str) -> Value {
        self.drover.get(path).await.unwrap()
    }

    /// Ids of moto's instances that are not terminated, and of its volumes.
    async fn in_the_cloud(&self) -> (Vec<String>, Vec<String>) {
        let told = self.moto.ask("DescribeInstances", &[]).await.unwrap();
        let live = told.split("<instanceId>").skip(1).filter_map(|rest| {
            let (id, rest) = rest.split_once("</instanceId>")?;
            let (_, state) = rest.split_once("<instanceState>")?;
            let state = drover_tests::aws::text(state, "name").ok()?;
            (!["terminated", "shutting-down"].contains(&state)).then(|| id.trim().to_owned())
        });
        let mut live: Vec<String> = live.collect();
        let told = self.moto.ask("DescribeVolumes", &[]).await.unwrap();
        // Attachments name their volume again.
        let volumes = drover_tests::aws::texts(&told, "volumeId").into_iter();
        let mut volumes: Vec<String> = volumes.map(str::to_owned).collect();
        live.sort();
        volumes.sort();
        volumes.dedup();
        (live, volumes)
    }

    /// What the record has; of a server that is still being made, or goes before it was, it
    /// may have nothing yet.
    async fn recorded(&self) -> (Vec<String>, Vec<String>) {
        let sql = "select instance_id, volume_id from servers v join subjects s using (id)
             where s.forgotten_at is null order by 1";
        let rows: Vec<(Option<String>, Option<String>)> =
            sql::rows(&self.drover.pool, sql, ()).await;
        let (instances, volumes): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let instances: Vec<String> = instances.into_iter().flatten().collect();
        let mut volumes: Vec<String> = volumes.into_iter().flatten().collect();
        volumes.sort();
        (instances, volumes)
    }

    pub async fn act(&self, id: &str, body: Value) {
        let most = Duration::from_secs(120);
        let done = self.drover.act_until_done(id, &body, most).await;
        done.unwrap();
    }

    pub async fn destroy(&self, id: &str, name: &str) {
        let path = format!("/v1/resources/{id}?confirm={name}");
        self.drover.delete(&path).await.unwrap();
    }

    pub async fn until_nothing_is_left(&self) {
        let sql = "select count(*) from subjects where forgotten_at is null";
        let gone = until("nothing left", PATIENCE, || async {
            let live: i64 = sql::scalar(&self.drover.pool, sql, ()).await;
            let (instances, volumes) = self.in_the_cloud().await;
            let machines = self.machines.count().await?;
            let nothing = live == 0 && instances.is_empty() && volumes.is_empty() && machines == 0;
            let left = format!(
                "{live} subjects, {instances:?}, {volumes:?}, {machines} machines and their disks"
            );
            when(nothing, left)
        });
        self.or_logs(gone.await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_on_ec2_is_made_rebooted_grown_and_destroyed() {
    let ec2 = Ec2::start_with(&[]).await;
    let id = ec2.create("orders", "production").await;
    ec2.available(&id).await;
    let server = ec2.get(&format!("/v1/resources/{id}")).await["server"].clone();
    let server = server.as_str().unwrap().to_owned();
    let (instances, volumes) = ec2.in_the_cloud().await;
    let (recorded, _) = ec2.recorded().await;
    // One instance, with the disk that it boots from and its data volume.
    assert_eq!((instances.len(), volumes.len()), (1, 2), "{volumes:?}");
    assert_eq!(instances, recorded);
    assert_eq!(ec2.moto.asked("RunInstances"), 1);
    let seen = ec2.get(&format!("/v1/servers/{server}")).await;
    let pinned = seen["host_key"].as_str().unwrap();
    assert!(pinned.starts_with("ssh-ed25519 "), "{seen}");
    let its_cloud = &seen["last_observation"]["attributes"]["cloud"];
    assert_eq!(its_cloud["system_check"], "ok", "{seen}");

    let reboot = json!({"action": "reboot", "now": true, "reason": "a test"});
    ec2.act(&server, reboot).await;
    ec2.available(&id).await;
    assert_eq!(ec2.moto.asked("RebootInstances"), 1);

    let grow = json!({"action": "grow", "volume_gib": 3});
    ec2.act(&id, grow).await;
    let told = ec2.moto.ask("DescribeVolumes", &[]).await.unwrap();
    let sizes = drover_tests::aws::texts(&told, "size");
    assert!(sizes.contains(&"3"), "{told}");

    ec2.destroy(&id, "orders").await;
    ec2.until_nothing_is_left().await;
    let incidents: Vec<(String, String)> =
        sql::rows(&ec2.drover.pool, "select kind, reason from incidents", ()).await;
    assert!(incidents.is_empty(), "{incidents:?}");
}

/// moto keeps no client tokens: that a step which is repeated asks for no second
/// instance is the look-up's doing.
#[tokio::test(flavor = "multi_thread")]
async fn resolvers_killed_while_instances_are_asked_for_make_none_twice() {
    let mut ec2 = Ec2::start_with(&[Setting::Resolvers(2)]).await;
    let mut made = Vec::new();
    for n in 0..6 {
        let name = format!("db-{n}");
        made.push((ec2.create(&name, "production").await, name));
    }
    for kill in 0..30 {
        tokio::time::sleep(Duration::from_millis(120 + 37 * (kill % 7))).await;
        let pids = ec2.drover.processes.pids("resolve");
        let victim = pids[usize::try_from(kill).unwrap() % pids.len()];
        ec2.drover.processes.kill_pid(victim).unwrap();
        ec2.drover.processes.start("resolve").unwrap();
        if kill == 20 {
            for (id, name) in made.split_off(3) {
                ec2.destroy(&id, &name).await;
            }
        }
    }
    for (id, _) in &made {
        ec2.available(id).await;
    }
    let settled = until("three servers left", PATIENCE, || async {
        let (instances, volumes) = ec2.in_the_cloud().await;
        let as_recorded = instances == ec2.recorded().await.0;
        let three = as_recorded && instances.len() == 3 && volumes.len() == 6;
        when(three, format!("{instances:?} {volumes:?}"))
    });
    ec2.or_logs(settled.await);
    for (id, name) in &made {
        ec2.destroy(id, name).await;
    }
    ec2.until_nothing_is_left().await;
}
