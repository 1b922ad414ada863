//! `drover act`: what is asked of a server or a resource.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use drover::api::{ActOnSubject, Ask, Operation, Subject};
use drover::model::{Durability, PublicId};

use super::who::Who;
use super::{Answer, Failure, Session, adopt, listing, work};

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
    /// Change the password of a resource's customer, at once.
    RotatePassword {
        /// File with the password (`-`: stdin); without it, one is made.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        #[command(flatten)]
        why: Why,
    },
    /// Hand the lead to a follower, in the maintenance window.
    Switchover {
        /// Which one: db_…; without it, the closest.
        #[arg(long, value_name = "ID")]
        to: Option<PublicId>,
        #[command(flatten)]
        how: Disturb,
    },
    /// Have a follower replace a leader that is gone or must go, at once: the leader is
    /// fenced first, and what the follower does not have is lost.
    Failover {
        /// Which one: db_…; without it, the most advanced.
        #[arg(long, value_name = "ID")]
        to: Option<PublicId>,
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
    /// Give a server drover-root, the program that is all that drover does as root there, and
    /// then take from its login the sudo rule that lets it do everything, at once. What a
    /// human has to take away is said in the operation's timeline.
    InstallHelper {
        #[command(flatten)]
        why: Why,
    },
    /// Detach a follower at once: it leads on its own, and its old leader is not touched.
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
    /// Set the maintenance window of a resource.
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
pub async fn run(to: &Session<'_>, who: Who, what: Act) -> Result<(), Failure> {
    let id = who.find(&to.client).await?;
    let (ask, why) = what.ask()?;
    let body = ActOnSubject {
        ask,
        reason: why.reason,
        by: to.by(why.by),
    };
    let path = format!("{}/actions", listing::path(id));
    match &body.ask {
        Ask::Rename { .. } => {
            let subject: Answer<Subject> = to.client.post(&path, &body).await?;
            to.answer(&subject, |subject| {
                format!("{id} is now named {}", subject.core().name)
            })
        }
        Ask::SetWindow { .. } => {
            let subject: Answer<Subject> = to.client.post(&path, &body).await?;
            to.answer(&subject, |subject| window(id, subject))
        }
        Ask::Restart { .. }
        | Ask::Reboot { .. }
        | Ask::StopStart { .. }
        | Ask::Resize { .. }
        | Ask::Grow { .. }
        | Ask::InstallHelper {}
        | Ask::Unfollow {}
        | Ask::Switchover { .. }
        | Ask::Failover { .. }
        | Ask::SetDurability { .. }
        | Ask::RotatePassword { .. } => {
            let operation: Answer<Operation> = to.client.post(&path, &body).await?;
            to.answer(&operation, |operation| work::asked(operation))
        }
    }
}

fn window(id: PublicId, subject: &Subject) -> String {
    let window = match subject {
        Subject::Resource(resource) => resource.maintenance_window.as_ref(),
        Subject::Server(_) => None,
    };
    match window {
        Some(window) => format!("The maintenance window of {id} is now {window}, for four hours"),
        None => format!("The maintenance window of {id} is now the deployment's own"),
    }
}

impl Act {
    fn ask(self) -> Result<(Ask, Why), Failure> {
        Ok(match self {
            Act::Restart(how) => (Ask::Restart { now: how.now }, how.why),
            Act::Reboot(how) => (Ask::Reboot { now: how.now }, how.why),
            Act::StopStart(how) => (Ask::StopStart { now: how.now }, how.why),
            Act::Resize { size, how } => (Ask::Resize { size, now: how.now }, how.why),
            Act::Grow { volume_gib, why } => (Ask::Grow { volume_gib }, why),
            Act::RotatePassword { password_file, why } => {
                let password = password_file.as_deref().map(adopt::password_in);
                let password = password.transpose()?;
                (Ask::RotatePassword { password }, why)
            }
            Act::Switchover { to, how } => (Ask::Switchover { to, now: how.now }, how.why),
            Act::Failover { to, reason, by } => {
                let reason = Some(reason);
                (Ask::Failover { to }, Why { reason, by })
            }
            Act::SetDurability { durability, why } => (Ask::SetDurability { durability }, why),
            Act::InstallHelper { why } => (Ask::InstallHelper {}, why),
            Act::Unfollow { why } => (Ask::Unfollow {}, why),
            Act::Rename { name, why } => (Ask::Rename { name }, why),
            Act::SetWindow { window, why } => {
                let maintenance_window = window;
                (Ask::SetWindow { maintenance_window }, why)
            }
        })
    }
}
