//! `drover-worker local …`: breaking things in earnest, and undoing it.

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
    /// Cuts a server off from everybody.
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
            let (server, cluster) = herd.cluster(&database).await?;
            server.spoil(&cluster).await?;
            say(&format!("{} killed, and its data unreadable", cluster.name))
        }
        Command::Mend { database } => {
            let (server, cluster) = herd.cluster(&database).await?;
            server.mend(&cluster).await?;
            say(&format!("the data of {} is readable", cluster.name))
        }
        Command::Hang { database } => {
            let (server, cluster) = herd.cluster(&database).await?;
            let n = server.hang(&cluster).await?;
            say(&format!("{} hangs: {n} processes stopped", cluster.name))
        }
        Command::Resume { database } => {
            let (server, cluster) = herd.cluster(&database).await?;
            let n = server.resume(&cluster).await?;
            say(&format!("{} goes on: {n} processes", cluster.name))
        }
        Command::Freeze { server } => {
            let server = herd.server(&server).await?;
            herd.cloud.freeze(&server.name).await?;
            say(&format!("{} is frozen", server.name))
        }
        Command::Thaw { server } => {
            let server = herd.server(&server).await?;
            herd.cloud.thaw(&server.name).await?;
            say(&format!("{} goes on", server.name))
        }
        Command::Partition { server } => {
            let server = herd.server(&server).await?;
            herd.cloud.partition(&server.name).await?;
            say(&format!(
                "{} is cut off: nobody reaches {}",
                server.name, server.settings.address
            ))
        }
        Command::Heal { server } => {
            let server = herd.server(&server).await?;
            herd.cloud.heal(&server.name).await?;
            say(&format!("{} can be reached", server.name))
        }
        Command::Readonly { server, stuck } => {
            let server = herd.server(&server).await?;
            let cure = match stuck {
                true => Cure::Reattach,
                false => Cure::Boot,
            };
            server.make_volume_read_only(cure).await?;
            say(&format!("the volume of {} is read-only", server.name))
        }
        Command::Writable { server } => {
            let server = herd.server(&server).await?;
            server.make_volume_writable().await?;
            say(&format!("the volume of {} is writable", server.name))
        }
        Command::Fill { server, leave_mib } => {
            let server = herd.server(&server).await?;
            let mib = server.fill_volume(leave_mib).await? / MIB;
            say(&format!(
                "the volume of {} has {mib} MiB of nothing on it, and {leave_mib} MiB left",
                server.name
            ))
        }
        Command::Unfill { server } => {
            let server = herd.server(&server).await?;
            server.empty_volume().await?;
            say(&format!("the volume of {} has its room back", server.name))
        }
    }
}
