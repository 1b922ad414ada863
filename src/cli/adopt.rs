//! `drover adopt`. Secrets come from files or the environment, never from the
//! arguments, which every user of the machine can read.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use drover::api::{AdoptResource, AdoptServer, AdoptedServer, Subject};
use drover::config::Env;
use drover::model::{Cloud, PublicId, RequireAuth, TlsMode};

use super::table::plain;
use super::who::Who;
use super::{Answer, Failure, Session};

/// More than any key, password or certificate bundle holds.
const LARGEST: u64 = 1024 * 1024;

/// What is adopted.
#[derive(Subcommand)]
pub enum Adopt {
    /// A machine that runs PostgreSQL, reached over SSH.
    Server(Server),
    /// A database on a server of the herd.
    Resource(Resource),
}

#[derive(Args)]
pub struct Server {
    /// Its name in the herd.
    #[arg(long)]
    name: String,
    /// IP address or host name.
    #[arg(long)]
    address: String,
    /// Port of its sshd.
    #[arg(long, default_value_t = 22)]
    ssh_port: u16,
    /// Whom to log in as.
    #[arg(long, default_value = "postgres")]
    ssh_user: String,
    /// File with the private key (`-`: stdin); without it, the deployment's own.
    #[arg(long, value_name = "FILE")]
    ssh_key_file: Option<PathBuf>,
    /// Its host key, "ssh-ed25519 AAAA…"; without it, whichever the first
    /// contact shows is pinned.
    #[arg(long, value_name = "KEY")]
    host_key: Option<String>,
    /// Whose rules it goes by.
    #[arg(long, default_value = "standard")]
    tier: String,
    /// The cloud it runs in: local or ec2.
    #[arg(long, requires = "instance_id")]
    cloud: Option<Cloud>,
    /// What that cloud calls it.
    #[arg(long, requires = "cloud")]
    instance_id: Option<String>,
    /// Availability zone.
    #[arg(long)]
    zone: Option<String>,
    /// Do not wait for the first contact.
    #[arg(long)]
    no_wait: bool,
}

#[derive(Args)]
#[command(after_help = "The password is read from DROVER_RESOURCE_PASSWORD, \
                        or from --password-file.")]
pub struct Resource {
    /// The server it is on: srv_… or its name.
    #[arg(long)]
    server: Who,
    /// Its name in the herd.
    #[arg(long)]
    name: String,
    /// Port PostgreSQL listens on.
    #[arg(long)]
    port: u16,
    /// Database to connect to.
    #[arg(long)]
    database: String,
    /// Role to connect as.
    #[arg(long)]
    user: String,
    /// File with its password (`-`: stdin).
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// How connections use TLS: disable, prefer, require or verify-full.
    #[arg(long, default_value = "require")]
    tls_mode: TlsMode,
    /// PEM file of the authorities that verify-full trusts.
    #[arg(long, value_name = "FILE")]
    tls_root_cert_file: Option<PathBuf>,
    /// What it may ask for before it lets drover in: scram-sha-256, or any (MD5 and, under
    /// TLS, the password itself too).
    #[arg(long, default_value = "scram-sha-256")]
    require_auth: RequireAuth,
    /// What was bought.
    #[arg(long, default_value = "standard")]
    plan: String,
    /// Whose rules it goes by.
    #[arg(long, default_value = "standard")]
    tier: String,
}

/// `drover adopt`.
pub async fn run(to: &Session<'_>, what: Adopt) -> Result<(), Failure> {
    match what {
        Adopt::Server(server) => {
            let path = if server.no_wait {
                "/v1/servers?wait=false"
            } else {
                "/v1/servers"
            };
            let body = server.body()?;
            let adopted: Answer<AdoptedServer> = to.client.post(path, &body).await?;
            to.answer(&adopted, |adopted| told(adopted))
        }
        Adopt::Resource(resource) => {
            // What is wrong with the arguments is told before anybody is asked.
            let (password, certificate) = (resource.password(to.env)?, resource.certificate()?);
            let server = resource.server.clone().find(&to.client).await?;
            let body = resource.body(server, password, certificate);
            let adopted: Answer<Subject> = to.client.post("/v1/resources", &body).await?;
            to.answer(&adopted, |adopted| {
                let core = adopted.core();
                format!("adopted {} as {}", plain(&core.name), core.id)
            })
        }
    }
}

impl Server {
    fn body(self) -> Result<AdoptServer, Failure> {
        Ok(AdoptServer {
            name: self.name,
            address: self.address,
            ssh_port: Some(self.ssh_port),
            ssh_user: Some(self.ssh_user),
            ssh_key: self.ssh_key_file.as_deref().map(read).transpose()?,
            host_key: self.host_key,
            tier: Some(self.tier),
            cloud: self.cloud,
            instance_id: self.instance_id,
            zone: self.zone,
        })
    }
}

impl Resource {
    fn password(&self, env: Env<'_>) -> Result<String, Failure> {
        match &self.password_file {
            Some(path) => password_in(path),
            None => env.get("DROVER_RESOURCE_PASSWORD").ok_or_else(|| {
                let what = "the password is missing: set DROVER_RESOURCE_PASSWORD, \
                            or give --password-file FILE (`-`: stdin)";
                Failure::WrongUse(what.into())
            }),
        }
    }

    fn certificate(&self) -> Result<Option<String>, Failure> {
        self.tls_root_cert_file.as_deref().map(read).transpose()
    }

    fn body(
        self,
        server: PublicId,
        password: String,
        tls_root_cert: Option<String>,
    ) -> AdoptResource {
        AdoptResource {
            server,
            name: self.name,
            port: self.port,
            database: self.database,
            user: self.user,
            password,
            tls_mode: Some(self.tls_mode),
            tls_root_cert,
            require_auth: Some(self.require_auth),
            plan: Some(self.plan),
            tier: Some(self.tier),
        }
    }
}

/// The password in a file, or in stdin for `-`.
///
/// # Errors
/// If it cannot be read.
pub fn password_in(path: &Path) -> Result<String, Failure> {
    // An editor's last line break is no part of the password.
    Ok(read(path)?.trim_end_matches(['\r', '\n']).to_owned())
}

/// Reads a small text file, or stdin for `-`.
fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let done = if path == Path::new("-") {
        std::io::stdin().take(LARGEST).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|f| f.take(LARGEST).read_to_string(&mut text))
    };
    match done {
        Ok(_) => Ok(text),
        Err(e) => Err(Failure::WrongUse(format!(
            "{} cannot be read: {e}",
            path.display()
        ))),
    }
}

/// What the adoption of a server came to.
fn told(adopted: &AdoptedServer) -> String {
    let server = &adopted.server;
    let core = &server.core;
    let mut lines = vec![format!("adopted {} as {}", plain(&core.name), core.id)];
    for (name, value) in [
        ("host key", &server.host_key),
        ("fingerprint", &server.host_key_fingerprint),
        ("note", &adopted.note),
        ("for all that drover does, root runs once", &adopted.helper),
    ] {
        if let Some(value) = value {
            lines.push(format!("{name}: {}", plain(value)));
        }
    }
    lines.join("\n")
}
