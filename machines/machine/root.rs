//! A machine's root: what it wrote itself, over an image that all share.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rand::RngExt as _;

use crate::run::tool;

/// Where the root of the machine in this folder is mounted.
pub fn root(folder: &Path) -> PathBuf {
    folder.join("root")
}

/// Whether something is mounted here.
pub fn is_mounted(place: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let place = place.display().to_string();
    mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == Some(&place))
}

/// Mounts it, if it is not.
///
/// # Errors
/// If overlayfs is not to be had, or refuses.
pub async fn mount(folder: &Path, image: &Path) -> anyhow::Result<()> {
    let place = root(folder);
    if is_mounted(&place) {
        return Ok(());
    }
    let (upper, work) = (folder.join("upper"), folder.join("work"));
    for path in [&place, &upper, &work] {
        fs::create_dir_all(path)?;
    }
    // The machine's users see the upper folder's mode as that of `/`.
    fs::set_permissions(&upper, fs::Permissions::from_mode(0o755))?;
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        image.display(),
        upper.display(),
        work.display()
    );
    tool("mount")
        .args(["-t", "overlay", "overlay", "-o", &options])
        .args([&place])
        .run()
        .await?;
    Ok(())
}

/// Unmounts it, if it is mounted.
///
/// # Errors
/// If something on the host still uses it.
pub async fn unmount(folder: &Path) -> anyhow::Result<()> {
    let place = root(folder);
    if is_mounted(&place) {
        tool("umount").args([&place]).run().await?;
    }
    Ok(())
}

/// Tells a fresh root who it is. Nobody has written there yet but ourselves, so no link
/// leads out of it.
///
/// # Errors
/// If it cannot be written.
pub fn name(folder: &Path, host_name: &str) -> std::io::Result<()> {
    let etc = root(folder).join("etc");
    let id: u128 = rand::rng().random();
    fs::write(etc.join("machine-id"), format!("{id:032x}\n"))?;
    fs::write(etc.join("hostname"), format!("{host_name}\n"))?;
    fs::write(
        etc.join("hosts"),
        format!("127.0.0.1 localhost\n127.0.1.1 {host_name}\n::1 localhost\n"),
    )
}
