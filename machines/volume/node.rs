//! How a machine that runs sees a disk come and go. It has no udev, and may make no
//! device nodes itself: they are made in its `/dev` from outside.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, symlink};

use anyhow::Context as _;

use crate::machine::Machine;

/// What EC2 calls a volume, in `/dev/disk/by-id`.
fn name(volume: &str) -> String {
    let serial = volume.replace('-', "");
    format!("nvme-Amazon_Elastic_Block_Store_{serial}")
}

/// The volume's name leads to its device.
///
/// # Errors
/// If the link cannot be made.
pub fn link(machine: &Machine, volume: &str, device: &str) -> anyhow::Result<()> {
    unlink(machine, volume)?;
    let target = device.replacen("/dev/", "../../", 1);
    symlink(target, machine.disks().join(name(volume)))?;
    Ok(())
}

/// # Errors
/// If the link cannot be removed.
pub fn unlink(machine: &Machine, volume: &str) -> anyhow::Result<()> {
    match fs::remove_file(machine.disks().join(name(volume))) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// The device appears in a machine that is on.
///
/// # Errors
/// If it cannot be made there.
pub async fn show(machine: &Machine, device: &str) -> anyhow::Result<()> {
    let number = fs::metadata(device)
        .with_context(|| device.to_owned())?
        .rdev();
    let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
    machine
        .script(
            "[ -b \"$1\" ] || mknod -m 660 \"$1\" b \"$2\" \"$3\"; chgrp disk \"$1\"",
            &[device, &major.to_string(), &minor.to_string()],
        )
        .await?;
    Ok(())
}

/// Where it is mounted in a machine that is on, if it is.
///
/// # Errors
/// If the machine does not answer.
pub async fn is_mounted_in(machine: &Machine, device: &str) -> anyhow::Result<Option<String>> {
    let said = machine
        .script("findmnt -nro TARGET -S \"$1\" || true", &[device])
        .await?;
    Ok(said.lines().next().map(str::to_owned))
}

/// The device is no longer in a machine that is on. What has files open on it keeps them.
///
/// # Errors
/// If the machine does not answer.
pub async fn hide(machine: &Machine, device: &str) -> anyhow::Result<()> {
    machine
        .script(
            // It is mounted upon itself where the machine began with it.
            "umount -lA \"$1\" 2>/dev/null || true; umount \"$1\" 2>/dev/null || true; rm -f \"$1\"",
            &[device],
        )
        .await?;
    Ok(())
}
