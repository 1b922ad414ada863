//! A leader with its followers, and what can be done to the machine of one of them.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use drover::api::{ConnectionUrl, Credentials, Page, Resource, Server, Subject};
use drover::model::PublicId;
use drover_jobs::cloud::local::LocalCloud;
use serde_json::{Value, json};

use crate::ledger::Account;
use crate::processes::processes_of;
use crate::{Deployment, until, when};

/// Who leads a resource, and where.
#[derive(Clone, Debug)]
pub struct Lead {
    /// `db_…`.
    pub id: String,
    /// `srv_…`.
    pub server: String,
    /// What the local cloud calls its server.
    pub instance: String,
    /// Where that answers.
    pub address: String,
}

impl Deployment {
    /// Asks for a resource, as soon as a region is known.
    ///
    /// # Errors
    /// If it may not be asked for within 60 s.
    pub async fn ask_for(&self, body: &Value) -> Result<String> {
        let (made, _) = until("it may be asked for", Duration::from_secs(60), || async {
            let asked = self.api.post::<Subject>("/v1/resources", body).await;
            Ok(asked.map_err(|e| e.to_string()))
        })
        .await?;
        Ok(made.core().id.to_string())
    }

    /// How the customer of this resource gets in, to write.
    pub async fn account(&self, id: &str) -> Result<Account> {
        self.account_for(id, "leader").await
    }

    /// The same, for whoever wants the leader or a follower.
    pub async fn account_for(&self, id: &str, role: &str) -> Result<Account> {
        let path = format!("/v1/resources/{id}/url?role={role}");
        let told: ConnectionUrl = self.api.get(&path).await?;
        let root_certs = self.dir().join(format!("{id}.crt"));
        let pem = told.tls_root_certs.context("no certificates")?;
        std::fs::write(&root_certs, pem)?;
        let path = format!("/v1/resources/{id}/credentials");
        let credentials: Credentials = self.api.get(&path).await?;
        Ok(Account {
            url: told.url,
            password: credentials.password,
            root_certs,
        })
    }

    /// Who bears this name, and leads.
    pub async fn lead(&self, name: &str) -> Result<Lead> {
        let path = format!("/v1/resources?name={name}");
        let found: Page<Resource> = self.api.get(&path).await?;
        match found.items.first() {
            Some(one) if one.leader.is_none() => self.node(&one.core.id.to_string()).await,
            other => bail!("{name} does not lead: {other:?}"),
        }
    }

    /// A resource with its place.
    pub async fn node(&self, id: &str) -> Result<Lead> {
        let resource: Resource = self.api.get(&format!("/v1/resources/{id}")).await?;
        let path = format!("/v1/servers/{}", resource.server);
        let server: Server = self.api.get(&path).await?;
        Ok(Lead {
            id: id.to_owned(),
            instance: server.instance_id.context("no instance")?,
            address: server.address.context("no address")?,
            server: resource.server.to_string(),
        })
    }

    /// The followers of a resource.
    pub async fn followers_of(&self, id: &str) -> Result<Vec<String>> {
        let resource: Resource = self.api.get(&format!("/v1/resources/{id}")).await?;
        let followers = resource.followers.iter();
        Ok(followers.map(PublicId::to_string).collect())
    }

    /// Pulls the plug of a local server.
    ///
    /// # Errors
    /// If something survives.
    pub async fn unplug(&self, instance: &str) -> Result<()> {
        let cloud = LocalCloud::new(&self.local_dir(), None)?;
        let server = cloud.server(instance)?;
        server.context("no such server")?.unplug().await?;
        Ok(())
    }

    /// Sends a signal to every process of a local server: SIGSTOP freezes it.
    pub fn signal(&self, instance: &str, signal: &str) {
        let dir = self.local_dir().join("servers").join(instance);
        for pid in processes_of(&dir) {
            let _ = Command::new("kill")
                .args([signal, &pid.to_string()])
                .status();
        }
    }

    /// Has a follower look for its leader where nobody is.
    pub fn lead_astray(&self, follower: &Lead) -> Result<()> {
        let dir = self.local_dir().join("servers").join(&follower.instance);
        let script = r#"f=$(find "$1" -name follower.conf) && sed -i 's/host=[0-9.]*/host=127.77.255.254/' "$f" &&
            for p in $(find "$1" -name postmaster.pid); do kill -HUP "$(head -n 1 "$p")"; done"#;
        let mut shell = Command::new("sh");
        let done = shell.args(["-c", script, "sh"]).arg(dir).output()?;
        if !done.status.success() {
            bail!("it cannot be led astray: {done:?}");
        }
        Ok(())
    }

    /// Waits for this, with a human who has drover try again where one is called; but for
    /// these kinds of incident.
    pub async fn with_help<T>(&self, wait: impl Future<Output = T>, but_for: &[&str]) -> T {
        let help = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let found = self.get("/v1/incidents?state=needs_human").await;
                let found = found.unwrap_or_default();
                for incident in found["items"].as_array().into_iter().flatten() {
                    let kind = incident["kind"].as_str().unwrap_or_default();
                    if !but_for.contains(&kind) {
                        let retry = json!({"action": "retry", "reason": "mended"});
                        let id = incident["id"].as_str().unwrap_or_default();
                        let _ = self.act(id, &retry).await;
                    }
                }
            }
        };
        tokio::select! {
            done = wait => done,
            () = help => unreachable!("help has no end"),
        }
    }

    /// Until this resource and its followers are in service and close to each other,
    /// their servers too, and nothing is open about any of them.
    pub async fn settled(&self, followers: usize, within: Duration) -> Result<f64> {
        let sql = "select jsonb_build_object(
                 'not available', (select count(*) from subjects
                     where state <> 'available' and forgotten_at is null),
                 'open operations', (select count(*) from operations
                     where state = 'open' and kind <> 'reconcile'),
                 'incidents', (select count(*) from incidents where state <> 'resolved'),
                 'streaming', (select count(*) from resources r join subjects s using (id)
                     where r.leader_id is not null and s.forgotten_at is null
                       and (select attributes #>> '{receiver,status}' from observations o
                            where o.subject_id = r.id
                            order by created_at desc limit 1) = 'streaming'))";
        let well = json!({
            "not available": 0, "open operations": 0, "incidents": 0, "streaming": followers,
        });
        let (_, took) = until("all is as it should be", within, || async {
            let (seen,): (Value,) = sqlx::query_as(sql).fetch_one(&self.pool).await?;
            when(seen == well, seen)
        })
        .await?;
        Ok(took)
    }
}
