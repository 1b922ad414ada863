//! What a machine asks its kernel to have on the disk, as the machine's outside sees it.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Machine, SOON};

impl Machine {
    /// What this work came to, and the calls of fsync that the machine's sessions made
    /// meanwhile, in order.
    pub async fn traced<T>(&self, work: impl Future<Output = T>) -> (T, String) {
        let inside = self.root("readlink /proc/1/ns/pid").await;
        let is_inside = |pid: &String| {
            let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"));
            let space = std::fs::read_link(format!("/proc/{pid}/ns/pid"));
            comm.is_ok_and(|comm| comm.trim() == "sshd")
                && space.is_ok_and(|space| space.to_string_lossy() == inside)
        };
        let all = std::fs::read_dir("/proc").unwrap();
        let all = all.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let pids: Vec<String> = all.filter(is_inside).collect();
        assert!(
            !pids.is_empty(),
            "no sshd of the machine's is seen from outside"
        );
        let log = std::env::temp_dir().join(format!("drover-trace-{}", std::process::id()));
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-y", "-qq", "-e", "trace=fsync", "-o"])
            .arg(&log);
        for pid in &pids {
            strace.args(["-p", pid]);
        }
        let mut strace = strace.stderr(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(SOON).await;
        let came_to = work.await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        // It lets go of what it traces.
        let pid = strace.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status().unwrap();
        strace.wait().unwrap();
        let calls = std::fs::read_to_string(&log).unwrap();
        std::fs::remove_file(&log).unwrap();
        (came_to, calls)
    }
}
