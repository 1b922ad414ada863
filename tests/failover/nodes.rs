//! What a test does to a node itself, past drover.

use std::path::PathBuf;
use std::process::Command;

use drover_tests::{Lead, until};

use crate::scene::{LONG, Scene};

impl Scene {
    /// Until a follower has received all up to there.
    pub async fn has_received(&self, node: &Lead, lsn: &str) {
        let sql = format!("select pg_last_wal_receive_lsn() >= '{lsn}'");
        let received = until("it has received it", LONG, || async {
            Ok(match self.sql(node, &sql).await.as_str() {
                "t" => Ok(()),
                said => Err(said.to_owned()),
            })
        });
        self.or_logs(received.await.map(drop)).await;
    }

    /// Stops a follower's receiver where it is.
    pub fn hold_receiver(&self, node: &Lead) {
        assert!(self.signal_receiver(node, "-STOP"), "it has no receiver");
    }

    /// Has one that was stopped end where it is, and another begin: what it was sent
    /// meanwhile, and has not read, is lost.
    pub fn end_receiver(&self, node: &Lead) {
        self.signal_receiver(node, "-TERM");
        self.signal_receiver(node, "-CONT");
    }

    /// Tells whether there was any.
    fn signal_receiver(&self, node: &Lead, signal: &str) -> bool {
        let postmaster = self.lock_file(node).lines().next().unwrap().to_owned();
        let found = Command::new("pgrep")
            .args(["-P", &postmaster, "-f", "walreceiver"])
            .output()
            .unwrap();
        let pids = String::from_utf8(found.stdout).unwrap();
        for pid in pids.split_whitespace() {
            let _ = Command::new("kill").args([signal, pid]).status();
        }
        !pids.trim().is_empty()
    }

    fn lock_file(&self, node: &Lead) -> String {
        let dir = self.drover.local_dir().join("servers").join(&node.instance);
        let found = Command::new("find")
            .arg(&dir)
            .args(["-name", "postmaster.pid"])
            .output()
            .unwrap();
        let file = String::from_utf8(found.stdout).unwrap();
        std::fs::read_to_string(file.trim()).unwrap()
    }

    pub fn kill_postmaster(&self, node: &Lead) {
        let pid = self.lock_file(node).lines().next().unwrap().to_owned();
        let killed = Command::new("kill").args(["-KILL", &pid]).status().unwrap();
        assert!(killed.success());
    }

    fn configuration(&self, node: &Lead) -> PathBuf {
        let dir = self.drover.local_dir().join("servers").join(&node.instance);
        let found = Command::new("find")
            .arg(&dir)
            .args(["-name", "drover.conf", "-path", "*conf.d*"])
            .output()
            .unwrap();
        String::from_utf8(found.stdout).unwrap().trim().into()
    }

    /// A line that PostgreSQL refuses to start with.
    pub fn break_configuration(&self, node: &Lead) {
        let path = self.configuration(node);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}shared_buffers = 'broken'\n")).unwrap();
    }

    pub fn mend_configuration(&self, node: &Lead) {
        let path = self.configuration(node);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("shared_buffers = 'broken'\n", "")).unwrap();
    }

    /// Runs SQL as a node's superuser, past drover.
    pub async fn sql(&self, node: &Lead, sql: &str) -> String {
        let lock = self.lock_file(node);
        let lines: Vec<&str> = lock.lines().collect();
        let (port, sockets) = (lines[3], lines[4]);
        let done = Command::new("psql")
            .args([
                "-XAtqc", sql, "-h", sockets, "-p", port, "-U", "postgres", "postgres",
            ])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{said}");
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }
}
