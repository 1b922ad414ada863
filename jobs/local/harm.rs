//! `drover-worker local …`: breaking things in earnest, and undoing it.

use anyhow::bail;
use clap::Subcommand;

use super::{Herd, say};
use crate::cloud::local::{Cure, MIB};

/// Each breaks one thing, or undoes that.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Kills a database and makes its data unreadable, so that it cannot start.
    Break {
        /// `db_…` or a name.
        database: String,
    },
    /// Undoes `break`; the database stays down until it is started.
    Mend {
        /// `db_…` or a name.
        database: String,
    },
    /// SIGSTOP to a database's postmaster and all its children: it hangs.
    Hang {
        /// `db_…` or a name.
        database: String,
    },
    /// Undoes `hang`.
    Resume {
        /// `db_…` or a name.
        database: String,
    },
    /// SIGSTOP to everything on a server, its sshd too: it hangs.
    Freeze {
        /// `srv_…` or a name.
        server: String,
    },
    /// Undoes `freeze`.
    Thaw {
        /// `srv_…` or a name.
        server: String,
    },
    /// Cuts a server off: nobody reaches its address. Needs root, or sudo without a
    /// password, and nft or iptables.
    Partition {
        /// `srv_…` or a name.
        server: String,
    },
    /// Undoes `partition`.
    Heal {
        /// `srv_…` or a name.
        server: String,
    },
    /// Makes a server's volume read-only; its databases die of it.
    Readonly {
        /// `srv_…` or a name.
        server: String,
        /// So that a reboot does not help: only attaching the volume again does.
        #[arg(long)]
        stuck: bool,
    },
    /// Undoes `readonly`; the databases stay down until they are started.
    Writable {
        /// `srv_…` or a name.
        server: String,
    },
    /// Fills a server's volume with a file of nothing.
    Fill {
        /// `srv_…` or a name.
        server: String,
        /// How much room to leave.
        #[arg(long, value_name = "N")]
        leave_mib: u32,
    },
    /// Undoes `fill`.
    Unfill {
        /// `srv_…` or a name.
        server: String,
    },
}

pub(super) async fn run(command: Command, herd: &Herd) -> anyhow::Result<()> {
    match command {
        Command::Break { database } => {
            let (server, cluster) = herd.cluster(&database)?;
            server.spoil(&cluster).await?;
            say(&format!("{} killed, and its data unreadable", cluster.name))
        }
        Command::Mend { database } => {
            let (server, cluster) = herd.cluster(&database)?;
            server.mend(&cluster)?;
            say(&format!("the data of {} is readable", cluster.name))
        }
        Command::Hang { database } => {
            let (server, cluster) = herd.cluster(&database)?;
            let n = server.hang(&cluster)?;
            say(&format!("{} hangs: {n} processes stopped", cluster.name))
        }
        Command::Resume { database } => {
            let (server, cluster) = herd.cluster(&database)?;
            let n = server.resume(&cluster)?;
            say(&format!("{} goes on: {n} processes", cluster.name))
        }
        Command::Freeze { server } => {
            let server = herd.server(&server)?;
            match server.freeze() {
                0 => bail!("nothing runs on {}", server.name),
                n => say(&format!("{} is frozen: {n} processes stopped", server.name)),
            }
        }
        Command::Thaw { server } => {
            let server = herd.server(&server)?;
            match server.thaw() {
                0 => bail!("nothing runs on {}", server.name),
                n => say(&format!("{} goes on: {n} processes", server.name)),
            }
        }
        Command::Partition { server } => {
            let server = herd.server(&server)?;
            server.partition().await?;
            say(&format!(
                "{} is cut off: nobody reaches {}",
                server.name, server.settings.address
            ))
        }
        Command::Heal { server } => {
            let server = herd.server(&server)?;
            server.heal().await?;
            say(&format!("{} can be reached", server.name))
        }
        Command::Readonly { server, stuck } => {
            let server = herd.server(&server)?;
            let cure = match stuck {
                true => Cure::Reattach,
                false => Cure::Boot,
            };
            server.make_volume_read_only(cure).await?;
            say(&format!("the volume of {} is read-only", server.name))
        }
        Command::Writable { server } => {
            let server = herd.server(&server)?;
            server.make_volume_writable().await?;
            say(&format!("the volume of {} is writable", server.name))
        }
        Command::Fill { server, leave_mib } => {
            let server = herd.server(&server)?;
            let mib = server.fill_volume(leave_mib)? / MIB;
            say(&format!(
                "the volume of {} has {mib} MiB of nothing on it, and {leave_mib} MiB left",
                server.name
            ))
        }
        Command::Unfill { server } => {
            let server = herd.server(&server)?;
            server.empty_volume()?;
            say(&format!("the volume of {} has its room back", server.name))
        }
    }
}
