//! A customer who writes all the time, and keeps a ledger of what was acknowledged.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{JoinHandle, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crate::daemon::as_root;

/// Where a customer writes, and how they get in.
#[derive(Clone, Debug)]
pub struct Account {
    /// libpq's address, with every node in it and no password.
    pub url: String,
    /// The customer's password.
    pub password: String,
    /// The certificates of all nodes.
    pub root_certs: PathBuf,
    /// The process in whose network they are; `None`: in this host's.
    pub network_of: Option<i32>,
}

impl Account {
    /// Runs SQL as the customer.
    pub fn psql(&self, sql: &str) -> Result<String, String> {
        Ok(self.within(SLOW, sql)?.0)
    }

    /// What it answers, and what it remarks on that.
    fn within(&self, limit: Limit, sql: &str) -> Result<(String, String), String> {
        let done = self
            .command(limit, sql)
            .output()
            .map_err(|e| e.to_string())?;
        let text = |said: &[u8]| String::from_utf8_lossy(said).trim().to_owned();
        match done.status.success() {
            true => Ok((text(&done.stdout), text(&done.stderr))),
            false => Err(text(&done.stderr)),
        }
    }

    /// The same, and does not wait for its end.
    pub fn begin(&self, sql: &str) -> std::io::Result<Child> {
        self.command(SLOW, sql).stdout(Stdio::null()).spawn()
    }

    /// psql; one that hangs in a dead connection is given up, as a client would.
    fn command(&self, (connect, all): Limit, sql: &str) -> Command {
        let mut command = match self.network_of {
            None => Command::new("timeout"),
            Some(pid) => {
                let mut command = as_root("nsenter", KEPT);
                command.arg(format!("--net=/proc/{pid}/ns/net"));
                command.arg("timeout");
                command
            }
        };
        command
            .args(["-s", "KILL", all])
            .arg(client())
            .args(["-XAtqc", sql, &self.url])
            .env("PGPASSWORD", &self.password)
            .env("PGSSLROOTCERT", &self.root_certs)
            .env("PGCONNECT_TIMEOUT", connect)
            .stdin(Stdio::null());
        command
    }
}

/// What psql reads in its environment.
const KEPT: &str = "PGPASSWORD,PGSSLROOTCERT,PGCONNECT_TIMEOUT";

/// Seconds that a node may take to let somebody in, and for all of it.
type Limit = (&'static str, &'static str);
/// Who writes on and on soon turns to the next node.
const QUICK: Limit = ("2", "5");
/// Who comes once has time, also where a commit waits.
const SLOW: Limit = ("5", "180");

/// psql itself: what is in the path on Debian is a script that looks for it, and costs
/// more than a commit does.
fn client() -> PathBuf {
    let all = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut all: Vec<PathBuf> = all.map(|entry| entry.path().join("bin/psql")).collect();
    all.retain(|path| path.is_file());
    all.sort();
    all.pop().unwrap_or_else(|| "psql".into())
}

/// A commit that was acknowledged.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The row.
    pub n: u64,
    /// When its attempt began.
    pub began: Instant,
    /// When it was acknowledged.
    pub ended: Instant,
    /// The address of who did.
    pub by: String,
    /// The timeline that it was written on there.
    pub timeline: u32,
    /// Whether that came with PostgreSQL's warning that a follower may not have it.
    pub warned: bool,
}

/// Customers at work. They stop when this is dropped.
pub struct Ledger {
    account: Arc<Mutex<Account>>,
    opened: Instant,
    entries: Arc<Mutex<Vec<Entry>>>,
    stop: Arc<AtomicBool>,
    customers: Option<JoinHandle<()>>,
}

/// Between the beginnings of two commits. The next does not wait for those before it: else
/// all would wait out the same dead node, and none would find when the next one leads.
const BEAT: Duration = Duration::from_millis(100);
/// Who are at it at the same time, at most: as many as begin while one is let down.
const AT_ONCE: usize = 20;

impl Ledger {
    /// Makes the table `ledger` and has one row after another written into it, a commit each.
    pub fn open(account: Account) -> Result<Self, String> {
        Self::open_at_pace(account, BEAT)
    }

    /// The same, with this long between the beginnings of two commits.
    pub fn open_at_pace(account: Account, beat: Duration) -> Result<Self, String> {
        account.psql("create table if not exists ledger (n bigint primary key)")?;
        let account = Arc::new(Mutex::new(account));
        let opened = Instant::now();
        let entries: Arc<Mutex<Vec<Entry>>> = Arc::default();
        let stop: Arc<AtomicBool> = Arc::default();
        let customers = {
            let (account, entries, stop) = (account.clone(), entries.clone(), stop.clone());
            std::thread::spawn(move || come(&account, &entries, &stop, beat))
        };
        Ok(Self {
            account,
            opened,
            entries,
            stop,
            customers: Some(customers),
        })
    }

    /// Since when it is written.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// From here on customers come by this address: nodes were made, or are gone.
    pub fn tell(&self, account: Account) {
        *lock(&self.account) = account;
    }

    /// What was acknowledged so far.
    pub fn entries(&self) -> Vec<Entry> {
        lock(&self.entries).clone()
    }

    /// When the first commit was acknowledged that was begun after this moment, by
    /// another than this address.
    pub fn first_after(&self, moment: Instant, not_by: &str) -> Option<Duration> {
        let entries = self.entries();
        let after = entries
            .iter()
            .filter(|e| e.began > moment && e.by != not_by);
        after.map(|e| e.ended - moment).min()
    }

    /// The longest time between two acknowledgements since this moment.
    pub fn longest_pause(&self, since: Instant) -> Duration {
        let mut ended: Vec<Instant> = self.entries().iter().map(|e| e.ended).collect();
        ended.retain(|at| *at >= since);
        ended.sort();
        let pauses = ended.windows(2).map(|two| two[1] - two[0]);
        pauses.max().unwrap_or_default()
    }

    /// Acknowledged rows that are not there.
    pub fn lost(&self) -> Result<Vec<u64>, String> {
        // Those that are acknowledged while the table is read may not be in it.
        let acknowledged = self.entries();
        let account = lock(&self.account).clone();
        let there = account.psql("select n from ledger")?;
        let there: std::collections::HashSet<&str> = there.lines().collect();
        let rows = acknowledged.iter().map(|entry| entry.n);
        Ok(rows
            .filter(|n| !there.contains(n.to_string().as_str()))
            .collect())
    }

    /// Stops the writers, and gives what was acknowledged.
    pub fn close(mut self) -> Vec<Entry> {
        self.join();
        self.entries()
    }

    fn join(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(customers) = self.customers.take() {
            let _ = customers.join();
        }
    }
}

/// One customer after another, each for one commit, until they are to stop.
fn come(account: &Mutex<Account>, entries: &Mutex<Vec<Entry>>, stop: &AtomicBool, beat: Duration) {
    std::thread::scope(|scope| {
        let mut at_it = Vec::new();
        for n in 1.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            at_it.retain(|one: &ScopedJoinHandle<'_, ()>| !one.is_finished());
            if at_it.len() < AT_ONCE {
                at_it.push(scope.spawn(move || commit(account, entries, n)));
            }
            std::thread::sleep(beat);
        }
    });
}

fn commit(account: &Mutex<Account>, entries: &Mutex<Vec<Entry>>, n: u64) {
    let account = lock(account).clone();
    let began = Instant::now();
    let sql = format!(
        "insert into ledger values ({n}) returning host(inet_server_addr()),
             ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int"
    );
    let Ok((told, remarks)) = account.within(QUICK, &sql) else {
        return;
    };
    let ended = Instant::now();
    let (by, timeline) = told.split_once('|').unwrap_or((&told, ""));
    let entry = Entry {
        n,
        began,
        ended,
        by: by.to_owned(),
        timeline: timeline.parse().unwrap_or_default(),
        warned: remarks.contains("synchronous replication"),
    };
    lock(entries).push(entry);
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(|e| e.into_inner())
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.join();
    }
}
