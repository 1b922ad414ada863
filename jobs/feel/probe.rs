//! A small write with fsync on each volume that holds a cluster's data: the only
//! way to learn from outside that a disk hangs.

use drover::model::Fsync;

use super::sections::{Section, clean};

/// A data directory and how the write on its filesystem went.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Probed {
    /// As the cluster's configuration names it.
    pub(super) pgdata: String,
    /// Where that really is, links followed.
    pub(super) path: String,
    pub(super) fsync: Fsync,
    pub(super) fsync_ms: Option<f64>,
}

/// Reads `outcome ms<tab>pgdata<tab>path` lines. What the probe does not write is left out.
pub(super) fn parse(section: &Section<'_>) -> Vec<Probed> {
    section.text.lines().filter_map(probed).collect()
}

fn probed(line: &str) -> Option<Probed> {
    let mut fields = line.split('\t');
    let (outcome, pgdata, path) = (fields.next()?, fields.next()?, fields.next()?);
    let (word, ms) = outcome.split_once(' ')?;
    let fsync = word.parse().ok()?;
    let fsync_ms = match ms {
        "-" => None,
        ms => Some(ms.parse::<f64>().ok().filter(|ms| ms.is_finite())?),
    };
    if fsync == Fsync::Ok && fsync_ms.is_none() {
        return None;
    }
    Some(Probed {
        pgdata: clean(pgdata, 256),
        path: clean(path, 4096),
        fsync,
        fsync_ms,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::host::scripts::PROBE;

    fn read(text: &str) -> Vec<Probed> {
        parse(&Section {
            name: "probe",
            status: 0,
            text,
        })
    }

    #[test]
    fn each_outcome_is_read() {
        let seen = read("ok 1.5\t/d/main\t/real/main\nstuck -\t/e\t/e\nread_only 0.1\t/f\t/f\n");
        assert_eq!((seen[0].fsync, seen[0].fsync_ms), (Fsync::Ok, Some(1.5)));
        assert_eq!(
            (seen[0].pgdata.as_str(), seen[0].path.as_str()),
            ("/d/main", "/real/main")
        );
        assert_eq!((seen[1].fsync, seen[1].fsync_ms), (Fsync::Stuck, None));
        assert_eq!(seen[2].fsync, Fsync::ReadOnly);
        assert_eq!(read(""), vec![]);
    }

    #[test]
    fn what_the_probe_does_not_write_is_left_out() {
        for bad in [
            "ok",
            "ok -\t/d\t/d",
            "ok 1\t/d",
            "ok x\t/d\t/d",
            "fine 1\t/d\t/d",
            "ok nan\t/d\t/d",
        ] {
            let seen = read(&format!("{bad}\nok 1.5\t/d\t/d\n"));
            assert_eq!(seen.len(), 1, "{bad}");
        }
    }

    /// What root's are, the probe leaves alone.
    fn give_away(path: &Path) {
        const NOBODY: u32 = 65_534;
        if std::fs::metadata(path).unwrap().uid() == 0 {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    /// A data directory in a place of its own, gone when it is dropped.
    struct Data(PathBuf);

    impl Data {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("drover-{name}-{}", std::process::id()));
            std::fs::create_dir_all(dir.join("main")).unwrap();
            give_away(&dir.join("main"));
            give_away(&dir);
            Self(dir.canonicalize().unwrap())
        }

        fn file(&self) -> PathBuf {
            self.0.join(".drover-probe")
        }

        /// What the program makes of it, and how long that took.
        fn probe(&self) -> (Vec<Probed>, Duration) {
            let began = Instant::now();
            let output = Command::new("perl")
                .args(["-e", PROBE, "--"])
                .args([self.0.join("main"), self.0.join("gone")])
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stderr), "");
            (read(&text), began.elapsed())
        }
    }

    impl Drop for Data {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_small_write_is_timed_and_leaves_nothing_behind() {
        let data = Data::new("well");
        let (seen, _) = data.probe();
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(seen[0].fsync, Fsync::Ok);
        assert!(seen[0].fsync_ms.is_some_and(|ms| ms > 0.0), "{seen:?}");
        assert!(!data.file().exists());
    }

    #[test]
    fn a_write_that_hangs_is_told_in_time() {
        let data = Data::new("hangs");
        // Opening a pipe that nobody reads hangs as a dead disk does.
        nix::unistd::mkfifo(&data.file(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        give_away(&data.file());
        let (seen, took) = data.probe();
        assert_eq!(
            (seen[0].fsync, seen[0].fsync_ms),
            (Fsync::Stuck, Some(5500.0))
        );
        assert!(took < Duration::from_secs(60), "{took:?}");
    }

    #[test]
    fn no_second_write_is_sent_after_one_that_hangs() {
        let data = Data::new("twice");
        let name = format!("$0 = \"drover-probe {}\"; sleep 60", data.file().display());
        let mut hung = Command::new("perl").args(["-e", &name]).spawn().unwrap();
        let renamed = format!("/proc/{}/comm", hung.id());
        while !std::fs::read_to_string(&renamed)
            .unwrap()
            .starts_with("drover-probe")
        {
            std::thread::sleep(Duration::from_millis(10));
        }
        let (seen, took) = data.probe();
        hung.kill().unwrap();
        hung.wait().unwrap();
        assert_eq!((seen[0].fsync, seen[0].fsync_ms), (Fsync::Stuck, None));
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert_eq!(data.probe().0[0].fsync, Fsync::Ok, "it is gone");
    }
}
