//! What a machine says on its console: kept in a file and its predecessor, so that a
//! machine that says the same for ever does not fill the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// How large the file becomes before another is begun.
const LARGE: u64 = 256 * 1024;
/// How much is shown: as much as EC2 does.
const SHOWN: usize = 64 * 1024;

pub(super) struct Console {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Console {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("console");
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.size > LARGE {
            fs::rename(&self.path, self.path.with_extension("before"))?;
            self.file = File::create(&self.path)?;
            self.size = 0;
        }
        self.size += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

/// Begins another file, if this one is large: for a console that others write to.
pub fn rotate(folder: &Path) -> io::Result<()> {
    let path = folder.join("console");
    if fs::metadata(&path).is_ok_and(|seen| seen.len() > LARGE) {
        fs::rename(&path, path.with_extension("before"))?;
    }
    Ok(())
}

/// The last of what it said.
pub fn read(folder: &Path) -> String {
    let part = |name: &str| fs::read(folder.join(name)).unwrap_or_default();
    let all = [part("console.before"), part("console")].concat();
    let from = all.len().saturating_sub(SHOWN);
    String::from_utf8_lossy(&all[from..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_talks_for_ever_fills_no_disk() {
        let folder = tempfile::tempdir().unwrap();
        let mut console = Console::open(folder.path()).unwrap();
        for _ in 0..40_000 {
            console.write(b"the same for ever and ever\n").unwrap();
        }
        console.write(b"the last").unwrap();
        let kept: u64 = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(kept < 3 * LARGE, "{kept}");
        let shown = read(folder.path());
        assert!(shown.len() <= SHOWN && shown.ends_with("\nthe last"));
    }
}
