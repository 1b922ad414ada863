//! A leader with its followers, and what can be done to the machine of one of them.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use drover::api::{ConnectionUrl, Credentials, Page, Resource, Server, Subject};
use drover::model::PublicId;
use serde_json::{Value, json};

use crate::ledger::Account;
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
            network_of: None,
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
    /// If it stays on.
    pub async fn unplug(&self, instance: &str) -> Result<()> {
        Ok(self.machines().client.kill(instance).await?)
    }

    /// Stops all that runs on a local server where it is.
    ///
    /// # Errors
    /// If it is off.
    pub async fn freeze(&self, instance: &str) -> Result<()> {
        Ok(self.machines().client.freeze(instance).await?)
    }

    /// What was frozen goes on; one that was turned off meanwhile stays off.
    pub async fn thaw(&self, instance: &str) {
        let _ = self.machines().client.thaw(instance).await;
    }

    /// What a shell's words print on a node's server, as root; they have to succeed.
    ///
    /// # Errors
    /// If they do not, with what they had to say.
    pub async fn at(&self, node: &Lead, script: &str) -> Result<String> {
        self.machines().sh(&node.instance, script).await
    }

    /// Has a follower look for its leader where nobody is.
    ///
    /// # Errors
    /// If it follows nobody.
    pub async fn lead_astray(&self, follower: &Lead) -> Result<()> {
        let script = r#"f=$(find /etc/postgresql/ -name follower.conf) &&
            sed -i 's/host=[0-9.]*/host=198.19.255.254/' "$f" &&
            pg_lsclusters -h | while read -r v n _; do pg_ctlcluster "$v" "$n" reload; done"#;
        self.at(follower, script).await.map(drop)
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

    /// Whether drover can log in to a server of the local cloud, and ask that about it.
    pub async fn knows_its_machine(&self, node: &Lead, known: bool) -> Result<()> {
        let id = node
            .server
            .strip_prefix("srv_")
            .context("no id of a server")?;
        let port = if known { 2222 } else { 1 };
        sqlx::query("update servers set instance_id = $2, ssh_port = $3 where id = $1")
            .bind(id)
            .bind(known.then_some(&node.instance))
            .bind(port)
            .execute(&self.pool)
            .await?;
        Ok(())
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
