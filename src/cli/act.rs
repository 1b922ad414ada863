//! `drover act`: what is asked of a server or a resource.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use drover::client::Client;
use drover::config::Env;
use drover::model::{Durability, PublicId, SubjectAction};
use serde_json::{Value, json};

use super::{Failure, adopt, answer, listing, table, work};

/// What is asked.
#[derive(Subcommand)]
pub enum Act {
    /// Restart a resource, in its maintenance window.
    Restart(Disturb),
    /// Reboot a server, in its maintenance window.
    Reboot(Disturb),
    /// Stop and start a server, which moves it to other hardware, in its maintenance
    /// window.
    StopStart(Disturb),
    /// Give a server, or a resource's own one, another size, in its maintenance window.
    Resize {
        /// The size: drover regions lists them.
        #[arg(long)]
        size: String,
        #[command(flatten)]
        how: Disturb,
    },
    /// Grow the data volume of a server, or of a resource's own one, at once.
    Grow {
        /// How large it is to be, in GiB.
        #[arg(long)]
        volume_gib: u32,
        #[command(flatten)]
        why: Why,
    },
    /// Give a resource's customer another password, at once.
    RotatePassword {
        /// File with the password (`-`: stdin); without it, one is made.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        #[command(flatten)]
        why: Why,
    },
    /// Have a follower take the lead, in the maintenance window.
    Switchover {
        /// Which one: db_…; without it, the closest.
        #[arg(long, value_name = "ID")]
        to: Option<String>,
        #[command(flatten)]
        how: Disturb,
    },
    /// Have a follower take the lead of a leader that is gone or must go, at once: the
    /// leader is fenced first, and what the follower does not have is lost.
    Failover {
        /// Which one: db_…; without it, the most advanced.
        #[arg(long, value_name = "ID")]
        to: Option<String>,
        /// Why, for the timeline.
        #[arg(long)]
        reason: String,
        /// Who asks, for the timeline [default: $USER].
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
    /// Have a resource's commits wait for a follower (sync), or not (async), at once.
    SetDurability {
        /// sync: no commit that was acknowledged is ever lost, and without a follower none
        /// is acknowledged; async: what no follower has yet may be lost with its leader.
        durability: Durability,
        #[command(flatten)]
        why: Why,
    },
    /// Have a follower lead on its own, at once; whom it followed is not touched.
    Unfollow {
        #[command(flatten)]
        why: Why,
    },
    /// Give it another name.
    Rename {
        /// The new name.
        name: String,
        #[command(flatten)]
        why: Why,
    },
    /// Set when a resource may be disturbed.
    SetWindow {
        /// Such as "sun 03:00 Europe/Berlin"; without it, the deployment's own window.
        window: Option<String>,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Args)]
pub struct Disturb {
    /// Do not wait for the maintenance window (with a reason).
    #[arg(long, requires = "reason")]
    now: bool,
    #[command(flatten)]
    why: Why,
}

#[derive(Args)]
pub struct Why {
    /// Why, for the timeline.
    #[arg(long)]
    reason: Option<String>,
    /// Who asks, for the timeline [default: $USER].
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// `drover act`.
pub async fn run(
    client: &Client,
    id: PublicId,
    what: Act,
    env: Env<'_>,
    json: bool,
) -> Result<(), Failure> {
    let (action, mut body, why) = what.body()?;
    body["action"] = json!(action);
    body["reason"] = json!(why.reason);
    body["by"] = json!(why.by.or_else(|| env.get("USER")));
    let path = format!("{}/actions", listing::path(id));
    let answered = client.post(&path, &body).await?;
    answer(&answered, json, |answered| match action {
        SubjectAction::Rename => format!("{id} is named {}", table::text(&answered["name"])),
        SubjectAction::SetWindow => match answered["maintenance_window"].as_str() {
            Some(window) => format!("{id} may be disturbed from {window} on, for four hours"),
            None => format!("{id} may be disturbed in the deployment's own window"),
        },
        SubjectAction::Restart
        | SubjectAction::Reboot
        | SubjectAction::StopStart
        | SubjectAction::Resize
        | SubjectAction::Grow
        | SubjectAction::Unfollow
        | SubjectAction::Switchover
        | SubjectAction::Failover
        | SubjectAction::SetDurability
        | SubjectAction::RotatePassword => work::asked(answered),
    })
}

impl Act {
    fn body(self) -> Result<(SubjectAction, Value, Why), Failure> {
        Ok(match self {
            Act::Restart(how) => (SubjectAction::Restart, json!({"now": how.now}), how.why),
            Act::Reboot(how) => (SubjectAction::Reboot, json!({"now": how.now}), how.why),
            Act::StopStart(how) => (SubjectAction::StopStart, json!({"now": how.now}), how.why),
            Act::Resize { size, how } => {
                let body = json!({"size": size, "now": how.now});
                (SubjectAction::Resize, body, how.why)
            }
            Act::Grow { volume_gib, why } => {
                (SubjectAction::Grow, json!({"volume_gib": volume_gib}), why)
            }
            Act::RotatePassword { password_file, why } => {
                let password = password_file
                    .as_deref()
                    .map(adopt::password_in)
                    .transpose()?;
                (
                    SubjectAction::RotatePassword,
                    json!({"password": password}),
                    why,
                )
            }
            Act::Switchover { to, how } => {
                let body = json!({"to": to, "now": how.now});
                (SubjectAction::Switchover, body, how.why)
            }
            Act::Failover { to, reason, by } => {
                let reason = Some(reason);
                (
                    SubjectAction::Failover,
                    json!({"to": to}),
                    Why { reason, by },
                )
            }
            Act::SetDurability { durability, why } => {
                let body = json!({"durability": durability});
                (SubjectAction::SetDurability, body, why)
            }
            Act::Unfollow { why } => (SubjectAction::Unfollow, json!({}), why),
            Act::Rename { name, why } => (SubjectAction::Rename, json!({"name": name}), why),
            Act::SetWindow { window, why } => {
                let body = json!({"maintenance_window": window});
                (SubjectAction::SetWindow, body, why)
            }
        })
    }
}
