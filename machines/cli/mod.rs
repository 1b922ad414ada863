//! What a person types.

mod show;
mod size;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::{Parser, Subcommand};
use drover_machines::check;
use drover_machines::client::{Client, ClientError};
use drover_machines::image::{Cache, Image};
use drover_machines::network::{End, FOR_TESTS, Fault, Range, What};
use drover_machines::protocol::{Answer, Exec, Health, Kind, Make, NewVolume, Power, Request};
use drover_machines::serve::{Settings, destroy_all, serve, socket_in};

use self::size::{offset, size};

/// Real Debian machines on this one
#[derive(Parser)]
#[command(
    name = "drover-machines",
    version,
    arg_required_else_help = true,
    after_help = "An end of the network is a machine's name, `host` (this host), or `all`.\n\
        Exit status: 0 done, 1 failed or refused, 2 wrong use; exec: that of the command.\n\n\
        To try it, as root:\n  \
        drover-machines check && drover-machines serve &\n  \
        drover-machines make pg1 --key ~/.ssh/id_ed25519.pub --wait 22\n  \
        drover-machines exec pg1 -- systemctl is-system-running --wait\n  \
        drover-machines destroy --all"
)]
pub(crate) struct Arguments {
    /// Where the daemon keeps its machines
    #[arg(
        long,
        global = true,
        env = "DROVER_MACHINES_DIR",
        default_value = "/var/lib/drover-machines"
    )]
    dir: PathBuf,
    /// The daemon's socket (DIR/socket)
    #[arg(long, global = true, env = "DROVER_MACHINES_SOCKET")]
    socket: Option<PathBuf>,
    /// Where images are kept, by all daemons of this host
    #[arg(
        long,
        global = true,
        env = "DROVER_MACHINES_CACHE",
        default_value = "/var/cache/drover-machines"
    )]
    cache: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Says whether machines can be had here, or what is missing (exit 1)
    Check,
    /// Runs the daemon, as root; machines outlive it
    Serve {
        /// Where machines cannot be had: each is processes of one user, and needs no root. As
        /// root, of the user `drover`
        #[arg(long)]
        processes: bool,
        /// Whose processes may use the socket, besides root's: they can do all that root
        /// can with machines
        #[arg(long, value_name = "USER")]
        owner: Option<String>,
        /// Addresses to take a network of: a free /22 of them
        #[arg(long, default_value_t = FOR_TESTS)]
        network: Range,
    },
    /// Keeps one machine's power on (the daemon starts it)
    #[command(hide = true)]
    Keep { folder: PathBuf },
    /// Makes a machine and turns it on
    Make(MakeArguments),
    /// Lists machines
    Ls {
        #[arg(long)]
        group: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Prints what a machine said on its console last
    Console { machine: String },
    /// Runs a command in a machine, as root (or as the one user whose processes it is)
    Exec {
        machine: String,
        /// After this it is killed
        #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
        limit: Duration,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Turns a machine on
    Start { machine: String },
    /// Shuts a machine down, and cuts its power if that takes longer than 90 s
    Stop {
        machine: String,
        /// It is not off before: a cloud takes its time
        #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
        takes: Duration,
        /// Return at once
        #[arg(long)]
        no_wait: bool,
    },
    /// Restarts a machine in an orderly way
    Reboot {
        machine: String,
        /// Once only for each token: the last that was asked for is not done again
        #[arg(long)]
        token: Option<String>,
    },
    /// Cuts a machine's power
    Kill { machine: String },
    /// Stops all processes of a machine where they are
    Freeze { machine: String },
    /// Lets them go on
    Thaw { machine: String },
    /// Lets no packet pass, both ways
    Cut {
        from: End,
        to: End,
        /// From the first to the second only
        #[arg(long)]
        one_way: bool,
    },
    /// Loses packets, both ways
    Lossy {
        from: End,
        to: End,
        #[arg(value_name = "PERCENT")]
        percent: u8,
        #[arg(long)]
        one_way: bool,
    },
    /// Slows a machine's network down
    Slow {
        machine: String,
        #[arg(value_name = "KBIT/S")]
        rate: u32,
    },
    /// Nothing is wrong any more between the two
    Heal {
        from: End,
        #[arg(default_value = "all")]
        to: End,
    },
    /// Moves a machine's wall clock, for processes that start from now on
    #[command(allow_negative_numbers = true)]
    Clock {
        machine: String,
        /// As in +1h, -90s, or 0 for the true time
        #[arg(allow_hyphen_values = true, value_parser = offset)]
        offset: i64,
    },
    /// Disks
    #[command(subcommand)]
    Volume(VolumeCommand),
    /// Lists images, or makes one (without a daemon)
    Image { image: Option<Image> },
    /// Destroys machines and their data
    #[command(group = clap::ArgGroup::new("which").required(true))]
    Destroy {
        #[arg(group = "which")]
        machines: Vec<String>,
        /// All of a group, and its volumes
        #[arg(long, group = "which")]
        group: Option<String>,
        /// All, with volumes and network; works without a daemon too
        #[arg(long, group = "which")]
        all: bool,
    },
}

#[derive(clap::Args)]
pub(crate) struct MakeArguments {
    /// Its name and host name (its id)
    name: Option<String>,
    #[arg(long, default_value = "")]
    group: String,
    #[arg(long, value_enum, default_value_t = Image::Bookworm)]
    image: Image,
    /// An address that it has besides that of the daemon's network
    #[arg(long)]
    address: Option<Ipv4Addr>,
    /// Its instance id (i-…)
    #[arg(long)]
    id: Option<String>,
    #[arg(long)]
    zone: Option<String>,
    /// A file for cloud-init
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// A public key for the user `debian`, in a file
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// A volume that goes with it, of this size (as in 512M, 10G)
    #[arg(long, value_name = "SIZE", value_parser = size)]
    volume: Vec<u64>,
    /// Leave it off
    #[arg(long)]
    off: bool,
    /// Wait until it answers at this port
    #[arg(long, value_name = "PORT")]
    wait: Option<u16>,
}

#[derive(Subcommand)]
pub(crate) enum VolumeCommand {
    /// Makes a volume
    Make {
        #[arg(value_parser = size)]
        size: u64,
        #[arg(long)]
        id: Option<String>,
        #[arg(long, default_value = "")]
        group: String,
    },
    /// Lists volumes
    Ls {
        #[arg(long)]
        group: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Attaches a volume to a machine
    Attach { volume: String, machine: String },
    /// Takes a volume from its machine
    Detach {
        volume: String,
        /// Even while it is mounted
        #[arg(long)]
        force: bool,
    },
    /// Makes a volume larger; the machine grows its filesystem itself
    Grow {
        volume: String,
        #[arg(value_parser = size)]
        size: u64,
    },
    /// Makes a mounted volume ill, or well again
    Set { volume: String, health: Health },
    /// Destroys a volume that is attached to nothing
    Destroy { volume: String },
}

/// Carries out a command.
///
/// # Errors
/// If it fails or is refused.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments {
        dir,
        socket,
        cache,
        command,
    } = arguments;
    let socket = socket.unwrap_or_else(|| socket_in(&dir));
    let client = Client::at(&socket);
    let settings = |range| Settings {
        folder: dir.clone(),
        cache: Cache::at(&cache),
        range,
    };
    let done = match command {
        Command::Check => {
            let missing = check::missing(&std::env::temp_dir()).await;
            missing.iter().for_each(|line| println!("{line}"));
            if !missing.is_empty() {
                bail!("no machines can be had here; `serve --processes` makes them of processes");
            }
            println!("machines can be had here");
            return Ok(ExitCode::SUCCESS);
        }
        Command::Serve {
            processes,
            owner,
            network,
        } => {
            log();
            let kind = if processes {
                Kind::Processes
            } else {
                Kind::Machines
            };
            serve(settings(network), kind, &socket, owner.as_deref()).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Keep { .. } => unreachable!("main does it"),
        Command::Image { image: None } => {
            show::images(&Cache::at(&cache).list());
            return Ok(ExitCode::SUCCESS);
        }
        Command::Image { image: Some(image) } => {
            log();
            println!("{}", Cache::at(&cache).ensure(image).await?.display());
            return Ok(ExitCode::SUCCESS);
        }
        Command::Destroy { all: true, .. } => {
            match client.destroy_all().await {
                Err(ClientError::NoDaemon(..)) => {
                    destroy_all(settings(FOR_TESTS)).await?;
                }
                other => other?,
            }
            return Ok(ExitCode::SUCCESS);
        }
        Command::Destroy {
            machines,
            group,
            all: false,
        } => {
            for machine in machines {
                client.destroy(&machine).await?;
            }
            match group {
                Some(group) => client.destroy_group(&group).await,
                None => Ok(()),
            }
        }
        Command::Make(asked) => make(&client, asked).await,
        Command::Ls { group, json } => {
            let machines = client.list(group.as_deref()).await?;
            show::machines(&machines, json);
            Ok(())
        }
        Command::Console { machine } => {
            print!("{}", client.console(&machine).await?);
            Ok(())
        }
        Command::Exec {
            machine,
            limit,
            command,
        } => {
            let limit = limit.as_secs().max(1);
            let exec = Exec {
                machine,
                command,
                input: String::new(),
                limit,
            };
            let output = client.exec(exec).await?;
            print!("{}", output.stdout);
            eprint!("{}", output.stderr);
            let status = output.status.unwrap_or(1);
            return Ok(ExitCode::from(u8::try_from(status).unwrap_or(1)));
        }
        Command::Start { machine } => client.start(&machine).await,
        Command::Stop {
            machine,
            takes,
            no_wait,
        } => {
            client.stop(&machine, takes).await?;
            if !no_wait {
                let limit = takes + Duration::from_secs(120);
                client.wait_for(&machine, Power::Off, limit).await?;
            }
            Ok(())
        }
        Command::Reboot { machine, token } => client.reboot(&machine, token.as_deref()).await,
        Command::Kill { machine } => client.kill(&machine).await,
        Command::Freeze { machine } => client.freeze(&machine).await,
        Command::Thaw { machine } => client.thaw(&machine).await,
        Command::Cut { from, to, one_way } => {
            client
                .break_network(Fault {
                    from,
                    to,
                    what: What::Cut,
                    one_way,
                })
                .await
        }
        Command::Lossy {
            from,
            to,
            percent,
            one_way,
        } => {
            let what = What::Loss(percent);
            client
                .break_network(Fault {
                    from,
                    to,
                    what,
                    one_way,
                })
                .await
        }
        Command::Slow { machine, rate } => {
            let (from, what) = (End::Machine(machine), What::Slow(rate));
            client
                .break_network(Fault {
                    from,
                    to: End::All,
                    what,
                    one_way: false,
                })
                .await
        }
        Command::Heal { from, to } => client.heal(from, to).await,
        Command::Clock { machine, offset } => client.clock(&machine, offset).await,
        Command::Volume(command) => volume(&client, command).await,
    };
    done?;
    Ok(ExitCode::SUCCESS)
}

async fn make(client: &Client, asked: MakeArguments) -> Result<(), ClientError> {
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).map_err(|error| {
            drover_machines::protocol::Problem::invalid(format!("{}: {error}", path.display()))
        })
    };
    let keys = asked
        .key
        .iter()
        .map(|path| Ok(read(path)?.trim().to_owned()));
    let volumes = asked.volume.iter().map(|size| NewVolume {
        size: *size,
        ..NewVolume::default()
    });
    let machine = client
        .make(Make {
            name: asked.name,
            group: asked.group,
            image: asked.image,
            instance_id: asked.id,
            address: asked.address,
            zone: asked.zone,
            user_data: asked.user_data.as_ref().map(read).transpose()?,
            public_keys: keys.collect::<Result<_, ClientError>>()?,
            volumes: volumes.collect(),
            off: asked.off,
        })
        .await?;
    if let Some(port) = asked.wait {
        let limit = Duration::from_secs(120);
        let up = async {
            while tokio::net::TcpStream::connect((machine.address, port))
                .await
                .is_err()
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(limit, up)
            .await
            .map_err(|_| ClientError::Late(limit))?;
    }
    show::machines(&[machine], false);
    Ok(())
}

async fn volume(client: &Client, command: VolumeCommand) -> Result<(), ClientError> {
    let request = match command {
        VolumeCommand::Make { size, id, group } => {
            Request::MakeVolume(NewVolume { id, group, size })
        }
        VolumeCommand::Ls { group, json } => {
            show::volumes(&client.volumes(group.as_deref()).await?, json);
            return Ok(());
        }
        VolumeCommand::Attach { volume, machine } => Request::Attach { volume, machine },
        VolumeCommand::Detach { volume, force } => Request::Detach { volume, force },
        VolumeCommand::Grow { volume, size } => Request::Grow { volume, size },
        VolumeCommand::Set { volume, health } => Request::SetVolume { volume, health },
        VolumeCommand::Destroy { volume } => Request::DestroyVolume { volume },
    };
    if let Answer::Volume(volume) = client.call(request).await? {
        show::volumes(&[volume], false);
    }
    Ok(())
}

/// The daemon's log goes to stdout.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("DROVER_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).init();
}
