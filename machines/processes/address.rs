//! Addresses of this host's loopback, one for each machine of whichever daemon.

use std::fs::{self, File};
use std::hash::{Hash as _, Hasher as _};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nix::fcntl::{Flock, FlockArg};

use crate::protocol::Problem;

/// What machines' addresses are taken of.
pub const RANGE: &str = "127.77.0.0/16";
/// Who has which: a link from the address to the machine's folder, so that nobody takes that
/// of a machine that is off. Of all users of this host.
const TAKEN: &str = "/tmp/drover-machines-addresses";

/// Takes an address for the machine of this folder: the one that is asked for, or one where
/// nothing listens at this port.
///
/// # Errors
/// If it is another's, or none is free.
pub fn take(asked: Option<Ipv4Addr>, port: u16, folder: &Path) -> Result<Ipv4Addr, Problem> {
    let _turn = turn()?;
    if let Some(address) = asked {
        if !address.is_loopback() {
            return Err(Problem::invalid(format!(
                "{address} is no address of a machine that is processes: those of {RANGE} are"
            )));
        }
        return match claim(address, port, folder)? {
            true => Ok(address),
            false => Err(Problem::conflict(format!("{address} is taken"))),
        };
    }
    // Where the search begins depends on the folder, so that the addresses of machines that
    // were destroyed a moment ago are hardly ever another's at once.
    let mut hasher = std::hash::DefaultHasher::new();
    (folder, std::process::id(), std::time::SystemTime::now()).hash(&mut hasher);
    let [.., x, y] = hasher.finish().to_be_bytes();
    let first = u16::from_be_bytes([x, y]);
    for n in 0..=u16::MAX {
        let [x, y] = first.wrapping_add(n).to_be_bytes();
        if !matches!(y, 0 | 255) && claim(Ipv4Addr::new(127, 77, x, y), port, folder)? {
            return Ok(Ipv4Addr::new(127, 77, x, y));
        }
    }
    Err(Problem::conflict(format!("no address of {RANGE} is free")))
}

/// Gives a machine's address back.
///
/// # Errors
/// If the note cannot be removed.
pub fn release(address: Ipv4Addr, folder: &Path) -> anyhow::Result<()> {
    let note = note(address);
    if fs::read_link(&note).is_ok_and(|of| of == folder) {
        fs::remove_file(&note).with_context(|| note.display().to_string())?;
    }
    // Others may be in it.
    let _ = fs::remove_dir(TAKEN);
    Ok(())
}

fn note(address: Ipv4Addr) -> PathBuf {
    Path::new(TAKEN).join(address.to_string())
}

/// One daemon at a time chooses.
fn turn() -> anyhow::Result<Flock<File>> {
    loop {
        match fs::create_dir(TAKEN) {
            Ok(()) => fs::set_permissions(TAKEN, fs::Permissions::from_mode(0o1777))?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).context(TAKEN),
        }
        let Ok(folder) = File::open(TAKEN) else {
            continue;
        };
        let turn = Flock::lock(folder, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
        // Its last user may have removed it meanwhile.
        let (ours, now) = (turn.metadata()?, fs::metadata(TAKEN));
        use std::os::unix::fs::MetadataExt as _;
        if now.is_ok_and(|now| now.ino() == ours.ino()) {
            return Ok(turn);
        }
    }
}

fn claim(address: Ipv4Addr, port: u16, folder: &Path) -> anyhow::Result<bool> {
    let note = note(address);
    if let Ok(of) = fs::read_link(&note) {
        let gone =
            fs::symlink_metadata(&of).is_err_and(|error| error.kind() == ErrorKind::NotFound);
        // Another user's note stays, if it is one of a machine that is gone too.
        if of != folder && !(gone && fs::remove_file(&note).is_ok()) {
            return Ok(false);
        }
    }
    if TcpListener::bind((address, port)).is_err() {
        return Ok(false);
    }
    match symlink(folder, &note) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Ok(fs::read_link(&note).is_ok_and(|of| of == folder))
        }
        Err(error) => Err(error).with_context(|| note.display().to_string()),
        Ok(()) => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_machines_on_or_off() {
        let home = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let path = home.path().join(name);
            fs::create_dir_all(&path).unwrap();
            path
        };
        let (a, b) = (folder("a"), folder("b"));
        let address = take(None, 2222, &a).unwrap();
        assert!(address.to_string().starts_with("127.77."), "{address}");
        assert!(
            take(Some(address), 2222, &b).is_err(),
            "it is a's, though nothing listens"
        );
        assert_eq!(take(Some(address), 2222, &a).unwrap(), address);
        release(address, &b).unwrap();
        assert!(
            take(Some(address), 2222, &b).is_err(),
            "b had nothing to release"
        );
        fs::remove_dir(&a).unwrap();
        assert_eq!(take(Some(address), 2222, &b).unwrap(), address, "a is gone");
        let _listener = TcpListener::bind((address, 2222)).unwrap();
        assert!(take(Some(address), 2222, &b).is_err(), "somebody listens");
        release(address, &b).unwrap();
        assert!(!note(address).exists());
        assert!(take(Some(Ipv4Addr::new(10, 0, 0, 1)), 2222, &b).is_err());
    }
}
