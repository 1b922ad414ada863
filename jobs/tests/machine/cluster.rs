//! A cluster on a machine, as scripts find it.

use drover::model::ClusterIdentity;
use drover_jobs::host::scripts::STREAMS_FROM;
use drover_jobs::host::{AtPort, Report, Script, Word};

use super::{Ended, Login, Machine, SOON};

pub struct Cluster<'a> {
    pub(super) machine: &'a Machine,
    pub name: String,
    pub version: String,
    pub conf: String,
    pub data: String,
    pub port: u16,
    /// What tells it apart from others at its port.
    pub is: Option<ClusterIdentity>,
}

impl Cluster<'_> {
    fn at(&self) -> AtPort<'_> {
        AtPort {
            port: self.port,
            is: self.is.as_ref(),
        }
    }

    /// Runs a script at it on a word of its own.
    pub async fn told(
        &self,
        login: Login,
        script: &'static Script,
        word: &Word,
        arguments: &[&str],
    ) -> Ended {
        self.machine
            .told(login, script, word, Some(self.at()), arguments, "")
            .await
    }

    /// Runs a script at it.
    pub async fn run(
        &self,
        login: Login,
        script: &'static Script,
        arguments: &[&str],
        input: &str,
    ) -> Ended {
        self.machine
            .run(login, script, Some(self.at()), arguments, input)
            .await
    }

    /// The same; what goes on by itself is waited for.
    pub async fn ended(&self, login: Login, script: &'static Script, arguments: &[&str]) -> Ended {
        self.machine
            .ended(login, script, Some(self.at()), arguments, "")
            .await
    }

    /// Runs a script at it that has to succeed; what goes on by itself is waited for.
    pub async fn does(&self, login: Login, script: &'static Script, arguments: &[&str]) -> Report {
        self.ends(login, script, arguments, "").await
    }

    /// The same, with an input.
    pub async fn ends(
        &self,
        login: Login,
        script: &'static Script,
        arguments: &[&str],
        input: &str,
    ) -> Report {
        self.machine
            .does_at(Some(self.at()), login, script, arguments, input)
            .await
    }

    /// Waits until it streams.
    pub async fn streams(&self, login: Login) {
        for _ in 0..30 {
            let said = self.run(login, STREAMS_FROM, &[], "").await;
            if said.is_ok_and(|said| said.text().starts_with("streaming from")) {
                return;
            }
            tokio::time::sleep(SOON).await;
        }
        panic!("{} does not stream", self.name);
    }

    /// As root, with `$D`, `$C`, `$P`, `$V` and `$N`: its data, its configuration, its port,
    /// its version and its name.
    pub async fn root(&self, command: &str) -> String {
        let Self {
            data,
            conf,
            port,
            version,
            name,
            ..
        } = self;
        let command = format!("D={data} C={conf} P={port} V={version} N={name}\n{command}");
        self.machine.root(&command).await
    }

    /// All that would show that somebody changed it.
    pub async fn standing(&self) -> String {
        self.root(
            "head -n 3 $D/postmaster.pid; find $C -type f -exec md5sum {} + | sort
             find $C $D -maxdepth 1 -printf '%p %U %m %y %l\\n' | sort",
        )
        .await
    }
}
