//! A leader and its follower on EC2, and one on its own, while their machines do what those
//! of EC2 do: Debian as it comes, cloud-init, packages, volumes, stops that take their time.

use std::time::{Duration, Instant};

use drover_machines::protocol::Health;
use drover_tests::machines::Check;
use drover_tests::{Account, Held, Lead, Ledger, PATIENCE, Says, Shows, sql, until, when};
use serde_json::{Value, json};

use crate::ec2::{Ec2, Setting};

/// What a pair may take from nothing: twice what it takes on a machine that does nothing
/// else.
const FROM_NOTHING: f64 = 180.0;

impl Ec2 {
    async fn premium(&self) -> String {
        let id = self.create("orders", "premium").await;
        let all = self.drover.all_available(4, PATIENCE).await;
        let took = self.explained(all).await;
        println!("from nothing to available: {took:.1} s");
        println!("{}", self.timeline().await);
        assert!(took < FROM_NOTHING, "{took:.1} s");
        let settled = self.drover.settled(1, PATIENCE).await;
        self.explained(settled).await;
        id
    }

    /// What was done, and when.
    async fn timeline(&self) -> String {
        let sql = "select to_char(e.created_at, 'HH24:MI:SS.MS') || ' ' || s.name || ' '
                 || o.kind || ': ' || e.text
             from operation_events e join operations o on o.id = e.operation_id
                 join subjects s on s.id = o.subject_id
             union all
             select to_char(e.created_at, 'HH24:MI:SS.MS') || ' ' || i.kind || ': ' || e.text
             from incident_events e join incidents i on i.id = e.incident_id
             order by 1";
        let lines: Vec<String> = sql::scalars(&self.drover.pool, sql, ()).await;
        lines.join("\n")
    }

    async fn explained<T>(&self, done: anyhow::Result<T>) -> T {
        match done {
            Ok(done) => done,
            Err(e) => panic!(
                "{e:#}\n{}\n{}",
                self.timeline().await,
                self.drover.processes.logs()
            ),
        }
    }

    async fn lead(&self) -> Lead {
        self.drover.lead("orders").await.unwrap()
    }

    async fn another_leads(&self, old: &Lead) -> Lead {
        let found = until("another leader", PATIENCE, || async {
            let leads = self.drover.lead("orders").await?;
            when(leads.id != old.id, leads)
        });
        self.explained(found.await).await.0
    }

    async fn ledger(&self, id: &str) -> Ledger {
        let account: Account = self.drover.account(id).await.unwrap();
        Ledger::open(account).unwrap()
    }

    /// How it was proved that this one had stopped to lead: in one word, and in words.
    async fn proof(&self, old: &Lead) -> (String, String) {
        let sql = "select o.memo ->> 'fenced_by', e.text
             from operations o join operation_events e on e.operation_id = o.id
             where o.kind = 'failover' and o.subject_id = $1
               and e.text ~ 'instance|stopped' order by e.id desc limit 1";
        let id = old.id.strip_prefix("db_").unwrap();
        let found: Option<(String, String)> = sql::first(&self.drover.pool, sql, [id]).await;
        found.unwrap_or_default()
    }

    async fn root(&self, instance: &str, script: &str) -> String {
        self.machines.daemon.sh(instance, script).await.unwrap()
    }

    /// What the API says that EC2 says.
    async fn state(&self, instance: &str) -> String {
        let which = [("InstanceId.1", instance)];
        let told = self.moto.ask("DescribeInstances", &which).await.unwrap();
        let (_, state) = told.split_once("<instanceState>").unwrap();
        drover_tests::aws::text(state, "name").unwrap().to_owned()
    }

    /// Somebody who does not tell drover stops its instance, and starts it.
    async fn is_moved(&self, node: &Lead) {
        let which = [("InstanceId.1", node.instance.as_str())];
        for (action, then) in [("StopInstances", "stopped"), ("StartInstances", "running")] {
            self.moto.ask(action, &which).await.unwrap();
            let done = until(then, PATIENCE, || async {
                let state = self.state(&node.instance).await;
                when(state == then, state)
            });
            self.explained(done.await).await;
        }
    }

    /// Until the record, and what customers are told, go by its new address.
    async fn is_followed(&self, id: &str, before: &Lead) {
        let again = until("it is followed", PATIENCE, || async {
            let now = self.lead().await;
            when(now.address != before.address, now)
        });
        self.explained(again.await).await;
        let settled = self.drover.settled(0, PATIENCE).await;
        self.explained(settled).await;
        let account = self.drover.account(id).await.unwrap();
        assert_eq!(account.psql("select 1").unwrap(), "1");
    }

    /// Until the newest observation is like this.
    async fn seen(&self, subject: &str, what: &str, is_so: impl Fn(&Value) -> bool) {
        let seen = until(what, PATIENCE, || async {
            let seen = self.drover.shown(subject).await?["last_observation"].clone();
            when(is_so(&seen["attributes"]), seen)
        });
        self.explained(seen.await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_on_ec2_is_made_of_bare_machines_and_outlives_them() {
    let ec2 = Ec2::start_with(&[]).await;
    let id = ec2.premium().await;
    let old = ec2.lead().await;
    let follower = ec2.drover.followers_of(&id).await.unwrap().remove(0);
    let its = ec2.drover.node(&follower).await.unwrap();
    let mut zones = Vec::new();
    for node in [&old, &its] {
        let machine = ec2
            .machines
            .daemon
            .client
            .show(&node.instance)
            .await
            .unwrap();
        assert_eq!(machine.address.to_string(), node.address);
        zones.push(machine.zone);
        let said = ec2
            .root(
                &node.instance,
                "findmnt -nro FSTYPE,SOURCE /var/lib/postgresql; readlink -f /dev/disk/by-id/nvme-*
                 stat -c '%U %n' /var/lib/postgresql/15/* /etc/postgresql/15/*
                 cat /run/cloud-init/result.json; dpkg -l postgresql-15 | tail -n 1",
            )
            .await;
        said.says([
            "xfs /dev/loop",
            "postgres /var/lib/postgresql/15/",
            "\"errors\": []",
        ]);
    }
    zones.sort();
    assert_eq!(zones, ["us-east-1a", "us-east-1b"]);

    // A postmaster that dies is started again, and goes on to lead.
    let ledger = ec2.ledger(&id).await;
    let moment = Instant::now();
    ec2.root(
        &old.instance,
        "kill -9 $(head -qn 1 /var/lib/postgresql/15/*/postmaster.pid)",
    )
    .await;
    let written = until("a write", PATIENCE, || async {
        Ok(ledger
            .first_after(moment, "")
            .ok_or_else(|| "none yet".to_owned()))
    });
    let (took, _) = ec2.explained(written.await).await;
    println!("its postmaster was killed: written again after {took:?}");
    let settled = ec2.drover.settled(1, PATIENCE).await;
    ec2.explained(settled).await;
    assert_eq!(ec2.lead().await.id, old.id);
    assert_eq!(ledger.lost().unwrap(), Vec::<u64>::new());

    // Its machine dies, and EC2 takes its time to say so. Nobody leads before it has.
    let takes = Duration::from_secs(120);
    ec2.machines.stops_take(takes);
    let moment = Instant::now();
    ec2.machines.cut_power(&old.instance).await.unwrap();
    ec2.machines.impair(&old.instance, Some(Check::System));
    let stopping = until("EC2 stops it", PATIENCE, || async {
        let state = ec2.state(&old.instance).await;
        when(state == "stopping", state)
    });
    ec2.explained(stopping.await).await;
    let asked = Instant::now();
    while asked.elapsed() < takes - Duration::from_secs(10) {
        assert_eq!(ec2.state(&old.instance).await, "stopping");
        assert_eq!(ec2.lead().await.id, old.id, "{}", ec2.timeline().await);
        assert_eq!(
            ledger.first_after(moment + Duration::from_secs(1), ""),
            None
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let new = ec2.another_leads(&old).await;
    println!("it took {:?} until another led", moment.elapsed());
    assert_eq!(new.id, follower);
    let (by, words) = ec2.proof(&old).await;
    assert_eq!(by, "cloud", "{words}");
    words.says(["stopped"]);
    ec2.machines.stops_take(Duration::ZERO);
    ec2.machines.impair(&old.instance, None);

    // The old leader is started again, rewinds as root and postgres may, and follows.
    let settled = ec2.drover.settled(1, PATIENCE).await;
    ec2.explained(settled).await;
    ec2.drover
        .shown(&old.id)
        .await
        .unwrap()
        .shows(json!({"leader": new.id}));

    // EC2 takes the new leader's machine away, as it does with spot instances.
    ec2.machines
        .reclaim(&ec2.moto, &new.instance)
        .await
        .unwrap();
    let last = ec2.another_leads(&new).await;
    assert_eq!(last.id, old.id);
    let (by, words) = ec2.proof(&new).await;
    assert_eq!(by, "cloud", "{words}");
    words.says(["terminated"]);
    println!("{}", ec2.timeline().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_on_ec2_outlives_reboots_checks_that_fail_and_a_full_volume() {
    let ec2 = Ec2::start_with(&[]).await;
    let id = ec2.create("orders", "production").await;
    ec2.available(&id).await;
    let node = ec2.lead().await;
    let daemon = &ec2.machines.daemon;
    let boot_id = "cat /proc/sys/kernel/random/boot_id";

    // EC2 reboots it, and says nothing.
    let before = daemon.sh(&node.instance, boot_id).await.unwrap();
    let which = [("InstanceId.1", node.instance.as_str())];
    ec2.moto.ask("RebootInstances", &which).await.unwrap();
    let rebooted = until("another boot", PATIENCE, || async {
        let boot = daemon.sh(&node.instance, boot_id).await?;
        when(boot != before, boot)
    });
    ec2.explained(rebooted.await).await;
    ec2.seen(&node.server, "its new boot", |seen| {
        seen["service_available"] == true && seen["uptime_s"].is_number()
    })
    .await;
    ec2.available(&id).await;
    let mounted = until("its volume mounted again", PATIENCE, || async {
        let is = "mountpoint /var/lib/postgresql";
        daemon.sh(&node.instance, is).await.map(Ok)
    });
    ec2.explained(mounted.await).await;

    // A check fails of a machine that serves: it is seen, and nothing is done to it.
    let (reboots, stops) = (
        ec2.moto.asked("RebootInstances"),
        ec2.moto.asked("StopInstances"),
    );
    ec2.machines.impair(&node.instance, Some(Check::System));
    ec2.seen(&node.server, "a check fails", |seen| {
        seen["cloud"]["system_check"] == "impaired"
    })
    .await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    ec2.available(&id).await;
    ec2.machines.impair(&node.instance, None);
    ec2.seen(&node.server, "all checks are well", |seen| {
        seen["cloud"]["system_check"] == "ok"
    })
    .await;
    assert_eq!(ec2.moto.asked("RebootInstances"), reboots);
    assert_eq!(ec2.moto.asked("StopInstances"), stops);

    // Its volume is full to the last block, and grows.
    let volume = ec2
        .machines
        .daemon
        .client
        .show(&node.instance)
        .await
        .unwrap()
        .volumes
        .remove(0);
    let client = &ec2.machines.daemon.client;
    client.set_volume(&volume, Health::Full).await.unwrap();
    let size = "df -B1 --output=size /var/lib/postgresql | tail -n 1";
    let grown = until("it has grown", PATIENCE, || async {
        let bytes: u64 = ec2.root(&node.instance, size).await.trim().parse()?;
        when(bytes > 29 * (1 << 30) / 10, bytes)
    });
    ec2.explained(grown.await).await;
    let settled = ec2.drover.settled(0, PATIENCE).await;
    ec2.explained(settled).await;
    ec2.available(&id).await;
    let account = ec2.drover.account(&id).await.unwrap();
    account.psql("create table after_all (n int)").unwrap();

    // A stopped instance has another size, and comes back as what it was.
    let resize = json!({"action": "resize", "size": "m6a.large", "now": true, "reason": "a test"});
    ec2.act(&id, resize).await;
    ec2.available(&id).await;
    let told = ec2.moto.ask("DescribeInstances", &which).await.unwrap();
    assert_eq!(
        drover_tests::aws::text(&told, "instanceType").unwrap(),
        "m6a.large"
    );
    assert_eq!(account.psql("select count(*) from after_all").unwrap(), "0");
    ec2.destroy(&id, "orders").await;
    ec2.until_nothing_is_left().await;
}

/// Addresses that everybody can reach are lent: what was stopped has another one, and
/// somebody else has the old one.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_comes_back_at_another_address_is_followed_there() {
    let ec2 = Ec2::start_with(&[Setting::Public]).await;
    let id = ec2.create("orders", "production").await;
    ec2.available(&id).await;
    let before = ec2.lead().await;
    before.address.as_str().says(["198.19."]);
    // Its server's creation too is at its end.
    let settled = ec2.drover.settled(0, PATIENCE).await;
    ec2.explained(settled).await;

    // By drover.
    let move_it = json!({"action": "stop_start", "now": true, "reason": "a test"});
    ec2.act(&before.server, move_it).await;
    ec2.available(&id).await;
    let moved = ec2.lead().await;
    assert_ne!(moved.address, before.address);
    let account = ec2.drover.account(&id).await.unwrap();
    account.url.as_str().says([moved.address.as_str()]);
    assert_eq!(account.psql("select 1").unwrap(), "1");

    // And by somebody who does not tell drover.
    ec2.is_moved(&moved).await;
    ec2.is_followed(&id, &moved).await;

    // Also while it is rebooted: before that, and behind it.
    for step in ["look", "reboot"] {
        let moved = ec2.lead().await;
        let held = Held::behind(&ec2.drover.pool, step).await;
        let reboot = json!({"action": "reboot", "now": true, "reason": "a test"});
        ec2.drover.act(&moved.server, &reboot).await.unwrap();
        held.met(&ec2.drover.pool).await;
        ec2.is_moved(&moved).await;
        held.release().await;
        ec2.is_followed(&id, &moved).await;
    }
    println!("{}", ec2.timeline().await);
    ec2.destroy(&id, "orders").await;
    ec2.until_nothing_is_left().await;
}
