//! What a test does to a node itself, past drover.

use drover_tests::{Lead, PATIENCE, until};

use crate::scene::Scene;

impl Scene {
    /// Until a follower has received all up to there.
    pub async fn has_received(&self, node: &Lead, lsn: &str) {
        let sql = format!("select pg_last_wal_receive_lsn() >= '{lsn}'");
        let received = until("it has received it", PATIENCE, || async {
            Ok(match self.sql(node, &sql).await.as_str() {
                "t" => Ok(()),
                said => Err(said.to_owned()),
            })
        });
        self.or_logs(received.await.map(drop)).await;
    }

    /// Has a session read from a table, and hold it, until it is ended.
    pub async fn reads_for_ever(&self, node: &Lead, table: &str) {
        let sql = format!("begin; select count(*) from {table}; select pg_sleep(100000)");
        let reads = psql(&sql);
        self.at(node, &format!("({reads}) >/dev/null 2>&1 </dev/null &"))
            .await;
        let held = format!(
            "select count(*) from pg_locks where relation = '{table}'::regclass and granted"
        );
        let holds = until("it is read", PATIENCE, || async {
            Ok(match self.sql(node, &held).await.as_str() {
                "1" => Ok(()),
                said => Err(said.to_owned()),
            })
        });
        self.or_logs(holds.await.map(drop)).await;
    }

    /// Stops a follower's receiver where it is. The shell that looks for it is none, in brackets.
    pub async fn hold_receiver(&self, node: &Lead) {
        self.at(node, "pkill -STOP -f [w]alreceiver").await;
    }

    /// Has a follower lack more of its leader's WAL than may be lost, and that be known. Gives
    /// where that WAL ends.
    pub async fn falls_behind(&self, leader: &Lead, follower: &Lead) -> String {
        self.limit_lag(100_000).await;
        self.hold_receiver(follower).await;
        let much = "create table much as select repeat('x', 100) x from generate_series(1, 20000)";
        self.sql(leader, much).await;
        // Where the leader's WAL ends is known from an observation alone, once it is dead.
        let end = self.sql(leader, "select pg_current_wal_lsn()").await;
        self.observed_beyond(leader, &end).await;
        end
    }

    /// Stops what replays WAL at a follower, or has it go on.
    pub async fn hold_replay(&self, node: &Lead, hold: bool) {
        let signal = if hold { "STOP" } else { "CONT" };
        let tell = format!("pkill -{signal} -f '[s]tartup recovering'");
        self.at(node, &tell).await;
    }

    /// Has one that was stopped end where it is, and another begin: what it was sent
    /// meanwhile, and has not read, is lost.
    pub async fn end_receiver(&self, node: &Lead) {
        let end = "pkill -TERM -f [w]alreceiver; pkill -CONT -f [w]alreceiver; true";
        self.at(node, end).await;
    }

    /// Runs a shell's words on a node's machine as root, past drover.
    pub async fn at(&self, node: &Lead, script: &str) -> String {
        let said = self.drover.at(node, script).await.unwrap();
        said.trim().to_owned()
    }

    pub async fn kill_postmaster(&self, node: &Lead) {
        let kill = "kill -KILL \"$(head -n 1 /var/lib/postgresql/*/*/postmaster.pid)\"";
        self.at(node, kill).await;
    }

    /// Restarts its cluster.
    pub async fn restart(&self, node: &Lead) {
        let restart = "pg_lsclusters -h | { read -r v n _; pg_ctlcluster $v $n restart; }";
        self.at(node, restart).await;
    }

    /// A line that PostgreSQL refuses to start with.
    pub async fn break_configuration(&self, node: &Lead) {
        let line = "echo \"shared_buffers = 'broken'\" | \
            tee -a /etc/postgresql/*/*/conf.d/drover.conf";
        self.at(node, line).await;
    }

    /// Takes that line away, once its machine is on again.
    pub async fn mend_configuration(&self, node: &Lead) {
        let sed = "sed -i '/broken/d' /etc/postgresql/*/*/conf.d/drover.conf";
        let mended = until("mended", PATIENCE, || async {
            Ok(self.drover.at(node, sed).await.map_err(|e| e.to_string()))
        });
        self.or_logs(mended.await.map(drop)).await;
    }

    /// Until its cluster answers.
    pub async fn answers(&self, node: &Lead) {
        let answers = until("it answers", PATIENCE, || async {
            Ok(Ok(self.drover.at(node, &psql("select 1")).await?))
        });
        self.or_logs(answers.await.map(drop)).await;
    }

    /// Runs SQL as a node's superuser, past drover.
    pub async fn sql(&self, node: &Lead, sql: &str) -> String {
        self.at(node, &psql(sql)).await
    }
}

fn psql(sql: &str) -> String {
    let sql = drover_jobs::ssh::quote(sql).unwrap();
    format!(
        "cd / && sudo -n -u postgres psql -XAtqc {sql} \
         -p \"$(sed -n 4p /var/lib/postgresql/*/*/postmaster.pid)\" postgres"
    )
}
